//! A configuration as a file that says the same, with every default spelled out.

use crate::kind::shown;
use crate::place::Place;
use crate::size;
use crate::values::{Arrival, Cmdline, Config, Handover, Source, What, Who};
use std::fmt::{self, Display};
use std::path::Path;

/// TOML; a comment tells where a value stands that some file gives.
impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, shutdown, sources, handovers, .. } = self;
        let mut section = Lines { f, section: "kernel".to_owned(), config: self };
        section.begin()?;
        match &kernel.image {
            Some(image) => section.line("image", quoted_path(image))?,
            None => section.without("image", "what the machine would boot")?,
        }
        if let Some(initrd) = &kernel.initrd {
            section.line("initrd", quoted_path(initrd))?;
        }
        match &kernel.cmdline {
            Cmdline::Reuse => section.without("cmdline", "the running kernel's")?,
            Cmdline::Append(text) => section.line("append", quoted(text))?,
            Cmdline::Whole(text) => section.line("cmdline", quoted(text))?,
        }

        section.next("shutdown")?;
        section.line("reboot", quoted(shutdown.reboot.name()))?;
        section
            .line("deadline", quoted(&humantime::format_duration(shutdown.deadline).to_string()))?;
        match shutdown.reserve_ram {
            Some(bytes) => section.line("reserve-ram", quoted(&size::exact(bytes)))?,
            None => section.without("reserve-ram", "what pkram kexec finds right")?,
        }
        section.line("move-huge", shutdown.move_huge)?;
        sources.iter().try_for_each(|source| section.source(source))?;
        handovers.iter().try_for_each(|handover| section.handover(handover))
    }
}

struct Lines<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    section: String,
    config: &'a Config,
}

impl Lines<'_, '_> {
    fn begin(&mut self) -> fmt::Result {
        writeln!(self.f, "[{}]", self.section)
    }

    fn next(&mut self, section: impl Display) -> fmt::Result {
        self.section = section.to_string();
        writeln!(self.f)?;
        self.begin()
    }

    fn line(&mut self, key: &str, value: impl Display) -> fmt::Result {
        write!(self.f, "{key} = {value}")?;
        match self.config.origins.get(&format!("{}.{key}", self.section)) {
            Some(place) => self.comment(place),
            None => writeln!(self.f),
        }
    }

    fn comment(&mut self, place: &Place) -> fmt::Result {
        // A file's name may have a newline, and a comment may not.
        let place = place.to_string().replace(char::is_control, "?");
        writeln!(self.f, "  # {place}")
    }

    /// Nothing is said, and TOML has no word for that.
    fn without(&mut self, key: &str, default: &str) -> fmt::Result {
        writeln!(self.f, "# {key}: {default}")
    }

    fn arrival(&mut self, in_place: bool) -> fmt::Result {
        self.line("arrival", quoted(if in_place { "in-place" } else { "copy" }))
    }

    fn source(&mut self, source: &Source) -> fmt::Result {
        let Source { name, what, arrival, required, verify, stay, early, .. } = source;
        self.next(format!("source.{}", name_quoted(name)))?;
        // Origins have the section's name as messages do.
        self.section = format!("source.{}", shown(name));
        match what {
            What::Path(path) => self.line("path", quoted_path(path))?,
            What::Glob(pattern) => self.line("glob", quoted(pattern))?,
            What::Unit(unit) => self.line("unit", quoted(unit))?,
            What::SysvKey(key) => self.line("sysv-key", format!("{key:#x}"))?,
        }
        self.arrival(matches!(arrival, Arrival::InPlace { .. }))?;
        if let Arrival::InPlace { mount_point: Some(at) } = arrival {
            self.line("mount-point", quoted_path(at))?;
        }
        self.line("required", required)?;
        self.line("verify", verify)?;
        self.line("stay", stay)?;
        self.line("early", early)
    }

    fn handover(&mut self, handover: &Handover) -> fmt::Result {
        let Handover { who, max_size, max_descriptors, in_place, place } = handover;
        write!(self.f, "\n[[handover]]")?;
        self.comment(place)?;
        self.section = "handover".to_owned();
        match who {
            Who::Unit(unit) => self.line("unit", quoted(unit))?,
            Who::User(user) => self.line("user", quoted(user))?,
        }
        self.line("max-size", quoted(&size::exact(*max_size)))?;
        self.line("max-descriptors", max_descriptors)?;
        self.arrival(*in_place)
    }
}

fn name_quoted(name: &str) -> String {
    let shown = shown(name);
    if shown == name { shown } else { quoted(name) }
}

/// Paths of a configuration are UTF-8, because TOML is.
fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
