//! Berths: free places for huge pages that must move, as whole and as aligned as they are.
//!
//! ```text
//! huge pages that cannot stay     [A][B]            [C]
//! stays, empty, whole granules           [  ][  ]       [  ]    [  ]
//! berths                                 [A ][B ]       [C ]
//! ```
//!
//! They are given out with the spans, before anything is staged, which must not lie there.

use crate::ground::Ground;
use crate::stretch::{Stretch, ground};
use crate::{GIANT, GRANULE, MoveRun};
use physmem::{PAGE_SIZE, PhysRange, RangeSet};

impl Ground<'_> {
    /// Bytes of huge pages that must move and find no berth in these spans.
    pub(crate) fn aground(&self, stretches: &[Stretch], spans: &RangeSet) -> u64 {
        match self.berths(stretches, spans, &RangeSet::new()) {
            Ok(_) => 0,
            Err(missing) => missing,
        }
    }

    /// Where each huge page goes that must move, ascending by source; or how many bytes of them find
    /// no place. Nothing goes where `taken` is.
    pub(crate) fn berths(
        &self,
        stretches: &[Stretch],
        spans: &RangeSet,
        taken: &RangeSet,
    ) -> Result<Vec<MoveRun>, u64> {
        let r = self.request;
        if r.huge.is_empty() && r.giant.is_empty() {
            return Ok(Vec::new());
        }
        let stays = self.stays(spans);
        let units = [(r.giant.subtract(&stays), GIANT), (r.huge.subtract(&stays), GRANULE)];
        if units.iter().all(|(leaving, _)| leaving.is_empty()) {
            return Ok(Vec::new());
        }
        let empty: Vec<_> = stretches.iter().filter(|s| s.cost == 0).copied().collect();
        let avoid = r.avoid.align_outward(PAGE_SIZE);
        let mut free = ground(&empty).intersect(&stays).subtract(taken).subtract(&avoid);
        let mut moves = Vec::new();
        let mut missing = 0;
        for (leaving, size) in units {
            let mut places: Vec<_> = free.align_inward(size).as_slice().to_vec();
            places.reverse();
            for unit in leaving.iter() {
                let mut from = unit.start();
                while from < unit.end() {
                    let Some(place) = places.pop() else { break };
                    let len = place.len().min(unit.end() - from);
                    moves.push(MoveRun { from, to: place.start(), len });
                    from += len;
                    places.extend(PhysRange::new(place.start() + len, place.end()));
                }
                missing += unit.end() - from;
            }
            let used = moves.iter().filter_map(|m| PhysRange::from_len(m.to, m.len).ok());
            free = free.subtract(&used.collect());
        }
        moves.sort_unstable();
        if missing == 0 { Ok(moves) } else { Err(missing) }
    }
}
