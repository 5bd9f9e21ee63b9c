//! Planning for synthetic hosts: how long it takes, what memory it needs, what comes of it.
//!
//! Each host is measured in a process of its own, because a process has but one peak.

use anyhow::{Context, Result};
use physmem::FrameSet;
use plan::synthetic::{Lie, host, kept, request};
use plan::{assign, lay_out};

use super::figure::{Figure, Row};
use super::once::{peak_mib, timed};

/// Sizes in GiB, ascending.
const SIZES: [u64; 3] = [64, 1024, 16_384];

const LIES: [(Lie, &str); 3] = [
    (Lie::Contiguous, "two runs of kept pages"),
    (Lie::Aged, "kept pages in pieces of all sizes"),
    (Lie::Scattered, "every second page kept"),
];

/// How many hosts there are.
pub(super) const HOSTS: usize = SIZES.len() * LIES.len();

/// Plans for one of the hosts.
pub(super) fn measure(number: usize) -> Result<Vec<Figure>> {
    let (lie, how) = *LIES.get(number / SIZES.len()).context("there are not so many hosts")?;
    let size = SIZES[number % SIZES.len()];
    let map = host(size << 30);
    let keep = kept(&map, lie);
    let (layout, laid_out) = timed(|| lay_out(&request(&map, &keep)));
    let layout = layout?;
    let mut moves = 0_u64;
    let (done, assigned) = timed(|| assign(&layout, &keep, &FrameSet::new(), |_| moves += 1));
    done?;
    let peak = peak_mib()?;

    let name = |what| format!("{}.{what}", host_name(number));
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let f = layout.figures;
    let mut seconds = Figure::new(&name("seconds"), laid_out + assigned, "s", how);
    let mut memory = Figure::new(&name("peak"), peak, "MiB", "with the kept pages themselves");
    if (size, lie) == (1024, Lie::Scattered) {
        seconds = seconds.at_most(1.0);
        memory = memory.at_most(256.0);
    }
    let about = format!("of {:.0} GiB, in {moves} moves", gib(f.kept));
    Ok(vec![
        seconds,
        memory,
        Figure::new(&name("moved"), gib(f.displaced), "GiB", about),
        Figure::new(&name("spans"), layout.spans.len() as f64, "", "at most 31 asked for"),
        Figure::new(&name("waste"), gib(f.waste), "GiB", "free blocks of the region"),
    ])
}

/// How much longer the larger hosts took than the next smaller ones. All rows of one host stand
/// together, and the hosts ascend as their numbers do.
pub(super) fn growth(rows: &[Row]) -> Vec<Row> {
    let seconds: Vec<_> = rows.iter().filter(|row| row.name.ends_with(".seconds")).collect();
    let pages = |number: usize| (SIZES[number % SIZES.len()] << 18) as f64;
    let pairs = seconds.windows(2).zip(1..).filter(|(_, number)| number % SIZES.len() > 0);
    let grown = pairs.map(|(pair, number)| {
        let ratio = |n: f64, of: f64| n * n.log2() / (of * of.log2());
        let allowed = ratio(pages(number), pages(number - 1));
        let runs = pair[0].runs.iter().zip(&pair[1].runs).map(|(less, more)| more / less).collect();
        Row {
            name: format!("{}.growth", host_name(number)),
            value: pair[1].value / pair[0].value,
            unit: "×".into(),
            runs,
            about: format!(
                "seconds to those of {} GiB; n log n of the pages is {allowed:.1} ×",
                SIZES[number % SIZES.len() - 1]
            ),
            at_most: None,
        }
    });
    grown.collect()
}

/// `plan.1t-scattered` and the like.
fn host_name(number: usize) -> String {
    let lie = format!("{:?}", LIES[number / SIZES.len()].0).to_lowercase();
    match SIZES[number % SIZES.len()] {
        gib if gib < 1024 => format!("plan.{gib}g-{lie}"),
        gib => format!("plan.{}t-{lie}", gib / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_from_one_size_to_the_next() {
        let row = |number: usize, seconds: f64| Row {
            name: format!("{}.seconds", host_name(number)),
            value: seconds,
            unit: "s".into(),
            runs: vec![seconds],
            about: String::new(),
            at_most: None,
        };
        let rows: Vec<_> = (0..HOSTS).map(|n| row(n, 3_f64.powf(n as f64))).collect();
        let grown = growth(&rows);
        assert_eq!(grown.len(), HOSTS - LIES.len());
        assert!(grown.iter().all(|g| (g.value - 3.0).abs() < 1e-9 && g.runs == [g.value]));
        assert_eq!(grown[0].name, "plan.1t-contiguous.growth");
        assert_eq!(grown[5].name, "plan.16t-scattered.growth");
        assert!(grown[5].about.contains("18.3 ×"), "{}", grown[5].about);
    }
}
