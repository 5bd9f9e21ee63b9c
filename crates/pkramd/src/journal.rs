//! What the daemon and its parts tell, with stable message IDs.
//!
//! `journalctl MESSAGE_ID=…` finds every occurrence, and `journalctl -x` explains it, by
//! `pkram.catalog`. Without the journal it goes to standard error.

use libsystemd::logging::{Priority, connected_to_journal, journal_send};
use std::fs::File;
use std::io::{self, Write as _};

/// What is told. The IDs never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Everything is ready for the jump.
    Staged,
    /// Nothing is ready, and the machine will reboot the ordinary way.
    StageFailed,
    /// The shutdown before this boot kept no memory.
    JumpFailed,
    /// A source is not part of what is kept.
    SourceLeftOut,
    /// A source is in place again.
    InPlace,
    /// A source was copied back.
    Copied,
    /// A source was to come and did not.
    Missing,
    /// A region is here that cannot be used.
    RegionLeft,
    /// Something in the configuration is wrong.
    Configuration,
    /// Something else is worth knowing.
    Note,
    /// `systemctl kexec` cannot begin.
    NoPlaceholder,
    /// What services handed over has arrived.
    Arrived,
    /// A service handed something over, or took it back.
    Stored,
    /// Something that a service handed over, or wants to, is not in the store.
    Handover,
    /// Not the kernel that was to be next.
    OtherKernel,
}

impl Event {
    /// Its ID, as `journalctl` takes it, and how much it matters.
    const fn properties(self) -> (&'static str, Priority) {
        match self {
            Self::Staged => ("c307e3b2238448078e90affb3334fc98", Priority::Info),
            Self::StageFailed => ("a2eea7d7ea524288bb4dbb4416b4e57a", Priority::Error),
            Self::JumpFailed => ("f4746fbfbd254f9d87ac8818971651f7", Priority::Error),
            Self::SourceLeftOut => ("ede57b61e99a469d9b37dc9f32198a00", Priority::Warning),
            Self::InPlace => ("1c26f95b783e40129863c89c6ae7629e", Priority::Info),
            Self::Copied => ("1f01004eca2048a18879876a09ee5abf", Priority::Info),
            Self::Missing => ("35980c101dfa4c9bb00cb3e509040d2e", Priority::Error),
            Self::RegionLeft => ("98295d27e7bd4570b8f9059ec75d3dfd", Priority::Error),
            Self::Configuration => ("13eea801f7b2451a82f7fdb31c79408b", Priority::Error),
            Self::Note => ("74951b4ed4a747878c9805b4ec4d4806", Priority::Notice),
            Self::Arrived => ("f36aecf4e075451f8dee6030afafafbd", Priority::Info),
            Self::Stored => ("d7437407e6554d6881edee5ec0be7ff9", Priority::Info),
            Self::Handover => ("a049027232ed441cac326b9c3e3c74d3", Priority::Warning),
            Self::OtherKernel => ("4af33e5ee8754f869ae98684eaa8fe20", Priority::Warning),
            Self::NoPlaceholder => ("d775663eb9ce46d6b026862232b13543", Priority::Error),
        }
    }

    /// Tells it.
    pub(crate) fn tell(self, text: &str) {
        self.send(text, &[]);
    }

    /// Tells it of a source.
    pub(crate) fn tell_of(self, source: &str, text: &str) {
        self.send(&format!("source {source} {text}"), &[("PKRAM_SOURCE", source)]);
    }

    fn send(self, text: &str, more: &[(&str, &str)]) {
        let (id, priority) = self.properties();
        let own = [("MESSAGE_ID", id), ("SYSLOG_IDENTIFIER", "pkramd")];
        let fields = own.iter().chain(more).copied();
        let sent = connected_to_journal() && journal_send(priority, text, fields).is_ok();
        let line = format!("<{}>{text}\n", u8::from(priority));
        // At the end of a shutdown the journal is gone, and with it whoever read standard error.
        if !sent && io::stderr().write_all(line.as_bytes()).is_err() {
            kernel_log(priority, text);
        }
    }
}

/// The last place where anybody reads when the journal is gone.
pub(crate) fn kernel_log(priority: Priority, text: &str) {
    if let Ok(mut log) = File::options().write(true).open("/dev/kmsg") {
        // Each write is a record of its own.
        let _ = log.write_all(format!("<{}>pkram: {text}", u8::from(priority)).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_explains_every_event() {
        let catalog = include_str!("../units/pkram.catalog");
        for event in [
            Event::Staged,
            Event::StageFailed,
            Event::JumpFailed,
            Event::SourceLeftOut,
            Event::InPlace,
            Event::Copied,
            Event::Missing,
            Event::RegionLeft,
            Event::Configuration,
            Event::Note,
            Event::NoPlaceholder,
            Event::Arrived,
            Event::Stored,
            Event::Handover,
            Event::OtherKernel,
        ] {
            let head = format!("-- {}\nSubject: ", event.properties().0);
            assert!(catalog.contains(&head), "{event:?}");
        }
    }
}
