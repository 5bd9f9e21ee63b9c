//! Programs that the agent runs: to their end, or in the background.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use guest::protocol::{Bytes, Exec, Exit, MAX_OUTPUT, Message, Spawn};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::agent::Line;

const POLL: Duration = Duration::from_millis(5);

/// Runs a program to its end, passing its standard error on line by line as it comes.
pub(crate) fn exec(exec: &Exec, line: &Line, id: u64) -> Result<Exit> {
    let mut child = command(&exec.argv)?
        .envs(exec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(exec.cwd.as_deref().unwrap_or("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {}", exec.argv[0]))?;
    let stdin = child.stdin.take().context("no stdin")?;
    let stdout = child.stdout.take().context("no stdout")?;
    let stderr = child.stderr.take().context("no stderr")?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stdin = stdin;
            // A program may well end before it has read everything.
            let _ = stdin.write_all(&exec.stdin.0);
        });
        let stdout = scope.spawn(|| read_bounded(stdout));
        let stderr = scope.spawn(|| pass_on(stderr, line, id));
        let status = wait_until(&mut child, exec.timeout_ms);
        if status.is_err() {
            // The whole group: a shell's children hold the pipes open.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
        let stdout = stdout.join().map_err(|_| anyhow!("the stdout reader panicked"))??;
        let stderr = stderr.join().map_err(|_| anyhow!("the stderr reader panicked"))??;
        let status = status.with_context(|| {
            let said = String::from_utf8_lossy(&stderr);
            format!("{} was killed; its last words: {said}", exec.argv[0])
        })?;
        Ok(Exit { stdout: Bytes(stdout), stderr: Bytes(stderr), ..exit(status) })
    })
}

fn command(argv: &[String]) -> Result<Command> {
    let (program, arguments) = argv.split_first().context("an empty argv")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

fn read_bounded(pipe: impl Read) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    pipe.take(u64::try_from(MAX_OUTPUT)? + 1).read_to_end(&mut data)?;
    if data.len() > MAX_OUTPUT {
        bail!("more than {MAX_OUTPUT} bytes of output: write it to a file instead");
    }
    Ok(data)
}

fn pass_on(pipe: impl Read, line: &Line, id: u64) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut pipe = BufReader::new(pipe);
    loop {
        let start = said.len();
        if said.len() > MAX_OUTPUT || pipe.read_until(b'\n', &mut said)? == 0 {
            return Ok(said);
        }
        let text = String::from_utf8_lossy(&said[start..]).trim_end().to_owned();
        line.send(&Message::Stderr { id, line: text })?;
    }
}

fn wait_until(child: &mut Child, timeout_ms: u64) -> Result<ExitStatus> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            bail!("still running after {timeout_ms} ms");
        }
        sleep(POLL);
    }
}

fn exit(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: status.signal(), ..Exit::default() }
}

/// The programs that were left running.
#[derive(Default)]
pub(crate) struct Jobs(HashMap<u32, Child>);

impl Jobs {
    pub(crate) fn spawn(&mut self, spawn: &Spawn) -> Result<u32> {
        let mut command = command(&spawn.argv)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(path) = &spawn.log {
            let log = File::create(path).with_context(|| format!("create {path}"))?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        let child = command.spawn().with_context(|| format!("start {}", spawn.argv[0]))?;
        let pid = child.id();
        self.0.insert(pid, child);
        Ok(pid)
    }

    pub(crate) fn kill(&self, pid: u32, signal: i32) -> Result<()> {
        let child = self.0.get(&pid).with_context(|| format!("process {pid} is not ours"))?;
        let signal = Signal::from_named_raw(signal)
            .with_context(|| format!("no signal has the number {signal}"))?;
        kill_process(Pid::from_child(child), signal).with_context(|| format!("signal {pid}"))
    }

    pub(crate) fn wait(&mut self, pid: u32, timeout_ms: u64) -> Result<Exit> {
        let child = self.0.get_mut(&pid).with_context(|| format!("process {pid} is not ours"))?;
        let status = wait_until(child, timeout_ms).with_context(|| format!("process {pid}"))?;
        self.0.remove(&pid);
        Ok(exit(status))
    }
}
