//! What xtask shows, as a stranger runs it.

use std::process::Command;

use serde_json::Value;

/// The one JSON object that a verb prints; none where tests need no machine.
fn said_by(arguments: &[&str]) -> Option<Value> {
    // The same gate as the testbed's own tests.
    if std::env::var_os("PKRAM_E2E").is_none_or(|value| value != "1") {
        eprintln!("{arguments:?}: skipped, needs QEMU and stock kernels; run `cargo xtask test`");
        return None;
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().expect("xtask starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    Some(serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else"))
}

#[test]
fn the_demo_says_that_all_came_through() {
    let Some(report) = said_by(&["demo", "--json", "--from", "7.3", "--to", "6.1"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["from"].as_str().is_some_and(|release| release.starts_with("7.3.")));
    assert!(report["to"].as_str().is_some_and(|release| release.starts_with("6.1.")));
    for count in ["set", "found", "equal"] {
        assert!(report["items"][count].as_u64() >= Some(100_000), "{count}: {report}");
    }
}

/// The guest's life by its own words, its memory's place from outside; both in one verdict.
#[test]
fn a_guest_goes_on_after_its_hosts_kernel_was_replaced() {
    let Some(report) = said_by(&["demo", "vm", "--json"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    let (guest, frames) = (&report["guest"], &report["frames"]);
    assert_eq!(guest["one_life"], true, "{report}");
    assert!(guest["counter_before"].as_u64() < guest["counter_after"].as_u64(), "{report}");
    assert!(guest["pattern_bytes"].as_u64() > Some(128 << 20), "{report}");
    assert_eq!(frames["same_place"], 65_536, "256 MiB in pages of 4 KiB: {report}");
}

/// An operator's steps on a Debian system and nothing else.
#[test]
fn services_stay_warm_over_systemctl_kexec() {
    let Some(report) = said_by(&["demo", "service", "--json", "--items", "20000"]) else { return };
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["items"]["equal"], 20_000, "{report}");
    let answered = report["answered"].as_array().expect("services");
    assert_eq!(answered.len(), 3, "{report}");
    assert!(answered.iter().all(|service| service["seconds"].as_f64() > Some(1.0)), "{report}");
    assert_eq!(report["report"]["history"][0]["arrival"]["outcome"], "back", "{report}");
}

/// The soak's short form: every kernel comes twice, and the last hop releases a region.
#[test]
fn five_kexecs_in_a_row_lose_nothing() {
    let Some(report) = said_by(&["soak", "--json", "--hops", "5"]) else { return };
    let steps = report["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 5, "{report}");
    assert_eq!(steps[4]["regions"], 4, "{report}");
    assert!(steps[4]["released"].as_u64() > Some(0), "{report}");
    assert!(steps.iter().all(|step| step["checked"].as_u64() > Some(1 << 20)), "{report}");
}

/// The short form of all machines: one that check passes, and one that it refuses.
#[test]
fn check_is_right_about_machines() {
    let Some(report) = said_by(&["machines", "--json", "4", "36"]) else { return };
    let machines = report["machines"].as_array().expect("machines");
    assert_eq!(machines.len(), 2, "{report}");
    assert!(machines.iter().all(|machine| machine["right"] == true), "{report}");
    assert_eq!(machines[0]["said"], "yes", "{report}");
    assert_ne!(machines[1]["said"], "yes", "{report}");
}
