//! The QEMU process with its folder of logs and its sockets.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::machine::{Machine, command};

/// QEMU makes its sockets before anything slow.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How much of the console an error shows.
const CONSOLE_TAIL: usize = 40;

/// How much of what led to a panic an error shows.
const LINES_BEFORE_PANIC: usize = 20;

/// A running QEMU; ends with this value. The folder of logs stays if the run failed.
#[derive(Debug)]
pub(super) struct Qemu {
    child: Child,
    sockets: TempDir,
    run: PathBuf,
    pub(super) failed: bool,
}

impl Qemu {
    pub(super) fn start(machine: &Machine, runs: &Path) -> Result<Self> {
        let run = new_folder(runs, &machine.name)?;
        // Socket addresses hold 108 bytes (kernel: include/uapi/linux/un.h), so not below `run`.
        let sockets = tempfile::Builder::new().prefix("pkram-vm-").tempdir()?;
        let mut command = command(machine, &run, sockets.path())?;
        fs::write(run.join("command"), format!("{command:?}\n"))?;
        let log = File::create(run.join("qemu.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start qemu-system-x86_64")?;
        Ok(Self { child, sockets, run, failed: false })
    }

    /// Connects to one of QEMU's sockets.
    pub(super) fn connect(&mut self, name: &str) -> Result<UnixStream> {
        let path = self.sockets.path().join(name);
        let deadline = Instant::now() + CONNECT_LIMIT;
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => return Err(error).with_context(|| format!("connect to {name}")),
            }
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(self.file("qemu.log")).unwrap_or_default();
                bail!("QEMU ended at once: {status}\n{said}");
            }
            if Instant::now() > deadline {
                bail!("QEMU made no socket for {name} within {CONNECT_LIMIT:?}");
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// A file in the folder of logs.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The console so far.
    pub(super) fn console(&self) -> String {
        let bytes = fs::read(self.file("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of the console and where the rest is, for an error.
    pub(super) fn epitaph(&self) -> String {
        format!("end of the console:\n{}\nlogs: {}", end_of(&self.console()), self.run.display())
    }
}

/// The last lines of a console. The trace of a panic has as many lines as the stack was deep, and
/// the lines before it say what happened: they are shown however far up they are.
fn end_of(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    let tail = lines.len().saturating_sub(CONSOLE_TAIL);
    let panic = lines.iter().rposition(|line| line.contains("Kernel panic - not syncing"));
    let first = panic.map_or(tail, |panic| tail.min(panic.saturating_sub(LINES_BEFORE_PANIC)));
    lines[first..].join("\n")
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only when QEMU has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.failed && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.run);
        }
    }
}

fn new_folder(runs: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(runs)?;
    for number in 1..u32::MAX {
        let path = runs.join(format!("{name}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("make {}", path.display())),
        }
    }
    bail!("{} is full", runs.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_trace_does_not_hide_the_panic() {
        let console = |trace: usize| {
            let mut lines: Vec<_> = (0..100).map(|n| format!("[{n}] before")).collect();
            lines.push("[100] Kernel panic - not syncing: sysrq triggered crash".into());
            lines.extend((0..trace).map(|n| format!("[{n}] trace")));
            lines.join("\n")
        };
        for trace in [0, 10, 39, 40, 200] {
            let end = end_of(&console(trace));
            assert!(end.contains("Kernel panic") && end.contains("[99] before"), "{trace}: {end}");
            assert_eq!(end.lines().filter(|line| line.contains("trace")).count(), trace);
        }
        assert_eq!(end_of(&"quiet\n".repeat(100)).lines().count(), CONSOLE_TAIL);
        assert_eq!(end_of(""), "");
    }
}
