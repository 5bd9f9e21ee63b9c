//! From well-formed to ours: every address is checked before the first copy.
//!
//! ```text
//! params()       the block fits the place where the mover runs
//! List::check()  1. the chain ascends, ends where it should, every page and move is sound
//!                2. no move writes over a list page
//! ```
//!
//! What these checks leave to the loader: that a move does not write what a later one reads, and
//! that the page tables reach everything.

use core::ops::Range;

use crate::damage::{Damage, Fault, Place};
use crate::list::{ListPage, Move, PageBytes};
use crate::params::Params;
use crate::timeline::Timeline;
use crate::{ADDRESS_LIMIT, PAGE};

/// List pages that are compared with all moves in one go: 8 KiB of stack.
const BATCH: usize = 1024;

/// Reads the parameter block of the mover that lies at `mover` (code, data and stack).
///
/// # Errors
/// The first thing that is wrong.
pub fn params(bytes: &[u8; Params::SIZE], mover: Range<u64>) -> Result<Params, Damage> {
    let params = Params::from_bytes(bytes)?;
    let segment = params.segment_start..params.segment_end;
    let outside = |start: u64, len: u64| {
        let end = start.checked_add(len)?;
        (end <= ADDRESS_LIMIT && !overlap(&(start..end), &segment)).then_some(())
    };
    let check = |good: bool, fault, found, expected| {
        let damage = Damage { place: Place::Params, fault, found, expected };
        if good { Ok(()) } else { Err(damage) }
    };
    check(segment.start == mover.start, Fault::SegmentStart, segment.start, mover.start)?;
    check(
        aligned(segment.end) && (mover.end..=ADDRESS_LIMIT).contains(&segment.end),
        Fault::SegmentEnd,
        segment.end,
        mover.end,
    )?;
    let tables = mover.end..segment.end;
    check(
        aligned(params.page_table) && tables.contains(&params.page_table),
        Fault::PageTable,
        params.page_table,
        segment.end,
    )?;
    for (fault, start, len, optional) in [
        (Fault::Entry, params.entry, 1, false),
        (Fault::BootParams, params.boot_params, PAGE, false),
        (Fault::Timeline, params.timeline, Timeline::SIZE as u64, true),
    ] {
        let good = if start == 0 { optional } else { outside(start, len).is_some() };
        check(good, fault, start, ADDRESS_LIMIT)?;
    }
    // A 16550 has eight ports.
    check(params.serial_port <= 0xfff8, Fault::SerialPort, params.serial_port, 0xfff8)?;
    Ok(params)
}

/// A move list in which everything has been checked. `read` gives the page at an address.
#[derive(Clone, Copy, Debug)]
pub struct List<F> {
    first: u64,
    pages: u64,
    read: F,
}

impl<'a, F: Fn(u64) -> &'a PageBytes> List<F> {
    /// Walks the whole list and checks it. `read` is called only with page-aligned addresses below
    /// [`ADDRESS_LIMIT`], in strictly ascending order within one walk.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(params: &Params, read: F) -> Result<Self, Damage> {
        let list = Self { first: params.list, pages: params.list_pages, read };
        list.check_pages(params)?;
        list.check_destinations()?;
        Ok(list)
    }

    /// All moves, in order.
    pub fn moves(&self) -> impl Iterator<Item = Move> {
        self.chain().flat_map(|(_, page)| page.moves())
    }

    /// The pages of a chain that [`Self::check_pages`] has walked.
    fn chain(&self) -> impl Iterator<Item = (u64, ListPage<'a>)> {
        let mut addr = self.first;
        (0..self.pages).map_while(move |_| {
            let at = addr;
            let page = ListPage::view((at != 0).then(|| (self.read)(at))?);
            addr = page.next();
            Some((at, page))
        })
    }

    fn check_pages(&self, params: &Params) -> Result<(), Damage> {
        let damaged = |place, fault, found, expected| Err(Damage { place, fault, found, expected });
        let segment = params.segment_start..params.segment_end;
        let (mut pages, mut moves) = (0, 0);
        let (mut previous, mut addr, mut place) = (0, self.first, Place::Params);
        while addr != 0 {
            if pages == self.pages {
                return damaged(place, Fault::ListPages, pages + 1, self.pages);
            }
            if !aligned(addr) || addr <= previous || addr > ADDRESS_LIMIT - PAGE {
                return damaged(place, Fault::ListOrder, addr, previous);
            }
            place = Place::ListPage(addr);
            let page = ListPage::from_bytes(addr, (self.read)(addr))?;
            for m in page.moves() {
                check_move(&m, place, &segment)?;
                moves += 1;
            }
            pages += 1;
            (previous, addr) = (addr, page.next());
        }
        if pages != self.pages {
            return damaged(place, Fault::ListPages, pages, self.pages);
        }
        let promised = params.phase_moves.iter().try_fold(0_u64, |sum, &n| sum.checked_add(n));
        if promised != Some(moves) {
            return damaged(Place::Params, Fault::Moves, promised.unwrap_or(u64::MAX), moves);
        }
        Ok(())
    }

    /// Compares every destination with every list page: the ascending addresses are taken in
    /// batches and searched by bisection, so that a list of a million moves takes milliseconds.
    fn check_destinations(&self) -> Result<(), Damage> {
        let mut batch = [0; BATCH];
        let mut chain = self.chain().map(|(addr, _)| addr);
        loop {
            let mut used = 0;
            for (slot, addr) in batch.iter_mut().zip(chain.by_ref()) {
                *slot = addr;
                used += 1;
            }
            let pages = batch.get(..used).unwrap_or_default();
            if pages.is_empty() {
                return Ok(());
            }
            for (at, page) in self.chain() {
                for m in page.moves() {
                    let ahead = pages.partition_point(|&addr| addr + PAGE <= m.to);
                    if let Some(&addr) = pages.get(ahead)
                        && addr < m.to + m.len
                    {
                        let place = Place::ListPage(at);
                        let fault = Fault::OverList;
                        return Err(Damage { place, fault, found: m.to, expected: addr });
                    }
                }
            }
        }
    }
}

fn check_move(m: &Move, place: Place, segment: &Range<u64>) -> Result<(), Damage> {
    let damaged = |fault, found, expected| Err(Damage { place, fault, found, expected });
    if m.len == 0 || !aligned(m.len) {
        return damaged(Fault::Length, m.len, PAGE);
    }
    let Some(from) = whole(m.from, m.len) else {
        return damaged(Fault::From, m.from, ADDRESS_LIMIT);
    };
    let Some(to) = whole(m.to, m.len) else {
        return damaged(Fault::To, m.to, ADDRESS_LIMIT);
    };
    if overlap(&from, &to) {
        return damaged(Fault::Overlap, m.to, m.from);
    }
    if overlap(&to, segment) {
        return damaged(Fault::OverMover, m.to, segment.start);
    }
    Ok(())
}

/// The page-aligned range from `start` on, if it stays below the limit.
fn whole(start: u64, len: u64) -> Option<Range<u64>> {
    let end = start.checked_add(len)?;
    (aligned(start) && end <= ADDRESS_LIMIT).then_some(start..end)
}

fn aligned(addr: u64) -> bool {
    addr.is_multiple_of(PAGE)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
