//! A kernel file, as the x86 boot protocol lays it out.
//!
//! ```text
//! 0       boot sector, PE header
//! 0x1f1   setup header, to 0x202 + byte[0x201]          copied into the zero page
//! …       real-mode code, (setup_sects + 1) × 512 bytes never run by a kexec
//! payload protected-mode code, syssize × 16 bytes       goes to the kernel window
//! …       what a signing tool appended                  not loaded
//! ```
//!
//! Source of every offset: `Documentation/arch/x86/boot.rst`, `asm/bootparam.h`.
//!
//! The *kernel window* is `init_size` bytes from an address that is a multiple of
//! `kernel_alignment` (2 MiB) and at least `pref_address` (16 MiB): there the payload goes, and
//! the kernel unpacks itself within it. Nothing else may lie there. With EFI information passed
//! on the next kernel stays where it was put, so the planner picks the window at random.

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::identity::Paging;
use physmem::{PAGE_SIZE, page_align_up};
use std::fmt;

/// Where the setup header starts, both in the file and in the zero page.
pub const SETUP_HEADER: usize = 0x1f1;
/// Where it must end: `edd_mbr_sig_buffer` follows in the zero page.
const SETUP_HEADER_LIMIT: usize = 0x290;
/// Protocol 2.12, the first with `xloadflags` (Linux 3.8).
const OLDEST_PROTOCOL: u16 = 0x020c;

/// Why a file is no kernel that can be entered here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BzImageError {
    /// No `HdrS` at 0x202.
    #[error(
        "this is not a bzImage but {0}; give the distribution's vmlinuz (or arch/x86/boot/bzImage)"
    )]
    NotBzImage(Looks),
    /// The boot protocol is too old.
    #[error(
        "the kernel speaks boot protocol {}.{}, but 2.12 (Linux 3.8) is the oldest that can be \
         entered in 64-bit mode; use a newer kernel", .found >> 8, .found & 0xff
    )]
    TooOld {
        /// Major version in the high byte.
        found: u16,
    },
    /// `LOADED_HIGH` is not set.
    #[error("this is a zImage (loaded below 640 KiB), not a bzImage; build a bzImage")]
    LoadedLow,
    /// `XLF_KERNEL_64` is not set.
    #[error(
        "the kernel is 32-bit only (xloadflags {xloadflags:#x} lack KERNEL_64); use an amd64 kernel"
    )]
    Only32Bit {
        /// The flags found at 0x236.
        xloadflags: u16,
    },
    /// `XLF_CAN_BE_LOADED_ABOVE_4G` is not set.
    #[error(
        "the kernel does not say that it, its initrd and boot parameters may lie above 4 GiB \
         (xloadflags {xloadflags:#x}); use a kernel built with CONFIG_RELOCATABLE"
    )]
    OnlyBelow4G {
        /// The flags found at 0x236.
        xloadflags: u16,
    },
    /// `relocatable_kernel` is zero.
    #[error("the kernel is not relocatable; use one built with CONFIG_RELOCATABLE")]
    NotRelocatable,
    /// The file ends too early.
    #[error(
        "truncated kernel: {found} bytes, but its header promises at least {expected}; copy the file again"
    )]
    Truncated {
        /// Bytes that the header promises.
        expected: usize,
        /// Bytes in the file.
        found: usize,
    },
    /// `XLF_5LEVEL` is not set, and the running kernel uses 5 levels.
    #[error(
        "the running kernel uses 5-level page tables, and the next one cannot be entered with them; \
         boot once with `no5lvl`, or use a kernel built with CONFIG_X86_5LEVEL"
    )]
    Only4Levels,
    /// A header field makes no sense.
    #[error(
        "damaged kernel header: {field} at {at:#x} is {found:#x}, expected {expected}; copy the file again"
    )]
    Damaged {
        /// The field's name in the boot protocol.
        field: &'static str,
        /// Its offset in the file.
        at: usize,
        /// What was found.
        found: u64,
        /// What would be right.
        expected: &'static str,
    },
}

/// What a file that is no bzImage looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// An ELF file: an unpacked `vmlinux`.
    Elf,
    /// A PE file with a `.linux` section.
    Uki,
    /// Another PE file.
    Pe,
    /// Compressed data.
    Packed(&'static str),
    /// Not even two sectors.
    Short,
    /// None of these.
    Unknown,
}

impl Looks {
    fn of(file: &[u8]) -> Self {
        let starts = |magic: &[u8]| file.starts_with(magic);
        if starts(b"\x7fELF") {
            Self::Elf
        } else if starts(b"MZ") {
            // The PE section table lies in the first page; eight bytes of name each.
            let head = &file[..file.len().min(4096)];
            if head.windows(8).any(|w| w == b".linux\0\0") { Self::Uki } else { Self::Pe }
        } else if starts(&[0x1f, 0x8b]) {
            Self::Packed("gzip")
        } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Packed("zstd")
        } else if starts(b"\xfd7zXZ\0") {
            Self::Packed("xz")
        } else if file.len() < 1024 {
            Self::Short
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf => f.write_str("an ELF file (an unpacked vmlinux?)"),
            Self::Uki => f.write_str("a unified kernel image (its kernel is the .linux section)"),
            Self::Pe => f.write_str("another PE/EFI program"),
            Self::Packed(how) => write!(f, "{how}-compressed data"),
            Self::Short => f.write_str("a file of less than two sectors"),
            Self::Unknown => f.write_str("something without `HdrS` at 0x202"),
        }
    }
}

/// A well-formed 64-bit relocatable kernel file.
#[derive(Clone, Copy)]
pub struct BzImage<'a> {
    setup_header: &'a [u8],
    payload: &'a [u8],
    version: Option<&'a str>,
    protocol: u16,
    xloadflags: u16,
    kernel_alignment: u64,
    cmdline_size: usize,
    pref_address: u64,
    init_size: u64,
}

impl<'a> BzImage<'a> {
    /// Checks `file` and finds its parts.
    pub fn parse(file: &'a [u8]) -> Result<Self, BzImageError> {
        if file.get(0x202..0x206) != Some(b"HdrS") {
            return Err(BzImageError::NotBzImage(Looks::of(file)));
        }
        let truncated = |expected| BzImageError::Truncated { expected, found: file.len() };
        let header = file.get(..SETUP_HEADER_LIMIT).ok_or(truncated(2 * 512))?;
        let u16_of = |at| u16_at(header, at).unwrap_or(0);
        let u32_of = |at| u32_at(header, at).unwrap_or(0);
        let damaged =
            |field, at, found, expected| Err(BzImageError::Damaged { field, at, found, expected });

        let boot_flag = u16_of(0x1fe);
        if boot_flag != 0xaa55 {
            return damaged("boot_flag", 0x1fe, boot_flag.into(), "0xaa55");
        }
        let protocol = u16_of(0x206);
        if protocol < OLDEST_PROTOCOL {
            return Err(BzImageError::TooOld { found: protocol });
        }
        if header[0x211] & 1 == 0 {
            return Err(BzImageError::LoadedLow);
        }
        let xloadflags = u16_of(0x236);
        if xloadflags & Xlf::KERNEL_64 == 0 {
            return Err(BzImageError::Only32Bit { xloadflags });
        }
        if xloadflags & Xlf::ABOVE_4G == 0 {
            return Err(BzImageError::OnlyBelow4G { xloadflags });
        }
        if header[0x234] == 0 {
            return Err(BzImageError::NotRelocatable);
        }
        // The header ends where the jump over it leads; it holds at least init_size and
        // handover_offset.
        let header_end = 0x202 + usize::from(header[0x201]);
        if !(0x268..=SETUP_HEADER_LIMIT).contains(&header_end) {
            return damaged("jump", 0x201, header[0x201].into(), "0x66 to 0x8e");
        }
        let kernel_alignment = u64::from(u32_of(0x230));
        if !kernel_alignment.is_power_of_two() || kernel_alignment < PAGE_SIZE {
            return damaged(
                "kernel_alignment",
                0x230,
                kernel_alignment,
                "a power of two, 4096 or more",
            );
        }
        let pref_address = u64_at(header, 0x258).unwrap_or(0);
        if pref_address >= 1 << 46 {
            return damaged("pref_address", 0x258, pref_address, "less than 64 TiB");
        }
        let cmdline_size = u32_of(0x238);
        if !(255..=1 << 20).contains(&cmdline_size) {
            return damaged("cmdline_size", 0x238, cmdline_size.into(), "255 to 1048576");
        }

        let setup_sects = if header[0x1f1] == 0 { 4 } else { usize::from(header[0x1f1]) };
        let start = (setup_sects + 1) * 512;
        let syssize = usize::try_from(u64::from(u32_of(0x1f4)) * 16).unwrap_or(usize::MAX);
        let end = start.saturating_add(syssize);
        let payload = file.get(start..end).ok_or(truncated(end))?;
        // The 64-bit entry lies at 0x200 in the payload.
        if payload.len() <= 0x200 {
            return damaged("syssize", 0x1f4, u32_of(0x1f4).into(), "more than 0x20");
        }
        let init_size = page_align_up(u32_of(0x260).into()).unwrap_or(0);
        if u64::try_from(payload.len()).is_ok_and(|len| init_size < len) {
            return damaged("init_size", 0x260, init_size, "at least the size of the payload");
        }
        Ok(Self {
            setup_header: &header[SETUP_HEADER..header_end],
            payload,
            version: version_string(&file[..start], u16_of(0x20e)),
            protocol,
            xloadflags,
            kernel_alignment,
            cmdline_size: usize::try_from(cmdline_size).unwrap_or(0),
            pref_address,
            init_size,
        })
    }

    /// The setup header's own bytes, from [`SETUP_HEADER`] on.
    pub const fn setup_header(&self) -> &'a [u8] {
        self.setup_header
    }

    /// What goes to the start of the kernel window.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The first word of the version string, as in `/lib/modules/VERSION`.
    pub fn release(&self) -> Option<&'a str> {
        self.version?.split_ascii_whitespace().next()
    }

    /// The version string (`uname -rv` and who built it), if the file has one.
    pub const fn version(&self) -> Option<&'a str> {
        self.version
    }

    /// Boot protocol version, major in the high byte.
    pub const fn protocol(&self) -> u16 {
        self.protocol
    }

    /// What the address of the kernel window must be a multiple of, in bytes; a power of two.
    pub const fn kernel_alignment(&self) -> u64 {
        self.kernel_alignment
    }

    /// Length of the kernel window in bytes, a multiple of the page size.
    pub const fn init_size(&self) -> u64 {
        self.init_size
    }

    /// The lowest address at which the kernel works where it was put; lower, it moves itself up
    /// to here and overwrites what is there.
    pub const fn pref_address(&self) -> u64 {
        self.pref_address
    }

    /// Longest command line in bytes, without the NUL at the end.
    pub const fn cmdline_size(&self) -> usize {
        self.cmdline_size
    }

    /// Whether the kernel can be entered from one that uses `paging` (`XLF_5LEVEL`).
    pub const fn check_paging(&self, paging: Paging) -> Result<(), BzImageError> {
        if paging.levels > 4 && self.xloadflags & Xlf::FIVE_LEVEL == 0 {
            return Err(BzImageError::Only4Levels);
        }
        Ok(())
    }

    /// Whether the kernel takes over EFI runtime services from a kernel before it
    /// (`XLF_EFI_KEXEC`).
    pub const fn takes_efi(&self) -> bool {
        self.xloadflags & Xlf::EFI_KEXEC != 0
    }

    /// The 64-bit entry point of a kernel whose window starts at `window`.
    pub const fn entry(window: u64) -> u64 {
        window + 0x200
    }
}

impl fmt::Debug for BzImage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BzImage")
            .field("version", &self.version)
            .field("payload_len", &self.payload.len())
            .field("init_size", &self.init_size)
            .finish_non_exhaustive()
    }
}

/// Bits of `xloadflags`.
struct Xlf;

impl Xlf {
    const KERNEL_64: u16 = 1 << 0;
    const ABOVE_4G: u16 = 1 << 1;
    const EFI_KEXEC: u16 = 1 << 4;
    const FIVE_LEVEL: u16 = 1 << 5;
}

/// `kernel_version` counts from 0x200 and is 0 where there is no string.
fn version_string(real_mode: &[u8], pointer: u16) -> Option<&str> {
    let text = real_mode.get(0x200 + usize::from(pointer)..).filter(|_| pointer != 0)?;
    let len = text.iter().take(256).position(|&b| b == 0)?;
    std::str::from_utf8(&text[..len]).ok()
}
