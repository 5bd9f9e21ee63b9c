//! The parts of a shutdown: `stage` while disks and journal are there, `jump` at its very end.
//!
//! ```text
//! systemctl kexec ─► services stop ─► pkramd stage ─► killing spree, umount ─► pkramd jump kexec
//!                                     last census,     spares the daemon        last look, jump
//!                                     load
//! ```
//!
//! Whatever fails takes back what is loaded, so that systemd's own `kexec -e` finds nothing and
//! reboots the ordinary way (systemd: `src/shutdown/shutdown.c`). A daemon that dies over the stage has a
//! successor, which is asked once more; a stage that is late has failed, whatever the daemon does after
//! that.

use crate::attempt::Attempt;
use crate::control::{Ask, Reply, Verb, ask, kill_daemon};
use crate::journal::{Event, kernel_log};
use crate::late;
use anyhow::{Context as _, bail};
use config::Config;
use libsystemd::logging::Priority;
use pkram::holder;
use std::fs;
use std::io;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// There where the stage failed, with why: nothing jumps then.
const FAILED: &str = "/run/pkram/failed";

/// How long systemd may take to start a daemon anew: it begins after 100 ms (`systemd.service(5)`,
/// RestartSec=).
const SUCCESSION: Duration = Duration::from_secs(10);

/// Between two looks whether it has.
const SHORT: Duration = Duration::from_millis(100);

/// Asks the daemon to make everything ready, if this shutdown is to end in a kexec.
pub(crate) fn stage(config: &Config) -> anyhow::Result<ExitCode> {
    let Some(verb) = shutdown_verb()? else { return Ok(ExitCode::SUCCESS) };
    if is_by_hand(verb) {
        Event::Note
            .tell("what `pkram kexec --load-only` has loaded goes, and nothing else is kept");
        return Ok(ExitCode::SUCCESS);
    }
    let _ = fs::remove_file(FAILED);
    let why = match ask_or_successor(Ask::Stage(verb), config.shutdown.deadline) {
        Ok(Reply::Done) => {
            Event::Staged.tell("memory is ready to be kept");
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Reply::NotOurs) => return Ok(ExitCode::SUCCESS),
        Ok(Reply::Failed(why)) => why,
        Err(error) => format!("pkramd does not answer: {error}"),
    };
    Event::StageFailed.tell(&format!("no memory is kept, the machine reboots: {why}"));
    if let Err(error) = fs::write(FAILED, &why) {
        Event::Note.tell(&format!("{FAILED}: {error}"));
    }
    if let Err(error) = Attempt::fail(&why) {
        Event::Note.tell(&format!("the next boot will not say why: {error}"));
    }
    Ok(ExitCode::FAILURE)
}

/// Jumps, as a hook of systemd-shutdown. Returns where that is not to be or cannot be.
pub(crate) fn jump(config: &Config, verb: &str) -> anyhow::Result<()> {
    let verb = match verb {
        "kexec" => Verb::Kexec,
        "reboot" => Verb::Reboot,
        _ => return Ok(()),
    };
    if is_by_hand(verb) {
        bail!("the jump by hand failed: {:?}", holder::ask(holder::Ask::Exec)?);
    }
    let why = match fs::read_to_string(FAILED) {
        Ok(why) => why,
        Err(_none) => match ask(Ask::Jump(verb), config.shutdown.deadline) {
            Ok(Reply::NotOurs) => return Ok(()),
            Ok(Reply::Failed(why)) => why,
            Ok(Reply::Done) => "pkramd made no sense".to_owned(),
            Err(error) => format!("pkramd does not answer: {error}"),
        },
    };
    take_back();
    kmsg(&format!("no memory is kept, rebooting: {why}"));
    if let Err(error) = late::note_failure(&why) {
        kmsg(&format!("the next boot will not say why: {error:#}"));
    }
    bail!(why)
}

/// Whether `pkram kexec --load-only` has loaded something: that was said by hand, and goes first.
fn is_by_hand(verb: Verb) -> bool {
    verb == Verb::Kexec && holder::ask(holder::Ask::Status).is_ok()
}

/// Asks the daemon. Where it dies over it systemd starts another, which has what services handed over and
/// sees everything else, as nothing is unmounted yet: that one is asked then.
fn ask_or_successor(what: Ask, deadline: Duration) -> io::Result<Reply> {
    let end = Instant::now() + deadline;
    let mut answer = ask(what, deadline);
    let patience = end.min(Instant::now() + SUCCESSION);
    // One that is dying may still seem to listen.
    while matches!(&answer, Err(error) if error.kind() != io::ErrorKind::TimedOut)
        && Instant::now() < patience
    {
        sleep(SHORT);
        answer = ask(what, end.saturating_duration_since(Instant::now()).max(SHORT));
    }
    answer
}

/// Unloads; what is loaded would jump into pages that are no longer held. A daemon that is late must
/// not load anything after that.
fn take_back() {
    if let Err(error) = kill_daemon() {
        kmsg(&format!("cannot end pkramd: {error}"));
    }
    if let Err(error) = pkram::unload() {
        kmsg(&format!("cannot unload: {error}"));
    }
}

/// By then the journal is gone.
fn kmsg(text: &str) {
    kernel_log(Priority::Error, text);
}

/// How the shutdown that goes on will end; `None` where it is none, or ends in darkness.
fn shutdown_verb() -> anyhow::Result<Option<Verb>> {
    let jobs = ["list-jobs", "--plain", "--no-legend", "--no-pager"];
    let output = Command::new("systemctl").args(jobs).output().context("start systemctl")?;
    Ok(verb_of(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines are `JOB UNIT TYPE STATE`.
fn verb_of(jobs: &str) -> Option<Verb> {
    jobs.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        match (words.next()?, words.next()?) {
            ("kexec.target", "start") => Some(Verb::Kexec),
            ("reboot.target", "start") => Some(Verb::Reboot),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_tell_how_the_shutdown_ends() {
        // As `systemctl list-jobs --plain --no-legend` prints them.
        let kexec = " 512 cron.service                stop  running\n\
                     \x20511 kexec.target                start waiting\n\
                     \x20514 systemd-kexec.service       start waiting\n";
        assert_eq!(verb_of(kexec), Some(Verb::Kexec));
        assert_eq!(verb_of(&kexec.replace("kexec.target", "reboot.target")), Some(Verb::Reboot));
        assert_eq!(verb_of("512 poweroff.target start waiting\n"), None);
        assert_eq!(verb_of("512 kexec.target stop waiting\n\ngarbage"), None);
    }
}
