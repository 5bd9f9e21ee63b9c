//! How physical memory lies: strips from low to high addresses, and what moves between them.
//!
//! ```text
//! plan   | ram        | region 0    ..in place..  | ram | window | initrd | ram | region 1   |
//!                       ▲ moved in                   │ moved out
//!                       └────────── flow ────────────┘
//! ```
//!
//! The plan's picture travels in the region's manifest, so that the next kernel can show what the
//! old one meant. It is bounded: [`MAX_STRIPS`] strips and [`MAX_FLOWS`] flows.

use physmem::{E820Type, FrameSet, MemoryMap, PhysRange, RangeSet};
use plan::{Layout, MoveRun};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// At most so many strips; with more, small neighbours become one.
pub const MAX_STRIPS: usize = 256;

/// At most so many flows; of more, the largest are kept.
pub const MAX_FLOWS: usize = 256;

/// Physical memory, piece by piece.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Ascending; none touches what is no memory.
    pub strips: Vec<Strip>,
    /// What moves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<Flow>,
}

/// A piece of memory with one use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strip {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// What it is used for.
    pub kind: Kind,
    /// The region that it belongs to, by its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Bytes of kept pages that stay in it where they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_place: u64,
    /// Bytes of kept pages that move away.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moved_out: u64,
    /// Bytes of kept pages that move in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moved_in: u64,
}

/// What a strip is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// RAM of the kernel, free or in use.
    Ram,
    /// A span of a region.
    Region,
    /// Somebody else's persistent memory.
    Other,
    /// The next kernel's image, and where it unpacks itself.
    Window,
    /// The next kernel's initrd.
    Initrd,
    /// The next kernel's parameters.
    Parameters,
    /// The program that runs between the kernels.
    Mover,
    /// The running kernel's code and data.
    Kernel,
    /// RAM that was a region's.
    GivenBack,
    /// A released span that is not RAM yet.
    Released,
}

/// Bytes that move from one strip to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Index of the strip that they leave.
    pub from: usize,
    /// Index of the strip that they come to.
    pub to: usize,
    /// How many.
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl Strip {
    /// Nothing kept in it yet.
    #[must_use]
    pub const fn new(range: PhysRange, kind: Kind) -> Self {
        let (start, len) = (range.start(), range.len());
        Self { start, len, kind, region: None, in_place: 0, moved_out: 0, moved_in: 0 }
    }

    /// The byte behind it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// What the planner decided, to be drawn.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Memory before, without this plan's spans.
    pub(crate) map: &'a MemoryMap,
    pub(crate) layout: &'a Layout,
    pub(crate) keep: &'a FrameSet,
    pub(crate) moves: &'a [MoveRun],
    pub(crate) region: &'a str,
}

impl Picture {
    /// The picture of a plan. Whatever is wanted first has a place; RAM is what is left.
    pub(crate) fn of_plan(plan: &Plan<'_>) -> Self {
        let layout = plan.layout;
        let mut picture = Self::claim(
            layout
                .spans
                .iter()
                .map(|span| (*span, Kind::Region))
                .chain(plan.map.of_type(E820Type::Pram).iter().map(|r| (r, Kind::Other)))
                .chain([(layout.window, Kind::Window), (layout.boot_block, Kind::Parameters)])
                .chain(layout.initrd.map(|range| (range, Kind::Initrd)))
                .chain([(layout.mover, Kind::Mover)])
                .chain(plan.map.ram().iter().map(|range| (range, Kind::Ram))),
        );
        let (stay, go) = (layout.in_place(plan.keep), layout.displaced(plan.keep));
        for strip in &mut picture.strips {
            if strip.kind == Kind::Region {
                strip.region = Some(plan.region.to_owned());
            }
            if let Ok(range) = PhysRange::from_len(strip.start, strip.len) {
                strip.in_place = stay.bytes_within(range);
                strip.moved_out = go.bytes_within(range);
            }
        }
        picture.follow(plan.moves);
        picture
    }

    /// Strips of what is claimed: of two claims the first counts. Touching ranges stay apart.
    pub(crate) fn claim(claims: impl Iterator<Item = (PhysRange, Kind)>) -> Self {
        let mut taken = RangeSet::new();
        let mut strips = Vec::new();
        for (range, kind) in claims {
            let set = RangeSet::from(range);
            strips.extend(set.subtract(&taken).iter().map(|range| Strip::new(range, kind)));
            taken = taken.union(&set);
        }
        strips.sort_by_key(|strip| strip.start);
        let mut floor = 1 << 20;
        while strips.len() > MAX_STRIPS && floor < 1 << 52 {
            strips = join(strips, floor);
            floor <<= 1;
        }
        Self { strips, flows: Vec::new() }
    }

    /// The strip at an address.
    pub(crate) fn at(&self, address: u64) -> Option<usize> {
        let index = self.strips.partition_point(|strip| strip.end() <= address);
        self.strips.get(index).filter(|strip| strip.start <= address).map(|_| index)
    }

    /// Adds up the moves by the strips that they lead from and to.
    fn follow(&mut self, moves: &[MoveRun]) {
        let mut sums = BTreeMap::<(usize, usize), u64>::new();
        for &(mut run) in moves {
            while run.len > 0 {
                let (Some(from), Some(to)) = (self.at(run.from), self.at(run.to)) else { break };
                let ends = (self.strips[from].end() - run.from).min(self.strips[to].end() - run.to);
                let here = run.len.min(ends);
                *sums.entry((from, to)).or_default() += here;
                self.strips[to].moved_in += here;
                run = MoveRun { from: run.from + here, to: run.to + here, len: run.len - here };
            }
        }
        let flow = |((from, to), bytes)| Flow { from, to, bytes };
        self.flows = sums.into_iter().map(flow).collect();
        if self.flows.len() > MAX_FLOWS {
            self.flows.sort_by_key(|flow| std::cmp::Reverse(flow.bytes));
            self.flows.truncate(MAX_FLOWS);
            self.flows.sort_by_key(|flow| (flow.from, flow.to));
        }
    }

    /// A picture that somebody else may have written: `None` unless its strips ascend below the end
    /// of addresses, what is in them fits, and flows lead from strip to strip.
    #[must_use]
    pub fn checked(self) -> Option<Self> {
        let few = self.strips.len() <= MAX_STRIPS && self.flows.len() <= MAX_FLOWS;
        let whole = |s: &Strip| {
            let kept = s.in_place.checked_add(s.moved_in)?.max(s.moved_out);
            (PhysRange::from_len(s.start, s.len).is_ok() && kept <= s.len).then_some(())
        };
        let ascend = self.strips.windows(2).all(|pair| pair[0].end() <= pair[1].start);
        let count = self.strips.len();
        let lead = self.flows.iter().all(|flow| flow.from < count && flow.to < count);
        let good = few && ascend && lead && self.strips.iter().all(|s| whole(s).is_some());
        good.then_some(self)
    }
}

/// Makes one strip of each run of neighbours below `floor` bytes; it is called after the largest.
fn join(strips: Vec<Strip>, floor: u64) -> Vec<Strip> {
    let mut joined: Vec<(Strip, u64)> = Vec::new();
    for strip in strips {
        match joined.last_mut() {
            Some((last, largest)) if last.len < floor && strip.len < floor => {
                if strip.len > *largest {
                    (last.kind, *largest) = (strip.kind, strip.len);
                }
                last.len = strip.end() - last.start;
            }
            _ => {
                let len = strip.len;
                joined.push((strip, len));
            }
        }
    }
    joined.into_iter().map(|(strip, _)| strip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(start << 20, end << 20).unwrap()
    }

    #[test]
    fn the_first_claim_counts_and_moves_add_up() {
        let claims = [
            (range(8, 16), Kind::Region),
            (range(20, 22), Kind::Window),
            (range(4, 32), Kind::Ram),
            (range(40, 48), Kind::Ram),
        ];
        let mut picture = Picture::claim(claims.into_iter());
        let seen: Vec<_> =
            picture.strips.iter().map(|s| (s.start >> 20, s.len >> 20, s.kind)).collect();
        let want = [
            (4, 4, Kind::Ram),
            (8, 8, Kind::Region),
            (16, 4, Kind::Ram),
            (20, 2, Kind::Window),
            (22, 10, Kind::Ram),
            (40, 8, Kind::Ram),
        ];
        assert_eq!(seen, want);
        assert_eq!((picture.at(36 << 20), picture.at(47 << 20)), (None, Some(5)));
        let run = |from: u64, to: u64, len| MoveRun { from: from << 20, to: to << 20, len };
        picture.follow(&[run(20, 8, 4096), run(21, 9, 8192), run(4, 10, 4096)]);
        let flow = |from, to, bytes| Flow { from, to, bytes };
        assert_eq!(picture.flows, [flow(0, 1, 4096), flow(3, 1, 12288)]);
        assert_eq!(picture.strips[1].moved_in, 16384);
        assert!(picture.checked().is_some());
    }

    #[test]
    fn however_many_ranges_there_are_the_picture_is_small() {
        let claims = (0..3000).map(|i| (range(2 * i, 2 * i + 1), Kind::Ram));
        let picture = Picture::claim(claims);
        assert!(picture.strips.len() <= MAX_STRIPS, "{}", picture.strips.len());
        assert!(picture.checked().is_some());
    }

    #[test]
    fn forged_pictures_are_refused() {
        let strip = |start, len| Strip { start, len, ..Strip::new(range(0, 1), Kind::Ram) };
        let picture = |strips| Picture { strips, flows: Vec::new() };
        let good = vec![strip(0, 4096), strip(8192, 4096)];
        assert!(picture(good.clone()).checked().is_some());
        assert!(picture(vec![strip(8192, 4096), strip(0, 4096)]).checked().is_none());
        assert!(picture(vec![strip(0, 0)]).checked().is_none());
        assert!(picture(vec![strip(u64::MAX - 1, 4096)]).checked().is_none());
        assert!(picture(vec![Strip { in_place: 8192, ..strip(0, 4096) }]).checked().is_none());
        let flows = vec![Flow { from: 0, to: 2, bytes: 1 }];
        assert!(Picture { strips: good, flows }.checked().is_none());
        assert!(picture((0..300).map(|i| strip(i * 8192, 4096)).collect()).checked().is_none());
    }
}
