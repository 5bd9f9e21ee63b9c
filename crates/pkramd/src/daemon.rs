//! The daemon: holds what is to be kept, and does what its parts ask.

use crate::control::{self, Ask, Reply, Verb};
use crate::handed;
use crate::journal::Event;
use crate::stage::{Staged, load_next};
use anyhow::{Context as _, bail};
use config::{Config, Reboot};
use kexec::placeholder;
use pkram::holder::Seat;
use pkram::region::discover;
use pkramd::store::{self, Pid1, Proxy, Server, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What the daemon is made of.
#[derive(Debug)]
struct Daemon {
    config: Config,
    stand: Stand,
    store: Store,
    pid1: Option<Pid1>,
}

/// How far the way down is.
#[derive(Debug, Default)]
enum Stand {
    #[default]
    Idle,
    Staged(Staged),
    Failed(String),
}

/// Runs until it is told to end.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let listener = control::listen().context("listen for orders")?;
    let end = signals(&[SIGTERM, SIGINT])?;
    let reload = signals(&[SIGHUP])?;
    // Run from a descriptor, a process is called by its number.
    let _ = rustix::thread::set_name(c"pkramd");
    let (store, pid1) = handed::take_in(&config);
    let proxy = Proxy::new(Path::new(Proxy::SYSTEMD));
    let proxy = proxy.map_err(|error| Event::Handover.tell(&error.to_string())).ok();
    let server =
        Server::bind(Path::new(fdstore::NOTIFY_SOCKET), Path::new(fdstore::STORE_SOCKET), proxy);
    let mut server = server.context("listen for services")?;
    let mut daemon = Daemon { config, stand: Stand::Idle, store, pid1 };
    daemon.settle_idle();
    // Without systemd nobody listens.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        let orders = [&listener as &dyn AsFd, &end, &reload];
        let orders = orders.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
        let mut ready: Vec<_> = orders.into_iter().chain(server.awaited()).collect();
        let patience = server.patience().map(Timespec::try_from).transpose().context("a time")?;
        match poll(&mut ready, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let is_ready = |i: usize| ready.get(i).is_some_and(|fd| !fd.revents().is_empty());
        let [asked, ended, reloaded] = [0, 1, 2].map(is_ready);
        if ended {
            return daemon.end();
        }
        if reloaded {
            drain(&reload);
            // The journal has what is wrong.
            let _ = daemon.reload();
        }
        // What was stored before a shutdown is asked about is part of it.
        for event in server.turn(&mut daemon.store, daemon.pid1.as_mut()) {
            match event {
                store::Event::Stored { .. } | store::Event::Removed { .. } => {
                    Event::Stored.tell(&event.to_string());
                }
                _ => Event::Handover.tell(&event.to_string()),
            }
        }
        if asked {
            daemon.serve(&listener);
        }
    }
}

impl Daemon {
    /// Settles, unless the way down has begun.
    fn settle_idle(&self) {
        if matches!(self.stand, Stand::Idle)
            && let Err(error) = self.settle()
        {
            Event::NoPlaceholder.tell(&format!("`systemctl kexec` cannot begin: {error:#}"));
        }
    }

    /// Loads what lets `systemctl kexec` begin, or sees that nothing is loaded, which would make
    /// systemd turn reboots into it. What a daemon before this one may have left goes: nobody holds
    /// its pages.
    fn settle(&self) -> anyhow::Result<()> {
        let something_to_keep = || {
            let Config { sources, handovers, .. } = &self.config;
            let region = || discover().is_ok_and(|found| !found.regions.is_empty());
            !sources.is_empty() || !handovers.is_empty() || region()
        };
        match self.config.shutdown.reboot {
            Reboot::Kexec => self.begin(),
            Reboot::Auto if something_to_keep() => self.begin(),
            Reboot::Auto | Reboot::Firmware => match Seat::take() {
                Ok(_seat) => unload_ours(),
                Err(_by_hand) => Ok(()),
            },
        }
    }

    /// Loads what lets `systemctl kexec` begin.
    fn begin(&self) -> anyhow::Result<()> {
        // What was loaded by hand stays.
        let Ok(_seat) = Seat::take() else { return Ok(()) };
        File::create(LOADED).context(LOADED)?;
        // Where only signed kernels may be loaded it is the next kernel itself, as large as that is.
        placeholder::load().or_else(|_| load_next(&self.config))
    }

    fn serve(&mut self, listener: &UnixListener) {
        let Ok((client, _)) = listener.accept() else { return };
        let Ok(ask) = control::read(&client) else { return };
        let answer = match ask {
            Ask::Stage(verb) | Ask::Jump(verb) if !self.is_ours(verb) => Reply::NotOurs,
            Ask::Stage(_) => self.stage(),
            Ask::Jump(_) => self.jump(),
            Ask::Begin => done(self.begin()),
            Ask::Settle => done(self.settle()),
            Ask::Reload => done(self.reload()),
        };
        control::reply(&client, &answer);
    }

    fn is_ours(&self, verb: Verb) -> bool {
        verb == Verb::Kexec || self.config.shutdown.reboot == Reboot::Kexec
    }

    fn stage(&mut self) -> Reply {
        self.stand = Stand::Idle;
        if let Err(error) = File::create(LOADED) {
            Event::Note.tell(&format!("{LOADED}: {error}"));
        }
        let staged = Seat::take()
            .map_err(anyhow::Error::from)
            .and_then(|seat| Staged::stage(seat, &self.config, &self.store));
        match staged {
            Ok(staged) => {
                self.stand = Stand::Staged(staged);
                Reply::Done
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Jumps; where nobody has asked to stage before, as in a shutdown without the unit that does,
    /// that is done first.
    fn jump(&mut self) -> Reply {
        if matches!(self.stand, Stand::Idle)
            && let failed @ Reply::Failed(_) = self.stage()
        {
            return failed;
        }
        match std::mem::take(&mut self.stand) {
            Stand::Staged(staged) => {
                let error = staged.jump();
                self.fail(&error)
            }
            Stand::Failed(why) => Reply::Failed(why),
            Stand::Idle => Reply::NotOurs,
        }
    }

    fn fail(&mut self, error: &anyhow::Error) -> Reply {
        let why = format!("{error:#}");
        self.stand = Stand::Failed(why.clone());
        Reply::Failed(why)
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        match Config::read(Path::new("/")) {
            Ok(config) => {
                self.store.set_rules(handed::rules(&config));
                self.config = config;
                self.settle_idle();
                Ok(())
            }
            Err(rejected) => {
                let errors: Vec<_> = rejected.errors.iter().map(ToString::to_string).collect();
                for error in &errors {
                    let text = format!("{error}; the configuration stays as it was");
                    Event::Configuration.tell(&text);
                }
                bail!("{}; the configuration stays as it was", errors.join("; "))
            }
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.stand = Stand::Idle;
        unload_ours()
    }
}

/// There where what is loaded is of a daemon, this one or one before it.
const LOADED: &str = "/run/pkram/loaded";

/// Unloads what a daemon has loaded. Another program's stays.
fn unload_ours() -> anyhow::Result<()> {
    match fs::remove_file(LOADED) {
        Ok(()) => pkram::unload().context("unload"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).context(LOADED),
    }
}

fn done(result: anyhow::Result<()>) -> Reply {
    result.map_or_else(|error| Reply::Failed(format!("{error:#}")), |()| Reply::Done)
}

/// Becomes readable when one of these signals comes.
fn signals(which: &[i32]) -> anyhow::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for &signal in which {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    reader.set_nonblocking(true)?;
    Ok(reader)
}

fn drain(mut pipe: &UnixStream) {
    let mut bytes = [0; 64];
    while pipe.read(&mut bytes).is_ok_and(|n| n > 0) {}
}
