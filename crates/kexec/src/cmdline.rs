//! The next kernel's command line, and what on it would hurt a region.

use physmem::{E820Type, MemoryMap, PhysRange};
use std::fmt;

/// Parameters of this boot that mean nothing, or harm, in the next one: the boot loader's name for
/// the kernel file, and where the boot loader put (or the EFI stub finds) the initrd.
const OF_THIS_BOOT: [&str; 3] = ["BOOT_IMAGE", "initrd", "initrdmem"];

/// The modules without which no region is seen.
const NEEDED_MODULES: [&str; 3] = ["libnvdimm", "nd_e820", "nd_pmem"];

/// The command line from that of the running kernel (`--reuse-cmdline`, the contents of
/// `/proc/cmdline`) and what is to be added (`--append`).
pub fn compose(reuse: Option<&str>, append: Option<&str>) -> String {
    let kept = parameters(reuse.unwrap_or("")).filter(|p| !OF_THIS_BOOT.contains(&p.name));
    let kept = kept.map(|p| p.text);
    kept.chain(append.map(str::trim).filter(|a| !a.is_empty())).collect::<Vec<_>>().join(" ")
}

/// A parameter that would hurt a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The parameter as it stands on the command line.
    pub parameter: String,
    /// What it would do.
    pub harm: &'static str,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on the next kernel's command line {}", self.parameter, self.harm)
    }
}

/// All parameters on `cmdline` that would hurt the regions in the next kernel's memory map. A
/// `memmap=` that makes of a span what it is, persistent memory, does no harm.
pub fn conflicts(cmdline: &str, map: &MemoryMap) -> Vec<Conflict> {
    let spans: Vec<_> =
        map.entries().iter().filter(|e| e.kind == E820Type::Pram).map(|e| e.range).collect();
    let found = parameters(cmdline).filter_map(|p| {
        let harm = harm(&p, &spans)?;
        Some(Conflict { parameter: p.text.to_owned(), harm })
    });
    found.collect()
}

fn harm(p: &Parameter<'_>, spans: &[PhysRange]) -> Option<&'static str> {
    let value = p.value.unwrap_or("");
    let mut items = value.split(',');
    match p.name {
        "mem" if value != "nopentium" => {
            Some("cuts off memory, so that the region could not be released to the system")
        }
        "memmap" => items.find_map(|item| memmap_harm(item, spans)),
        "initrdmem" | "initrd" => Some("makes the kernel look for the initrd elsewhere"),
        "mem_encrypt" if value == "on" => Some("makes the region read as noise"),
        "module_blacklist" | "modprobe.blacklist" | "rd.driver.blacklist"
            if items.any(|m| NEEDED_MODULES.contains(&m.replace('-', "_").as_str())) =>
        {
            Some("keeps the driver away that shows the region")
        }
        "initcall_blacklist" if items.any(|i| i == "register_e820_pmem") => {
            Some("keeps the device away that shows the region")
        }
        _ => None,
    }
}

/// The ranges that `memmap=SIZE!START` on `cmdline` keeps out of RAM as persistent memory, in the
/// order of the command line.
pub fn persistent(cmdline: &str) -> Vec<PhysRange> {
    parameters(cmdline)
        .filter(|p| p.name == "memmap")
        .flat_map(|p| p.value.unwrap_or("").split(','))
        .filter_map(persistent_item)
        .collect()
}

/// Bytes that `crashkernel=` on `cmdline` sets aside on a machine with `ram` bytes of RAM: all of
/// them added, an upper bound where a later one takes the place of an earlier one
/// (`kernel/crash_reserve.c`, `Documentation/admin-guide/kernel-parameters.txt`).
pub fn crashkernel(cmdline: &str, ram: u64) -> u64 {
    let asked = parameters(cmdline).filter(|p| p.name == "crashkernel");
    let (mut sum, mut high, mut low) = (0_u64, false, false);
    for value in asked.filter_map(|p| p.value) {
        high |= value.ends_with(",high");
        low |= value.ends_with(",low");
        sum = sum.saturating_add(crashkernel_size(value, ram));
    }
    // Beside one above 4 GiB some is taken below (`DEFAULT_CRASH_KERNEL_LOW_SIZE`).
    if high && !low { sum.saturating_add(CRASH_LOW) } else { sum }
}

/// `arch/x86/include/asm/crash_reserve.h: crash_low_size_default()`, at least.
const CRASH_LOW: u64 = 256 << 20;

/// `SIZE[@OFFSET][,high|,low]`, or `START-[END]:SIZE[,…][@OFFSET]`: the size of the range in which
/// `ram` lies.
fn crashkernel_size(value: &str, ram: u64) -> u64 {
    let value = value.split('@').next().unwrap_or(value);
    let size = |range: &str| -> Option<u64> {
        let Some((range, size)) = range.split_once(':') else { return number(range) };
        let (start, end) = range.split_once('-')?;
        let end = if end.is_empty() { u64::MAX } else { number(end)? };
        (number(start)?..end).contains(&ram).then(|| number(size)).flatten()
    };
    value.split(',').find_map(size).unwrap_or(0)
}

fn persistent_item(item: &str) -> Option<PhysRange> {
    let (size, start) = item.split_once('!')?;
    PhysRange::from_len(number(start)?, number(size)?).ok()
}

/// `memmap=exactmap`, `memmap=SIZE` and `memmap=SIZE[@#$!%]START…`
/// (`Documentation/admin-guide/kernel-parameters.txt`).
fn memmap_harm(item: &str, spans: &[PhysRange]) -> Option<&'static str> {
    if item == "exactmap" {
        return Some("throws the memory map away, and the region with it");
    }
    if persistent_item(item).is_some_and(|range| spans.contains(&range)) {
        return None;
    }
    let Some((size, rest)) = item.split_once(['@', '#', '$', '!', '%']) else {
        return Some("cuts off memory, so that the region could not be released to the system");
    };
    // `%` goes on with the types, from-to.
    let start = rest.split(['-', '+']).next().unwrap_or(rest);
    let range = PhysRange::from_len(number(start)?, number(size)?).ok()?;
    let hit = spans.iter().any(|span| span.intersect(range).is_some());
    hit.then_some("changes the memory map where the region lies")
}

/// A number as the kernel's `memparse()` reads it: decimal, `0x…` or `0…`, with K, M, G, T, P, E.
fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, unit) if unit.is_ascii_alphabetic() && !is_hex_digit_of(text, unit) => {
            let power = "KMGTPE".find(unit.to_ascii_uppercase())?;
            (&text[..at], 10 * (power + 1))
        }
        _ => (text, 0),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => {
            u64::from_str_radix(digits, 8).ok()?
        }
        None => digits.parse().ok()?,
    };
    value.checked_mul(1 << shift)
}

/// `E` is a digit in `0x1E`, and a unit in `1E`.
fn is_hex_digit_of(text: &str, c: char) -> bool {
    c.is_ascii_hexdigit() && (text.starts_with("0x") || text.starts_with("0X"))
}

/// One word of a command line.
struct Parameter<'a> {
    text: &'a str,
    name: &'a str,
    value: Option<&'a str>,
}

/// The words, cut as the kernel does (`next_arg()` in `lib/cmdline.c`): at white space outside
/// double quotes. `--` and what follows, which is init's, is passed on but never a parameter.
fn parameters(cmdline: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut quoted = false;
    let mut is_for_init = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            !quoted && c.is_ascii_whitespace()
        })
        .filter(|word| !word.is_empty())
        .map(move |text| {
            is_for_init |= text == "--";
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.trim_matches('"'))),
                None => (text, None),
            };
            // A name that no parameter has.
            Parameter { text, name: if is_for_init { "--" } else { name.trim_matches('"') }, value }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "BOOT_IMAGE=/boot/vmlinuz-6.1.0-50-amd64 root=UUID=0b5c-77 ro quiet\n";

    #[test]
    fn composes() {
        assert_eq!(compose(Some(DEBIAN), None), "root=UUID=0b5c-77 ro quiet");
        assert_eq!(compose(Some(DEBIAN), Some("debug ")), "root=UUID=0b5c-77 ro quiet debug");
        assert_eq!(compose(None, Some("a  \"b  c\"")), "a  \"b  c\"");
        assert_eq!(compose(None, None), "");
        let stub = r#"initrd=\EFI\deb\initrd.img x="initrd=1 2" noinitrd initrdmem=1,2 initrd=3"#;
        assert_eq!(compose(Some(stub), None), r#"x="initrd=1 2" noinitrd"#);
        assert_eq!(compose(Some("a -- initrd=for-init"), None), "a -- initrd=for-init");
    }

    #[test]
    fn finds_what_hurts() {
        let mut map = MemoryMap::default();
        map.overlay(PhysRange::from_len(0x4000_0000, 0x1000_0000).unwrap(), E820Type::Pram);
        let hurts = |cmdline: &str| !conflicts(cmdline, &map).is_empty();
        for bad in [
            "mem=2G",
            "quiet mem=512M",
            "memmap=exactmap",
            "memmap=1G",
            "memmap=64M$0x48000000",
            "memmap=64M@1G",
            "memmap=4K!0x4ffff000",
            "memmap=128M!1G",
            "memmap=4K$0x4ffff000",
            "memmap=256M$1G",
            "memmap=100M%0x3ff00000-1+2",
            "memmap=16M$0x1000,64M!1G",
            "modprobe.blacklist=foo,nd-pmem",
            "module_blacklist=nd_e820",
            "initcall_blacklist=register_e820_pmem",
            "initrdmem=0x1000,0x1000",
            "mem_encrypt=on",
        ] {
            assert!(hurts(bad), "{bad}");
        }
        for good in [
            "",
            DEBIAN,
            "memory=3 xmem=1G mem=nopentium",
            "memmap=64M$0x38000000",
            "memmap=64M!0x50000000",
            "memmap=256M!1G",
            "memmap=0x1E@0x1000",
            "modprobe.blacklist=nouveau",
            "mem_encrypt=off",
            "-- mem=2G",
        ] {
            assert!(!hurts(good), "{good}: {:?}", conflicts(good, &map));
        }
        let text = conflicts("mem=2G", &map)[0].to_string();
        assert!(text.starts_with("`mem=2G` on the next kernel's command line cuts"), "{text}");
    }

    #[test]
    fn knows_what_a_crash_kernel_takes() {
        const MIB: u64 = 1 << 20;
        for (cmdline, ram_mib, want_mib) in [
            ("quiet", 4096, 0),
            ("crashkernel=256M quiet", 4096, 256),
            ("crashkernel=128M@16M", 4096, 128),
            ("crashkernel=2G-4G:192M,4G-64G:256M,64G-:512M", 2048, 192),
            ("crashkernel=2G-4G:192M,4G-64G:256M,64G-:512M", 4096, 256),
            ("crashkernel=2G-4G:192M,4G-64G:256M,64G-:512M@64M", 65536, 512),
            ("crashkernel=2G-4G:192M", 1024, 0),
            ("crashkernel=1G,high", 8192, 1024 + 256),
            ("crashkernel=1G,high crashkernel=72M,low", 8192, 1024 + 72),
            ("crashkernel=nonsense", 8192, 0),
        ] {
            assert_eq!(crashkernel(cmdline, ram_mib * MIB), want_mib * MIB, "{cmdline}");
        }
    }

    #[test]
    fn finds_what_is_persistent() {
        let line = "memmap=64M!1G,16M$0x1000 x=1 memmap=0x200000!0x50000000 -- memmap=1M!2M";
        let range = |start, len| PhysRange::from_len(start, len).unwrap();
        let want = [range(1 << 30, 64 << 20), range(0x5000_0000, 0x20_0000)];
        assert_eq!(persistent(line), want);
        assert_eq!(persistent("memmap=1G! memmap=!1G memmap=0!1G memmap"), []);
    }

    #[test]
    fn reads_numbers_as_the_kernel_does() {
        for (text, want) in [
            ("1G", Some(1 << 30)),
            ("64m", Some(64 << 20)),
            ("0x1E", Some(0x1e)),
            ("0x10M", Some(16 << 20)),
            ("1E", Some(1 << 60)),
            ("16E", None),
            ("010", Some(8)),
            ("0", Some(0)),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
    }
}
