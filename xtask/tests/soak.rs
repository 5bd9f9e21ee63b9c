//! The soak's short form: every kernel comes twice, and the last hop releases a region.

use std::process::Command;

#[test]
fn five_kexecs_in_a_row_lose_nothing() {
    // The same gate as the testbed's own tests.
    if std::env::var_os("PKRAM_E2E").is_none_or(|value| value != "1") {
        eprintln!("soak: skipped, needs QEMU and stock kernels; run `cargo xtask test`");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["soak", "--json", "--hops", "5"])
        .output()
        .expect("xtask starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    let steps = report["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 5, "{report}");
    assert_eq!(steps[4]["regions"], 4, "{report}");
    assert!(steps[4]["released"].as_u64() > Some(0), "{report}");
    assert!(steps.iter().all(|step| step["checked"].as_u64() > Some(1 << 20)), "{report}");
}
