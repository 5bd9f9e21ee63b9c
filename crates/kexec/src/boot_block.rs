//! Everything that the next kernel reads before it has an allocator, in one run of pages.
//!
//! ```text
//! +0        zero page
//! +0x1000   command line, NUL
//! …         EFI runtime map                     where there is EFI
//! …         setup_data: E820_EXT (past 128 entries), EFI, RNG_SEED, handover
//! ```
//!
//! Pointers in the block are physical, so it is made for the address where it will lie.

use crate::boot_params::{OldBootParams, ZERO_PAGE, ZeroPage};
use crate::bytes::put;
use crate::bzimage::BzImage;
use crate::e820::{self, E820Error, E820Table};
use crate::efi::EfiState;
use crate::setup_data::{Chain, HEADER_BYTES, Node, NodeType};
use mover_abi::Timeline;
use physmem::{MemoryMap, PAGE_SIZE, PhysRange, RangeError, page_align_up};

/// Parts of the block start at multiples of this many bytes.
const ALIGN: usize = 16;
/// Bytes of the [`Timeline`] at the start of the handover node's payload.
pub const TIMELINE_BYTES: usize = Timeline::SIZE;

/// What the next kernel is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a BzImage<'a>,
    /// Its memory map, spans included.
    pub map: &'a MemoryMap,
    /// Its command line.
    pub cmdline: &'a str,
    /// Where the initrd will lie; the length is the file's, to the byte.
    pub initrd: Option<PhysRange>,
    /// The running kernel's zero page, for facts about the machine.
    pub old: Option<&'a OldBootParams>,
    /// Where ACPI's root pointer is, if that is known; BIOS kernels find it themselves.
    pub rsdp: Option<u64>,
    /// EFI to hand on. Ignored where the kernel [does not take it](BzImage::takes_efi).
    pub efi: Option<&'a EfiState>,
    /// Fresh random bytes for the kernel's pool.
    pub rng_seed: [u8; 32],
    /// The handover record. Anybody can read it in the next kernel: no secrets.
    pub handover: &'a [u8],
}

/// The block for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootBlock {
    /// Its bytes, a multiple of the page size.
    pub bytes: Vec<u8>,
    /// Where it must lie.
    pub range: PhysRange,
    /// Physical address of the [`Timeline`] that the mover fills in.
    pub timeline: u64,
}

/// Why no boot block can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootBlockError {
    /// The map is not one for a kernel.
    #[error(transparent)]
    Map(#[from] E820Error),
    /// The command line does not fit.
    #[error("the command line has {len} bytes, but the next kernel takes {limit}; shorten it by {}", .len - .limit)]
    CmdlineTooLong {
        /// Its length.
        len: usize,
        /// The header's `cmdline_size`.
        limit: usize,
    },
    /// The command line would end early.
    #[error("the command line has a NUL at byte {0}; the kernel would not see what follows")]
    CmdlineNul(usize),
    /// A handover record past all reason.
    #[error(
        "the handover record has {0} bytes, expected at most 16 MiB; keep large data in the region"
    )]
    HandoverTooLong(usize),
    /// The block cannot lie there.
    #[error("the boot block cannot lie at {0:#x}: it needs the start of a page")]
    Unaligned(u64),
    /// The block would pass the end of the address space.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl Boot<'_> {
    /// How many bytes the block takes at most, whatever the map: what a planner must set aside.
    pub fn bound(&self) -> u64 {
        let extension = (e820::LIMIT - e820::IN_ZERO_PAGE) * e820::ENTRY_BYTES;
        let nodes = self.nodes(Vec::new()).iter().map(|n| n.payload.len()).sum::<usize>();
        let parts = [ZERO_PAGE, self.cmdline.len() + 1, self.efi_map().len(), extension, nodes];
        let slack = (parts.len() + 4) * (HEADER_BYTES + ALIGN);
        let bytes = parts.iter().sum::<usize>() + slack;
        u64::try_from(bytes).ok().and_then(page_align_up).unwrap_or(u64::MAX)
    }

    /// Makes the block to lie at physical address `at`.
    pub fn block_at(&self, at: u64) -> Result<BootBlock, BootBlockError> {
        if !at.is_multiple_of(PAGE_SIZE) {
            return Err(BootBlockError::Unaligned(at));
        }
        self.check_sizes()?;
        let bound = PhysRange::from_len(at, self.bound())?;
        let table = E820Table::new(self.map)?;
        let efi_map = self.efi_map();

        let cmdline_at = ZERO_PAGE;
        let efi_map_at = (cmdline_at + self.cmdline.len() + 1).next_multiple_of(ALIGN);
        let chain_at = (efi_map_at + efi_map.len()).next_multiple_of(ALIGN);
        let phys = |offset: usize| bound.start() + u64::try_from(offset).unwrap_or(u64::MAX);
        let nodes = self.nodes(table.extension());
        let chain = Chain::lay_out(&nodes, phys(chain_at));

        let mut page = ZeroPage::for_kernel(self.kernel);
        if let Some(old) = self.old {
            page.carry(old);
        }
        page.put_memory(&table);
        page.put_cmdline(phys(cmdline_at));
        page.put_initrd(self.initrd);
        page.put_rsdp(self.rsdp.unwrap_or(0));
        page.put_setup_data(chain.head());
        if let Some(efi) = self.taken_efi() {
            page.put_efi(&efi.info(phys(efi_map_at)), efi.secure_boot());
        }

        let mut bytes = page.into_bytes();
        let len = (chain_at + chain.bytes.len()).next_multiple_of(ZERO_PAGE);
        bytes.resize(len, 0);
        put(&mut bytes, cmdline_at, self.cmdline.as_bytes());
        put(&mut bytes, efi_map_at, &efi_map);
        put(&mut bytes, chain_at, &chain.bytes);

        let handover = chain.nodes.last().copied().unwrap_or(0);
        let timeline = handover + u64::try_from(HEADER_BYTES).unwrap_or(0);
        let range = PhysRange::from_len(at, phys(len) - at)?;
        Ok(BootBlock { bytes, range, timeline })
    }

    fn check_sizes(&self) -> Result<(), BootBlockError> {
        let (len, limit) = (self.cmdline.len(), self.kernel.cmdline_size());
        if len > limit {
            return Err(BootBlockError::CmdlineTooLong { len, limit });
        }
        if let Some(at) = self.cmdline.bytes().position(|b| b == 0) {
            return Err(BootBlockError::CmdlineNul(at));
        }
        if self.handover.len() > 16 << 20 {
            return Err(BootBlockError::HandoverTooLong(self.handover.len()));
        }
        Ok(())
    }

    /// The chain's nodes; the handover node is the last.
    fn nodes(&self, e820_extension: Vec<u8>) -> Vec<Node> {
        let mut nodes = Vec::new();
        if !e820_extension.is_empty() {
            nodes.push(Node { kind: NodeType::E820Ext, payload: e820_extension });
        }
        if let Some(efi) = self.taken_efi() {
            nodes.push(Node { kind: NodeType::Efi, payload: efi.setup_data() });
        }
        nodes.push(Node { kind: NodeType::RngSeed, payload: self.rng_seed.to_vec() });
        let handover = [&[0; TIMELINE_BYTES], self.handover].concat();
        nodes.push(Node { kind: NodeType::Handover, payload: handover });
        nodes
    }

    fn efi_map(&self) -> Vec<u8> {
        self.taken_efi().map(EfiState::runtime_map).unwrap_or_default()
    }

    fn taken_efi(&self) -> Option<&EfiState> {
        self.efi.filter(|_| self.kernel.takes_efi())
    }
}
