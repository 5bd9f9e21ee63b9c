//! The demonstration, as a stranger runs it.

use std::process::Command;

#[test]
fn the_demo_prints_one_json_object_that_says_all_came_through() {
    // The same gate as the testbed's own tests.
    if std::env::var_os("PKRAM_E2E").is_none_or(|value| value != "1") {
        eprintln!("demo: skipped, needs QEMU and stock kernels; run `cargo xtask test`");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["demo", "--json", "--from", "7.3", "--to", "6.1"])
        .output()
        .expect("xtask starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["from"].as_str().is_some_and(|release| release.starts_with("7.3.")));
    assert!(report["to"].as_str().is_some_and(|release| release.starts_with("6.1.")));
    for count in ["set", "found", "equal"] {
        assert!(report["items"][count].as_u64() >= Some(100_000), "{count}: {report}");
    }
}
