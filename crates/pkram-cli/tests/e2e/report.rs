//! What is told of a kexec afterwards, against what was seen from outside.

use crate::common::{hop, mount, number};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use testbed::Vm;

#[test]
fn the_report_tells_what_happened() -> Result<()> {
    let Some(bed) = testbed::e2e("the_report_tells_what_happened") else { return Ok(()) };
    let mut vm = bed.vm("report", bed.kernel("6.12")?).memory_mib(1536).boot()?;
    vm.sh("mount -o remount,size=80% /dev/shm && head -c 400M /dev/zero > /dev/shm/big")?;
    let hop = hop(&mut vm, bed.kernel("6.1")?, &["big=/dev/shm/big"])?;

    let report: Value = vm.exec(["pkram", "report", "--json"])?.json()?;
    eprintln!("{}\n{hop:?}", String::from_utf8_lossy(&vm.exec(["pkram", "report"])?.stdout));
    let timeline = &report["timeline"];
    let seconds = |v: &Value| v.as_f64().with_context(|| format!("no number in {timeline}"));
    let blackout = seconds(&timeline["blackout"])?;
    ensure!(timeline["until"] == "init", "{timeline}");
    // The command's own start is before the first stamp, the agent's after the last one.
    let seen = hop.total.as_secs_f64();
    ensure!(blackout < seen, "{blackout} s, but from outside {seen} s were seen");
    let uptime = f64::from(u32::try_from(hop.to.uptime_ms)?) / 1e3;
    ensure!(blackout > 0.4 * seen, "{blackout} s of {seen} s");
    ensure!(blackout + uptime > 0.8 * seen, "{blackout} s and {uptime} s of {seen} s");
    let phases = timeline["phases"].as_array().context("no phases")?;
    let names: Vec<_> = phases.iter().filter_map(|p| p["name"].as_str()).collect();
    let want = [
        "hold",
        "compose",
        "load",
        "teardown",
        "last-look",
        "shutdown",
        "check",
        "moves",
        "metadata",
        "place",
        "kernel",
    ];
    ensure!(names == want, "{names:?}");
    let mut sum = 0.0;
    for phase in phases {
        ensure!((seconds(&phase["start"])? - sum).abs() < 1e-4, "a gap before {phase}");
        sum += seconds(&phase["seconds"])?;
    }
    ensure!((sum - blackout).abs() < 1e-3, "the phases add up to {sum} s, not {blackout} s");

    memory(&mut vm, &report)?;
    forms(&mut vm, &report)?;

    // A kexec that was written down, and nobody said what came of it: the disk of these machines
    // is memory, so the line is written here.
    let region = report["jump"]["region"].as_str().context("no jump")?;
    let line = serde_json::json!({
        "region": region, "way": "service", "began": 1_700_000_000_000_000_000_u64,
        "old_kernel": "6.12", "next_kernel": null, "sources": 1, "kept": 4096, "moved": 0, "spans": 1,
    });
    vm.sh("mkdir -p /var/lib/pkram && echo garbage > /var/lib/pkram/history.jsonl")?;
    vm.sh(&format!("echo '{line}' >> /var/lib/pkram/history.jsonl"))?;
    let before: Value = vm.exec(["pkram", "report", "--history", "--json"])?.json()?;
    ensure!(before["history"][0]["arrival"].is_null(), "{before}");
    let manifest = mount(&mut vm)?;
    let after: Value = vm.exec(["pkram", "report", "--json"])?.json()?;
    let entry = &after["history"][0];
    ensure!(entry["arrival"]["outcome"] == "back", "{entry}");
    ensure!(after["timeline"]["until"] == "arrived", "{}", after["timeline"]);
    ensure!(seconds(&after["timeline"]["blackout"])? > blackout, "{}", after["timeline"]);
    ensure!(entry["arrival"]["timeline"]["blackout"] == after["timeline"]["blackout"], "{entry}");

    // The kept pages are all in the picture.
    let strips = after["before"]["strips"].as_array().context("no picture")?;
    let sum = |field: &str| -> u64 { strips.iter().filter_map(|s| s[field].as_u64()).sum() };
    let kept = number(&manifest, "/plan/preserved")?;
    ensure!(sum("in_place") + sum("moved_in") == kept, "{strips:?}");
    ensure!(sum("moved_out") == sum("moved_in"), "{strips:?}");
    ensure!(sum("moved_out") == number(&manifest, "/plan/moved")?, "{strips:?}");
    Ok(())
}

/// The regions in the pictures are those that `pkram list` shows.
fn memory(vm: &mut Vm, report: &Value) -> Result<()> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let mut spans = BTreeSet::new();
    for region in list["regions"].as_array().context("no list")? {
        for span in region["spans"].as_array().context("no spans")? {
            let uuid = region["uuid"].to_string();
            spans.insert((uuid, number(span, "/start")?, number(span, "/bytes")?));
        }
    }
    ensure!(!spans.is_empty(), "{list}");
    for picture in ["before", "after"] {
        let strips = report[picture]["strips"].as_array().context("no picture")?;
        let drawn = strips.iter().filter(|s| s["kind"] == "region");
        let drawn =
            drawn.map(|s| Ok((s["region"].to_string(), number(s, "/start")?, number(s, "/len")?)));
        let drawn: BTreeSet<_> = drawn.collect::<Result<_>>()?;
        ensure!(drawn == spans, "{picture}: {drawn:?}, but listed are {spans:?}");
    }
    let strips = report["after"]["strips"].as_array().context("no picture")?;
    let kernel: Vec<_> = strips.iter().filter(|s| s["kind"] == "kernel").collect();
    ensure!(kernel.len() == 1 && number(kernel[0], "/len")? > 16 << 20, "{kernel:?}");
    Ok(())
}

/// The other forms say the same.
fn forms(vm: &mut Vm, report: &Value) -> Result<()> {
    let metrics = vm.run(["pkram", "report", "--prometheus"])?;
    let blackout = metrics.lines().find_map(|l| l.strip_prefix("pkram_blackout_seconds "));
    let blackout: f64 = blackout.with_context(|| metrics.clone())?.parse()?;
    let told = report["timeline"]["blackout"].as_f64().context("no blackout")?;
    // Both clocks are read anew each time.
    ensure!((blackout - told).abs() < 0.05, "{blackout}, {told}");
    vm.run(["pkram", "report", "--html", "/tmp/report.html"])?;
    let page = String::from_utf8(vm.read_file("/tmp/report.html")?)?;
    let region = report["jump"]["region"].as_str().context("no jump")?;
    for part in ["<svg", "Where the blackout went", "How memory lies", region] {
        ensure!(page.contains(part), "no {part} in {page}");
    }
    let whole = vm.exec(["pkram", "report", "--html", "-"])?;
    ensure!(whole.code == Some(0) && whole.stdout.ends_with(b"</html>\n"), "{whole:?}");
    Ok(())
}
