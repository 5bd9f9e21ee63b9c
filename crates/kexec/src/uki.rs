//! A unified kernel image (UKI): kernel, initrd and command line as sections of one EFI program.
//!
//! | section | what it is |
//! |---|---|
//! | `.linux` | the kernel, a bzImage; a PE file that has it is a UKI |
//! | `.ucode` | microcode: an initrd that comes first |
//! | `.initrd` | the initrd |
//! | `.cmdline` | the command line |
//! | `.osrel` | the system's `os-release` |
//! | `.profile` | from here on sections are of profile 0, after the next of profile 1, … |
//!
//! Source: UAPI.5 Unified Kernel Images; the PE format's own headers are the crate `object`'s.
//!
//! A bzImage is a PE file too, since it has an EFI stub, and has no `.linux`. Of several profiles the
//! one counts that runs where nobody chooses: 0, over the sections before the first `.profile`.

use object::LittleEndian as LE;
use object::pe::{IMAGE_FILE_MACHINE_AMD64, ImageDosHeader, ImageNtHeaders64, ImageSectionHeader};
use object::read::pe::ImageNtHeaders as _;
use std::ops::Range;

/// All headers lie in so many bytes at the start of a file: the loader of the firmware maps them as
/// one piece, and 96 sections take 4 KiB.
pub const HEAD: usize = 1 << 16;

/// Why a UKI cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UkiError {
    /// For another machine.
    #[error("a unified kernel image for machine {found:#x}; one for 0x8664 (amd64) is needed")]
    Machine {
        /// `IMAGE_FILE_MACHINE_…`.
        found: u16,
    },
    /// A section is not in the file.
    #[error(
        "section {name} of the unified kernel image should be bytes {start:#x} to {end:#x}, but the \
         file has {len:#x}; copy it again"
    )]
    Outside {
        /// Which.
        name: &'static str,
        /// Its first byte in the file.
        start: u64,
        /// Where it ends.
        end: u64,
        /// The file's length.
        len: u64,
    },
    /// There are two.
    #[error(
        "the unified kernel image has two sections {name} in one profile; it may have one: build it \
         again"
    )]
    Twice {
        /// Which.
        name: &'static str,
    },
}

/// Where in the file each section lies, in bytes; none that is not there. All lie in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uki {
    /// The kernel.
    pub linux: Range<u64>,
    /// What comes before the initrd.
    pub ucode: Option<Range<u64>>,
    /// The initrd.
    pub initrd: Option<Range<u64>>,
    /// The command line.
    pub cmdline: Option<Range<u64>>,
    /// `os-release`.
    pub osrel: Option<Range<u64>>,
}

impl Uki {
    /// The sections of a file that has `len` bytes and begins with `head`, its first [`HEAD`] bytes or
    /// all; none where it is something else than a UKI.
    ///
    /// # Errors
    /// It is one, but cannot be used.
    pub fn find(head: &[u8], len: u64) -> Result<Option<Self>, UkiError> {
        let Some((machine, sections)) = sections(head) else { return Ok(None) };
        if !sections.iter().any(|s| s.raw_name() == b".linux") {
            return Ok(None);
        }
        if machine != IMAGE_FILE_MACHINE_AMD64.0 {
            return Err(UkiError::Machine { found: machine });
        }
        let mut profiles = sections.split(|s| s.raw_name() == b".profile");
        let (base, first) = (profiles.next().unwrap_or(&[]), profiles.next().unwrap_or(&[]));
        let find = |name| Ok(one(first, name, len)?.or(one(base, name, len)?));
        let Some(linux) = find(".linux")? else { return Ok(None) };
        Ok(Some(Self {
            linux,
            ucode: find(".ucode")?,
            initrd: find(".initrd")?,
            cmdline: find(".cmdline")?,
            osrel: find(".osrel")?,
        }))
    }
}

/// The machine and the section table of a 64-bit PE file.
fn sections(head: &[u8]) -> Option<(u16, &[ImageSectionHeader])> {
    let mut offset = ImageDosHeader::parse(head).ok()?.nt_headers_offset().into();
    let (headers, _) = ImageNtHeaders64::parse(head, &mut offset).ok()?;
    let all = headers.sections(head, offset).ok()?.iter().as_slice();
    Some((headers.file_header.machine.get(LE).0, all))
}

/// The only section with that name. What a section has beyond its length in the file would be zeros,
/// and what the file has beyond the section's length fills up the alignment.
fn one(
    sections: &[ImageSectionHeader],
    wanted: &'static str,
    len: u64,
) -> Result<Option<Range<u64>>, UkiError> {
    let mut found = sections.iter().filter(|s| s.raw_name() == wanted.as_bytes());
    let Some(section) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(UkiError::Twice { name: wanted });
    }
    let (start, size) = section.pe_file_range();
    let (start, size) = (u64::from(start), u64::from(size));
    let end = start + size;
    if end > len {
        return Err(UkiError::Outside { name: wanted, start, end, len });
    }
    Ok(Some(start..end))
}
