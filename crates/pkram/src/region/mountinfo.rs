//! What is mounted where: `/proc/PID/mountinfo`, line by line.
//!
//! ```text
//! ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS … - TYPE SOURCE OPTIONS
//! ```
//!
//! Source: `Documentation/filesystems/proc.rst` §3.5.

use rustix::fs::makedev;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug)]
pub struct Mount {
    /// The filesystem's device.
    pub device: u64,
    /// Which directory of the filesystem.
    pub root: PathBuf,
    /// Where in the tree of the process.
    pub at: PathBuf,
    /// The filesystem's type.
    pub kind: Vec<u8>,
}

/// The mounts in a `mountinfo`; lines that are none are left out.
pub fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Mount> {
    let mount = |line: &[u8]| {
        let mut words = line.split(|&b| b == b' ').skip(2);
        let device = device_number(words.next()?, 10)?;
        let (root, at) = (unescaped(words.next()?), unescaped(words.next()?));
        // Optional fields end with a dash.
        let kind = words.skip_while(|word| word != b"-").nth(1).unwrap_or_default().to_vec();
        Some(Mount { device, root, at, kind })
    };
    mountinfo.split(|&b| b == b'\n').filter_map(mount)
}

/// A device number from `MAJOR:MINOR`.
pub(super) fn device_number(text: &[u8], radix: u32) -> Option<u64> {
    let (major, minor) = str::from_utf8(text).ok()?.split_once(':')?;
    let part = |digits| u32::from_str_radix(digits, radix).ok();
    Some(makedev(part(major)?, part(minor)?))
}

/// A path in which the kernel wrote white space and backslashes as `\ooo` (`mangle_path`,
/// `fs/seq_file.c`).
pub(super) fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.first_chunk::<3>().filter(|_| first == b'\\');
        let code = octal.and_then(|o| u8::from_str_radix(str::from_utf8(o).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mounts_as_the_kernel_writes_them() {
        let mountinfo = b"22 1 0:21 / /proc rw - proc proc rw\n\
            30 1 259:3 /cache /srv/cache rw - ext4 /dev/pmem0 rw\n\
            31 1 259:3 / /mnt/a\\040b\\134 rw,nosuid shared:1 - ext4 /dev/pmem0 rw\nrubbish\n";
        let found: Vec<_> = mounts(mountinfo).filter(|m| m.device == makedev(259, 3)).collect();
        let pairs: Vec<_> =
            found.iter().filter_map(|m| Some((m.root.to_str()?, m.at.to_str()?))).collect();
        assert_eq!(pairs, [("/cache", "/srv/cache"), ("/", "/mnt/a b\\")]);
    }
}
