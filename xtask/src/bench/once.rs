//! Native runs happen in a process of their own, so that one's memory is no other's peak, and are
//! timed by the processor time of their one thread, so that what else the machine does counts
//! little. None of them ever waits: on a quiet machine it is the time that passes.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use super::figure::Figure;
use super::machine::{field, read};

/// Measures a native group once, in a fresh process.
pub(super) fn in_child(group: &str, more: &[&str]) -> Result<Vec<Figure>> {
    figures(&mut Command::new(std::env::current_exe()?), group, more)
}

/// The same, in a process whose mounts nobody else sees.
pub(super) fn with_own_mounts(group: &str) -> Result<Vec<Figure>> {
    let program = std::env::current_exe()?;
    figures(Command::new("unshare").args(["--mount", "--"]).arg(program), group, &[])
}

fn figures(program: &mut Command, group: &str, more: &[&str]) -> Result<Vec<Figure>> {
    let output = program
        .args(["bench", "--once", group])
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .context("start the benchmark's own program")?;
    ensure!(output.status.success(), "{}; its last words are above", output.status);
    serde_json::from_slice(&output.stdout).context("the figures of a run")
}

/// Does something, and says how many seconds of processor time this thread needed for it.
pub(super) fn timed<T>(action: impl FnOnce() -> T) -> (T, f64) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    let value = action();
    (value, now() - start)
}

/// The most memory that this process has had so far, in MiB: `VmHWM`
/// (`Documentation/filesystems/proc.rst`).
pub(super) fn peak_mib() -> Result<f64> {
    let status = read("/proc/self/status")?;
    let kib = field(&status, "VmHWM").and_then(|value| value.strip_suffix(" kB"));
    let kib: f64 = kib.context("/proc/self/status has no VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waiting_takes_no_processor_time() {
        let (value, seconds) = timed(|| {
            std::thread::sleep(Duration::from_millis(300));
            7
        });
        assert_eq!(value, 7);
        assert!((0.0..0.2).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_peak_counts_what_is_gone_again() -> Result<()> {
        let before = peak_mib()?;
        drop(std::hint::black_box(vec![1_u8; 256 << 20]));
        let after = peak_mib()?;
        assert!(before > 0.0 && after >= 256.0, "{before} MiB, then {after} MiB");
        Ok(())
    }
}
