//! The same kernels through kexec-tools: an oracle for header, memory map and command line.
//!
//! kexec-tools runs under gdb up to the *entry* of `kexec_load`; there its segments are read from
//! its memory, and it is killed. The call is never made, and could do nothing if it were: the
//! process has no `CAP_SYS_BOOT`.

mod common;

use common::{Header, bzimage, real_kernels, skip};
use kexec::{Boot, BzImage, OldBootParams, acpi, cmdline};
use physmem::{MemoryMap, PhysRange};
use std::fs;
use std::path::Path;
use std::process::Command;

const APPEND: &str = "console=ttyS0 \"dyndbg=file a.c +p\" quiet";

/// Parts of the zero page where the two differ on purpose, with the reason.
const DIFFERENCES: [(usize, usize, &str); 8] = [
    (0x000, 0x40, "screen_info: kexec-tools asks the frame buffer, or makes up a text screen"),
    (0x140, 0x80, "edid_info: only we carry it over"),
    (0x1f2, 2, "root_flags: kexec-tools sets `ro`; the kernel's own loader and we do not"),
    (0x1fc, 2, "root_dev: kexec-tools makes it /dev/hda; the kernel's own loader and we do not"),
    (0x1ff, 1, "kexec-tools clears what was once aux_device_info and is boot_flag's upper half"),
    (0x228, 4, "cmd_line_ptr: another place; compared by what it points to"),
    (0x250, 8, "setup_data: another place and other nodes"),
    (0x2d0, 16, "first e820 entry: kexec-tools leaves out page 0, as the kernel does itself"),
];

/// What kexec-tools was about to load.
struct Loaded {
    /// Where, and the bytes.
    segments: Vec<(u64, Vec<u8>)>,
}

impl Loaded {
    /// The bytes from a physical address to the end of their segment.
    fn at(&self, address: u64) -> &[u8] {
        let segment = |(start, bytes): &(u64, Vec<u8>)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            (offset < bytes.len()).then_some(offset)
        };
        let (offset, bytes) =
            self.segments.iter().find_map(|s| Some((segment(s)?, &s.1))).expect("in a segment");
        &bytes[offset..]
    }

    /// The segment with the setup header in its place.
    fn zero_page(&self) -> &[u8] {
        let has_header = |s: &&(u64, Vec<u8>)| s.1.get(0x202..0x206) == Some(b"HdrS");
        &self.segments.iter().find(has_header).expect("a zero page").1[..4096]
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + N].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// Runs `kexec -c -l` with `arguments` up to the system call.
fn kexec_tools(kernel: &Path, arguments: &[&str]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let name = |file: &str| folder.path().join(file).display().to_string();
    let script = format!(
        "set pagination off\nset confirm off\nset disable-randomization off\n\
         catch syscall 246\nrun\n\
         dump binary memory {segments} $rdx ($rdx + $rsi * 32)\nset $i = 0\n\
         while $i < $rsi\n\
         set $s = (unsigned long)$rdx + $i * 32\n\
         set $buf = *(unsigned long*)$s\n\
         eval \"dump binary memory {part}%d %lu %lu\", $i, $buf, $buf + *(unsigned long*)($s + 8)\n\
         set $i = $i + 1\nend\nkill\nquit\n",
        segments = name("segments"),
        part = name("part"),
    );
    fs::write(name("script"), script).unwrap();
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-sys_boot", "--inh-caps", "-sys_boot"])
        .args([
            "gdb",
            "-q",
            "-batch",
            "-nx",
            "-x",
            &name("script"),
            "--args",
            "/usr/sbin/kexec",
            "-c",
            "-l",
        ])
        .arg(kernel)
        .args(arguments)
        .output()
        .unwrap();
    let list = fs::read(name("segments")).unwrap_or_else(|e| {
        panic!("{e}: {}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
    });
    let part = |i| fs::read(name(&format!("part{i}"))).unwrap();
    let segment = |(i, raw): (usize, &[u8; 32])| (number::<8>(raw, 16), part(i));
    Loaded { segments: list.as_chunks().0.iter().enumerate().map(segment).collect() }
}

/// Whether kexec-tools can be asked here; says why not.
fn can_ask() -> bool {
    let missing = [
        "/usr/sbin/kexec",
        "/usr/bin/gdb",
        "/usr/bin/setpriv",
        "/sys/firmware/memmap",
        "/sys/kernel/boot_params/data",
    ]
    .into_iter()
    .find(|path| !Path::new(path).exists());
    if let Some(path) = missing {
        skip(&format!("no {path}: not compared with kexec-tools (install kexec-tools and gdb)"));
    } else if !rustix::process::geteuid().is_root() {
        skip("not root: not compared with kexec-tools");
        return false;
    }
    missing.is_none()
}

/// This machine's memory map, as its boot loader gave it.
fn firmware_map() -> MemoryMap {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let entries: Vec<_> = fs::read_dir("/sys/firmware/memmap")
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| ["start", "end", "type"].map(|file| read(&p.join(file))))
        .collect();
    MemoryMap::from_firmware(entries.iter().map(|[s, e, t]| (s.as_str(), e.as_str(), t.as_str())))
        .unwrap()
}

fn compare(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    fs::write(&initrd, [0xa5; 123_457]).unwrap();
    let theirs = kexec_tools(
        path,
        &["--initrd", initrd.to_str().unwrap(), "--reuse-cmdline", "--append", APPEND],
    );
    let page = theirs.zero_page();
    let whole = |low, high| number::<4>(page, low) | number::<4>(page, high) << 32;

    let file = fs::read(path).unwrap();
    let kernel = BzImage::parse(&file).unwrap();
    let map = firmware_map();
    let old = OldBootParams::new(&fs::read("/sys/kernel/boot_params/data").unwrap()).unwrap();
    let cmdline =
        cmdline::compose(Some(&fs::read_to_string("/proc/cmdline").unwrap()), Some(APPEND));
    let boot = Boot {
        kernel: &kernel,
        map: &map,
        cmdline: &cmdline,
        initrd: Some(PhysRange::from_len(whole(0x218, 0xc0), 123_457).unwrap()),
        old: Some(&old),
        rsdp: acpi::rsdp(Path::new("/sys"), Some(&old)),
        efi: None,
        rng_seed: [0; 32],
        handover: &[],
    };
    // In the same 4 GiB, so that the upper halves are the same.
    let place = whole(0x228, 0xc8) & !0xfff;
    let ours = boot.block_at(place).unwrap().bytes;

    let differs = |i: &usize| ours[*i] != page[*i];
    let on_purpose = |i: &usize| DIFFERENCES.iter().any(|&(at, len, _)| (at..at + len).contains(i));
    let wrong: Vec<_> = (0..0x1000).filter(differs).filter(|i| !on_purpose(i)).collect();
    assert!(wrong.is_empty(), "{}: zero pages differ at {wrong:#x?}", path.display());

    let end = |page: &[u8]| number::<8>(page, 0x2d0) + number::<8>(page, 0x2d8);
    assert_eq!(end(page), end(&ours), "the first e820 entry");
    assert!(number::<8>(page, 0x2d0).abs_diff(number::<8>(&ours, 0x2d0)) <= 0x1000);

    let text = theirs.at(whole(0x228, 0xc8));
    let text = &text[..text.iter().position(|&b| b == 0).unwrap()];
    assert!(text == cmdline.as_bytes(), "{}: command lines differ", path.display());
    assert_eq!(theirs.at(whole(0x218, 0xc0)), [0xa5; 123_457]);
    // They also load what a signing tool appended.
    let is_payload = |s: &&(u64, Vec<u8>)| s.1.starts_with(kernel.payload());
    let (load, _) = theirs.segments.iter().find(is_payload).expect("our payload in a segment");
    assert!(load.is_multiple_of(kernel.kernel_alignment()) && *load >= kernel.pref_address());
}

#[test]
fn agrees_with_kexec_tools_on_a_made_up_kernel() {
    if can_ask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vmlinuz");
        fs::write(&path, bzimage(&Header::default())).unwrap();
        compare(&path);
    }
}

#[test]
fn agrees_with_kexec_tools_on_real_kernels() {
    if can_ask() {
        real_kernels().iter().for_each(|path| compare(path));
    }
}
