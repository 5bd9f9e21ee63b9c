//! The test machine: QEMU with our own firmware, memory in a file, and a deadline.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tempfile::TempDir;

use crate::memory::{Memory, SIZE};

const QEMU: &str = "qemu-system-x86_64";

/// What `next` in `rom.s` writes to isa-debug-exit, as QEMU's exit code.
const NEXT_KERNEL_ENTERED: i32 = 0x10 << 1 | 1;

/// A run takes a fraction of a second; a machine that hangs is ended after this.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where `next` in `rom.s` lies.
pub(crate) const NEXT: u32 = 0xffff_1000;

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The next kernel was entered.
    Entered,
    /// The machine was reset.
    Reset,
}

/// What a run left.
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// What came over the first and the second serial port.
    pub(crate) serial: [String; 2],
    pub(crate) memory: Memory,
}

/// Whether the rig can run here. Says why not; with `PKRAM_TEST_REQUIRE=1` that is a failure.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
        let required = env::var_os("PKRAM_TEST_REQUIRE").is_some_and(|value| value == "1");
        assert!(found || !required, "{QEMU} is required (PKRAM_TEST_REQUIRE=1) and not installed");
        if !found {
            // Not `eprintln`, which the test runner keeps to itself when a test passes.
            let _ = writeln!(
                io::stderr(),
                "skipped: the mover's rig, because {QEMU} is not installed (Debian package \
                 qemu-system-x86)"
            );
        }
        found
    })
}

/// Lets a machine with `memory` run to its end.
pub(crate) fn run(memory: &Memory) -> Outcome {
    Machine::start("pc", memory).finish()
}

/// A running machine.
pub(crate) struct Machine {
    qemu: Child,
    begin: Instant,
    dir: TempDir,
}

impl Machine {
    /// Starts the firmware on QEMU's `board` with `memory`.
    pub(crate) fn start(board: &str, memory: &Memory) -> Self {
        let dir = scratch();
        let file = |name| dir.path().join(name).display().to_string();
        memory.save(&dir.path().join("memory")).expect("scratch space for memory");
        let ram =
            format!("memory-backend-file,id=ram,size={SIZE},share=on,mem-path={}", file("memory"));
        let qemu = Command::new(QEMU)
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", &format!("{board},memory-backend=ram"), "-object", &ram])
            .args(["-m", &format!("{}M", SIZE >> 20)])
            .args(["-accel", "tcg,thread=single", "-cpu", "max"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args(["-serial", &format!("file:{}", file("serial0"))])
            .args(["-serial", &format!("file:{}", file("serial1"))])
            .args(["-monitor", "stdio", "-bios"])
            .arg(rom())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("QEMU starts");
        Self { qemu, begin: Instant::now(), dir }
    }

    /// The byte at `addr` now.
    pub(crate) fn peek(&self, addr: u64) -> u8 {
        Memory::peek(&self.path("memory"), addr).expect("QEMU keeps the file")
    }

    /// Gives QEMU's monitor a command. Fails if QEMU has ended.
    pub(crate) fn command(&mut self, line: &str) -> io::Result<()> {
        let monitor = self.qemu.stdin.as_mut().expect("piped");
        writeln!(monitor, "{line}")
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.qemu.try_wait().expect("QEMU is our child").is_none()
            && self.begin.elapsed() < DEADLINE
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Outcome {
        while self.runs() {
            thread::sleep(Duration::from_millis(2));
        }
        // Does nothing if QEMU has ended, as it should.
        self.qemu.kill().expect("QEMU is our child");
        let status = self.qemu.wait().expect("QEMU is our child");
        let serial = ["serial0", "serial1"]
            .map(|name| fs::read_to_string(self.path(name)).expect("QEMU made it"));
        let end = match status.code() {
            Some(0) => End::Reset,
            Some(NEXT_KERNEL_ENTERED) => End::Entered,
            Some(_) => panic!("QEMU failed: {status}"),
            None => panic!("the test machine hung; serial: {serial:?}"),
        };
        let memory = Memory::load(&self.path("memory")).expect("QEMU keeps the file");
        Outcome { end, serial, memory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Memory-backed where possible: the file is sparse, but written page by page.
fn scratch() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.expect("scratch directory")
}

/// Assembles `rom.s`, once: with rustc, as the mover is, so that no binutils are needed.
fn rom() -> &'static Path {
    static ROM: OnceLock<PathBuf> = OnceLock::new();
    ROM.get_or_init(|| {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (source, rom) = (dir.join("rom.rs"), dir.join("rom.bin"));
        let text = concat!(
            "#![no_std]\n#![no_main]\n",
            "core::arch::global_asm!(include_str!(\"",
            env!("CARGO_MANIFEST_DIR"),
            "/tests/rig/rom.s\"), options(att_syntax));\n",
            "#[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n",
        );
        fs::write(&source, text).expect("target directory is writable");
        let status = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition=2024", "--crate-type=bin", "--target=x86_64-unknown-linux-gnu"])
            .args(["-Cpanic=abort", "-Copt-level=2", "-Crelocation-model=static"])
            .args(["-Clinker=rust-lld", "-Clinker-flavor=ld.lld", "-Clink-arg=--oformat=binary"])
            .arg(concat!("-Clink-arg=-T", env!("CARGO_MANIFEST_DIR"), "/tests/rig/rom.ld"))
            .arg("-o")
            .args([&rom, &source])
            .status()
            .expect("rustc runs");
        assert!(status.success(), "rom.s does not assemble");
        assert_eq!(fs::metadata(&rom).unwrap().len(), 0x1_0000, "firmware is 64 KiB");
        rom
    })
}
