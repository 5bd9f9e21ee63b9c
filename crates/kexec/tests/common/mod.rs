//! Kernels for tests: made-up ones, and real ones where there are any.

#![allow(dead_code, reason = "every test file uses another part")]

use std::path::PathBuf;

/// What a made-up kernel says in its header; every field can be changed by a test.
pub(crate) struct Header {
    pub(crate) setup_sects: u8,
    pub(crate) syssize: u32,
    pub(crate) init_size: u32,
    pub(crate) cmdline_size: u32,
    pub(crate) xloadflags: u16,
}

impl Default for Header {
    fn default() -> Self {
        let (cmdline_size, xloadflags) = (2047, 0x7f);
        Self {
            setup_sects: 3,
            syssize: 0x1000 / 16,
            init_size: 0x20_0000,
            cmdline_size,
            xloadflags,
        }
    }
}

/// A made-up bzImage of protocol 2.15 after `Documentation/arch/x86/boot.rst`, with a payload
/// of a repeating pattern and 100 bytes of signature behind it.
pub(crate) fn bzimage(h: &Header) -> Vec<u8> {
    let setup = (usize::from(h.setup_sects) + 1) * 512;
    let payload = usize::try_from(h.syssize).unwrap() * 16;
    let mut file = vec![0; setup];
    file.extend((0..=250u8).cycle().take(payload));
    file.extend([0xee; 100]);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[h.setup_sects]);
    put(0x1f4, &h.syssize.to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS\x0f\x02");
    put(0x20e, &0x400u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x230, &0x20_0000u32.to_le_bytes());
    put(0x234, &[1, 21]);
    put(0x236, &h.xloadflags.to_le_bytes());
    put(0x238, &h.cmdline_size.to_le_bytes());
    put(0x258, &0x100_0000u64.to_le_bytes());
    put(0x260, &h.init_size.to_le_bytes());
    put(0x600, b"9.9.9-test (somebody@somewhere) #1 SMP\0");
    file
}

/// The kernels in the folder `PKRAM_KERNELS`; says so where there are none.
///
/// # Panics
///
/// Where there are none and `PKRAM_TEST_REQUIRE=1`.
pub(crate) fn real_kernels() -> Vec<PathBuf> {
    let folder = std::env::var_os("PKRAM_KERNELS").map(PathBuf::from);
    let entries = folder.iter().flat_map(std::fs::read_dir).flatten().flatten();
    let name =
        |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"));
    let mut kernels: Vec<_> = entries.map(|e| e.path()).filter(name).collect();
    kernels.sort();
    if kernels.is_empty() {
        skip("PKRAM_KERNELS names no folder with vmlinuz files: no real kernel was looked at");
    }
    kernels
}

/// Says on stderr that a test is left out; a failure where nothing may be.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("PKRAM_TEST_REQUIRE").as_deref() != Ok("1"), "required: {why}");
    eprintln!("skipped: {why}");
}
