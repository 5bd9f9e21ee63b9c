//! What holds between the keys of a section, and between sections.

use crate::draft::{Draft, DraftSource};
use crate::error::{Other, Problem, Rejected};
use crate::kind::shown;
use crate::name;
use crate::pattern::PathPattern;
use crate::place::Place;
use crate::section::Report;
use crate::values::{Arrival, Config, Kernel, Source, What};
use std::path::Path;

/// Where nothing may be mounted, because the system's own files are there.
const SYSTEM: [&str; 12] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys",
    "/usr",
];

/// What systemd-tmpfiles empties at boot or clears of what is old, as the distribution has it in
/// `/usr/lib/tmpfiles.d/tmp.conf`.
const CLEANED: [&str; 2] = ["/tmp", "/var/tmp"];

impl Draft {
    /// The configuration, if nothing is wrong with it.
    pub(crate) fn finish(self) -> Result<Config, Rejected> {
        let Self { mut kernel, shutdown, sources, handovers, mut report, torn, kernel_in_doubt } =
            self;
        if !torn && !kernel_in_doubt {
            check_kernel(&kernel, &mut report);
        }
        if kernel.image.is_none() {
            // Of another kernel than the one that the machine would boot.
            kernel.initrd = None;
        }
        let sources = sources.into_iter();
        let sources = sources.filter_map(|(name, mut source)| {
            source.in_doubt |= torn;
            check_source(name, source, &mut report)
        });
        let mut sources: Vec<_> = sources.collect();
        check_pairs(&mut sources, &mut report);
        let Report { errors, warnings, mut origins } = report;
        origins.retain(|key, _| !key.starts_with("handover."));
        let config = Config { kernel, shutdown, sources, handovers, warnings, origins };
        match errors.is_empty() {
            true => Ok(config),
            false => Err(Rejected { errors, rest: Box::new(config) }),
        }
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

/// One source by itself. `None` if it is not known what to keep.
fn check_source(name: String, source: DraftSource, report: &mut Report) -> Option<Source> {
    let DraftSource { what, in_place, mount_point, required, verify, stay, early, place, in_doubt } =
        source;
    let section = section(&name);
    let Some((what, at)) = what else {
        if !in_doubt {
            let expected = "path, glob, unit or sysv-key";
            report.error(place, Problem::Missing { section, expected });
        }
        return None;
    };
    if name::check(&name).is_err() {
        return None;
    }
    let needs = match (&what, in_place, &mount_point) {
        _ if in_doubt => None,
        (_, false, Some(_)) => Some(("mount-point", "arrival = \"in-place\"")),
        (What::Glob(_), true, Some(_)) => {
            Some(("mount-point", "path: each match of a glob is mounted where it was"))
        }
        (What::SysvKey(_), true, None) => {
            Some(("arrival", "mount-point: a segment has no path of its own"))
        }
        _ if early && !outlives_initramfs(&what, mount_point.as_deref()) => Some((
            "early",
            "a place below /run: nothing else goes from the initramfs into the system",
        )),
        _ => None,
    };
    if let Some((key, needs)) = needs {
        let key = format!("{section}.{key}");
        let place = report.origins.get(&key).unwrap_or(&at).clone();
        report.error(place, Problem::Needs { key, needs });
    }
    let in_doubt = in_doubt || needs.is_some();
    let arrival = if in_place { Arrival::InPlace { mount_point } } else { Arrival::Copy };
    let mut source =
        Source { name, what, arrival, required, verify, stay, early, place: at, in_doubt };
    if let Some(at) = source.mount_point()
        && SYSTEM.iter().any(|dir| Path::new(dir) == at)
    {
        let at = at.to_owned();
        report.error(
            mount_place(&source, report),
            Problem::HidesSystem { section: section.clone(), at },
        );
        source.in_doubt = true;
    }
    let path = match &source.what {
        What::Path(path) => Some(path.as_path()),
        What::Glob(pattern) => Some(Path::new(pattern)),
        What::Unit(_) | What::SysvKey(_) => None,
    };
    if let Some(dir) = path.and_then(|path| CLEANED.iter().find(|dir| path.starts_with(dir))) {
        let text = format!("{section}: systemd-tmpfiles may remove what is in {dir}");
        report.warn(source.place.clone(), text);
    }
    Some(source)
}

/// Whether a source comes back to a place below /run.
fn outlives_initramfs(what: &What, mount_point: Option<&Path>) -> bool {
    match (mount_point, what) {
        (Some(at), _) => at.starts_with("/run"),
        (None, What::Path(at)) => at.starts_with("/run"),
        (None, What::Glob(pattern)) => Path::new(pattern).starts_with("/run"),
        // Where else `RuntimeDirectory=` is, systemd.exec(5).
        (None, What::Unit(_)) => true,
        (None, What::SysvKey(_)) => false,
    }
}

/// Where the mount point stands, or else what is mounted.
fn mount_place(source: &Source, report: &Report) -> Place {
    let key = format!("{}.mount-point", section(&source.name));
    report.origins.get(&key).unwrap_or(&source.place).clone()
}

/// Every two sources. Of two for the same memory only the first stays.
fn check_pairs(sources: &mut Vec<Source>, report: &mut Report) {
    let mut checked: Vec<(Source, Option<PathPattern>)> = Vec::new();
    for mut source in sources.drain(..) {
        let pattern = match &source.what {
            What::Glob(pattern) => PathPattern::new(pattern).ok(),
            _ => None,
        };
        let same = checked.iter().find(|(other, others)| {
            let matches = |pattern: &Option<PathPattern>, what: &What| match (pattern, what) {
                (Some(pattern), What::Path(path)) => pattern.match_of(path).is_some(),
                _ => false,
            };
            source.what == other.what
                || matches(&pattern, &other.what)
                || matches(others, &source.what)
        });
        if let Some((other, _)) = same {
            let (section, what) = (section(&source.name), source.what);
            report.error(source.place, Problem::SameSource { section, what, other: named(other) });
            continue;
        }
        for (other, _) in &mut checked {
            check_pair(other, &mut source, report);
        }
        checked.push((source, pattern));
    }
    sources.extend(checked.into_iter().map(|(source, _)| source));
}

/// Two sources for different memory.
fn check_pair(a: &mut Source, b: &mut Source, report: &mut Report) {
    nested(a, b, report);
    nested(b, a, report);
    early_mount(a, b, report);
    early_mount(b, a, report);
    let several = |what: &What| matches!(what, What::Glob(_) | What::Unit(_));
    let begins = b.name.strip_prefix(&a.name).is_some_and(|rest| rest.starts_with('-'));
    // Names are sorted: only the later one can begin like the earlier one.
    if several(&a.what) && begins {
        let (section, name) = (section(&b.name), a.name.clone());
        let problem = Problem::SameNodes { section, name, other: named(a) };
        report.error(b.place.clone(), problem);
        (a.in_doubt, b.in_doubt) = (true, true);
    }
}

/// A region that is mounted so early cannot be copied from later.
fn early_mount(mounted: &mut Source, copied: &Source, report: &mut Report) {
    let is_mounted = mounted.early && mounted.arrival != Arrival::Copy;
    if is_mounted && copied.arrival == Arrival::Copy && !mounted.in_doubt && !copied.in_doubt {
        let section = section(&mounted.name);
        let place = report.origins.get(&format!("{section}.early")).unwrap_or(&mounted.place);
        let (place, other) = (place.clone(), named(copied));
        report.error(place, Problem::EarlyMount { section, other });
        mounted.in_doubt = true;
    }
}

/// What it means where one source is inside of the other.
fn nested(inner: &mut Source, outer: &Source, report: &mut Report) {
    if let (What::Path(path), What::Path(around)) = (&inner.what, &outer.what)
        && path.starts_with(around)
    {
        let (section, around) = (section(&inner.name), named(outer));
        let text = format!(
            "{section}: is inside of {around}; it can be kept only where another filesystem is \
             mounted there"
        );
        report.warn(inner.place.clone(), text);
    }
    if let (Some(at), Some(other_at)) = (inner.mount_point(), outer.mount_point())
        // Of two equal ones the later one is told, once.
        && (at.starts_with(other_at) && (at != other_at || inner.name > outer.name))
        && !inner.in_doubt && !outer.in_doubt
    {
        let (section, at) = (section(&inner.name), at.to_owned());
        let (other_at, other) = (other_at.to_owned(), named(outer));
        let problem = Problem::MountPoints { section, at, other_at, other };
        report.error(mount_place(inner, report), problem);
        inner.in_doubt = true;
    }
}

fn named(source: &Source) -> Other {
    Other { section: section(&source.name), place: source.place.clone() }
}

fn section(name: &str) -> String {
    format!("source.{}", shown(name))
}
