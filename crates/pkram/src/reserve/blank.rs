//! Whether a range carries anything that somebody may want.
//!
//! A range that was RAM when it was reserved is full of what lay in RAM: there only what claims to be
//! something counts. Of any other range nothing is known, and it has to be zero wherever a
//! filesystem, a partition table or an NVDIMM's label could be.

use crate::marks;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Filesystems and tables keep their signatures within so much of the start or the end of a device.
const EDGE: u64 = 1 << 20;

/// What is known by its first bytes: name, offset, bytes. In the order of likelihood, from the
/// formats' own documents; util-linux `libblkid/src/superblocks` has them all.
const SIGNATURES: [(&str, u64, &[u8]); 14] = [
    ("the head of a pkram span", 0, b"PKRAMSPN"),
    ("an ext2, ext3 or ext4 filesystem", 0x438, &[0x53, 0xef]),
    ("an XFS filesystem", 0, b"XFSB"),
    ("a Btrfs filesystem", 0x1_0040, b"_BHRfS_M"),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("an LVM volume", 0x200, b"LABELONE"),
    ("an MD array", 0x1000, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ("swap space", 0xff6, b"SWAPSPACE2"),
    ("an F2FS filesystem", 0x400, &[0x10, 0x20, 0xf5, 0xf2]),
    ("a GUID partition table", 0x200, b"EFI PART"),
    ("a boot sector (partitions, FAT or NTFS)", 0x1fe, &[0x55, 0xaa]),
    // `drivers/nvdimm/pfn.h`, `btt.h`: at 4 KiB in a namespace.
    ("a BTT info block", 0x1000, b"BTT_ARENA_INFO"),
    ("an fsdax info block", 0x1000, b"NVDIMM_PFN_INFO"),
    ("a device-dax info block (a region was released here)", 0x1000, b"NVDIMM_DAX_INFO"),
];

/// What was found, and where in the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// In words.
    pub what: String,
    /// Offset in bytes.
    pub at: u64,
}

/// What the `len` bytes behind `file` carry, if anything. `was_ram`: they were RAM when they were
/// reserved, and nobody made anything of them since that pkram knows of.
pub(super) fn look(file: &File, len: u64, was_ram: bool) -> io::Result<Option<Finding>> {
    for (what, at, bytes) in SIGNATURES {
        let mut found = vec![0; bytes.len()];
        file.read_exact_at(&mut found, at)?;
        if found == bytes {
            return Ok(Some(Finding { what: what.to_owned(), at }));
        }
    }
    if let Some(at) = marks::remain(file, len)? {
        return Ok(Some(Finding { what: "a mark of a region that was here".to_owned(), at }));
    }
    if was_ram {
        return Ok(None);
    }
    for start in [0, len.saturating_sub(EDGE)] {
        let mut edge = vec![0; usize::try_from(EDGE.min(len)).unwrap_or(0)];
        file.read_exact_at(&mut edge, start)?;
        if let Some(at) = edge.iter().position(|&byte| byte != 0) {
            let what = "bytes that are not zero and may be anything".to_owned();
            return Ok(Some(Finding { what, at: start + at as u64 }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const LEN: u64 = 64 << 20;

    fn device() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LEN).unwrap();
        file
    }

    fn found(file: &tempfile::NamedTempFile, was_ram: bool) -> Option<Finding> {
        look(file.as_file(), LEN, was_ram).unwrap()
    }

    #[test]
    fn zeros_are_blank_and_leftovers_only_where_ram_was() {
        let file = device();
        assert_eq!(found(&file, false), None);
        for at in [5, EDGE - 1, LEN - EDGE, LEN - 1] {
            file.as_file().write_all_at(&[7], at).unwrap();
            assert_eq!(found(&file, true), None);
            assert_eq!(found(&file, false).unwrap().at, at);
            file.as_file().write_all_at(&[0], at).unwrap();
        }
    }

    /// The judges are the makers of the formats, as far as they are installed.
    #[test]
    fn names_what_others_made() {
        for (maker, words, want) in [
            ("mkfs.ext4", vec!["-q"], "ext4"),
            ("mkswap", vec!["-q"], "swap"),
            ("mkfs.vfat", vec![], "boot sector"),
            ("mkfs.xfs", vec!["-q"], "XFS"),
            ("mkfs.btrfs", vec!["-q"], "Btrfs"),
        ] {
            let file = device();
            let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
            let made = Command::new(maker).args(words).arg(file.path()).env("PATH", path).output();
            match made {
                Ok(output) if output.status.success() => {
                    for was_ram in [true, false] {
                        let what = found(&file, was_ram).expect(maker).what;
                        assert!(what.contains(want), "{maker}: {what}");
                    }
                }
                _ => eprintln!("skipped in part: no {maker} that makes one of {LEN} bytes"),
            }
        }
    }

    #[test]
    fn a_mark_alone_is_enough() {
        let file = device();
        file.as_file().write_all_at(b"PKRAMMRK", LEN - 4096).unwrap();
        assert_eq!(found(&file, true).unwrap().at, LEN - 4096);
    }
}
