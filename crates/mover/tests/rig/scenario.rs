//! One use of the mover: a segment, a list, moves in three phases, and a kernel that is moved.

use mover::BLOB;
use mover_abi::{ListPage, MOVES_PER_PAGE, Move, PAGE, PARAMS_OFFSET, Params};

use crate::machine::{NEXT, Outcome, run};
use crate::memory::Memory;

/// Where the next kernel goes, and its entry point as with a bzImage.
pub(crate) const KERNEL: u64 = 48 << 20;
const ENTRY: u64 = KERNEL + 0x200;
/// Where the kernel waits for its move.
pub(crate) const KERNEL_STAGED: u64 = 80 << 20;
/// What RSI must hold.
pub(crate) const BOOT_PARAMS: u64 = 0x9_3000;

/// The rig's mailbox and tables: nothing else may use them.
const MAILBOX: u64 = 0x500;
const OLD_TABLES: u64 = 0x1000;

/// CR4 as kexec leaves it: Intel SDM vol. 3A §2.5.
pub(crate) const PAE: u32 = 1 << 5;
pub(crate) const LA57: u32 = 1 << 12;

/// Everything about one run; its fields are damaged at will before [`Scenario::run`].
#[derive(Clone)]
pub(crate) struct Scenario {
    /// First address of the mover segment.
    pub(crate) segment: u64,
    /// CR4 at the mover's entry.
    pub(crate) cr4: u32,
    /// Sources and everything else in memory.
    pub(crate) memory: Memory,
    /// Moves of the three phases; [`Scenario::new`] puts the kernel's into the last.
    pub(crate) phases: [Vec<Move>; 3],
    /// Where list pages may lie, ascending.
    pub(crate) frames: Vec<u64>,
    /// See [`Params::timeline`].
    pub(crate) timeline: u64,
    /// See [`Params::serial_port`].
    pub(crate) serial_port: u64,
    /// Addresses of GiBs that the mover's page tables leave out.
    pub(crate) unmapped: Vec<u64>,
}

impl Scenario {
    /// Moves nothing but the kernel.
    pub(crate) fn new() -> Self {
        let mut memory = Memory::default();
        // mov eax, NEXT; jmp rax
        let [a, b, c, d] = NEXT.to_le_bytes();
        memory.write(KERNEL_STAGED + 0x200, &[0xb8, a, b, c, d, 0xff, 0xe0]);
        let kernel = Move { from: KERNEL_STAGED, to: KERNEL, len: PAGE };
        Self {
            segment: 2 << 20,
            cr4: PAE,
            memory,
            phases: [vec![], vec![], vec![kernel]],
            frames: (0..64).map(|i| (96 << 20) + i * 0x3000).collect(),
            timeline: 0,
            serial_port: 0x3f8,
            unmapped: vec![],
        }
    }

    /// First address after the mover segment: the blob and three pages of tables.
    pub(crate) fn segment_end(&self) -> u64 {
        self.segment + BLOB.len() as u64 + 3 * PAGE
    }

    /// The parameter block that a loader would write.
    pub(crate) fn params(&self) -> Params {
        let moves: usize = self.phases.iter().map(Vec::len).sum();
        Params {
            segment_start: self.segment,
            segment_end: self.segment_end(),
            page_table: self.segment + BLOB.len() as u64,
            entry: ENTRY,
            boot_params: BOOT_PARAMS,
            timeline: self.timeline,
            list: if moves == 0 { 0 } else { self.frames[0] },
            list_pages: moves.div_ceil(MOVES_PER_PAGE) as u64,
            phase_moves: [0, 1, 2].map(|phase: usize| self.phases[phase].len() as u64),
            serial_port: self.serial_port,
        }
    }

    /// Memory as the old kernel leaves it to the mover.
    pub(crate) fn loaded(&self) -> Memory {
        let mut memory = self.memory.clone();
        let moves = self.phases.concat();
        let mut chunks = moves.chunks(MOVES_PER_PAGE).zip(&self.frames).peekable();
        while let Some((chunk, &frame)) = chunks.next() {
            let next = chunks.peek().map_or(0, |&(_, &next)| next);
            memory.write(frame, &ListPage::to_bytes(next, chunk));
        }
        memory.write(self.segment, BLOB);
        memory.write(self.segment + PARAMS_OFFSET as u64, &self.params().to_bytes());
        self.write_tables(&mut memory, self.params().page_table, 6, &self.unmapped);
        // The old kernel's map lacks everything above 4 GiB but the mover segment.
        let lacking = [4, 5].map(|gib: u64| gib << 30);
        let old: Vec<u64> =
            lacking.into_iter().filter(|gib| self.segment >> 30 != gib >> 30).collect();
        self.write_tables(&mut memory, OLD_TABLES, 6, &old);
        let (tables, cr4) = (u32::try_from(OLD_TABLES).unwrap(), self.cr4);
        memory.write(MAILBOX, &tables.to_le_bytes());
        memory.write(MAILBOX + 4, &cr4.to_le_bytes());
        memory.write(MAILBOX + 8, &self.segment.to_le_bytes());
        memory
    }

    /// Identity tables of 1 GiB pages. Accessed and dirty are set, so that the processor writes
    /// nothing there (Intel SDM vol. 3A §4.8).
    fn write_tables(&self, memory: &mut Memory, root: u64, gibs: u64, unmapped: &[u64]) {
        const TABLE: u64 = 0x63;
        const GIB_PAGE: u64 = 0xe3;
        let mut table = root;
        for _ in 0..if self.cr4 & LA57 == 0 { 1 } else { 2 } {
            memory.write(table, &((table + PAGE) | TABLE).to_le_bytes());
            table += PAGE;
        }
        for gib in (0..gibs).filter(|gib| !unmapped.contains(&(gib << 30))) {
            memory.write(table + 8 * gib, &((gib << 30) | GIB_PAGE).to_le_bytes());
        }
    }

    /// All moves, in the order in which the mover makes them.
    pub(crate) fn moves(&self) -> Vec<Move> {
        self.phases.concat()
    }

    /// Runs it.
    pub(crate) fn run(&self) -> Outcome {
        run(&self.loaded())
    }

    /// Addresses of pages that `outcome` shows otherwise than `expected`, but for the mover
    /// segment and the lowest MiB (mailbox, tables, ROM).
    pub(crate) fn strays(&self, expected: &Memory, outcome: &Outcome) -> Vec<u64> {
        let mut addrs = expected.differences(&outcome.memory);
        addrs.retain(|addr| *addr >= 1 << 20 && !(self.segment..self.segment_end()).contains(addr));
        addrs
    }
}
