//! What a plan comes to, and why there is none.

use super::{Answer, Finding};
use crate::census::CensusError;
use crate::manifest::PlanFigures;
use crate::save::{Costs, NextError, Prepared, SaveError};
use plan::PlanError;
use std::hint::black_box;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// What programs need at least, in bytes: below that a system hardly gets to its first shell.
const PROGRAMS: u64 = 64 * MIB;

/// How much is copied to learn how fast this machine copies: little, because memory may be full.
const SAMPLE: usize = 4 << 20;

pub(super) fn findings(prepared: &Prepared) -> Vec<Finding> {
    let figures = &prepared.manifest.plan;
    let costs = &prepared.costs;
    vec![
        ram(figures, costs),
        moves(figures),
        spans(figures),
        returnable(figures),
        restore(figures, costs),
    ]
}

fn ram(figures: &PlanFigures, costs: &Costs) -> Finding {
    let Costs { kernel, initrd, struct_pages, crashkernel, swiotlb, watermarks } = *costs;
    let free = figures.ram_left.saturating_sub(costs.total());
    let reason = format!(
        "{} MiB of RAM: about {} for the kernel, {} for the initrd, {} for struct pages, {} kept \
         free, {} for swiotlb, {} for crashkernel=, and {} for programs",
        figures.ram_left / MIB,
        kernel / MIB,
        initrd / MIB,
        struct_pages.div_ceil(MIB),
        watermarks / MIB,
        swiotlb / MIB,
        crashkernel / MIB,
        free / MIB,
    );
    if free >= PROGRAMS {
        return Finding::yes("RAM left", reason);
    }
    Finding::new("RAM left", Answer::Unknown, reason)
        .with_remedy(Some("keep less, or ask for more with --reserve-ram"))
}

fn moves(figures: &PlanFigures) -> Finding {
    let time = copying(figures.moved);
    let reason = format!(
        "{} of {} KiB move, in {} moves: about {:.3} s of the blackout",
        figures.moved / 1024,
        figures.preserved / 1024,
        figures.moves,
        time.as_secs_f64()
    );
    Finding::yes("moves", reason)
}

/// How long this machine copies so much, by a sample.
fn copying(bytes: u64) -> Duration {
    let from = vec![1_u8; SAMPLE];
    let mut to = vec![2_u8; SAMPLE];
    let start = Instant::now();
    black_box(&mut to).copy_from_slice(black_box(&from));
    let nanos = start.elapsed().as_nanos() * u128::from(bytes) / SAMPLE as u128;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn spans(figures: &PlanFigures) -> Finding {
    let count = figures.spans.len();
    let waste = figures.region.saturating_sub(figures.preserved + figures.metadata);
    let reason = format!(
        "{count} of {} MiB, of which {} MiB are room in the region's filesystem",
        figures.region / MIB,
        waste / MIB
    );
    Finding::yes("spans", reason)
}

fn returnable(figures: &PlanFigures) -> Finding {
    let reason = format!(
        "{} of {} MiB while the next kernel runs, the rest at the kexec after it",
        figures.returnable / MIB,
        figures.region / MIB
    );
    if figures.returnable > 0 {
        return Finding::yes("release", reason);
    }
    Finding::new("release", Answer::Unknown, reason)
        .with_remedy(Some("only whole memory blocks come back at once: keep more at a time"))
}

fn restore(figures: &PlanFigures, costs: &Costs) -> Finding {
    let free = figures.ram_left.saturating_sub(costs.total());
    let reason = format!(
        "copying all back and giving it up span by span takes {} MiB besides the region, and programs \
         have {} MiB",
        figures.copy_room / MIB,
        free / MIB
    );
    if figures.copy_room <= free {
        return Finding::yes("restore", reason);
    }
    Finding::new("restore", Answer::Unknown, reason).with_remedy(Some(
        "use the region in place (`pkram mount`), restore some nodes at a time, or keep less",
    ))
}

/// Why there is no plan.
pub(super) fn refusal(error: &SaveError) -> Finding {
    let about = match error {
        SaveError::Plan(PlanError::TooLittleRam { .. } | PlanError::NoPlace { .. })
        | SaveError::Staging(_) => "RAM left",
        SaveError::Plan(
            PlanError::FixedMustMove { .. }
            | PlanError::NoBerth { .. }
            | PlanError::NoDestination { .. },
        ) => "moves",
        SaveError::Plan(
            PlanError::TooManySpans { .. }
            | PlanError::TooManyEntries { .. }
            | PlanError::NoPieces { .. },
        ) => "spans",
        SaveError::Census(CensusError::Pins { .. }) => "holding",
        SaveError::Census(_) | SaveError::Changed { .. } | SaveError::Tree(_) => "sources",
        SaveError::Next(NextError::Blind(_)) => "command line",
        SaveError::Next(_) => "next kernel",
        _ => "plan",
    };
    Finding::no(about, error.to_string()).with_remedy(error.remedy())
}
