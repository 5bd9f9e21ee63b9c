//! Serves the agent protocol on the second serial port, one request after the other.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use guest::protocol::{Answer, Bytes, Hello, MAX_CHUNK, Message, Numbered, Request};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::boot::TROUBLES;
use crate::jobs::Jobs;

const PORT: &str = "/dev/ttyS1";

/// The sending side of the port; whole lines only, from any thread.
#[derive(Clone)]
pub(crate) struct Line(Arc<Mutex<File>>);

impl Line {
    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        let mut text = serde_json::to_vec(message)?;
        text.push(b'\n');
        let mut port = self.0.lock().map_err(|_| anyhow::anyhow!("a sender panicked"))?;
        port.write_all(&text).context("write to the agent port")
    }
}

/// Says hello, then answers requests until the machine ends.
pub(crate) fn serve() -> Result<()> {
    let mut port = open_raw()?;
    // Ends whatever half line the kernel before us left behind.
    port.write_all(b"\n")?;
    let line = Line(Arc::new(Mutex::new(port.try_clone()?)));
    line.send(&Message::Hello(hello()?))?;
    let mut jobs = Jobs::default();
    for text in BufReader::new(port).split(b'\n') {
        let text = text.context("read from the agent port")?;
        if let Ok(Numbered { id, request }) = serde_json::from_slice(&text) {
            let result = answer(&mut jobs, &line, id, request).map_err(|e| format!("{e:#}"));
            line.send(&Message::Reply { id, result })?;
        }
    }
    Ok(())
}

fn open_raw() -> Result<File> {
    let port = OpenOptions::new().read(true).write(true).open(PORT).context(PORT)?;
    let mut settings = tcgetattr(&port).context("read the port's settings")?;
    settings.make_raw();
    settings.set_speed(115_200)?;
    tcsetattr(&port, OptionalActions::Now, &settings).context("make the port raw")?;
    Ok(port)
}

fn hello() -> Result<Hello> {
    let line = |path| Ok::<_, anyhow::Error>(fs::read_to_string(path)?.trim().to_owned());
    let uptime = line("/proc/uptime")?;
    let seconds: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    Ok(Hello {
        release: line("/proc/sys/kernel/osrelease")?,
        boot_id: line("/proc/sys/kernel/random/boot_id")?,
        cmdline: line("/proc/cmdline")?,
        uptime_ms: u64::try_from(std::time::Duration::try_from_secs_f64(seconds)?.as_millis())?,
        // Where another program is PID 1 there is no such file.
        troubles: line(TROUBLES).unwrap_or_default().lines().map(str::to_owned).collect(),
    })
}

fn answer(jobs: &mut Jobs, line: &Line, id: u64, request: Request) -> Result<Answer> {
    match request {
        Request::Exec(exec) => crate::jobs::exec(&exec, line, id).map(Answer::Exit),
        Request::Spawn(spawn) => jobs.spawn(&spawn).map(Answer::Pid),
        Request::Kill { pid, signal } => jobs.kill(pid, signal).map(|()| Answer::Done),
        Request::Wait { pid, timeout_ms } => jobs.wait(pid, timeout_ms).map(Answer::Exit),
        Request::ReadFile { path, offset } => read_file(&path, offset).map(Answer::Data),
        Request::WriteFile { path, offset, data } => {
            write_file(&path, offset, &data.0).map(|()| Answer::Done)
        }
    }
}

fn read_file(path: &str, offset: u64) -> Result<Bytes> {
    let mut file = File::open(path).with_context(|| format!("open {path}"))?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    let mut data = Vec::new();
    file.take(u64::try_from(MAX_CHUNK)?)
        .read_to_end(&mut data)
        .with_context(|| format!("read {path}"))?;
    Ok(Bytes(data))
}

fn write_file(path: &str, offset: u64, data: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(offset == 0)
        .open(path)
        .with_context(|| format!("open {path}"))?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    file.write_all(data).with_context(|| format!("write {path}"))
}
