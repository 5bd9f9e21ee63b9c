//! A test machine: boots a stock kernel, does what it is told, and is looked at from outside.
//!
//! ```text
//!            ┌ agent ──── second serial port ──── programs, files, kexec
//! Vm ── QEMU ┼ console ── first serial port ───── a log, never parsed for results
//!            └ qmp ────── QEMU itself ─────────── physical memory, why it ended
//! ```

mod agent;
mod append;
mod disks;
mod files;
mod firmware;
mod frames;
mod kexec;
mod machine;
mod program;
mod qemu;
mod qmp;
mod systemd;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use guest::protocol::{Answer, Hello, Message, Request};
use serde_json::json;

use self::agent::{Agent, Silence};
use self::qemu::Qemu;
use self::qmp::Qmp;

pub use self::append::APPEND;
pub(crate) use self::disks::Disks;
pub(crate) use self::firmware::Firmware;
pub use self::kexec::Hop;
pub(crate) use self::machine::Machine;
pub use self::machine::{Builder, GUEST_INITRD};
pub use self::program::{Output, Program};

/// The agent itself answers at once; a slow machine gets this much.
const GRACE: Duration = Duration::from_secs(30);

/// A running machine; it ends with this value. Logs of a failed run stay, and errors say where.
pub struct Vm {
    qemu: Qemu,
    agent: Agent,
    qmp: Qmp,
    hello: Hello,
    listener: Box<dyn FnMut(&str) + Send>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("qemu", &self.qemu).field("hello", &self.hello).finish()
    }
}

impl Vm {
    pub(crate) fn boot(machine: &Machine, runs: &Path) -> Result<Self> {
        let deadline = Instant::now() + machine.limit;
        let mut qemu = Qemu::start(machine, runs)?;
        // Until the hello is heard, every way out is a failure.
        qemu.failed = true;
        let agent = Agent::start(qemu.connect("agent")?, &qemu.file("agent-noise.log"))?;
        let qmp = Qmp::start(qemu.connect("qmp")?, &qemu.file("qmp.log"))?;
        let hello = Hello {
            release: String::new(),
            boot_id: String::new(),
            cmdline: String::new(),
            uptime_ms: 0,
            troubles: Vec::new(),
        };
        let mut vm = Self { qemu, agent, qmp, hello, listener: Box::new(|_| {}) };
        vm.hello = vm.await_hello(deadline).context("the first boot")?;
        vm.qemu.failed = false;
        Ok(vm)
    }

    /// The kernel that runs, as it introduced itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Everything on the console so far; for people, not for results.
    #[must_use]
    pub fn serial_log(&self) -> String {
        self.qemu.console()
    }

    /// From now on `listener` hears every line that programs write to standard error.
    pub fn listen(&mut self, listener: impl FnMut(&str) + Send + 'static) {
        self.listener = Box::new(listener);
    }

    /// Reads physical memory from outside; the guest does not notice.
    ///
    /// # Errors
    /// QEMU does not answer or there is no memory at this address.
    pub fn read_physical(&mut self, address: u64, length: usize) -> Result<Vec<u8>> {
        let path = self.qemu.file("physical-memory");
        let arguments = json!({ "val": address, "size": length, "filename": path });
        let read = self
            .qmp
            .execute("pmemsave", &arguments)
            .and_then(|_| std::fs::read(&path).with_context(|| format!("read {}", path.display())));
        let data = self.noting(read)?;
        std::fs::remove_file(&path)?;
        if data.len() != length {
            bail!("{} of {length} bytes at {address:#x}", data.len());
        }
        Ok(data)
    }

    fn await_hello(&mut self, deadline: Instant) -> Result<Hello> {
        loop {
            match self.message(deadline).context("waiting for the agent's hello")? {
                Message::Hello(hello) => return Ok(hello),
                Message::Stderr { line, .. } => (self.listener)(&line),
                Message::Reply { .. } => {}
            }
        }
    }

    /// Sends a request and waits for its reply.
    fn ask(&mut self, request: Request, limit: Duration) -> Result<Answer> {
        let deadline = Instant::now() + limit + GRACE;
        let result = self.agent.send(request);
        let id = self.noting(result)?;
        loop {
            match self.message(deadline)? {
                Message::Reply { id: of, result } if of == id => {
                    return result.map_err(|error| anyhow!("the agent: {error}"));
                }
                Message::Stderr { id: of, line } if of == id => (self.listener)(&line),
                Message::Hello(hello) => {
                    let result = Err(anyhow!("{} came up unasked", hello.release));
                    return self.noting(result).with_context(|| self.qemu.epitaph());
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, deadline: Instant) -> Result<Message> {
        let why = match self.agent.next(deadline) {
            Ok(message) => return Ok(message),
            Err(Silence::Deadline) => {
                let kept = if self.keep_registers().is_ok() { "" } else { "; no registers" };
                format!("no answer from the guest in time{kept}")
            }
            Err(Silence::Closed) => match self.qmp.end() {
                Some(reason) => format!("the guest is gone ({reason})"),
                None => "QEMU is gone".to_owned(),
            },
        };
        self.qemu.failed = true;
        Err(anyhow!("{why}; {}", self.qemu.epitaph()))
    }

    /// Writes beside the logs where each processor is: in the mover, in the next kernel, nowhere.
    fn keep_registers(&mut self) -> Result<()> {
        let all = json!({ "command-line": "info registers -a" });
        let registers = self.qmp.execute("human-monitor-command", &all)?;
        let text = registers.as_str().context("registers are not text")?;
        Ok(std::fs::write(self.qemu.file("registers"), text)?)
    }

    /// Remembers a failure, so that the logs stay.
    fn noting<T>(&mut self, result: Result<T>) -> Result<T> {
        self.qemu.failed |= result.is_err();
        result
    }
}
