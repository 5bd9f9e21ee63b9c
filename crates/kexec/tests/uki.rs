//! Unified kernel images as others write them: the crate `object`, and objcopy.

mod common;

use common::{Header, bzimage, real_kernels};
use kexec::BzImage;
use kexec::uki::{HEAD, Uki, UkiError};
use object::pe;
use object::write::pe::{NtHeaders, Writer};
use proptest::prelude::*;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// An EFI program with these sections, in their order.
fn program(machine: pe::Machine, sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(true, 4096, 512, &mut file);
    writer.reserve_dos_header_and_stub();
    writer.reserve_nt_headers(16);
    writer.reserve_section_headers(sections.len().try_into().unwrap());
    let data = pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_READ;
    let mut places = Vec::new();
    for (name, bytes) in sections {
        let mut padded = [0; 8];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        let len = u32::try_from(bytes.len()).unwrap();
        places.push(writer.reserve_section(padded, data, len, len).file_offset);
    }
    writer.write_dos_header_and_stub().unwrap();
    writer.write_nt_headers(NtHeaders {
        machine,
        time_date_stamp: 0,
        characteristics: pe::IMAGE_FILE_EXECUTABLE_IMAGE,
        major_linker_version: 0,
        minor_linker_version: 0,
        address_of_entry_point: 0,
        image_base: 0x1_4000_0000,
        major_operating_system_version: 0,
        minor_operating_system_version: 0,
        major_image_version: 0,
        minor_image_version: 0,
        major_subsystem_version: 0,
        minor_subsystem_version: 0,
        subsystem: pe::IMAGE_SUBSYSTEM_EFI_APPLICATION,
        dll_characteristics: pe::DllFlags(0),
        size_of_stack_reserve: 0,
        size_of_stack_commit: 0,
        size_of_heap_reserve: 0,
        size_of_heap_commit: 0,
    });
    writer.write_section_headers();
    for ((_, bytes), place) in sections.iter().zip(places) {
        writer.write_section(place, bytes);
    }
    file
}

fn amd64(sections: &[(&str, &[u8])]) -> Vec<u8> {
    program(pe::IMAGE_FILE_MACHINE_AMD64, sections)
}

fn find(file: &[u8]) -> Result<Option<Uki>, UkiError> {
    Uki::find(&file[..file.len().min(HEAD)], file.len() as u64)
}

fn part(file: &[u8], range: Range<u64>) -> &[u8] {
    &file[range.start.try_into().unwrap()..range.end.try_into().unwrap()]
}

#[test]
fn finds_the_sections() {
    let kernel = bzimage(&Header::default());
    let file = amd64(&[
        (".text", b"stub"),
        (".osrel", b"ID=debian\n"),
        (".cmdline", b"root=/dev/vda quiet"),
        (".ucode", b"microcode"),
        (".linux", &kernel),
        (".initrd", b"an initrd of 25 bytes ..."),
    ]);
    let uki = find(&file).unwrap().unwrap();
    let linux = part(&file, uki.linux);
    assert_eq!(linux, kernel);
    assert_eq!(BzImage::parse(linux).unwrap().release(), Some("9.9.9-test"));
    let section = |range: Option<Range<u64>>| str::from_utf8(part(&file, range.unwrap())).unwrap();
    assert_eq!(section(uki.cmdline), "root=/dev/vda quiet");
    assert_eq!(section(uki.ucode), "microcode");
    assert_eq!(section(uki.initrd), "an initrd of 25 bytes ...");
    assert_eq!(section(uki.osrel), "ID=debian\n");

    let file = amd64(&[(".linux", b"alone")]);
    let linux = find(&file).unwrap().unwrap().linux;
    let alone = Uki { linux: linux.clone(), ..Uki::default() };
    assert_eq!((find(&file).unwrap(), part(&file, linux)), (Some(alone), &b"alone"[..]));
}

#[test]
fn profile_0_runs_where_nobody_chooses() {
    let file = amd64(&[
        (".linux", b"kernel"),
        (".cmdline", b"base"),
        (".initrd", b"base"),
        (".profile", b"ID=main"),
        (".cmdline", b"main"),
        (".profile", b"ID=rescue"),
        (".cmdline", b"rescue"),
        (".initrd", b"rescue"),
    ]);
    let uki = find(&file).unwrap().unwrap();
    assert_eq!(part(&file, uki.cmdline.unwrap()), b"main");
    assert_eq!(part(&file, uki.initrd.unwrap()), b"base");
}

#[test]
fn refuses_what_it_cannot_use() {
    let arm = program(pe::IMAGE_FILE_MACHINE_ARM64, &[(".linux", b"kernel")]);
    assert_eq!(find(&arm), Err(UkiError::Machine { found: 0xaa64 }));
    let twice = amd64(&[(".linux", b"a"), (".cmdline", b"b"), (".cmdline", b"c")]);
    assert_eq!(find(&twice), Err(UkiError::Twice { name: ".cmdline" }));
    let mut cut = amd64(&[(".cmdline", b"b"), (".linux", &[7; 5000])]);
    cut.truncate(cut.len() - 1000);
    let error = find(&cut).unwrap_err();
    assert!(matches!(error, UkiError::Outside { name: ".linux", .. }), "{error}");
    assert!(error.to_string().contains("copy it again"), "{error}");
}

#[test]
fn everything_else_is_none() {
    for file in [
        Vec::new(),
        b"MZ".to_vec(),
        bzimage(&Header::default()),
        amd64(&[]),
        amd64(&[(".text", b"an addon has no kernel"), (".cmdline", b"debug")]),
        amd64(&[(".linuxx", b"another name")]),
    ] {
        assert_eq!(find(&file), Ok(None));
    }
    for path in real_kernels() {
        let file = fs::read(&path).unwrap();
        assert!(file.starts_with(b"MZ"), "{} has no EFI stub", path.display());
        assert_eq!(find(&file), Ok(None), "{}", path.display());
    }
}

/// Start and length of every section as `objdump -h` shows them.
fn objdump(path: &Path) -> Vec<(String, u64, u64)> {
    let output = Command::new("objdump").arg("-h").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let line = |line: &str| match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [index, name, size, _, _, at, _] if index.parse::<u32>().is_ok() => {
            Some((name.to_owned(), hex(at), hex(size)))
        }
        _ => None,
    };
    text.lines().filter_map(line).collect()
}

/// The way before `ukify`: sections added to a stub by objcopy.
#[test]
fn finds_what_objcopy_adds() {
    if Command::new("objcopy").arg("--version").output().is_err() {
        assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "no objcopy");
        eprintln!("finds_what_objcopy_adds: skipped for want of objcopy (binutils)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (stub, made) = (path("stub.efi"), path("uki.efi"));
    fs::write(&stub, amd64(&[(".text", b"a stub"), (".sbat", b"sbat,1")])).unwrap();
    let sections = [
        (".osrel", b"ID=debian".to_vec(), 0x2_0000),
        (".cmdline", b"console=ttyS0".to_vec(), 0x3_0000),
        (".linux", bzimage(&Header::default()), 0x10_0000),
        (".initrd", vec![9; 70_001], 0x20_0000),
    ];
    let mut objcopy = Command::new("objcopy");
    for (name, bytes, address) in &sections {
        let file = path(&name[1..]);
        fs::write(&file, bytes).unwrap();
        objcopy.arg("--add-section").arg(format!("{name}={}", file.display()));
        objcopy
            .arg("--change-section-vma")
            .arg(format!("{name}={:#x}", 0x1_4000_0000_u64 + address));
    }
    let output = objcopy.args([&stub, &made]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let file = fs::read(&made).unwrap();
    let uki = find(&file).unwrap().unwrap();
    let shown = objdump(&made);
    let ranges = [uki.osrel, uki.cmdline, Some(uki.linux), uki.initrd];
    for ((name, bytes, _), range) in sections.iter().zip(ranges) {
        let range = range.unwrap_or_else(|| panic!("no {name}: {shown:?}"));
        assert_eq!(part(&file, range.clone()), bytes, "{name}");
        let (_, at, size) = shown.iter().find(|(shown, ..)| shown == name).unwrap();
        assert_eq!((range.start, range.end - range.start), (*at, *size), "{name}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_stays_in_the_file(
        changes in proptest::collection::vec((0usize..0x400, any::<u8>()), 0..12),
        cut in 0usize..6000,
    ) {
        let mut file = amd64(&[
            (".cmdline", b"quiet"),
            (".linux", &[1; 3000]),
            (".profile", b""),
            (".initrd", &[2; 700]),
        ]);
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(cut);
        if let Ok(Some(uki)) = find(&file) {
            for range in [Some(uki.linux), uki.initrd, uki.ucode, uki.cmdline, uki.osrel] {
                let range = range.unwrap_or_default();
                prop_assert!(range.start <= range.end && range.end <= file.len() as u64);
            }
        }
    }
}
