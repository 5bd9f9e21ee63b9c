//! From devices to regions: reads the heads and puts the spans together.
//!
//! Nothing outside the spans themselves is believed: a head is *ours* when its checksum holds and
//! the device that carries it lies exactly where the head says.

use super::device::{Device, DeviceError, devices, open_fresh};
use super::handback::is_ours;
use crate::head::{HEAD_BYTES, HeadError, SpanHead};
use crate::marks;
use crate::reserve::{Stale, refuse_stale};
use physmem::RangeSet;
use std::collections::HashSet;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use uuid::Uuid;

/// A span whose head is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it says.
    pub head: SpanHead,
    /// What carries it.
    pub device: Device,
}

/// A region with the spans that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name among regions, and the UUID of its filesystem.
    pub uuid: Uuid,
    /// Its spans by index.
    pub spans: Vec<Span>,
    /// Indices of spans that were not found.
    pub missing: Vec<u32>,
}

/// A device that carries no whole head although it may be a span: left exactly as it is.
#[derive(Debug)]
pub struct DamagedSpan {
    /// The device.
    pub device: Device,
    /// What is wrong.
    pub error: DamagedReason,
}

/// What keeps a device from being a span of ours.
#[derive(Debug, thiserror::Error)]
pub enum DamagedReason {
    /// The head does not check out.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The head is whole but speaks of another place.
    #[error("the head says the span lies at {claimed}, but the device lies at {actual}")]
    Elsewhere {
        /// By the head.
        claimed: physmem::PhysRange,
        /// By sysfs.
        actual: physmem::PhysRange,
    },
    /// Two devices claim to be the same span.
    #[error("span {index} of region {region} was found twice")]
    Twice {
        /// The region.
        region: Uuid,
        /// The span.
        index: u32,
    },
    /// The spans of a region tell different stories.
    #[error("the spans of region {region} contradict each other")]
    Contradiction {
        /// The region.
        region: Uuid,
    },
    /// Reserved memory that did not survive.
    #[error("region {region}: {faults}; it is left as it is")]
    Marks {
        /// The region.
        region: Uuid,
        /// Which marks.
        faults: marks::Faults,
    },
    /// Reserved memory that was RAM in between.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// Unreadable device.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Everything of type 12 in this machine.
#[derive(Debug, Default)]
pub struct Discovered {
    /// Regions, whole or with missing spans.
    pub regions: Vec<Region>,
    /// Devices that may have been spans.
    pub damaged: Vec<DamagedSpan>,
    /// Spans that were released: memory that is ours, free, and RAM again to the next kernel.
    pub released: Vec<Device>,
    /// Devices that no head claims: other people's persistent memory.
    pub strangers: Vec<Device>,
}

/// Finds all regions.
pub fn discover() -> Result<Discovered, DeviceError> {
    let mut found = Discovered::default();
    let mut gone = HashSet::new();
    for device in devices()? {
        let Some(block) = device.block.clone() else {
            let list = if is_ours(&device) { &mut found.released } else { &mut found.strangers };
            list.push(device);
            continue;
        };
        match read_head(&block, &device) {
            Ok(head) => found.add(Span { head, device }),
            Err(DamagedReason::Head(HeadError::Released { alone, head })) => {
                if !alone {
                    gone.insert(head.region);
                }
                found.released.push(device);
            }
            Err(DamagedReason::Head(HeadError::NotOurs { .. }))
                if !carries_rest(&block, &device) =>
            {
                found.strangers.push(device);
            }
            Err(error) => found.damaged.push(DamagedSpan { device, error }),
        }
    }
    found.forget(&gone);
    found.refuse_contradictions();
    for region in &mut found.regions {
        let count = region.spans.iter().map(|s| s.head.count).max().unwrap_or(0);
        region.missing =
            (0..count).filter(|i| region.spans.iter().all(|s| s.head.index != *i)).collect();
    }
    Ok(found)
}

impl Discovered {
    fn add(&mut self, span: Span) {
        let uuid = span.head.region;
        let Some(region) = self.regions.iter_mut().find(|r| r.uuid == uuid) else {
            self.regions.push(Region { uuid, spans: vec![span], missing: Vec::new() });
            return;
        };
        let index = span.head.index;
        if region.spans.iter().any(|s| s.head.index == index) {
            let error = DamagedReason::Twice { region: uuid, index };
            self.damaged.push(DamagedSpan { device: span.device, error });
        } else {
            region.spans.push(span);
        }
    }

    /// Takes apart the regions that `gone` names: a span of each is marked as released, so all are.
    fn forget(&mut self, gone: &HashSet<Uuid>) {
        let (over, whole): (Vec<_>, _) = std::mem::take(&mut self.regions)
            .into_iter()
            .partition(|region| gone.contains(&region.uuid));
        self.regions = whole;
        let spans = over.into_iter().flat_map(|region| region.spans);
        self.released.extend(spans.map(|span| span.device));
    }

    /// The memory that was released.
    pub fn released_memory(&self) -> RangeSet {
        self.released.iter().map(|device| device.range).collect()
    }

    /// Sorts the spans of each region, and takes regions apart whose spans do not fit together.
    fn refuse_contradictions(&mut self) {
        for region in &mut self.regions {
            region.spans.sort_by_key(|s| s.head.index);
        }
        let (whole, broken) =
            std::mem::take(&mut self.regions).into_iter().partition(Region::fits_together);
        self.regions = whole;
        for Region { uuid: region, spans, .. } in broken {
            self.damaged.extend(spans.into_iter().map(|Span { device, .. }| DamagedSpan {
                device,
                error: DamagedReason::Contradiction { region },
            }));
        }
    }
}

impl Region {
    /// Whether all spans, sorted by index, say the same of the region, and neighbours meet.
    fn fits_together(&self) -> bool {
        self.spans.windows(2).all(|pair| {
            let (a, b) = (&pair[0].head, &pair[1].head);
            let same =
                (a.count, a.region_blocks, a.created) == (b.count, b.region_blocks, b.created);
            let end = a.first_block + a.range.pages();
            same && (a.index + 1 != b.index || end == b.first_block) && end <= b.first_block
        })
    }

    /// How often a reserved region was made or arrived; `None` for a saved one.
    pub fn generation(&self) -> Option<u64> {
        let Span { head, device } = self.spans.first()?;
        head.marks_from?;
        let file = open_fresh(device.block.as_ref()?).ok()?;
        Some(marks::last_count(&file, head).ok()??.generation)
    }

    /// Size in bytes of the spans that were found.
    pub fn bytes(&self) -> u64 {
        self.spans.iter().map(|s| s.head.range.len()).sum()
    }
}

impl Device {
    /// Its block device if it has one, else its place in sysfs.
    pub fn name(&self) -> std::path::Display<'_> {
        self.block.as_ref().unwrap_or(&self.sysfs).display()
    }
}

fn read_head(block: &Path, device: &Device) -> Result<SpanHead, DamagedReason> {
    let mut bytes = [0; HEAD_BYTES];
    let file = open_fresh(block)?;
    file.read_exact_at(&mut bytes, 0)?;
    let head = SpanHead::parse(&bytes);
    let (Ok(SpanHead { range, .. })
    | Err(HeadError::Released { head: SpanHead { range, .. }, .. })) = head
    else {
        return Ok(head?);
    };
    if range != device.range {
        return Err(DamagedReason::Elsewhere { claimed: range, actual: device.range });
    }
    let head = head?;
    if head.marks_from.is_some() {
        let count = marks::check(&file, &head)?
            .map_err(|faults| DamagedReason::Marks { region: head.region, faults })?;
        refuse_stale(&head, count)?;
    }
    Ok(head)
}

/// Whether a device without a head carries the rest of a region: then the head is damaged.
fn carries_rest(block: &Path, device: &Device) -> bool {
    let marked = || marks::remain(&open_fresh(block)?, device.range.len());
    has_ext4_label(block) || matches!(marked(), Ok(Some(_)))
}

/// Whether a filesystem with the label `pkram` begins on the device: then a missing head is a
/// damaged one. Magic at 1024 + 0x38, label at 1024 + 0x78 (`fs/ext4/ext4.h`, `struct
/// ext4_super_block`).
fn has_ext4_label(block: &Path) -> bool {
    let mut super_block = [0; 1024];
    let read = open_fresh(block).and_then(|f| f.read_exact_at(&mut super_block, 1024));
    read.is_ok()
        && super_block[0x38..0x3a] == [0x53, 0xef]
        && super_block[0x78..0x7e] == *b"pkram\0"
}

#[cfg(test)]
mod tests {
    use super::*;
    use physmem::PhysRange;
    use std::path::PathBuf;

    fn span(index: u32, mib: u64, first_block: u64) -> Span {
        let range = PhysRange::from_len(mib << 20, 2 << 20).unwrap();
        let region = Uuid::from_u128(1);
        let (count, region_blocks, created, marks_from) = (3, 1536, 9, None);
        let head = SpanHead {
            region,
            index,
            count,
            range,
            first_block,
            region_blocks,
            created,
            marks_from,
        };
        Span { head, device: Device { sysfs: PathBuf::new(), range, block: None, holder: None } }
    }

    fn found(spans: Vec<Span>) -> (usize, usize) {
        let mut found = Discovered::default();
        spans.into_iter().for_each(|s| found.add(s));
        found.refuse_contradictions();
        (found.regions.len(), found.damaged.len())
    }

    #[test]
    fn spans_must_fit_together() {
        assert_eq!(found(vec![span(1, 8, 512), span(0, 2, 0), span(2, 16, 1024)]), (1, 0));
        // A missing one is missing, not a contradiction.
        assert_eq!(found(vec![span(0, 2, 0), span(2, 16, 1024)]), (1, 0));
        assert_eq!(found(vec![span(0, 2, 0), span(1, 8, 513)]), (0, 2));
        let mut other = span(1, 8, 512);
        other.head.created = 10;
        assert_eq!(found(vec![span(0, 2, 0), other]), (0, 2));
        assert_eq!(found(vec![span(0, 2, 0), span(0, 8, 0)]), (1, 1));
    }

    #[test]
    fn one_released_span_releases_its_region() {
        let mut found = Discovered::default();
        [span(1, 8, 512), span(2, 16, 1024)].into_iter().for_each(|s| found.add(s));
        found.forget(&HashSet::from([Uuid::from_u128(2)]));
        assert_eq!((found.regions.len(), found.released.len()), (1, 0));
        found.forget(&HashSet::from([Uuid::from_u128(1)]));
        assert_eq!((found.regions.len(), found.released_memory().bytes()), (0, 4 << 20));
    }
}
