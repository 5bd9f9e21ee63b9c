//! Running programs in a machine.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest::protocol::{Answer, Bytes, Exec, Exit, Request, Spawn};
use serde::de::DeserializeOwned;

use super::Vm;

/// Programs get this long unless told otherwise; TCG is slow.
const LIMIT: Duration = Duration::from_secs(120);

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Everything on standard output.
    pub stdout: Vec<u8>,
    /// Everything on standard error, as text.
    pub stderr: String,
}

impl Output {
    /// Standard output as text.
    ///
    /// # Errors
    /// It is no UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.stdout).context("standard output is no UTF-8")
    }

    /// Standard output as one JSON value.
    ///
    /// # Errors
    /// It is no such value; the message shows all that the program said.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.stdout).with_context(|| format!("not as expected: {self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "code {code}")?,
            (None, signal) => write!(f, "signal {signal:?}")?,
        }
        let out = String::from_utf8_lossy(&self.stdout);
        write!(f, "\nstderr: {}\nstdout: {out}", self.stderr)
    }
}

impl From<Exit> for Output {
    fn from(exit: Exit) -> Self {
        Self {
            code: exit.code,
            signal: exit.signal,
            stdout: exit.stdout.0,
            stderr: String::from_utf8_lossy(&exit.stderr.0).into_owned(),
        }
    }
}

/// A program about to run; see [`Vm::program`].
#[derive(Debug)]
#[must_use]
pub struct Program<'a> {
    vm: &'a mut Vm,
    exec: Exec,
    limit: Duration,
}

impl Program<'_> {
    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.exec.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets its working directory; `/` unless told.
    pub fn cwd(mut self, folder: &str) -> Self {
        self.exec.cwd = Some(folder.to_owned());
        self
    }

    /// Gives it standard input; empty unless told.
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.exec.stdin = Bytes(input.into());
        self
    }

    /// How long it may run; two minutes unless told.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end, good or bad.
    ///
    /// # Errors
    /// It cannot be started, runs too long, or the machine dies.
    pub fn exec(mut self) -> Result<Output> {
        self.exec.timeout_ms = u64::try_from(self.limit.as_millis())?;
        let words = self.exec.argv.join(" ");
        let answer = self
            .vm
            .ask(Request::Exec(self.exec), self.limit)
            .with_context(|| format!("run `{words}` in the guest"))?;
        match answer {
            Answer::Exit(exit) => Ok(exit.into()),
            other => bail!("a strange answer to exec: {other:?}"),
        }
    }

    /// Runs it, expects success, and returns its standard output.
    ///
    /// # Errors
    /// As [`exec`](Self::exec), or it fails; the message carries what it said.
    pub fn run(self) -> Result<String> {
        let words = self.exec.argv.join(" ");
        let output = self.exec()?;
        if output.code != Some(0) {
            bail!("`{words}` in the guest ended with {output}");
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{words}` printed no UTF-8"))
    }
}

impl Vm {
    /// Begins a run of a program; the first word is looked up in the guest's `PATH`.
    pub fn program<I>(&mut self, argv: I) -> Program<'_>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let argv = argv.into_iter().map(Into::into).collect();
        Program { vm: self, exec: Exec { argv, ..Exec::default() }, limit: LIMIT }
    }

    /// Runs a program to its end, good or bad.
    ///
    /// # Errors
    /// As [`Program::exec`].
    pub fn exec<I>(&mut self, argv: I) -> Result<Output>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.program(argv).exec()
    }

    /// Runs a program, expects success, and returns its standard output.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run<I>(&mut self, argv: I) -> Result<String>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.program(argv).run()
    }

    /// Runs a shell script that stops at the first failure, expects success, and returns its
    /// standard output.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn sh(&mut self, script: &str) -> Result<String> {
        self.run(["sh", "-euc", script])
    }

    /// Starts a program and leaves it running; its output goes to the file `log` in the guest.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn<I>(&mut self, argv: I, log: &str) -> Result<u32>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let argv = argv.into_iter().map(Into::into).collect();
        match self.ask(Request::Spawn(Spawn { argv, log: Some(log.to_owned()) }), LIMIT)? {
            Answer::Pid(pid) => Ok(pid),
            other => bail!("a strange answer to spawn: {other:?}"),
        }
    }

    /// Sends a signal to a spawned program.
    ///
    /// # Errors
    /// It is not one of ours or has ended.
    pub fn kill(&mut self, pid: u32, signal: i32) -> Result<()> {
        self.ask(Request::Kill { pid, signal }, Duration::ZERO).map(drop)
    }

    /// Waits for a spawned program to end.
    ///
    /// # Errors
    /// It is not one of ours, or does not end in time.
    pub fn wait(&mut self, pid: u32, limit: Duration) -> Result<Output> {
        let timeout_ms = u64::try_from(limit.as_millis())?;
        match self.ask(Request::Wait { pid, timeout_ms }, limit)? {
            Answer::Exit(exit) => Ok(exit.into()),
            other => bail!("a strange answer to wait: {other:?}"),
        }
    }
}
