//! The daemon: holds what is to be kept, and does what its parts ask.

use crate::control::{self, Ask, Reply, Verb};
use crate::down::mark_staged;
use crate::journal::Event;
use crate::stage::{Staged, load_file, next_kernel};
use anyhow::Context as _;
use config::{Config, Reboot};
use kexec::placeholder;
use pkram::holder::Seat;
use rustix::event::{PollFd, PollFlags, poll};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Read as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What the daemon is made of.
#[derive(Debug)]
struct Daemon {
    config: Config,
    staged: Option<Staged>,
}

/// Runs until it is told to end.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let listener = control::listen().context("listen for orders")?;
    let end = signals(&[SIGTERM, SIGINT])?;
    let reload = signals(&[SIGHUP])?;
    // Run from a descriptor, a process is called by its number.
    let _ = rustix::thread::set_name(c"pkramd");
    let mut daemon = Daemon { config, staged: None };
    daemon.settle();
    // Without systemd nobody listens.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        let mut ready = [&listener as &dyn std::os::fd::AsFd]
            .into_iter()
            .chain([&end as &dyn std::os::fd::AsFd, &reload])
            .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
            .collect::<Vec<_>>();
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let [asked, ended, reloaded] =
            [0, 1, 2].map(|i| ready.get(i).is_some_and(|fd| !fd.revents().is_empty()));
        if ended {
            return daemon.end();
        }
        if reloaded {
            drain(&reload);
            daemon.reload();
        }
        if asked {
            daemon.serve(&listener);
        }
    }
}

impl Daemon {
    /// Loads what lets `systemctl kexec` begin.
    fn settle(&self) {
        // A daemon before this one may have died with a kernel loaded that needs its pages.
        let _ = mark_staged(false);
        // Where only signed kernels may be loaded it is the next kernel itself, as large as that is.
        let loaded = placeholder::load().or_else(|_| load_file(&next_kernel(&self.config)?));
        if let Err(error) = loaded {
            Event::NoPlaceholder.tell(&format!("`systemctl kexec` cannot begin: {error:#}"));
        }
    }

    fn serve(&mut self, listener: &UnixListener) {
        let Ok((client, _)) = listener.accept() else { return };
        let Ok(ask) = control::read(&client) else { return };
        let answer = match ask {
            Ask::Stage(verb) => self.stage(verb),
            Ask::Jump(verb) => self.jump(verb),
        };
        control::reply(&client, &answer);
    }

    fn is_ours(&self, verb: Verb) -> bool {
        verb == Verb::Kexec || self.config.shutdown.reboot == Reboot::Kexec
    }

    fn stage(&mut self, verb: Verb) -> Reply {
        if !self.is_ours(verb) {
            return Reply::NotOurs;
        }
        self.staged = None;
        // Who loaded something by hand has it, and jumps by hand.
        let seat = match Seat::take() {
            Ok(seat) => seat,
            Err(error) => return Reply::Failed(error.to_string()),
        };
        match Staged::stage(seat, &self.config) {
            Ok(staged) => {
                self.staged = Some(staged);
                match mark_staged(true) {
                    Ok(()) => Reply::Done,
                    Err(error) => self.give_up(&error.into()),
                }
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn jump(&mut self, verb: Verb) -> Reply {
        if !self.is_ours(verb) {
            return Reply::NotOurs;
        }
        if self.staged.is_none()
            && let failed @ Reply::Failed(_) = self.stage(verb)
        {
            return failed;
        }
        match self.staged.take() {
            Some(staged) => {
                let error = staged.jump();
                self.give_up(&error)
            }
            None => Reply::NotOurs,
        }
    }

    /// Takes everything back: a reboot is to be an ordinary one.
    fn give_up(&mut self, error: &anyhow::Error) -> Reply {
        self.staged = None;
        let _ = mark_staged(false);
        if let Err(error) = pkram::unload() {
            Event::Note.tell(&format!("cannot unload: {error}"));
        }
        Reply::Failed(format!("{error:#}"))
    }

    fn reload(&mut self) {
        match Config::read(Path::new("/")) {
            Ok(config) => self.config = config,
            Err(rejected) => rejected.errors.iter().for_each(|error| {
                Event::Configuration.tell(&format!("{error}; the configuration stays as it was"));
            }),
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.staged = None;
        let _ = mark_staged(false);
        pkram::unload().context("unload")
    }
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
