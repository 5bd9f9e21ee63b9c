//! What is asked of the next kernel before anything is held.

use super::{Answer, Finding};
use crate::machine;
use crate::save::{NextError, NextKernel, Options};
use kexec::cmdline::conflicts;
use kexec::nextkernel::Verdict;
use physmem::RangeSet;

const OTHER: &str =
    "choose another kernel or command line, or go on with --force if you know better";

pub(super) fn findings(options: &Options) -> Vec<Finding> {
    let next = match NextKernel::read(&options.next) {
        Ok(next) => next,
        Err(error) => return vec![Finding::no("next kernel", error.to_string())],
    };
    match look(&next, options) {
        Ok(findings) => findings,
        Err(error) => vec![Finding::no("next kernel", error.to_string())],
    }
}

fn look(next: &NextKernel, options: &Options) -> Result<Vec<Finding>, NextError> {
    let kernel = next.parse()?;
    let release = kernel.release().unwrap_or("of unknown release");
    let mut findings =
        vec![Finding::yes("next kernel", format!("{}: Linux {release}", next.path.display()))];
    findings.extend(next.found.iter().map(|found| Finding::yes("chosen", found.to_string())));
    let against = if options.force { Answer::Unknown } else { Answer::No };
    let abilities = next.abilities()?;
    let last = abilities.len() - 1;
    for (index, (about, verdict)) in abilities.into_iter().enumerate() {
        findings.push(match verdict {
            Verdict::Yes => Finding::yes(about, told(about, release)),
            Verdict::Unknown(why) => Finding::new(about, Answer::Unknown, why),
            // Giving back can wait for a kernel that can, or for the next kexec.
            Verdict::No(why) if index == last => Finding::new(about, Answer::Unknown, why),
            Verdict::No(why) => Finding::new(about, against, why).with_remedy(Some(OTHER)),
        });
    }
    findings.extend(command_line(next, against));
    Ok(findings)
}

fn told(about: &str, release: &str) -> String {
    match about {
        "initrd" => format!("not one of another kernel than {release}"),
        _ => format!("config and modules of {release} have what it takes"),
    }
}

/// What the command line would do to the regions that are here already; [`crate::save::prepare`]
/// asks again for the new one.
fn command_line(next: &NextKernel, against: Answer) -> Vec<Finding> {
    let about = "command line";
    let map = match machine::next_map(&RangeSet::new()) {
        Ok(map) => map,
        Err(error) => return vec![Finding::new(about, Answer::Unknown, error.to_string())],
    };
    let hurts = |c: kexec::cmdline::Conflict| {
        Finding::new(about, against, c.to_string()).with_remedy(Some("leave it out"))
    };
    let found: Vec<_> = conflicts(&next.cmdline, &map).into_iter().map(hurts).collect();
    if found.is_empty() {
        return vec![Finding::yes(about, "has nothing that would hurt a region")];
    }
    found
}
