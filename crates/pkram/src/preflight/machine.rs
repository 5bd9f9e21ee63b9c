//! Whether this machine lets anybody load a kernel and keep memory.

use super::{Answer, Finding};
use crate::machine::meminfo;
use kexec::preflight::{Obstacle, obstacles};
use std::path::Path;

/// One finding a question; where several obstacles answer one, each is a finding.
pub(super) fn findings(force: bool) -> Vec<Finding> {
    let obstacles = obstacles(Path::new("/"));
    let questions = [
        ("privileges", "this process may load kernels"),
        ("kexec", "the running kernel loads others"),
        ("lockdown", "the kernel is not locked down"),
        ("encryption", "memory is not encrypted"),
    ];
    let mut findings = Vec::new();
    for (about, good) in questions {
        let against = obstacles.iter().filter(|o| question(o) == about);
        let before = findings.len();
        findings.extend(
            against.map(|o| Finding::no(about, o.to_string()).with_remedy(Some(o.remedy()))),
        );
        if findings.len() == before {
            findings.push(Finding::yes(about, good));
        }
    }
    findings.push(broken_memory(force));
    findings
}

/// Which question an obstacle answers.
fn question(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NotPrivileged => "privileges",
        Obstacle::NoKexec | Obstacle::Disabled | Obstacle::LimitUsedUp => "kexec",
        Obstacle::LockedDown { .. } => "lockdown",
        Obstacle::EncryptedMemory { .. } => "encryption",
    }
}

fn broken_memory(force: bool) -> Finding {
    match meminfo("HardwareCorrupted") {
        Ok(0) => Finding::yes("memory", "no page is known to be broken"),
        Ok(bytes) => {
            let answer = if force { Answer::Unknown } else { Answer::No };
            let error = crate::save::SaveError::Poisoned { bytes };
            Finding::new("memory", answer, error.to_string()).with_remedy(error.remedy())
        }
        // A kernel without CONFIG_MEMORY_FAILURE does not say.
        Err(error) => Finding::new("memory", Answer::Unknown, error.to_string()),
    }
}
