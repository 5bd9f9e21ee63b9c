//! The configuration in the making: one file after the other is laid over what stood before.
//!
//! ```text
//! files, in order ─► each section by itself: values, unknown keys ─► Draft ─► check ─► Config
//! ```
//!
//! A later file's keys win. Keys of which only one can be, such as `path` and `glob`, win together:
//! the later one takes the earlier one's place.

use crate::error::Problem;
use crate::kind::{BOOL, COUNT, DURATION, GLOB, KEY, PATH, SIZE, TEXT, UNIT, UNITS, USER, shown};
use crate::name;
use crate::place::{File, Place};
use crate::section::{Report, Section};
use crate::values::{Cmdline, Handover, Kernel, Reboot, Shutdown, What, Who};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use toml::de::DeTable;

/// Errors of one file that are told one by one.
const MOST_ERRORS: usize = 100;

/// Sources, and rules for handovers, in all files together; nobody writes more.
const MOST: usize = 1024;

/// How memory comes back: whether in place.
const ARRIVALS: [(&str, bool); 2] = [("copy", false), ("in-place", true)];

/// What a source may be, as keys.
const WHAT: [&str; 4] = ["path", "glob", "unit", "sysv-key"];

/// The configuration so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) kernel: Kernel,
    pub(crate) shutdown: Shutdown,
    pub(crate) sources: BTreeMap<String, DraftSource>,
    pub(crate) handovers: Vec<Handover>,
    pub(crate) report: Report,
    /// Not all files could be read, so that something may seem to be missing.
    pub(crate) torn: bool,
    /// Something in `[kernel]` is wrong.
    pub(crate) kernel_in_doubt: bool,
}

/// A source so far.
#[derive(Debug)]
pub(crate) struct DraftSource {
    /// What to keep, and where that stands.
    pub(crate) what: Option<(What, Place)>,
    pub(crate) in_place: bool,
    pub(crate) mount_point: Option<PathBuf>,
    pub(crate) required: bool,
    pub(crate) verify: bool,
    pub(crate) stay: bool,
    pub(crate) early: bool,
    /// Where its first section begins.
    pub(crate) place: Place,
    /// Something in its sections is wrong, so that something may seem to be missing.
    pub(crate) in_doubt: bool,
}

impl DraftSource {
    fn new(place: Place) -> Self {
        Self {
            what: None,
            in_place: false,
            mount_point: None,
            required: false,
            verify: false,
            stay: false,
            early: false,
            place,
            in_doubt: false,
        }
    }
}

impl Draft {
    /// Lays a file over what stood before.
    pub(crate) fn lay(&mut self, file: &File) {
        let before = self.report.errors.len();
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            let place = file.place(error.span().map_or(0, |span| span.start));
            self.report.error(place, Problem::Syntax(error.message().to_owned()));
        }
        self.read(file, table.get_ref(), !errors.is_empty());

        // What follows from a line that is no TOML, there or on the next one, is no news.
        let walked = self.report.errors.split_off(before + errors.len());
        let torn: BTreeSet<_> = self.report.errors[before..].iter().map(|e| e.place.line).collect();
        let is_news = |line: u32| !torn.contains(&line) && !torn.contains(&line.wrapping_sub(1));
        let mut news: Vec<_> =
            walked.into_iter().filter(|error| is_news(error.place.line)).collect();
        self.report.errors.append(&mut news);
        self.report.errors[before..].sort_by_key(|error| error.place.line);
        let more = (self.report.errors.len() - before).saturating_sub(MOST_ERRORS);
        if more > 0 {
            self.report.errors.truncate(before + MOST_ERRORS);
            self.report.error(file.whole(), Problem::More(more));
        }
    }

    /// Reads all of a file. In a torn one not every line is TOML.
    fn read(&mut self, file: &File, table: &DeTable<'_>, torn: bool) {
        let mut root = Section::root(file, table);
        if let Some(section) = root.section("kernel", &mut self.report) {
            self.kernel(section);
            self.kernel_in_doubt |= torn;
        }
        if let Some(section) = root.section("shutdown", &mut self.report) {
            self.shutdown(section);
        }
        if let Some(section) = root.section("source", &mut self.report) {
            let sections = section.sections(&mut self.report);
            if self.few("sources", self.sources.len() + sections.len(), &section.place) {
                sections.into_iter().for_each(|(name, section)| self.source(name, section, torn));
            }
        }
        let sections = root.list("handover", &mut self.report);
        if self.few("handovers", self.handovers.len() + sections.len(), &root.place) {
            sections.into_iter().for_each(|section| self.handover(section));
        }
        root.finish(&mut self.report);
    }

    fn few(&mut self, what: &'static str, number: usize, place: &Place) -> bool {
        if number > MOST {
            self.report.error(place.clone(), Problem::Many { what, limit: MOST });
        }
        number <= MOST
    }

    fn kernel(&mut self, mut section: Section<'_>) {
        let Self { kernel, report, .. } = self;
        let before = report.errors.len();
        set(&mut kernel.image, section.take("image", &PATH, report).map(Some));
        set(&mut kernel.initrd, section.take("initrd", &PATH, report).map(Some));
        section.one_of(&["cmdline", "append"], report);
        set(&mut kernel.cmdline, section.take("cmdline", &TEXT, report).map(Cmdline::Whole));
        set(&mut kernel.cmdline, section.take("append", &TEXT, report).map(Cmdline::Append));
        section.finish(report);
        self.kernel_in_doubt |= report.errors.len() > before;
    }

    fn shutdown(&mut self, mut section: Section<'_>) {
        let Self { shutdown, report, .. } = self;
        let reboots = [Reboot::Auto, Reboot::Firmware, Reboot::Kexec].map(|r| (r.name(), r));
        set(&mut shutdown.reboot, section.choose("reboot", &reboots, report));
        set(&mut shutdown.deadline, section.take("deadline", &DURATION, report));
        set(&mut shutdown.reserve_ram, section.take("reserve-ram", &SIZE, report).map(Some));
        set(&mut shutdown.move_huge, section.take("move-huge", &BOOL, report));
        section.finish(report);
    }

    fn source(&mut self, name: String, mut section: Section<'_>, torn: bool) {
        let Self { sources, report, .. } = self;
        let before = report.errors.len();
        if let Err(why) = name::check(&name) {
            report.error(section.place.clone(), Problem::Name { name: shown(&name), why });
        }
        let source = sources.entry(name).or_insert_with(|| DraftSource::new(section.place.clone()));
        section.one_of(&WHAT, report);
        let whats = [
            ("path", section.take("path", &PATH, report).map(What::Path)),
            ("glob", section.take("glob", &GLOB, report).map(What::Glob)),
            ("unit", section.take("unit", &UNIT, report).map(What::Unit)),
            ("sysv-key", section.take("sysv-key", &KEY, report).map(What::SysvKey)),
        ];
        let what = whats.into_iter().find_map(|(key, what)| Some((key, what?)));
        if let Some((key, what)) = what {
            if let What::Unit(unit) = &what {
                warn_of_type(&section, unit, report);
            }
            source.what = Some((what, section.place_of(key)));
        }
        set(&mut source.in_place, section.choose("arrival", &ARRIVALS, report));
        set(&mut source.mount_point, section.take("mount-point", &PATH, report).map(Some));
        set(&mut source.required, section.take("required", &BOOL, report));
        set(&mut source.verify, section.take("verify", &BOOL, report));
        set(&mut source.stay, section.take("stay", &BOOL, report));
        set(&mut source.early, section.take("early", &BOOL, report));
        section.finish(report);
        source.in_doubt |= torn || report.errors.len() > before;
    }

    /// Adds a rule; it takes the place of one for the same peer from an earlier file.
    fn handover(&mut self, mut section: Section<'_>) {
        let Self { handovers, report, .. } = self;
        let before = report.errors.len();
        section.one_of(&["unit", "user"], report);
        let unit = section.take("unit", &UNITS, report);
        if let Some(unit) = &unit {
            warn_of_type(&section, unit, report);
        }
        let user = section.take("user", &USER, report);
        let max_size = section.take("max-size", &SIZE, report);
        let max_descriptors = section.take("max-descriptors", &COUNT, report);
        let in_place = section.choose("arrival", &ARRIVALS, report);
        let place = section.place.clone();
        section.finish(report);
        let Some(who) = unit.map(Who::Unit).or(user.map(Who::User)) else {
            if report.errors.len() == before {
                let (section, expected) = ("handover".to_owned(), "unit or user");
                report.error(place, Problem::Missing { section, expected });
            }
            return;
        };
        if let Some(same) = handovers.iter().position(|rule| rule.who == who) {
            let at = handovers.remove(same).place;
            if at.file == place.file {
                report.error(place.clone(), Problem::SameRule { who: who.to_string(), at });
            }
        }
        handovers.push(Handover {
            who,
            max_size: max_size.unwrap_or(Handover::MAX_SIZE),
            max_descriptors: max_descriptors.unwrap_or(Handover::MAX_DESCRIPTORS),
            in_place: in_place.unwrap_or(false),
            place,
        });
    }
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

/// A unit's type may be left out, but then it may be another unit than was meant.
fn warn_of_type(section: &Section<'_>, unit: &str, report: &mut Report) {
    match section.text("unit") {
        Some(text) if text != unit => {
            let key = section.key("unit");
            report.warn(section.place_of("unit"), format!("{key}: {text:?} is taken for {unit:?}"));
        }
        _ => {}
    }
}
