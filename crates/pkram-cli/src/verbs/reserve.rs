//! `pkram reserve`: memory that is kept out of RAM from boot on.

use crate::answer::print;
use config::size::show;
use pkram::reserve::{self, Arrival, Standing, Wipe};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// `--size SIZE`.
pub(crate) fn set_aside(
    json: bool,
    size: u64,
    only_print: bool,
    update_grub: bool,
) -> anyhow::Result<ExitCode> {
    let set = reserve::set_aside(size, only_print)?;
    change(json, "next-boot", set, update_grub)
}

/// `--remove`.
pub(crate) fn remove(json: bool, update_grub: bool) -> anyhow::Result<ExitCode> {
    change(json, "removed", reserve::remove()?, update_grub)
}

fn change(
    json: bool,
    state: &'static str,
    set: reserve::SetAside,
    update_grub: bool,
) -> anyhow::Result<ExitCode> {
    let drop_in = set.drop_in.as_ref().map(|p| p.display().to_string());
    let mut answer = Answer { state, ..Answer::at(set.range) };
    if update_grub {
        reserve::update_grub()?;
    }
    answer.todo = match (&drop_in, state, update_grub) {
        (None, "removed", _) => format!("take {} off the kernel's command line", set.parameter),
        (None, ..) => format!("put {} on the kernel's command line", set.parameter),
        (Some(_), _, true) => String::new(),
        (Some(_), _, false) => "run update-grub".to_owned(),
    };
    let reboot = match state {
        "removed" => "reboot; the memory is RAM again then",
        _ => "reboot, then run `pkram reserve` again",
    };
    let joint = if answer.todo.is_empty() { "" } else { ", " };
    answer.todo += &format!("{joint}{reboot}");
    answer.drop_in = drop_in;
    print(json, &answer)?;
    Ok(ExitCode::SUCCESS)
}

/// Without a size: what became of the reservation in this boot.
pub(crate) fn arrive(json: bool, init: bool, no_wipe: bool) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    if no_wipe {
        reserve::withdraw_wipe(root)?;
    }
    let mut answer = match reserve::arrive(init)? {
        Standing::None => {
            anyhow::bail!("nothing is reserved here; say how much: pkram reserve --size SIZE")
        }
        Standing::Awaited { range } => Answer {
            state: "next-boot",
            todo: "reboot (after update-grub), then run `pkram reserve` again".to_owned(),
            ..Answer::at(range)
        },
        Standing::Made(arrival) => Answer::of("made", arrival),
        Standing::Here(arrival) => Answer::of("here", arrival),
    };
    answer.wipe = Some(Wipe::look(root));
    print(json, &answer)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    /// `next-boot`, `removed`, `made` or `here`.
    state: &'static str,
    range: String,
    start: u64,
    bytes: u64,
    parameter: String,
    drop_in: Option<String>,
    region: Option<String>,
    device: Option<String>,
    generation: Option<u64>,
    /// The next mount replays the journal.
    needs_replay: bool,
    /// Mounted or otherwise taken: only heads and marks were checked, and this boot is not counted.
    in_use: bool,
    /// What will become of memory at the next reset.
    wipe: Option<Wipe>,
    /// What is left to the user.
    todo: String,
}

impl Answer {
    fn at(range: physmem::PhysRange) -> Self {
        Self {
            range: range.to_string(),
            start: range.start(),
            bytes: range.len(),
            parameter: reserve::parameter(range),
            ..Self::default()
        }
    }

    fn of(state: &'static str, arrival: Arrival) -> Self {
        Self {
            state,
            region: Some(arrival.region.to_string()),
            device: Some(arrival.device.display().to_string()),
            generation: Some(arrival.generation),
            needs_replay: arrival.needs_replay,
            in_use: arrival.in_use,
            ..Self::at(arrival.range)
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "range       {}, {}", self.range, show(self.bytes))?;
        writeln!(f, "parameter   {}", self.parameter)?;
        if let Some(path) = &self.drop_in {
            let done = if self.state == "removed" { "removed" } else { "written" };
            writeln!(f, "drop-in     {path}, {done}")?;
        }
        if let (Some(region), Some(device)) = (&self.region, &self.device) {
            let made = if self.state == "made" { ", made now and empty" } else { "" };
            writeln!(f, "region      {region} on {device}{made}")?;
        }
        if let Some(generation) = self.generation {
            writeln!(f, "generation  {generation}")?;
        }
        if self.needs_replay {
            writeln!(f, "note        was not unmounted; the next mount replays the journal")?;
        }
        if self.in_use {
            writeln!(
                f,
                "note        is in use: not all was checked, and this boot is not counted"
            )?;
        }
        match self.wipe {
            Some(Wipe::Requested) => writeln!(
                f,
                "note        the firmware is asked to wipe memory at the next reset; --no-wipe takes \
                 that back"
            )?,
            Some(Wipe::Unknown) => writeln!(
                f,
                "note        whether the firmware is asked to wipe memory cannot be told: is efivarfs \
                 mounted?"
            )?,
            Some(Wipe::NotAsked) | None => {}
        }
        if !self.todo.is_empty() {
            writeln!(f, "to do       {}", self.todo)?;
        }
        Ok(())
    }
}
