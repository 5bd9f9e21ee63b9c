//! How memory lies in the running kernel.
//!
//! ```text
//! /proc/iomem   System RAM ─► ram     Kernel code … bss ─► kernel     System RAM (kmem) ─► given back
//! discover      spans ─► region       released ─► released            strangers, damaged ─► other
//! ```

use crate::picture::{Kind, Picture};
use crate::region::Discovered;
use physmem::{IomemResource, PhysRange, RangeSet};

/// The picture; where a region's own picture knows what lies in its spans, that is taken from there.
pub(super) fn now(iomem: &[IomemResource], found: &Discovered, known: &[Picture]) -> Picture {
    let named = |name: &'static str| iomem.iter().filter(move |r| r.name == name).map(|r| r.range);
    let spans = found.regions.iter().flat_map(|r| r.spans.iter().map(|s| (s.head.range, r.uuid)));
    let ranges = |kind, ranges: Vec<PhysRange>| ranges.into_iter().map(move |r| (r, kind));
    // The kernel cuts its RAM where the loader's parameters lie.
    let ram: RangeSet = named("System RAM").collect();
    // Hot-added memory, as `kmem` names it (`drivers/dax/kmem.c`).
    let claims = spans
        .clone()
        .map(|(range, _)| (range, Kind::Region))
        .chain(ranges(Kind::GivenBack, named("System RAM (kmem)").collect()))
        .chain(ranges(Kind::Released, found.released.iter().map(|d| d.range).collect()))
        .chain(ranges(Kind::Other, found.strangers.iter().map(|d| d.range).collect()))
        .chain(ranges(Kind::Other, found.damaged.iter().map(|d| d.device.range).collect()))
        .chain(ranges(Kind::Kernel, kernel(iomem).into_iter().collect()))
        .chain(ram.iter().map(|r| (r, Kind::Ram)));
    let mut picture = Picture::claim(claims);
    for strip in &mut picture.strips {
        let of = |range: &PhysRange| (range.start(), range.len()) == (strip.start, strip.len);
        let Some((_, uuid)) = spans.clone().find(|(range, _)| of(range)) else { continue };
        let uuid = uuid.to_string();
        let same = known.iter().flat_map(|p| &p.strips).find(|old| {
            (old.start, old.len, old.kind) == (strip.start, strip.len, Kind::Region)
                && old.region.as_ref() == Some(&uuid)
        });
        if let Some(old) = same {
            (strip.in_place, strip.moved_in) = (old.in_place, old.moved_in);
        }
        strip.region = Some(uuid);
    }
    picture
}

/// From the kernel's first byte of code to its last of data (`arch/x86/kernel/setup.c`).
fn kernel(iomem: &[IomemResource]) -> Option<PhysRange> {
    let parts = iomem.iter().filter(|r| r.depth > 0 && r.name.starts_with("Kernel "));
    parts.map(|r| r.range).collect::<RangeSet>().hull()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::SpanHead;
    use crate::picture::Strip;
    use crate::region::{Device, Region, Span};
    use physmem::parse_iomem;
    use uuid::Uuid;

    #[test]
    fn shows_what_the_kernel_says() {
        let iomem = "00001000-0009fbff : System RAM
00100000-0fffffff : System RAM
  01000000-01ffffff : Kernel code
  02000000-027fffff : Kernel rodata
  03000000-033fffff : Kernel bss
10000000-17ffffff : Persistent Memory (legacy)
  10000000-17ffffff : namespace0.0
18000000-27ffffff : Persistent Memory (legacy)
  20000000-27ffffff : System RAM (kmem)
28000000-2aaaaaaf : System RAM
2aaaaab0-2aaaaabf : System RAM
2aaaaac0-2fffffff : System RAM
fec00000-fec003ff : IOAPIC 0
";
        let range = PhysRange::new(0x1000_0000, 0x1800_0000).unwrap();
        let uuid = Uuid::from_u128(5);
        let device = |range| Device { sysfs: "/sys/x".into(), range, block: None, holder: None };
        let head = SpanHead {
            region: uuid,
            index: 0,
            count: 1,
            range,
            first_block: 0,
            region_blocks: range.pages(),
            created: 0,
            marks_from: None,
        };
        let region =
            Region { uuid, spans: vec![Span { head, device: device(range) }], missing: vec![] };
        let released = device(PhysRange::new(0x1800_0000, 0x2800_0000).unwrap());
        let found =
            Discovered { regions: vec![region], released: vec![released], ..Discovered::default() };
        let known = Strip {
            region: Some(uuid.to_string()),
            in_place: 4096,
            moved_in: 8192,
            ..Strip::new(range, Kind::Region)
        };
        let known = Picture { strips: vec![known.clone()], flows: Vec::new() };
        let picture = now(&parse_iomem(iomem).unwrap(), &found, std::slice::from_ref(&known));
        let seen: Vec<_> = picture.strips.iter().map(|s| (s.start, s.end(), s.kind)).collect();
        let want = [
            (0x1000, 0x9fc00, Kind::Ram),
            (0x10_0000, 0x100_0000, Kind::Ram),
            (0x100_0000, 0x340_0000, Kind::Kernel),
            (0x340_0000, 0x1000_0000, Kind::Ram),
            (0x1000_0000, 0x1800_0000, Kind::Region),
            (0x1800_0000, 0x2000_0000, Kind::Released),
            (0x2000_0000, 0x2800_0000, Kind::GivenBack),
            (0x2800_0000, 0x3000_0000, Kind::Ram),
        ];
        assert_eq!(seen, want);
        assert_eq!(picture.strips[4], known.strips[0]);
    }
}
