//! What is tried, in this order: the host is left as it is, twice; is rebooted all the same; keeps its
//! memory; loses it, and the roll-out stops; keeps it again, by kured's command.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Suite, Testbed};

use super::host::{HOP, Host};
use super::{Step, ansible, kured};

/// Required, and nobody has made it.
const GONE: &str = "[source.gone]\npath = '/dev/shm/gone'\nrequired = true\n";

/// What the test's own agent hands over is kept.
const HANDOVER: &str = "[[handover]]\nunit = 'pkram-test-agent.service'\n";

/// More than the machine has.
const NO_ROOM: &str = "[shutdown]\nreserve-ram = '2G'\n";

/// Kills pkramd at the end of the next shutdown, between the stage and the jump.
const KILLER: &str = "\
cat > /run/systemd/system/killer.service <<END
[Unit]
DefaultDependencies=no
Before=pkram-shutdown.service
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStop=sh -c 'kill -KILL $(systemctl show -p MainPID --value pkramd)'
END
systemctl daemon-reload
systemctl start killer
";

const METRICS: &str = include_str!("../../../docs/fleet/pkram-metrics.service");

pub(super) fn run(
    bed: &Testbed,
    suite: Suite,
    package: &Path,
    say: &dyn Fn(&str),
) -> Result<Vec<Step>> {
    let kernels = match suite {
        Suite::Bookworm => ["6.1", "6.12"],
        Suite::Trixie => ["6.12", "7.3"],
    };
    let kernels = [bed.kernel(kernels[0])?, bed.kernel(kernels[1])?];
    say("booting");
    let mut host = Host::boot(bed, suite, kernels, package)?;
    type Trial = fn(&mut Host) -> Result<String>;
    let trials: [(&str, Trial); 7] = [
        ("playbook, a required source is not there", stops),
        ("playbook, too little RAM, `pkram_if_not=skip`", skips),
        ("playbook, a required source is not there, `pkram_if_not=firmware`", reboots),
        ("playbook", keeps),
        ("playbook, pkramd is killed before the jump", loses),
        ("kured's command, a required source is not there", kured_refuses),
        ("kured's command", kured_keeps),
    ];
    let mut steps = Vec::new();
    for (what, trial) in trials {
        let begin = Instant::now();
        let seen = trial(&mut host)?;
        say(&format!("{what}: {seen}"));
        steps.push(Step { what, seen, seconds: begin.elapsed().as_secs_f64() });
    }
    Ok(steps)
}

fn stops(host: &mut Host) -> Result<String> {
    host.write_words()?;
    host.configure(GONE)?;
    let boot = host.boot_id()?;
    let played = ansible::play(host, &["first", "second"], "stop")?;
    ensure!(played.code == Some(2) && !played.reached("second"), "{played:?}");
    ensure!(played.text.contains("/dev/shm/gone"), "it does not say why");
    ensure!(host.boot_id()? == boot, "the host was rebooted");
    Ok("refused with the reason; `first` goes on as it was, `second` is not begun".to_owned())
}

fn skips(host: &mut Host) -> Result<String> {
    host.configure(NO_ROOM)?;
    let boot = host.boot_id()?;
    let played = ansible::play(host, &["first", "second"], "skip")?;
    ensure!(played.code == Some(0) && played.reached("second"), "{played:?}");
    ensure!(played.text.contains("too little memory"), "it does not say why");
    ensure!(host.boot_id()? == boot, "the host was rebooted");
    Ok("both hosts are asked, and go on as they were".to_owned())
}

fn reboots(host: &mut Host) -> Result<String> {
    host.configure(GONE)?;
    let played = ansible::play(host, &["first"], "firmware")?;
    let hop = host.hopped()?;
    ensure!(played.code == Some(0), "{}", host.journal());
    ensure!(hop.to.release == hop.from.release && !host.has_words()?, "that was a kexec");
    Ok("the host went through its firmware, and its memory is gone".to_owned())
}

fn keeps(host: &mut Host) -> Result<String> {
    host.configure(HANDOVER)?;
    let words = host.write_words()?;
    host.vm.sh("echo forty-two > /dev/shm/book; pkram put book /dev/shm/book; rm /dev/shm/book")?;
    let check = host.vm.run(["pkram", "check", "--config"])?;
    ensure!(
        check.contains("ok  source fdstore-"),
        "what was handed over is not asked about: {check}"
    );
    let played = ansible::play(host, &["first"], "stop")?;
    let hop = host.hopped()?;
    ensure!(played.code == Some(0), "{}", host.journal());
    host.came_by_pkram(&hop)?;
    ensure!(host.words()? == words, "the memory is another");
    let book = host.vm.run(["pkram", "take", "book"])?;
    ensure!(book == "forty-two\n", "what was handed over is another: {book}");
    Ok(format!("{} → {}, the memory is there", hop.from.release, hop.to.release))
}

fn loses(host: &mut Host) -> Result<String> {
    host.vm.sh(KILLER)?;
    let played = ansible::play(host, &["first", "second"], "stop")?;
    host.hopped()?;
    ensure!(played.code == Some(2) && !played.reached("second"), "{played:?}");
    let report: Value = host.vm.exec(["pkram", "report", "--json"])?.json()?;
    let words = &report["arrived"]["sources"]["words"];
    ensure!(words["came"] == "missing" && report["jump"].is_null(), "{report}");
    let why = words["why"].as_str().and_then(|why| why.split('"').next()).context("no reason")?;
    ensure!(played.text.contains(why), "the playbook does not say {why:?}");
    ensure!(!host.has_words()?, "memory over a reboot");
    let metrics = metrics(host)?;
    ensure!(metrics.contains("pkram_source_missing{source=\"words\"} 1\n"), "{metrics}");
    // As long as nobody has looked at it, the next roll-out stops here as well.
    let check = host.vm.exec(["pkram", "check", "--config"])?;
    ensure!(check.code == Some(1), "{check:?}");
    Ok("the machine came up by its firmware; `words` is named as missing, `second` is not begun"
        .to_owned())
}

/// What node_exporter would read.
fn metrics(host: &mut Host) -> Result<String> {
    host.vm.write_file("/etc/systemd/system/pkram-metrics.service", METRICS.as_bytes())?;
    host.vm.sh("mkdir -p /var/lib/prometheus/node-exporter && systemctl start pkram-metrics")?;
    Ok(String::from_utf8(host.vm.read_file("/var/lib/prometheus/node-exporter/pkram.prom")?)?)
}

fn kured_refuses(host: &mut Host) -> Result<String> {
    host.vm.run(["pkramd", "forget", "words"])?;
    host.write_words()?;
    host.configure(GONE)?;
    host.vm.sh(kured::container())?;
    host.vm.run(["touch", "/run/reboot-required"])?;
    let boot = host.boot_id()?;
    let refused = host.vm.exec(kured::reboot()?)?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(refused.text()?.contains("/dev/shm/gone"), "it does not say why: {refused:?}");
    ensure!(host.boot_id()? == boot, "the host was rebooted");
    Ok("exit status 1 with the reason, nothing happens".to_owned())
}

fn kured_keeps(host: &mut Host) -> Result<String> {
    host.configure("")?;
    let words = host.words()?;
    let hop = host.vm.kexec_into(kured::reboot()?, HOP)?;
    host.vm.await_running()?;
    host.came_by_pkram(&hop)?;
    ensure!(host.words()? == words, "the memory is another");
    let sentinel = host.vm.exec(["test", "-e", "/run/reboot-required"])?;
    ensure!(sentinel.code == Some(1), "the sentinel is still there");
    Ok(format!(
        "{} → {}, the memory is there, the sentinel is not",
        hop.from.release, hop.to.release
    ))
}
