//! Everything before the load: what would happen, ready to happen.

use super::compose::{Own, TreeFault, finish};
use super::next::{NextError, NextKernel, NextOptions};
use super::place::Places;
use super::stage::{Image, Parts, StageError, pages_bound};
use crate::census::{Census, CensusError, Change, Hold, hold};
use crate::handover::{HANDOVER_BYTES, Handover};
use crate::head::{HEAD_BYTES, LATER_HEAD_BLOCKS, SpanHead};
use crate::klog;
use crate::machine::{self, MachineError};
use crate::manifest::{self, Manifest, PlanFigures};
use crate::platform::{Platform, PlatformError};
use crate::progress::Progress;
use crate::source::{SourceError, SourceSpec, Sources, SpecError, check_names, walk};
use crate::staging::{Staging, StagingError};
use crate::sys::tsc;
use kexec::boot_block::{BootBlockError, TIMELINE_BYTES};
use kexec::identity::{Identity, IdentityError};
use kexec::image::LoadError;
use kexec::mover_segment::{MoverSegmentError, Orders};
use kexec::preflight::{Obstacle, obstacles};
use kexec::sys::KexecError;
use kexec::{Boot, BzImage, KexecImage, MoverSegment, Scene};
use physmem::{ADDRESS_LIMIT, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{KernelNeeds, Layout, MoveRun, PlanError, Request, assign, lay_out};
use regionfs::{Attributes, ComposeError, FileExtent, Geometry, RegionImage, Timestamp};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Spans that one region has at most.
const MAX_SPANS: usize = 8;

/// How much memory outside the next kernel's RAM it is worth to leave a page where it is: a copy
/// costs a tenth of a nanosecond a byte, once; memory in a span is missing until it is released.
const STAY_PRICE: u64 = 32;

/// RAM below 4 GiB that the next kernel finds in one piece: swiotlb's 64 MiB and as much again for
/// 32-bit devices (`kernel/dma/swiotlb.c: IO_TLB_DEFAULT_SIZE`).
const LOW_RAM: u64 = 128 << 20;

/// The first serial port of a PC, where the mover says why it resets if it must.
const COM1: u16 = 0x3f8;

/// How often the head may turn out too small for what the moves left of the extents.
const ATTEMPTS: u32 = 4;

/// What the user chose.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sources.
    pub sources: Vec<SourceSpec>,
    /// The next kernel.
    pub next: NextOptions,
    /// RAM that the next kernel must have, in bytes; by default [`default_reserve`].
    pub reserve_ram: Option<u64>,
    /// Fixes the choice of the kernel's place; random by default.
    pub seed: Option<u64>,
    /// Go on although the next kernel or its command line seems unable to see the region.
    pub force: bool,
}

/// Why memory cannot be saved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it wraps")]
pub enum SaveError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Census(#[from] CensusError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Next(#[from] NextError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Tree(#[from] TreeFault),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    BootBlock(#[from] BootBlockError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Mover(#[from] MoverSegmentError),
    #[error(transparent)]
    Kexec(#[from] KexecError),
    #[error("{path} {change} since it was read; stop what writes to it and try again", path = .path.display())]
    Changed { path: PathBuf, change: Change },
    #[error("the region's metadata keeps growing over the room planned for it ({blocks} blocks)")]
    HeadGrows { blocks: u64 },
    #[error("nothing to keep: no source was given")]
    NoSources,
    #[error("{}", lines(.0))]
    Obstacles(Vec<Obstacle>),
}

fn lines(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A plan that can be looked at, loaded, or dropped without a trace.
#[derive(Debug)]
pub struct Prepared {
    /// The sources as found.
    pub sources: Sources,
    /// Where they lie.
    pub census: Census,
    /// Where everything goes.
    pub layout: Layout,
    /// The moves of preserved pages.
    pub moves: Vec<MoveRun>,
    /// What the region will say about itself.
    pub manifest: Manifest,
    /// The next kernel.
    pub next: NextKernel,
    /// What the user should know.
    pub notes: Vec<String>,
    region: Uuid,
    hold: Hold,
    staging: Staging,
    image: Image,
    mover: MoverSegment,
    handover: Handover,
    /// Where in the boot block the record begins.
    handover_offset: u64,
    next_map: MemoryMap,
    kept: RangeSet,
    payload: PhysRange,
    clock: Clock,
}

/// Both clocks at one instant, to find the TSC's rate later.
#[derive(Clone, Copy, Debug)]
struct Clock {
    tsc: u64,
    time: SystemTime,
}

impl Clock {
    fn now() -> Self {
        Self { tsc: tsc(), time: SystemTime::now() }
    }

    /// Ticks in a second, from this instant to now; at least 10 ms apart to mean anything.
    fn rate(self) -> u64 {
        let now = Self::now();
        let nanos = now.time.duration_since(self.time).unwrap_or(Duration::ZERO).as_nanos();
        let ticks = u128::from(now.tsc.saturating_sub(self.tsc));
        let rate = (ticks * 1_000_000_000).checked_div(nanos).unwrap_or(0);
        u64::try_from(rate).unwrap_or(0)
    }
}

/// RAM for the next kernel when the user does not say: what a small Debian system needs, three
/// times the initrd (packed, unpacked, and its cache), and 1/50 of memory for the struct pages of
/// the spans (64 bytes a page) and what else grows with memory; but at most half of memory.
pub fn default_reserve(ram: u64, initrd: u64, init_size: u64) -> u64 {
    let fixed = 192 << 20;
    (fixed + init_size + 3 * initrd + ram / 50).min(ram / 2)
}

/// Holds the sources, plans, composes and stages. Nothing is loaded yet.
pub fn prepare(options: &Options, progress: &dyn Progress) -> Result<Prepared, SaveError> {
    let clock = Clock::now();
    if options.sources.is_empty() {
        return Err(SaveError::NoSources);
    }
    check_names(&options.sources)?;
    let now = clock.time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = Timestamp { secs: now.as_secs().cast_signed(), nanos: now.subsec_nanos() };
    let root = Attributes {
        mode: 0o755,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        ..Attributes::default()
    };
    let obstacles = obstacles(Path::new("/"));
    if !obstacles.is_empty() {
        return Err(SaveError::Obstacles(obstacles));
    }
    let next = NextKernel::read(&options.next)?;
    let mut notes = next.doubts(options.force)?;
    let platform = Platform::read()?;
    let map = machine::firmware_map()?;
    let sources = walk(root, &options.sources)?;
    notes.extend(sources.notes.iter().cloned());
    let (hold, census) = hold(&sources, progress)?;
    let held = tsc();

    let keep = census.frames();
    let kernel = next.parse()?;
    let identity = Identity::of(&platform.reach(&map), platform.paging)?;
    let blank = [0; HANDOVER_BYTES];
    let boot = Boot {
        kernel: &kernel,
        map: &map,
        cmdline: &next.cmdline,
        initrd: None,
        old: Some(&platform.old),
        rsdp: platform.rsdp,
        efi: platform.efi.as_ref(),
        rng_seed: platform.fresh_seed()?,
        handover: &blank,
    };
    let region = Uuid::new_v4();
    let mut work = Work {
        options,
        progress,
        sources: &sources,
        census: &census,
        next: &next,
        kernel: &kernel,
        map: &map,
        keep: &keep,
        boot,
        mover_bytes: MoverSegment::pages_needed(&identity) * PAGE_SIZE,
        seed: options.seed.map_or_else(|| platform.random_u64(), Ok)?,
        region,
        now,
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
    let displaced: RangeSet =
        drawn.moves.iter().filter_map(|m| PhysRange::from_len(m.from, m.len).ok()).collect();
    let payload_len = (kernel.payload().len() as u64).next_multiple_of(PAGE_SIZE);
    let payload = PhysRange::from_len(drawn.layout.window.start(), payload_len)
        .map_err(|source| SaveError::BootBlock(source.into()))?;
    let handover = Handover {
        region,
        start_tsc: clock.tsc,
        held_tsc: held,
        composed_tsc: composed,
        ..Handover::default()
    };
    let prepared = Prepared {
        next_map: drawn.layout.next_map(&map),
        kept: keep.subtract(&displaced),
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
        hold,
        clock,
        sources,
        census,
        next,
        notes,
    };
    prepared.kexec_image().check()?;
    Ok(prepared)
}

impl Prepared {
    /// The region's UUID.
    pub fn region(&self) -> Uuid {
        self.region
    }

    fn kexec_image(&self) -> KexecImage<'_> {
        let scene = Scene {
            map: &self.next_map,
            kept: &self.kept,
            list_pages: &self.image.list_pages,
            mover: self.layout.mover,
            window: self.layout.window,
            payload: self.payload,
        };
        KexecImage { scene, moves: &self.image.moves, mover: &self.mover }
    }

    /// Gives the mover to the kernel, after the proof that no move destroys what is kept. Whatever
    /// was loaded before is forgotten.
    pub fn load(&mut self) -> Result<(), SaveError> {
        self.kexec_image().load()?;
        self.handover.loaded_tsc = tsc();
        Ok(())
    }

    /// The last look: whether every file is still as it was planned for.
    pub fn last_look(&self, progress: &dyn Progress) -> Result<(), SaveError> {
        match self.census.changes(&self.sources, progress)? {
            None => Ok(()),
            Some((path, change)) => Err(SaveError::Changed { path, change }),
        }
    }

    /// Takes the load back.
    pub fn unload(&self) -> Result<(), SaveError> {
        Ok(kexec::sys::unload()?)
    }

    /// Enters the next kernel. Returns only if that fails; what was loaded is taken back then.
    pub fn jump(mut self) -> SaveError {
        self.handover.tsc_hz = self.clock.rate();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.handover.jump_time = u64::try_from(time.as_nanos()).unwrap_or(0);
        self.handover.jump_tsc = tsc();
        let record = self.handover.to_bytes();
        self.image.patch_boot_block(&self.staging, self.handover_offset, &record);
        let error = kexec::sys::jump();
        // The first error is the one to tell.
        let _ = kexec::sys::unload();
        drop(self.hold);
        error.into()
    }
}

/// What planning and composing need.
struct Work<'a> {
    options: &'a Options,
    progress: &'a dyn Progress,
    sources: &'a Sources,
    census: &'a Census,
    next: &'a NextKernel,
    kernel: &'a BzImage<'a>,
    map: &'a MemoryMap,
    keep: &'a RangeSet,
    boot: Boot<'a>,
    mover_bytes: u64,
    seed: u64,
    region: Uuid,
    now: Timestamp,
    dmesg: String,
}

/// What came of it.
struct Drawn {
    layout: Layout,
    moves: Vec<MoveRun>,
    manifest: Manifest,
    staging: Staging,
    image: Image,
    boot_block: PhysRange,
    timeline: u64,
}

impl Work<'_> {
    /// Plans and composes, again with more room for metadata where the moves made more extents
    /// than there was room for.
    fn draw(&mut self) -> Result<Drawn, SaveError> {
        let mut head_blocks = self.head_estimate()?;
        for _ in 0..ATTEMPTS {
            match self.attempt(head_blocks)? {
                Ok(drawn) => return Ok(drawn),
                Err(needed) => head_blocks = needed + needed / 8 + 16,
            }
        }
        Err(SaveError::HeadGrows { blocks: head_blocks })
    }

    /// How many blocks the metadata would take without any moves, and some more.
    fn head_estimate(&self) -> Result<u64, SaveError> {
        let manifest = self.manifest(PlanFigures::default());
        let tree = self.tree(&manifest, |i| {
            // The blocks' numbers do not matter here, only how many runs there are.
            let extents = self.census.files.get(i).map(|f| f.extents.as_slice());
            let extents = extents.unwrap_or_default().iter();
            extents.map(|e| FileExtent { logical: e.page, block: e.pfn, len: e.len }).collect()
        })?;
        let blocks = self.map.ram().bytes() / PAGE_SIZE;
        let head = self.head_blocks(&tree, &self.geometry(blocks, Vec::new(), [0; HEAD_BYTES]))?;
        Ok(head + head / 8 + 16)
    }

    fn attempt(&self, head_blocks: u64) -> Result<Result<Drawn, u64>, SaveError> {
        self.progress.begin("plan", 3);
        let pages = |bytes: usize| (bytes as u64).div_ceil(PAGE_SIZE);
        let content = head_blocks
            + MAX_SPANS as u64 * LATER_HEAD_BLOCKS
            + pages(self.kernel.payload().len())
            + pages(self.next.initrd.len())
            + self.boot.bound() / PAGE_SIZE;
        let kept_pages = self.keep.bytes() / PAGE_SIZE;
        let request = self.request(head_blocks, pages_bound(content, kept_pages) * PAGE_SIZE)?;
        let layout = lay_out(&request)?;
        self.progress.advance(1);

        let displaced = layout.displaced.bytes() / PAGE_SIZE;
        let staged = pages_bound(content, displaced) * PAGE_SIZE;
        let mut staging = Staging::new(staged, &forbidden(&layout))?;
        let moves = assign(&layout, self.keep, &staging.frames())?;
        self.progress.advance(1);

        let heads = self.span_heads(&layout);
        let manifest = self.manifest(self.figures(&layout, &moves, head_blocks));
        let places = Places::new(&layout, &moves);
        let mut lost = None;
        let tree = self.tree(&manifest, |i| {
            let file = self.census.files.get(i);
            file.and_then(|f| places.extents(f)).unwrap_or_else(|| {
                lost = Some(i);
                Vec::new()
            })
        })?;
        assert!(lost.is_none(), "the planner puts every kept page into a span");
        let bad = heads.iter().skip(1).map(|h| h.first_block..h.first_block + LATER_HEAD_BLOCKS);
        let boot_area = heads.first().map_or([0; HEAD_BYTES], SpanHead::to_bytes);
        let geometry = self.geometry(layout.region_blocks(), bad.collect(), boot_area);
        let needed = self.head_blocks(&tree, &geometry)?;
        if needed * PAGE_SIZE > layout.head.len() {
            return Ok(Err(needed));
        }
        let region = regionfs::compose(tree, geometry)?;
        self.progress.advance(1);
        self.progress.end();

        let next_map = layout.next_map(self.map);
        let boot = Boot { map: &next_map, initrd: layout.initrd, ..self.boot };
        let boot_block = boot.block_at(layout.boot_block.start())?;
        let image = self.stage(&mut staging, &layout, &moves, &region, &heads, &boot_block)?;
        let (range, timeline) = (boot_block.range, boot_block.timeline);
        Ok(Ok(Drawn { layout, moves, manifest, staging, image, boot_block: range, timeline }))
    }

    /// How many blocks the metadata takes, if every file keeps its number of extents.
    fn head_blocks(&self, tree: &regionfs::Tree, geometry: &Geometry) -> Result<u64, ComposeError> {
        regionfs::head_blocks(tree, geometry, |_, extents| extents)
    }

    fn stage(
        &self,
        staging: &mut Staging,
        layout: &Layout,
        preserved: &[MoveRun],
        image: &RegionImage,
        heads: &[SpanHead],
        boot_block: &kexec::BootBlock,
    ) -> Result<Image, SaveError> {
        let payload = self.kernel.payload();
        let parts = Parts { layout, preserved, image, heads, next: self.next, payload, boot_block };
        Ok(parts.stage(staging)?)
    }

    fn request(&self, head_blocks: u64, staged_bytes: u64) -> Result<Request<'_>, SaveError> {
        static NONE: RangeSet = RangeSet::new();
        let ram = self.map.ram().bytes();
        let initrd_bytes = self.next.initrd.len() as u64;
        let reserve = default_reserve(ram, initrd_bytes, self.kernel.init_size());
        Ok(Request {
            map: self.map,
            keep: self.keep,
            fixed: &NONE,
            avoid: &NONE,
            kernel: KernelNeeds {
                init_size: self.kernel.init_size(),
                alignment: self.kernel.kernel_alignment(),
                min_addr: self.kernel.pref_address(),
                can_be_above_4g: true,
            },
            initrd_bytes,
            initrd_max_addr: ADDRESS_LIMIT - 1,
            boot_block_bytes: self.boot.bound(),
            mover_bytes: self.mover_bytes,
            head_bytes: head_blocks * PAGE_SIZE,
            staged_bytes,
            reserve_ram: self.options.reserve_ram.unwrap_or(reserve),
            low_ram: LOW_RAM.min(ram / 8),
            memory_block: machine::memory_block()?,
            max_spans: MAX_SPANS,
            max_entries: kexec::e820::IN_ZERO_PAGE,
            stay_price: STAY_PRICE,
            seed: self.seed,
        })
    }

    fn tree(
        &self,
        manifest: &Manifest,
        extents: impl FnMut(usize) -> Vec<FileExtent>,
    ) -> Result<regionfs::Tree, TreeFault> {
        let json = serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys");
        let own = Own { manifest: &json, dmesg: self.dmesg.as_bytes(), now: self.now };
        finish(self.sources, self.census, &own, extents)
    }

    fn geometry(
        &self,
        blocks: u64,
        bad: Vec<std::ops::Range<u64>>,
        boot_area: [u8; HEAD_BYTES],
    ) -> Geometry {
        Geometry { blocks, uuid: self.region, created: self.now, bad, boot_area }
    }

    fn span_heads(&self, layout: &Layout) -> Vec<SpanHead> {
        let count = u32::try_from(layout.spans.len()).unwrap_or(u32::MAX);
        let region_blocks = layout.region_blocks();
        let head = |(index, &range): (u32, &PhysRange)| SpanHead {
            region: self.region,
            index,
            count,
            range,
            first_block: layout.region_block_of(range.start()).unwrap_or(0),
            region_blocks,
            created: self.now.secs.cast_unsigned(),
        };
        (0..).zip(&layout.spans).map(head).collect()
    }

    fn figures(&self, layout: &Layout, moves: &[MoveRun], head_blocks: u64) -> PlanFigures {
        PlanFigures {
            files: self.census.files.len() as u64,
            extents: self.census.extents(),
            preserved: layout.figures.kept,
            moved: layout.figures.displaced,
            moves: moves.len() as u64,
            metadata: head_blocks * PAGE_SIZE,
            region: layout.spans.iter().map(|s| s.len()).sum(),
            spans: layout.spans.iter().map(ToString::to_string).collect(),
            ram_left: layout.figures.ram,
            returnable: layout.figures.returnable,
        }
    }

    fn manifest(&self, plan: PlanFigures) -> Manifest {
        let source = |s: &SourceSpec| manifest::Source {
            name: s.name.clone(),
            path: s.path.to_string_lossy().into_owned(),
            kind: manifest::SourceKind::Tmpfs,
        };
        Manifest {
            version: manifest::VERSION,
            pkram: env!("CARGO_PKG_VERSION").to_owned(),
            region: self.region.to_string(),
            created: self.now.secs.cast_unsigned(),
            old_kernel: machine::kernel_release(),
            next_kernel: self.kernel.release().map(str::to_owned),
            sources: self.options.sources.iter().map(source).collect(),
            plan,
        }
    }
}

/// Where nothing may be staged, because the mover writes there.
fn forbidden(layout: &Layout) -> RangeSet {
    let heads = layout.spans.iter().skip(1);
    let heads =
        heads.filter_map(|s| PhysRange::from_len(s.start(), LATER_HEAD_BLOCKS * PAGE_SIZE).ok());
    [layout.window, layout.boot_block, layout.head, layout.mover]
        .into_iter()
        .chain(layout.initrd)
        .chain(heads)
        .collect()
}
