//! Everything before the load: what would happen, ready to happen.

use super::costs::Costs;
use super::draw::Work;
use super::next::{NextError, NextKernel};
use super::options::{Options, SaveError};
use super::prepared::{Clock, Prepared};
use super::terms::Terms;
use crate::ages::Ages;
use crate::census::hold;
use crate::handover::Handover;
use crate::klog;
use crate::machine;
use crate::nodes::{Save, now};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::region::discover;
use crate::sys::tsc;
use kexec::boot_block::TIMELINE_BYTES;
use kexec::cmdline::persistent;
use kexec::e820::IN_ZERO_PAGE;
use kexec::identity::{Identity, reach};
use kexec::mover_segment::Orders;
use kexec::preflight::obstacles;
use kexec::{Boot, BzImage, MoverSegment};
use physmem::{E820Type, PAGE_SIZE, PhysRange};
use std::path::Path;
use uuid::Uuid;

/// The first serial port of a PC, where the mover says why it resets if it must.
const COM1: u16 = 0x3f8;

/// Refuses where this machine lets nobody load a kernel.
pub fn preflight() -> Result<(), SaveError> {
    let obstacles = obstacles(Path::new("/"));
    if obstacles.is_empty() { Ok(()) } else { Err(SaveError::Obstacles(obstacles)) }
}

/// Holds what is to be kept, plans, composes and stages. Nothing is loaded yet.
///
/// # Errors
/// Whatever stands against keeping it; all is as before then.
pub fn prepare(
    save: Save,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Prepared, SaveError> {
    let clock = Clock::now();
    if save.is_empty() {
        return Err(SaveError::Nothing);
    }
    preflight()?;
    // A kernel without CONFIG_MEMORY_FAILURE does not say.
    let poisoned = machine::meminfo("HardwareCorrupted").unwrap_or(0);
    if poisoned > 0 && !options.force {
        return Err(SaveError::Poisoned { bytes: poisoned });
    }
    let next = NextKernel::read(&options.next)?;
    let mut notes: Vec<_> = next.found.iter().map(ToString::to_string).collect();
    notes.extend(next.doubts(options.force)?);
    let platform = Platform::read()?;
    let found = discover()?;
    let mut map = machine::next_map(&found.released_memory())?;
    // What the next kernel's command line sets aside is not there to be planned with.
    for range in persistent(&next.cmdline) {
        if map.ram().contains_range(range) {
            map.overlay(range, E820Type::Pram);
        }
    }
    notes.extend(save.notes.iter().cloned());
    let (hold, census) = hold(&save, options.manner, progress)?;
    let held = tsc();

    let keep = census.frames();
    let kernel = next.parse()?;
    kernel
        .check_paging(platform.paging)
        .map_err(|source| NextError::Image { path: next.path.clone(), source })?;
    let identity = Identity::of(&reach(&map, platform.efi.as_ref()), platform.paging)?;
    let region = Uuid::new_v4();
    let here = found.regions.iter().map(|r| r.uuid);
    let mut handover =
        Handover { region, ages: Ages::here().next(here, region), ..Handover::default() };
    let record = handover.to_bytes();
    let boot = Boot {
        kernel: &kernel,
        map: &map,
        cmdline: &next.cmdline,
        initrd: None,
        old: Some(&platform.old),
        rsdp: platform.rsdp,
        efi: platform.efi.as_ref(),
        rng_seed: platform.fresh_seed()?,
        handover: &record,
    };
    let work = Work {
        options,
        progress,
        save: &save,
        census: &census,
        held: hold.held(),
        next: &next,
        kernel: &kernel,
        map: &map,
        keep: &keep,
        terms: Terms::read(&map, &save, &census, options)?,
        boot,
        mover_bytes: MoverSegment::pages_needed(&identity) * PAGE_SIZE,
        seed: options.seed.map_or_else(|| platform.random_u64(), Ok)?,
        region,
        now: now(),
        dmesg: klog::read().unwrap_or_default(),
    };
    let drawn = work.draw()?;
    let composed = tsc();

    let orders = Orders {
        moves: &drawn.image.moves,
        list: drawn.image.list,
        entry: BzImage::entry(drawn.layout.window.start()),
        boot_params: drawn.boot_block.start(),
        timeline: Some(drawn.timeline),
        serial_port: Some(COM1),
    };
    let mover = MoverSegment::at(drawn.layout.mover.start(), &identity, orders)?;
    // Regions of earlier generations are kept as well.
    let mut kept = drawn.layout.in_place(&keep);
    kept.extend(map.of_type(E820Type::Pram).iter());
    let payload_len = (kernel.payload().len() as u64).next_multiple_of(PAGE_SIZE);
    let payload = PhysRange::from_len(drawn.layout.window.start(), payload_len)
        .map_err(|source| SaveError::BootBlock(source.into()))?;
    handover =
        Handover { start_tsc: clock.tsc, held_tsc: held, composed_tsc: composed, ..handover };
    let next_map = drawn.layout.next_map(&map);
    let entries = next_map.entries().len();
    if entries > IN_ZERO_PAGE {
        notes.push(format!(
            "the next kernel's memory map has {entries} entries; other programs hand on only \
             {IN_ZERO_PAGE}: do the next kexec with pkram as well"
        ));
    }
    let prepared = Prepared {
        costs: Costs::of(&next, &kernel, &next_map),
        next_map,
        kept,
        handover_offset: drawn.timeline + TIMELINE_BYTES as u64 - drawn.boot_block.start(),
        layout: drawn.layout,
        moves: drawn.moves,
        manifest: drawn.manifest,
        image: drawn.image,
        staging: drawn.staging,
        mover,
        handover,
        payload,
        region,
        _hold: hold,
        loaded: false,
        clock,
        stopped: None,
        save,
        census,
        next,
        notes,
    };
    prepared.kexec_image().check()?;
    Ok(prepared)
}
