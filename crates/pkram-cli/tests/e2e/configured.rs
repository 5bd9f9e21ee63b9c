//! `pkram check --config`: what is required makes a no, what is not is left out. That the answer is
//! right where it is yes is what `cargo xtask fleet` shows, on systems with systemd.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD};

#[test]
fn only_what_is_required_is_refused_for() -> Result<()> {
    let Some(bed) = testbed::e2e("only_what_is_required_is_refused_for") else { return Ok(()) };
    let next = bed.kernel("6.12")?;
    let mut vm = bed.vm("configured", bed.kernel("6.1")?).memory_mib(768).boot()?;
    vm.sh("mkdir -p /etc/pkram /dev/shm/pg-1 && head -c 20M /dev/urandom > /dev/shm/pg-1/pages")?;
    let config = format!(
        "[kernel]\nimage = '{}'\ninitrd = '{GUEST_INITRD}'\ncmdline = '{APPEND}'\n\
         [source.pg]\nglob = '/dev/shm/pg-*'\nrequired = true\n\
         [source.disk]\npath = '/usr/bin'\n\
         [source.later]\npath = '/dev/shm/later'\n",
        next.guest_image()
    );
    let mut ask = |more: &str| -> Result<(Option<i32>, Value)> {
        vm.write_file("/etc/pkram/pkram.toml", format!("{config}{more}").as_bytes())?;
        let said = vm.exec(["pkram", "check", "--config", "--json"])?;
        Ok((said.code, said.json()?))
    };
    // Nothing is wrong here but that there is no service.
    let (code, said) = ask("")?;
    let not = |said: &Value| -> Result<Vec<String>> {
        let findings = said["findings"].as_array().context("no findings")?;
        let not = findings.iter().filter(|finding| finding["answer"] == "no");
        Ok(not.filter_map(|finding| finding["about"].as_str().map(str::to_owned)).collect())
    };
    ensure!(code == Some(1) && not(&said)? == ["pkramd", "placeholder"], "{said}");
    let answer = |said: &Value, about: &str| {
        let findings = said["findings"].as_array()?;
        Some(findings.iter().find(|f| f["about"] == about)?["answer"].clone())
    };
    ensure!(answer(&said, "source pg-pg-1").context("not asked about")? == "yes", "{said}");
    ensure!(answer(&said, "source disk").context("not asked about")? == "unknown", "{said}");
    ensure!(answer(&said, "source later").context("not asked about")? == "unknown", "{said}");
    // What can be kept is planned for.
    let kept = said["manifest"]["plan"]["preserved"].as_u64().context("no plan")?;
    ensure!((20 << 20..21 << 20).contains(&kept), "{said}");
    let (kernel, costs) = (&said["manifest"]["next_kernel"], &said["costs"]);
    ensure!(*kernel == next.release && costs.is_object(), "{said}");

    let (_, said) = ask("required = true")?;
    ensure!(not(&said)?.contains(&"source later".to_owned()), "{said}");
    let (_, said) = ask("[shutdown]\nreserve-ram = '760M'")?;
    ensure!(not(&said)?.contains(&"RAM left".to_owned()), "{said}");
    let (_, said) = ask("requird = true")?;
    ensure!(not(&said)?.contains(&"configuration".to_owned()), "{said}");
    Ok(())
}
