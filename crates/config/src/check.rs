//! What holds between the keys of a section, and between sections.

use crate::draft::{Draft, DraftSource};
use crate::error::{Other, Problem, Rejected};
use crate::kind::shown;
use crate::section::Report;
use crate::values::{Arrival, Config, Kernel, Source, What};
use glob::{MatchOptions, Pattern};
use std::path::Path;

/// Where nothing may be mounted, because the system's own files are there.
const SYSTEM: [&str; 12] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys",
    "/usr",
];

/// What systemd-tmpfiles cleans, `/usr/lib/tmpfiles.d/tmp.conf`.
const CLEANED: [&str; 2] = ["/tmp", "/var/tmp"];

/// How the shell matches paths, and `glob(7)`: no wildcard stands for a slash.
pub(crate) const AS_PATHS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl Draft {
    /// The configuration, if nothing is wrong with it.
    pub(crate) fn finish(self) -> Result<Config, Rejected> {
        let Self { kernel, shutdown, sources, handovers, mut report, torn, kernel_in_doubt } = self;
        if !torn && !kernel_in_doubt {
            check_kernel(&kernel, &mut report);
        }
        let mut whole = Vec::new();
        for (name, source) in sources {
            if !torn && !source.in_doubt {
                whole.extend(check_source(name, source, &mut report));
            }
        }
        check_pairs(&whole, &mut report);
        let Report { errors, warnings, mut origins } = report;
        if !errors.is_empty() {
            return Err(Rejected { errors, warnings });
        }
        origins.retain(|key, _| !key.starts_with("handover."));
        Ok(Config { kernel, shutdown, sources: whole, handovers, warnings, origins })
    }
}

fn check_kernel(kernel: &Kernel, report: &mut Report) {
    if kernel.image.is_none()
        && let Some(place) = report.origins.get("kernel.initrd").cloned()
    {
        let needs = "image: the kernel that it belongs to";
        report.error(place, Problem::Needs { key: "kernel.initrd".to_owned(), needs });
    }
    if kernel.initrd.is_none()
        && let Some(place) = report.origins.get("kernel.image").cloned()
    {
        let text = "kernel.image: no initrd is given with it, so this kernel starts without one";
        report.warn(place, text.to_owned());
    }
}

/// One source by itself.
fn check_source(name: String, source: DraftSource, report: &mut Report) -> Option<Source> {
    let DraftSource { what, in_place, mount_point, required, verify, stay, place, .. } = source;
    let section = section(&name);
    let Some((what, at)) = what else {
        let expected = "path, glob, unit or sysv-key";
        report.error(place, Problem::Missing { section, expected });
        return None;
    };
    let mut needs = |key: &str, needs| {
        let key = format!("{section}.{key}");
        let place = report.origins.get(&key).unwrap_or(&at).clone();
        report.error(place, Problem::Needs { key, needs });
    };
    match (&what, in_place, &mount_point) {
        (_, false, Some(_)) => needs("mount-point", "arrival = \"in-place\""),
        (What::Glob(_), true, Some(_)) => {
            needs("mount-point", "path: each match of a glob is mounted where it was");
        }
        (What::SysvKey(_), true, None) => {
            needs("arrival", "mount-point: a segment has no path of its own");
        }
        _ => {}
    }
    let arrival = if in_place { Arrival::InPlace { mount_point } } else { Arrival::Copy };
    let source = Source { name, what, arrival, required, verify, stay, place: at };
    let place = |key: &str| report.origins.get(&format!("{section}.{key}")).cloned();
    if let Some(at) = source.mount_point()
        && SYSTEM.iter().any(|dir| Path::new(dir) == at)
    {
        let place = place("mount-point").unwrap_or_else(|| source.place.clone());
        report.error(place, Problem::HidesSystem { section: section.clone(), at: at.to_owned() });
    }
    let path = match &source.what {
        What::Path(path) => Some(path.as_path()),
        What::Glob(pattern) => Some(Path::new(pattern)),
        What::Unit(_) | What::SysvKey(_) => None,
    };
    if let Some(dir) = path.and_then(|path| CLEANED.iter().find(|dir| path.starts_with(dir))) {
        let text = format!("{section}: systemd-tmpfiles removes old files in {dir}");
        report.warn(source.place.clone(), text);
    }
    Some(source)
}

/// Every two sources.
fn check_pairs(sources: &[Source], report: &mut Report) {
    let patterns: Vec<_> = sources
        .iter()
        .map(|source| match &source.what {
            What::Glob(pattern) => Pattern::new(pattern).ok(),
            _ => None,
        })
        .collect();
    for (i, b) in sources.iter().enumerate() {
        for (j, a) in sources[..i].iter().enumerate() {
            check_pair([a, b], [patterns[j].as_ref(), patterns[i].as_ref()], report);
        }
    }
}

fn check_pair([a, b]: [&Source; 2], patterns: [Option<&Pattern>; 2], report: &mut Report) {
    let matches = |pattern: Option<&Pattern>, what: &What| match (pattern, what) {
        (Some(pattern), What::Path(path)) => pattern.matches_path_with(path, AS_PATHS),
        _ => false,
    };
    let other = |of: &Source| Other { section: section(&of.name), place: of.place.clone() };
    if a.what == b.what || matches(patterns[0], &b.what) || matches(patterns[1], &a.what) {
        let (section, what) = (section(&b.name), b.what.clone());
        report.error(b.place.clone(), Problem::SameSource { section, what, other: other(a) });
        // Everything else about the two follows from it.
        return;
    }
    for (inner, outer) in [(a, b), (b, a)] {
        if let (What::Path(path), What::Path(around)) = (&inner.what, &outer.what)
            && path.starts_with(around)
        {
            let (section, around) = (section(&inner.name), other(outer));
            let text = format!(
                "{section}: is inside of {around}; it can be kept only where another filesystem is \
                 mounted there"
            );
            report.warn(inner.place.clone(), text);
        }
        if let (Some(at), Some(other_at)) = (inner.mount_point(), outer.mount_point())
            // Of two equal ones the later one is told, once.
            && (at.starts_with(other_at) && (at != other_at || std::ptr::eq(inner, b)))
        {
            let (section, at) = (section(&inner.name), at.to_owned());
            let (other_at, other) = (other_at.to_owned(), other(outer));
            let key = format!("{section}.mount-point");
            let place = report.origins.get(&key).unwrap_or(&inner.place).clone();
            report.error(place, Problem::MountPoints { section, at, other_at, other });
        }
    }
}

fn section(name: &str) -> String {
    format!("source.{}", shown(name))
}
