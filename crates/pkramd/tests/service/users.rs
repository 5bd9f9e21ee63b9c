//! What users hand over, beside sources of the same region: each gets back only what is their own, and
//! then all memory is RAM again.

use crate::common::{configure, journal, machine, systemctl_kexec};
use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::{Output, Suite, Vm, e2e};

const CONFIG: &str = "
[source.pages]
glob = '/dev/shm/page-*'

[[handover]]
user = 'alice'
max-size = '1M'

[[handover]]
user = '1002'
max-size = '1M'
";

#[test]
fn get_back_their_own_and_leave_nothing_behind() -> Result<()> {
    let Some(bed) = e2e("users") else { return Ok(()) };
    let [old, new] = [bed.kernel("6.12")?, bed.kernel("7.3")?];
    let mut vm = machine(bed, "users", Suite::Trixie, [old, new], "", false)?;
    vm.sh("useradd --uid 1001 alice; useradd --uid 1002 bob; useradd --uid 1003 mallory")?;
    configure(&mut vm, new, CONFIG)?;
    for (user, word) in [("alice", "hers"), ("bob", "his")] {
        let file = format!("/dev/shm/{user}");
        vm.sh(&format!("echo {word} > {file}; chown {user} {file}; chmod 600 {file}"))?;
        let put = by(&mut vm, user, &["put", "diary", &file])?;
        ensure!(put.code == Some(0), "{user}: {}", put.stderr);
        vm.run(["rm", &file])?;
    }
    vm.sh("echo hers > /dev/shm/mallory; chown mallory /dev/shm/mallory")?;
    let put = by(&mut vm, "mallory", &["put", "diary", "/dev/shm/mallory"])?;
    ensure!(put.code == Some(1), "nothing allows it");
    // Hard to miss where it does not come back: more than a memory block.
    vm.sh("head -c 200M /dev/urandom > /dev/shm/page-1; echo 2 > /dev/shm/page-2")?;
    let sums = vm.sh("sha256sum /dev/shm/page-*")?;
    let before = memory(&mut vm)?;

    systemctl_kexec(&mut vm, new)?;
    ensure!(vm.sh("sha256sum /dev/shm/page-*")? == sums, "{}", journal(&mut vm, "0"));
    for (user, word) in [("alice", "hers\n"), ("bob", "his\n")] {
        let took = by(&mut vm, user, &["take", "diary"])?;
        ensure!(took.text()? == word, "{user}: {took:?}\n{}", journal(&mut vm, "0"));
    }
    for none in [by(&mut vm, "mallory", &["take", "diary"])?, vm.exec(["pkram", "take", "diary"])?]
    {
        ensure!(none.code == Some(1) && none.stdout.is_empty(), "{none:?}");
        ensure!(none.stderr.contains("pkramd keeps nothing as \"diary\""), "{none:?}");
    }

    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["regions"] == Value::Array(vec![]), "{list}\n{}", journal(&mut vm, "0"));
    let after = memory(&mut vm)?;
    // What lies beside whole blocks stays aside until the next kexec, and that is less than the pages.
    ensure!(after + (200 << 10) > before, "{before} KiB of RAM before, {after} KiB after");
    Ok(())
}

/// `pkram` as a user runs it who is logged in: outside of any service.
fn by(vm: &mut Vm, user: &str, words: &[&str]) -> Result<Output> {
    let slice = format!("--slice=user-{}.slice", vm.run(["id", "-u", user])?.trim());
    let scope = ["systemd-run", "--quiet", "--scope", "--uid", user, &slice, "pkram"];
    vm.exec(scope.into_iter().chain(words.iter().copied()))
}

/// All of RAM, in KiB.
fn memory(vm: &mut Vm) -> Result<u64> {
    Ok(vm.sh("awk '/^MemTotal:/ { print $2 }' /proc/meminfo")?.trim().parse()?)
}
