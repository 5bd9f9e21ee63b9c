//! The QEMU inside the test machine: its command line, and its commands.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::{Kernel, Vm};

use super::beats::{self, Beat};
use crate::guest::LIMIT;

/// The guest's memory, MiB: a whole number of huge pages.
pub(super) const MEMORY_MIB: u64 = 256;

/// Where QEMU's socket, its log and the guest's serial port are.
pub(super) const DIR: &str = "/run/vm";
const SOCKET: &str = "/run/vm/qmp";
const LOG: &str = "/run/vm/log";
const SERIAL: &str = "/run/vm/serial";

/// What follows `--` is for the guest program, which is PID 1.
const APPEND: &str = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable -- inner";

const POLL: Duration = Duration::from_millis(300);

/// How QEMU comes to the guest's memory.
#[derive(Clone, Copy)]
pub(super) enum Memory<'a> {
    /// In a new file with every page in it: a hole would have no place in the region.
    New(&'a str),
    /// In a file that is there, its device state to come.
    InPlace(&'a str),
}

/// Starts QEMU.
pub(super) fn start(vm: &mut Vm, kernel: &Kernel, memory: Memory<'_>) -> Result<u32> {
    let (path, how, last) = match memory {
        Memory::New(path) => (path, "prealloc=on", None),
        Memory::InPlace(path) => (path, "prealloc=off", Some(["-incoming", "defer"])),
    };
    let size = format!("{MEMORY_MIB}M");
    let backend = format!(
        // Aligned so that DAX maps huge pages; hugetlbfs does so by itself.
        "memory-backend-file,id=ram,size={size},mem-path={path},share=on,align=2M,{how}"
    );
    let image = kernel.guest_image();
    let serial = format!("file:{SERIAL}");
    let socket = format!("unix:{SOCKET},server=on,wait=off");
    let words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
        .into_iter()
        // A machine and a processor that mean the same wherever they run.
        .chain(["-machine", "pc-q35-7.2,memory-backend=ram", "-cpu", "qemu64"])
        .chain(["-accel", "kvm", "-accel", "tcg", "-m", &size, "-object", &backend])
        .chain(["-kernel", &image, "-initrd", "/boot/inner.img", "-append", APPEND])
        .chain(["-serial", &serial, "-qmp", &socket])
        .chain(last.into_iter().flatten());
    vm.spawn(words, LOG)
}

/// Gives QEMU a command.
pub(super) fn command<T: DeserializeOwned>(
    vm: &mut Vm,
    name: &str,
    arguments: &Value,
) -> Result<T> {
    let said = vm.run(["guest", "qmp", SOCKET, name, &arguments.to_string()]);
    serde_json::from_str(&explained(vm, said)?).with_context(|| format!("the answer to {name}"))
}

/// Lets QEMU migrate without the memory that is a shared file. For both sides.
pub(super) fn ignore_shared(vm: &mut Vm) -> Result<()> {
    let capability = json!({ "capability": "x-ignore-shared", "state": true });
    let arguments = json!({ "capabilities": [capability] });
    command::<Value>(vm, "migrate-set-capabilities", &arguments).map(drop)
}

/// Migrates out (`migrate`) or in (`migrate-incoming`), to the end.
pub(super) fn migrate(vm: &mut Vm, name: &str, uri: &str) -> Result<()> {
    let arguments = json!({ "uri": uri }).to_string();
    let said = vm.run(["guest", "qmp", SOCKET, name, &arguments, "--migrated"]);
    explained(vm, said).map(drop)
}

/// Ends QEMU and waits for that.
pub(super) fn quit(vm: &mut Vm, pid: u32) -> Result<()> {
    command::<Value>(vm, "quit", &json!({}))?;
    let output = vm.wait(pid, LIMIT)?;
    ensure!(output.code == Some(0), "QEMU ended with {:?}", output.code);
    Ok(())
}

/// Everything that the guest said on its serial port since QEMU started.
pub(super) fn serial(vm: &mut Vm) -> Result<String> {
    Ok(String::from_utf8_lossy(&vm.read_file(SERIAL)?).into_owned())
}

/// Waits for a line that satisfies; `before` is what an earlier QEMU heard.
pub(super) fn await_beat(vm: &mut Vm, before: &str, enough: impl Fn(&Beat) -> bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let said = before.to_owned() + &serial(vm).unwrap_or_default();
        if beats::of(&said).last().is_some_and(&enough) {
            return Ok(());
        }
        let late = (Instant::now() > deadline).then(|| said.lines().rev().take(5).collect());
        if let Some(last) = late {
            let last: Vec<_> = last;
            return explained(vm, Err(anyhow::anyhow!("no such line in time; the last: {last:?}")));
        }
        std::thread::sleep(POLL);
    }
}

/// Adds what QEMU itself said to an error.
fn explained<T>(vm: &mut Vm, result: Result<T>) -> Result<T> {
    result.with_context(|| {
        let log = vm.read_file(LOG).unwrap_or_default();
        format!("QEMU said: {}", String::from_utf8_lossy(&log))
    })
}
