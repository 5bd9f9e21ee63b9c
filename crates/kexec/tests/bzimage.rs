//! Kernel files: real, made up, damaged.

mod common;

use common::{Header, bzimage, real_kernels};
use kexec::BzImage;
use kexec::bzimage::{BzImageError, Looks};
use kexec::identity::Paging;
use proptest::prelude::*;
use std::fs;

#[test]
fn reads_a_made_up_kernel() {
    let file = bzimage(&Header::default());
    let kernel = BzImage::parse(&file).unwrap();
    assert_eq!(kernel.setup_header(), &file[0x1f1..0x26c]);
    assert_eq!(kernel.payload(), &file[2048..2048 + 0x1000]);
    assert_eq!(kernel.release(), Some("9.9.9-test"));
    assert_eq!(kernel.protocol(), 0x20f);
    assert_eq!((kernel.kernel_alignment(), kernel.pref_address()), (2 << 20, 16 << 20));
    assert_eq!((kernel.init_size(), kernel.cmdline_size()), (2 << 20, 2047));
    assert!(kernel.takes_efi());
    assert_eq!(BzImage::entry(0x100_0000), 0x100_0200);
}

#[test]
fn reads_real_kernels() {
    for path in real_kernels() {
        let file = fs::read(&path).unwrap();
        let kernel = BzImage::parse(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let release = kernel.release().unwrap();
        assert!(name == "vmlinuz" || name.ends_with(release), "{name} says it is {release}");
        let len = u64::try_from(kernel.payload().len()).unwrap();
        assert!(len < kernel.init_size() && kernel.init_size() < 256 << 20, "{kernel:?}");
        // What `syssize` leaves out is a signature: far less than the payload.
        assert!(file.len() - kernel.payload().len() < 64 << 10, "{kernel:?}");
        let cut = &file[..file.len() - 100_000];
        assert!(matches!(BzImage::parse(cut), Err(BzImageError::Truncated { .. })));
    }
}

#[test]
fn says_what_is_wrong() {
    let good = bzimage(&Header::default());
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        BzImage::parse(&file).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(0x206, &[0x0b, 2]), BzImageError::TooOld { found: 0x20b });
    assert!(with(0x206, &[0x0b, 2]).to_string().contains("protocol 2.11"));
    assert_eq!(with(0x211, &[0]), BzImageError::LoadedLow);
    assert_eq!(with(0x236, &[0x7e]), BzImageError::Only32Bit { xloadflags: 0x7e });
    assert_eq!(with(0x236, &[0x7d]), BzImageError::OnlyBelow4G { xloadflags: 0x7d });
    assert_eq!(with(0x234, &[0]), BzImageError::NotRelocatable);
    for (at, bytes, field) in [
        (0x1fe, vec![0, 0], "boot_flag"),
        (0x201, vec![0x65], "jump"),
        (0x201, vec![0x8f], "jump"),
        (0x230, vec![0, 0, 0x30, 0], "kernel_alignment"),
        (0x230, vec![0, 8, 0, 0], "kernel_alignment"),
        (0x238, vec![0; 4], "cmdline_size"),
        (0x1f4, vec![0x20, 0, 0, 0], "syssize"),
        (0x25f, vec![1], "pref_address"),
        (0x260, vec![0, 0, 0, 0], "init_size"),
    ] {
        match with(at, &bytes) {
            BzImageError::Damaged { field: found, .. } => assert_eq!(found, field),
            other => panic!("{field}: {other}"),
        }
    }
    let payload_end = good.len() - 100;
    assert!(BzImage::parse(&good[..payload_end]).is_ok());
    assert_eq!(
        BzImage::parse(&good[..payload_end - 1]).unwrap_err(),
        BzImageError::Truncated { expected: payload_end, found: payload_end - 1 }
    );
}

#[test]
fn five_levels_need_a_kernel_that_knows_them() {
    let paging = |levels| Paging { levels, giant_pages: true };
    let new = bzimage(&Header::default());
    let old = bzimage(&Header { xloadflags: 0x1f, ..Header::default() });
    let (new, old) = (BzImage::parse(&new).unwrap(), BzImage::parse(&old).unwrap());
    assert_eq!(new.check_paging(paging(5)), Ok(()));
    assert_eq!(old.check_paging(paging(4)), Ok(()));
    assert_eq!(old.check_paging(paging(5)), Err(BzImageError::Only4Levels));
}

#[test]
fn says_what_it_is_instead() {
    let uki = [b"MZ".as_slice(), &[0; 600], b".linux\0\0", &[0; 600]].concat();
    for (file, looks) in [
        (b"\x7fELF".repeat(500), Looks::Elf),
        (uki, Looks::Uki),
        ([b"MZ".as_slice(), &[0; 2000]].concat(), Looks::Pe),
        ([&[0x1f, 0x8b], [0; 2000].as_slice()].concat(), Looks::Packed("gzip")),
        (b"#!/bin/sh\n".repeat(200), Looks::Unknown),
        (Vec::new(), Looks::Short),
    ] {
        assert_eq!(BzImage::parse(&file).unwrap_err(), BzImageError::NotBzImage(looks));
    }
}

proptest! {
    #[test]
    fn never_panics(
        changes in proptest::collection::vec((0x1f1usize..0x270, any::<u8>()), 0..8),
        len in 0usize..8000,
    ) {
        let mut file = bzimage(&Header::default());
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(len);
        if let Ok(kernel) = BzImage::parse(&file) {
            // What was accepted can be used without further checks.
            prop_assert!(kernel.kernel_alignment().is_power_of_two());
            prop_assert!(kernel.payload().len() > 0x200);
            prop_assert!(u64::try_from(kernel.payload().len()).unwrap() <= kernel.init_size());
            prop_assert!((0x77..=0x9f).contains(&kernel.setup_header().len()));
            prop_assert_eq!(kernel.init_size() % 4096, 0);
        }
    }

    #[test]
    fn never_panics_on_noise(file in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(BzImage::parse(&file).is_err());
    }
}
