//! From one kernel to the next.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use guest::protocol::{Answer, Exec, Hello, Message, Request};

use super::Vm;

/// A kexec that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The kernel before.
    pub from: Hello,
    /// The kernel after.
    pub to: Hello,
    /// From the command's start to the next kernel's hello, on the host's clock.
    pub total: Duration,
    /// From the last sign of the old kernel (a line of the command, else its start) to the next
    /// kernel's hello, on the host's clock.
    pub silence: Duration,
}

impl Vm {
    /// Runs a command that ends in a kexec, or in a reset where the machine may, and waits for the
    /// next kernel's agent.
    ///
    /// # Errors
    /// The command fails or returns without a kexec, the machine resets or dies, or no agent
    /// answers within `limit`.
    pub fn kexec_into<I>(&mut self, argv: I, limit: Duration) -> Result<Hop>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        let words = argv.join(" ");
        let timeout_ms = u64::try_from(limit.as_millis())?;
        let request = Request::Exec(Exec { argv, timeout_ms, ..Exec::default() });
        let start = Instant::now();
        let sent = self.agent.send(request);
        let id = self.noting(sent)?;
        self.arrive(start, limit, &words, Some(id))
    }

    /// Waits for the next kernel's agent, where something else than a command of ours brings the
    /// kexec or reset about, or has brought it about since the machine was last asked anything.
    ///
    /// # Errors
    /// No agent answers within `limit`, or the machine dies.
    pub fn await_kernel(&mut self, limit: Duration) -> Result<Hop> {
        self.arrive(Instant::now(), limit, "waiting", None)
    }

    /// Waits for the next hello; `id` is the command's that is to bring it about.
    fn arrive(
        &mut self,
        start: Instant,
        limit: Duration,
        words: &str,
        id: Option<u64>,
    ) -> Result<Hop> {
        let mut last_sign = start;
        let hello = loop {
            let message = self.message(start + limit);
            match message.with_context(|| format!("after `{words}`"))? {
                Message::Hello(hello) => break hello,
                Message::Stderr { line, .. } => {
                    last_sign = Instant::now();
                    (self.listener)(&line);
                }
                // `kexec -e` through init scripts may end before the jump: that is no failure.
                Message::Reply { id: of, result } if Some(of) == id => {
                    refuse_failure(words, result)?;
                }
                Message::Reply { .. } => {}
            }
        };
        if hello.boot_id == self.hello.boot_id {
            let result = Err(anyhow!("the agent started again without a kexec after `{words}`"));
            return self.noting(result).with_context(|| self.qemu.epitaph());
        }
        let from = std::mem::replace(&mut self.hello, hello.clone());
        Ok(Hop { from, to: hello, total: start.elapsed(), silence: last_sign.elapsed() })
    }
}

/// Fails unless the command ended well; its last words are in the message.
fn refuse_failure(words: &str, result: Result<Answer, String>) -> Result<()> {
    match result {
        Ok(Answer::Exit(exit)) if exit.code == Some(0) => Ok(()),
        Ok(Answer::Exit(exit)) => {
            let said = String::from_utf8_lossy(&exit.stderr.0);
            Err(anyhow!("`{words}` ended with {:?}/{:?}: {said}", exit.code, exit.signal))
        }
        Ok(other) => Err(anyhow!("a strange answer to exec: {other:?}")),
        Err(error) => Err(anyhow!("`{words}`: {error}")),
    }
}
