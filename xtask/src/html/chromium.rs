//! Headless Chromium, spoken to over two pipes: the DevTools protocol, one JSON object to a zero
//! byte.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Chromium may take this long to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its pipes are the descriptors 3 and 4; the shell puts ours there.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
    --no-first-run --disable-background-networking --remote-debugging-pipe \
    --user-data-dir=\"$1\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";

/// A browser that ends with this.
pub(super) struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    profile: std::path::PathBuf,
    last: u64,
}

/// One page of it.
pub(super) struct Tab<'a> {
    browser: &'a mut Chromium,
    session: String,
    events: Vec<Value>,
}

impl Chromium {
    /// Starts it; installs it first where it is missing (Debian, root).
    pub(super) fn start() -> Result<Self> {
        if !Path::new("/usr/bin/chromium").exists() {
            install()?;
        }
        let profile = std::env::temp_dir().join(format!("pkram-html-{}", std::process::id()));
        let mut child = Command::new("sh")
            .args(["-c", START, "chromium"])
            .arg(&profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start chromium")?;
        let to = child.stdin.take().context("no pipe to chromium")?;
        let from = listen(child.stdout.take().context("no pipe from chromium")?);
        Ok(Self { child, to, from, profile, last: 0 })
    }

    /// A new page.
    pub(super) fn tab(&mut self) -> Result<Tab<'_>> {
        let mut tab = Tab { browser: self, session: String::new(), events: Vec::new() };
        let target = tab.ask("Target.createTarget", json!({ "url": "about:blank" }))?;
        let to = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = tab.ask("Target.attachToTarget", to)?;
        attached["sessionId"].as_str().context("no session")?.clone_into(&mut tab.session);
        tab.events.clear();
        Ok(tab)
    }
}

impl Tab<'_> {
    /// Sends a command and waits for its answer; events in between are kept.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Result<Value> {
        self.browser.last += 1;
        let id = self.browser.last;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        self.browser.to.write_all(format!("{command}\0").as_bytes())?;
        self.browser.to.flush()?;
        let answer = self.until(method, |said| said["id"] == id)?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].clone())
    }

    /// Waits for an event.
    pub(super) fn wait_for(&mut self, event: &str) -> Result<()> {
        if self.events.iter().all(|e| e["method"] != event) {
            let found = self.until(event, |said| said["method"] == event)?;
            self.events.push(found);
        }
        Ok(())
    }

    fn until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(said) = self.browser.from.recv_timeout(left) else {
                bail!("chromium does not answer: {what}");
            };
            if is_it(&said) {
                return Ok(said);
            }
            self.events.push(said);
        }
    }

    /// Everything that happened meanwhile.
    pub(super) fn events(&self) -> &[Value] {
        &self.events
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Left behind it is only rubbish in /tmp.
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn listen(from: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for message in BufReader::new(from).split(0).map_while(Result::ok) {
            let Ok(value) = serde_json::from_slice(&message) else { continue };
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}

fn install() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists(),
        "chromium is missing; install it with: apt-get install chromium fonts-dejavu-core"
    );
    eprintln!("installing chromium");
    let packages = ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"];
    for words in [&["update"][..], &packages] {
        let status = Command::new("apt-get")
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "apt-get {}: {status}", words.join(" "));
    }
    Ok(())
}
