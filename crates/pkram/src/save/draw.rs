//! Plan, stage and compose: the part that is tried again where the region's head turns out too
//! small for what the moves left of the extents.

use super::compose::{Own, TreeFault, finish};
use super::next::NextKernel;
use super::options::{Options, SaveError};
use super::place::Places;
use super::stage::{Image, Parts, pages_bound};
use super::terms::Terms;
use crate::census::{Census, Held};
use crate::head::{HEAD_BYTES, LATER_HEAD_BLOCKS, SpanHead};
use crate::machine;
use crate::manifest::{self, Manifest, PlanFigures};
use crate::nodes::Save;
use crate::picture::{Picture, Plan};
use crate::progress::Progress;
use crate::staging::{Staging, StagingError};
use kexec::{Boot, BzImage};
use physmem::{FrameSet, MemoryMap, PAGE_SIZE, PhysRange, RangeSet};
use plan::{Layout, MoveRun, PlanError, assign};
use regionfs::{ComposeError, FileExtent, Geometry, RegionImage, Timestamp};
use std::io;
use uuid::Uuid;

/// What staging leaves of the available memory, in bytes.
const SPARE: u64 = 16 << 20;

/// How often the head may turn out too small for what the moves left of the extents.
const ATTEMPTS: u32 = 4;

/// What planning and composing need.
pub(super) struct Work<'a> {
    pub(super) options: &'a Options,
    pub(super) progress: &'a dyn Progress,
    pub(super) save: &'a Save,
    pub(super) census: &'a Census,
    pub(super) held: Held,
    pub(super) next: &'a NextKernel,
    pub(super) kernel: &'a BzImage<'a>,
    pub(super) map: &'a MemoryMap,
    pub(super) keep: &'a FrameSet,
    pub(super) terms: Terms,
    pub(super) boot: Boot<'a>,
    pub(super) mover_bytes: u64,
    pub(super) seed: u64,
    pub(super) region: Uuid,
    pub(super) now: Timestamp,
    pub(super) dmesg: String,
}

/// What came of it.
pub(super) struct Drawn {
    pub(super) layout: Layout,
    pub(super) moves: Vec<MoveRun>,
    pub(super) manifest: Manifest,
    pub(super) staging: Staging,
    pub(super) image: Image,
    pub(super) boot_block: PhysRange,
    pub(super) timeline: u64,
}

impl Work<'_> {
    /// Plans and composes, again with more room for metadata where the moves made more extents
    /// than there was room for, and with room for staged pages in the spans where so many lie
    /// there that moved pages find no place.
    pub(super) fn draw(&self) -> Result<Drawn, SaveError> {
        let mut head_blocks = self.head_estimate()?;
        let mut staged_in_spans = false;
        for _ in 0..ATTEMPTS {
            match self.attempt(head_blocks, staged_in_spans) {
                Ok(Ok(drawn)) => return Ok(drawn),
                Ok(Err(needed)) => head_blocks = needed + needed / 8 + 16,
                Err(SaveError::Plan(PlanError::NoDestination { .. })) if !staged_in_spans => {
                    staged_in_spans = true;
                }
                Err(error) => return Err(error),
            }
        }
        Err(SaveError::HeadGrows { blocks: head_blocks })
    }

    /// How many blocks the metadata would take without any moves, and some more.
    fn head_estimate(&self) -> Result<u64, SaveError> {
        let manifest = self.manifest(PlanFigures::default(), None);
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

    fn attempt(
        &self,
        head_blocks: u64,
        staged_in_spans: bool,
    ) -> Result<Result<Drawn, u64>, SaveError> {
        self.progress.begin("plan", 3);
        let pages = |bytes: usize| (bytes as u64).div_ceil(PAGE_SIZE);
        let content = head_blocks
            + pages(self.kernel.payload().len())
            + self.next.initrd_len().div_ceil(PAGE_SIZE)
            + self.boot.bound() / PAGE_SIZE;
        let kept_pages = self.keep.bytes() / PAGE_SIZE;
        let room = if staged_in_spans { pages_bound(content, kept_pages) * PAGE_SIZE } else { 0 };
        let layout = self.lay_out(head_blocks, room)?;
        self.next.refuse_conflicts(&layout.next_map(self.map), self.options.force)?;
        self.progress.advance(1);

        let displaced = layout.figures.displaced / PAGE_SIZE;
        let heads = layout.spans.len() as u64 * LATER_HEAD_BLOCKS;
        let staged = pages_bound(content + heads, displaced) * PAGE_SIZE;
        // Asking for more than there is wakes the OOM killer, which may hit the sources' owner.
        let available = machine::meminfo("MemAvailable")?;
        if staged + SPARE > available {
            let source = io::Error::other(format!("{available} bytes are available"));
            return Err(StagingError::Memory { need: staged, source }.into());
        }
        let mut staging = Staging::new(staged, &forbidden(&layout))?;
        let mut moves = Vec::new();
        assign(&layout, self.keep, &staging.frames(), |m| moves.push(m))?;
        self.progress.advance(1);

        let heads = self.span_heads(&layout);
        let region = self.region.to_string();
        let picture = Picture::of_plan(&Plan {
            map: self.map,
            layout: &layout,
            keep: self.keep,
            moves: &moves,
            region: &region,
        });
        let figures = self.figures(&layout, &moves, head_blocks);
        let manifest = self.manifest(figures, Some(picture));
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
        // The plan counts in pages; the next kernel is told the length to the byte.
        let len = self.next.initrd_len();
        let initrd = layout.initrd.and_then(|i| PhysRange::from_len(i.start(), len).ok());
        let boot = Boot { map: &next_map, initrd, ..self.boot };
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

    fn tree(
        &self,
        manifest: &Manifest,
        extents: impl FnMut(usize) -> Vec<FileExtent>,
    ) -> Result<regionfs::Tree, TreeFault> {
        let json = serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys");
        let own = Own { manifest: &json, dmesg: self.dmesg.as_bytes(), now: self.now };
        finish(self.save, self.census, &own, extents)
    }

    fn geometry(
        &self,
        blocks: u64,
        bad: Vec<std::ops::Range<u64>>,
        boot_area: [u8; HEAD_BYTES],
    ) -> Geometry {
        Geometry {
            blocks,
            uuid: self.region,
            created: self.now,
            bad,
            journal_blocks: 0,
            free_inodes: 0,
            boot_area,
        }
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
            marks_from: None,
        };
        (0..).zip(&layout.spans).map(head).collect()
    }

    fn figures(&self, layout: &Layout, moves: &[MoveRun], head_blocks: u64) -> PlanFigures {
        PlanFigures {
            files: self.census.files.len() as u64,
            extents: self.census.extents(),
            preserved: layout.figures.kept,
            held: self.held,
            moved: layout.figures.displaced,
            moves: moves.len() as u64,
            metadata: head_blocks * PAGE_SIZE,
            region: layout.spans.iter().map(|s| s.len()).sum(),
            spans: layout.spans.iter().map(ToString::to_string).collect(),
            ram_left: layout.figures.ram,
            returnable: layout.figures.returnable,
            copy_room: layout.figures.copy_room,
        }
    }

    fn manifest(&self, plan: PlanFigures, picture: Option<Picture>) -> Manifest {
        Manifest {
            version: manifest::VERSION,
            pkram: env!("CARGO_PKG_VERSION").to_owned(),
            region: self.region.to_string(),
            created: self.now.secs.cast_unsigned(),
            old_kernel: machine::kernel_release(),
            next_kernel: self.kernel.release().map(str::to_owned),
            sources: self.save.origins.clone(),
            plan,
            picture,
        }
    }
}

/// Where nothing may be staged: where the mover writes, and the first MiB, which belongs to the
/// boot code of the next kernel.
fn forbidden(layout: &Layout) -> RangeSet {
    let heads = layout.spans.iter().skip(1);
    let heads =
        heads.filter_map(|s| PhysRange::from_len(s.start(), LATER_HEAD_BLOCKS * PAGE_SIZE).ok());
    [layout.window, layout.boot_block, layout.head, layout.mover]
        .into_iter()
        .chain(layout.initrd)
        .chain(heads)
        .chain(layout.berths().iter())
        .chain(PhysRange::new(0, plan::LOW_LIMIT).ok())
        .collect()
}
