//! What must hold of every plan.

use physmem::{E820Entry, E820Type, FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{
    FOUR_GIB, GRANULE, KernelNeeds, LOW_LIMIT, Layout, MoveRun, Node, Pieces, PlanError, Request,
    SPAN_HEAD_BYTES, assign,
};

pub(crate) const MIB: u64 = 1 << 20;

/// The larger of the huge pages.
pub(crate) const GIANT: u64 = 1 << 30;

/// A request that owns what it speaks of.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) map: MemoryMap,
    pub(crate) keep: FrameSet,
    pub(crate) fixed: FrameSet,
    pub(crate) huge: RangeSet,
    pub(crate) giant: RangeSet,
    pub(crate) avoid: RangeSet,
    pub(crate) nodes: Vec<Node>,
    pub(crate) staged_bytes: u64,
    pub(crate) init_size: u64,
    pub can_be_above_4g: bool,
    pub(crate) initrd_bytes: u64,
    pub(crate) mover_bytes: u64,
    pub(crate) head_bytes: u64,
    pub(crate) reserve_ram: u64,
    pub(crate) low_ram: u64,
    pub(crate) memory_block: u64,
    pub(crate) max_spans: usize,
    pub(crate) max_entries: usize,
    pub(crate) span_price: u64,
    pub(crate) pieces: Pieces,
    pub(crate) stay_price: u64,
    pub(crate) seed: u64,
}

impl Machine {
    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            map: &self.map,
            keep: &self.keep,
            fixed: &self.fixed,
            huge: &self.huge,
            giant: &self.giant,
            avoid: &self.avoid,
            nodes: &self.nodes,
            kernel: KernelNeeds {
                init_size: self.init_size,
                alignment: 2 * MIB,
                min_addr: 16 * MIB,
                can_be_above_4g: self.can_be_above_4g,
            },
            initrd_bytes: self.initrd_bytes,
            initrd_max_addr: u64::from(u32::MAX) >> 1,
            boot_block_bytes: 20_000,
            mover_bytes: self.mover_bytes,
            head_bytes: self.head_bytes,
            staged_bytes: self.staged_bytes,
            reserve_ram: self.reserve_ram,
            low_ram: self.low_ram,
            memory_block: self.memory_block,
            max_spans: self.max_spans,
            span_price: self.span_price,
            pieces: self.pieces,
            max_entries: self.max_entries,
            stay_price: self.stay_price,
            seed: self.seed,
        }
    }
}

pub(crate) fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(start, end).unwrap()
}

pub(crate) fn map(entries: &[(u64, u64, E820Type)]) -> MemoryMap {
    let entry = |&(start, end, kind)| E820Entry { range: range(start, end), kind };
    MemoryMap::from_entries(entries.iter().map(entry))
}

/// What copying span by span takes, were all moved pages in the last spans.
fn copy_room(m: &Machine, layout: &Layout) -> u64 {
    let (stays, mut moved) = (layout.in_place(&m.keep), layout.figures.displaced);
    let top = layout.next_map(&m.map).ram().hull().unwrap().end();
    let (mut copied, mut returned, mut most) = (0, 0, 0);
    for (i, span) in layout.spans.iter().enumerate().rev() {
        let head = if i == 0 { layout.head.len() } else { SPAN_HEAD_BYTES };
        let stay = stays.bytes_within(*span);
        let filled = moved.min(span.len() - stay - head.min(span.len() - stay));
        moved -= filled;
        copied += stay + filled;
        most = most.max(copied - copied.min(returned));
        if span.end() < top || !m.nodes.is_empty() {
            let whole = range(span.start() + GRANULE, span.end().max(span.start() + 2 * GRANULE));
            returned += whole.align_inward(m.memory_block).map_or(0, PhysRange::len);
        }
    }
    most
}

/// Everything that must hold of every plan.
pub(crate) fn check(machine: &Machine, layout: &Layout) {
    let m = machine;
    let r = m.request();
    let ram = m.map.ram();
    let spans: RangeSet = layout.spans.iter().copied().collect();
    let total = ram.bytes();

    // Spans are aligned, apart, inside of RAM, few; nothing below 1 MiB.
    assert!((1..=m.max_spans).contains(&layout.spans.len()));
    assert!(layout.spans.windows(2).all(|w| w[0].end() <= w[1].start()), "ascending and apart");
    for pair in layout.spans.windows(2).filter(|w| w[0].end() == w[1].start()) {
        let border = |node: &Node| node.memory.iter().any(|m| m.start() == pair[1].start());
        let cut = (pair[1].start() + GRANULE).is_multiple_of(m.memory_block);
        assert!(
            m.nodes.iter().any(border) || cut && m.pieces != Pieces::Any,
            "two touch amid a node"
        );
    }
    for span in &layout.spans {
        let on = m.nodes.iter().filter(|node| node.memory.overlaps(*span)).collect::<Vec<_>>();
        assert!(on.len() <= 1 && on.iter().all(|node| node.memory.contains_range(*span)));
    }
    let room = copy_room(m, layout);
    assert!(room <= layout.figures.copy_room, "{room} > {:?}", layout.figures);
    if let Pieces::Parts(parts) = m.pieces {
        assert!(layout.figures.copy_room <= m.keep.bytes() / parts, "{:?}", layout.figures);
    }
    assert!(layout.spans.iter().all(|s| s.is_aligned(GRANULE) && s.start() >= LOW_LIMIT));
    assert!(spans.subtract(&ram).is_empty());

    // All RAM is kept, and the next kernel has its share.
    let next = layout.next_map(&m.map);
    assert_eq!(next.ram().union(&spans), ram);
    assert!(!next.ram().overlaps(spans.hull().unwrap()) || next.ram().intersect(&spans).is_empty());
    assert_eq!(next.ram().bytes(), layout.figures.ram);
    assert!(layout.figures.ram >= m.reserve_ram, "{} < {}", layout.figures.ram, m.reserve_ram);
    assert!(next.entries().len() <= r.max_entries);
    let devices =
        |map: &MemoryMap| map.entries().iter().filter(|e| e.kind == E820Type::Pram).count();
    assert_eq!(devices(&next), devices(&m.map) + layout.spans.len());
    for e in m.map.entries().iter().filter(|e| e.kind == E820Type::Pram) {
        assert!(next.entries().contains(e), "an earlier region stays as it is");
    }

    // Every part lies where it may and overlaps no other.
    let mut parts = vec![layout.window, layout.boot_block, layout.mover, layout.head];
    parts.extend(layout.initrd);
    parts.extend(layout.low_ram);
    for (i, a) in parts.iter().enumerate() {
        assert!(ram.contains_range(*a) && a.start() >= LOW_LIMIT, "{a:?}");
        assert!(a.is_aligned(PAGE_SIZE) && !m.avoid.overlaps(*a), "{a:?}");
        assert!(parts[i + 1..].iter().all(|b| !a.overlaps(*b)), "{a:?} in {parts:?}");
    }
    let beside = [Some(layout.window), Some(layout.boot_block), layout.initrd, layout.low_ram];
    assert!(beside.into_iter().flatten().all(|p| !spans.overlaps(p)));
    let (w, k) = (layout.window, r.kernel);
    assert!(w.start().is_multiple_of(k.alignment) && w.start() >= k.min_addr);
    assert!(w.len() >= k.init_size && (k.can_be_above_4g || w.end() <= FOUR_GIB));
    assert!(layout.boot_block.len() >= r.boot_block_bytes && layout.boot_block.end() <= FOUR_GIB);
    assert_eq!(layout.initrd.map_or(0, PhysRange::len), m.initrd_bytes);
    assert!(layout.initrd.is_none_or(|i| i.end() - 1 <= r.initrd_max_addr));
    let low = layout.low_ram.map_or(0, |l| if l.end() <= FOUR_GIB { l.len() } else { 0 });
    assert_eq!(low, m.low_ram);
    assert!(layout.mover.len() >= m.mover_bytes && !m.keep.overlaps(layout.mover));
    assert_eq!(layout.head.start(), layout.spans[0].start());
    assert!(layout.head.len() >= m.head_bytes && layout.spans[0].contains_range(layout.head));

    // Displaced is just what cannot stay; in-place pages can.
    let heads = heads(layout);
    let (kept, displaced) = (ranges(&m.keep), displaced(m, layout));
    let stays = kept.intersect(&spans).subtract(&heads);
    let leaving = kept.subtract(&stays);
    let broken = |units: &RangeSet, size| units.intersect(&leaving).align_outward(size);
    let huge = broken(&m.huge, GRANULE).union(&broken(&m.giant, GIANT));
    assert_eq!(displaced, leaving.union(&huge));
    assert!(displaced.intersect(&ranges(&m.fixed)).is_empty());
    assert!(heads.intersect(&m.avoid).is_empty());

    let f = layout.figures;
    assert_eq!((f.kept, f.displaced), (m.keep.bytes(), displaced.bytes()));
    assert_eq!(f.waste + f.kept + heads.bytes(), spans.bytes());
    assert_eq!(f.ram + spans.bytes(), total);
    assert!(f.returnable <= spans.bytes());

    // Region blocks and addresses are each other's inverse.
    let mut block = 0;
    for s in &layout.spans {
        for at in [s.start(), s.start() + GRANULE / 2, s.end() - PAGE_SIZE] {
            let b = block + (at - s.start()) / PAGE_SIZE;
            assert_eq!(layout.region_block_of(at), Some(b));
            assert_eq!(layout.phys_of_block(b), Some(at));
        }
        block += s.pages();
    }
    assert_eq!(layout.region_blocks(), block);
    assert_eq!(layout.phys_of_block(block), None);
    assert_eq!(layout.region_block_of(layout.window.start()), None);
}

/// A set of page frames as ranges.
pub(crate) fn ranges(frames: &FrameSet) -> RangeSet {
    frames.iter().collect()
}

pub(crate) fn displaced(machine: &Machine, layout: &Layout) -> RangeSet {
    ranges(&layout.displaced(&machine.keep))
}

/// All moves, as they come.
pub(crate) fn moves(
    machine: &Machine,
    layout: &Layout,
    staged: &RangeSet,
) -> Result<Vec<MoveRun>, PlanError> {
    let mut moves = Vec::new();
    assign(layout, &machine.keep, &FrameSet::from(staged), |m| moves.push(m))?;
    Ok(moves)
}

/// The heads of all spans.
pub(crate) fn heads(layout: &Layout) -> RangeSet {
    let later = layout.spans[1..].iter().map(|s| PhysRange::from_len(s.start(), SPAN_HEAD_BYTES));
    later.map(Result::unwrap).chain([layout.head]).collect()
}

/// Every displaced page has one destination, and nothing else is there.
pub(crate) fn check_moves(
    machine: &Machine,
    layout: &Layout,
    staged: &RangeSet,
    moves: &[MoveRun],
) {
    let from = |m: &MoveRun| PhysRange::from_len(m.from, m.len).unwrap();
    let to = |m: &MoveRun| PhysRange::from_len(m.to, m.len).unwrap();
    let (sources, targets): (RangeSet, RangeSet) =
        (moves.iter().map(from).collect(), moves.iter().map(to).collect());
    let bytes: u64 = moves.iter().map(|m| m.len).sum();
    assert_eq!(sources, displaced(machine, layout));
    assert_eq!((sources.bytes(), targets.bytes()), (bytes, bytes), "nothing twice");
    let spans: RangeSet = layout.spans.iter().copied().collect();
    assert!(targets.subtract(&spans).is_empty());
    let parts: RangeSet = [layout.window, layout.boot_block, layout.mover].into_iter().collect();
    for (units, size) in [(&machine.huge, GRANULE), (&machine.giant, GIANT)] {
        for m in moves {
            for unit in units.within(from(m)) {
                assert!(unit.is_aligned(size), "a part of a huge page moves: {unit:?} of {m:?}");
                assert_eq!(m.from.abs_diff(m.to) % size, 0, "{m:?}");
            }
        }
    }
    // Where huge pages were is free as soon as they are moved, which is first.
    let units = machine.huge.union(&machine.giant);
    let huge = moves.iter().take_while(|m| units.contains(m.from)).count();
    let vacated: RangeSet = moves[..huge].iter().map(from).collect();
    assert_eq!(vacated, sources.intersect(&units));
    let first: RangeSet = moves[..huge].iter().map(to).collect();
    assert!(first.intersect(&ranges(&machine.keep)).is_empty());
    let kept = ranges(&machine.keep).subtract(&vacated);
    for taken in [&kept, &machine.avoid, staged, &heads(layout), &parts] {
        assert!(targets.intersect(taken).is_empty());
    }
}
