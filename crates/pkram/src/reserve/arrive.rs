//! What became of the reserved range in this boot.

use super::blank::look;
use super::error::ArriveError;
use super::grub::parameter;
use super::make::Empty;
use super::state::State;
use crate::head::SpanHead;
use crate::machine;
use crate::marks::{self, Count};
use crate::region::contents;
use crate::region::{Device, Region, Span, discover};
use kexec::cmdline::persistent;
use physmem::{E820Type, PhysRange};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// How a reservation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    None,
    /// It begins with the next boot.
    Awaited {
        /// Where.
        range: PhysRange,
    },
    /// An empty region was made.
    Made(Arrival),
    /// The region is here and whole.
    Here(Arrival),
}

/// A reserved region in this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its UUID.
    pub region: Uuid,
    /// Where it lies.
    pub range: PhysRange,
    /// Its block device.
    pub device: PathBuf,
    /// How often it was made or arrived, this boot counted.
    pub generation: u64,
    /// It was not unmounted; the next mount replays the journal.
    pub needs_replay: bool,
    /// It is mounted or otherwise taken: metadata were not checked, nor was this boot counted.
    pub in_use: bool,
}

/// Looks at the reserved range: makes an empty region where none ever was (with `init`: where one
/// was before, and is gone without a trace), or checks the one that is there and counts this boot.
pub fn arrive(init: bool) -> Result<Standing, ArriveError> {
    let state = State::load()?;
    let Some(range) = reserved(state.as_ref())? else { return Ok(Standing::None) };
    let boot = machine::boot_id()?;
    let map = machine::booted_map()?;
    if !map.entries().iter().any(|e| e.kind == E820Type::Pram && e.range == range) {
        return unprotected(state, range, boot);
    }
    let found = discover()?;
    if let Some(damaged) = found.damaged.into_iter().find(|d| d.device.range == range) {
        let device = damaged.device.name().to_string();
        return Err(ArriveError::Damaged { device, range, reason: Box::new(damaged.error) });
    }
    if found.released.iter().any(|d| d.range == range) {
        return Err(ArriveError::Released { range });
    }
    let here = found.regions.iter().find_map(|region| {
        let span = region.spans.iter().find(|s| s.device.range == range)?;
        Some((region, span))
    });
    if let Some((region, span)) = here {
        let arrival = check(region, span, boot)?;
        remember(&arrival, state, boot)?;
        return Ok(Standing::Here(arrival));
    }
    let stranger = found.strangers.into_iter().find(|d| d.range == range);
    let device = stranger.ok_or(ArriveError::NoDevice { range })?;
    make(&device, state, init, boot).map(Standing::Made)
}

/// The range that is meant: the noted one, else the only one on the command line.
fn reserved(state: Option<&State>) -> Result<Option<PhysRange>, ArriveError> {
    if let Some(state) = state {
        return Ok(Some(state.range()?));
    }
    let cmdline = fs::read_to_string("/proc/cmdline").map_err(ArriveError::Cmdline)?;
    match persistent(&cmdline).as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        many => {
            let all: Vec<_> = many.iter().map(ToString::to_string).collect();
            Err(ArriveError::Several(all.join(", ")))
        }
    }
}

/// The range is RAM: from now on a region that turns up there is stale.
fn unprotected(
    state: Option<State>,
    range: PhysRange,
    boot: Uuid,
) -> Result<Standing, ArriveError> {
    let Some(mut state) = state.filter(|s| s.boot != boot) else {
        return Ok(Standing::Awaited { range });
    };
    let lost = match state.region {
        Some(region) => {
            state.generation = state.generation.saturating_add(1);
            state.save()?;
            format!("region {region} that was there is lost")
        }
        None => "no region was there yet".to_owned(),
    };
    Err(ArriveError::Unprotected { range, parameter: parameter(range), lost })
}

/// Checks a region whose heads and marks are whole, and counts this boot once.
fn check(region: &Region, span: &Span, boot: Uuid) -> Result<Arrival, ArriveError> {
    let (head, range) = (&span.head, span.device.range);
    let device = span.device.block.clone().unwrap_or_default();
    let io_at = |source| ArriveError::Io { device: device.clone(), source };
    if head.marks_from.is_none() {
        return Err(ArriveError::Foreign { range, region: region.uuid });
    }
    let needs_replay = contents::open(region)?.superblock().needs_replay;
    let (file, in_use) = match span.device.open_exclusive() {
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => (File::open(&device), true),
        other => (other, false),
    };
    let file = file.map_err(io_at)?;
    let last = marks::last_count(&file, head).map_err(io_at)?;
    // Discovering has just seen it.
    let last = last.ok_or_else(|| io_at(io::ErrorKind::InvalidData.into()))?;
    let mut arrival = Arrival::of(head, &span.device, last.generation);
    (arrival.needs_replay, arrival.in_use) = (needs_replay && !in_use, in_use);
    if in_use {
        return Ok(arrival);
    }
    if !needs_replay && let Some(problem) = contents::verify(region)?.first() {
        return Err(ArriveError::Metadata { region: region.uuid, problem: problem.to_string() });
    }
    if last.boot != boot {
        arrival.generation = last.generation.saturating_add(1);
        Count { generation: arrival.generation, boot }.write(&file, head).map_err(io_at)?;
    }
    Ok(arrival)
}

/// Makes an empty region, if the range carries nothing.
fn make(
    device: &Device,
    state: Option<State>,
    init: bool,
    boot: Uuid,
) -> Result<Arrival, ArriveError> {
    let range = device.range;
    let Some(path) = device.block.clone() else {
        return Err(ArriveError::Held { range, device: device.sysfs.clone() });
    };
    if let Some(region) = state.as_ref().and_then(|s| s.region)
        && !init
    {
        return Err(ArriveError::Lost { region, range });
    }
    let io_at = |source| ArriveError::Io { device: path.clone(), source };
    let file = device.open_exclusive().map_err(io_at)?;
    let was_ram = state.as_ref().is_some_and(|s| s.region.is_none() && s.boot != boot);
    if let Some(found) = look(&file, range.len(), was_ram).map_err(io_at)? {
        return Err(ArriveError::NotBlank { device: path, found });
    }
    let empty = Empty::compose(range, boot)?;
    let arrival = Arrival::of(&empty.head, device, 1);
    // Noted first: a region that nobody noted would be taken for a remnant.
    remember(&arrival, state, boot)?;
    empty.write(&file)?;
    Ok(arrival)
}

fn remember(arrival: &Arrival, state: Option<State>, boot: Uuid) -> Result<(), ArriveError> {
    let state = state.unwrap_or_else(|| State::new(arrival.range, boot));
    Ok(state.with(arrival.region, arrival.generation).save()?)
}

impl Arrival {
    fn of(head: &SpanHead, device: &Device, generation: u64) -> Self {
        Self {
            region: head.region,
            range: head.range,
            device: device.block.clone().unwrap_or_default(),
            generation,
            needs_replay: false,
            in_use: false,
        }
    }
}
