//! Names that a careless program stumbles over.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::rng::Rng;

/// The longest name (kernel: include/uapi/linux/limits.h, NAME_MAX).
const NAME_MAX: usize = 255;

/// The longest target that ext4 keeps in the inode itself, and the longest that fits a block
/// (kernel: fs/ext4/ext4.h, EXT4_N_BLOCKS * 4 and 4096, each with the final zero).
const FAST_LINK: u64 = 59;
const SLOW_LINK: u64 = 4095;

/// A name that no other index has; every third is odd.
pub(super) fn name(rng: &mut Rng, index: u64) -> OsString {
    let number = index.to_string().into_bytes();
    let name = match rng.below(24) {
        0 => [b"-rf ", number.as_slice()].concat(),
        1 => [number.as_slice(), b"\nnew\nline"].concat(),
        2 => [number.as_slice(), b"\xff\xfe\x80 not UTF-8"].concat(),
        3 => [number.as_slice(), b" \\ \" ' $(x) `y` * ? ~ ;|&<>\t"].concat(),
        4 => [b"...", number.as_slice()].concat(),
        5 => [number.as_slice(), "e\u{301}\u{202e}\u{1f980}".as_bytes()].concat(),
        6 => {
            let mut name = [number.as_slice(), b"-"].concat();
            name.resize(NAME_MAX, b'x');
            name
        }
        7 => [b" ", number.as_slice(), b" "].concat(),
        _ => [b"entry-", number.as_slice()].concat(),
    };
    OsString::from_vec(name)
}

/// Where a symbolic link points: nowhere, usually, which is a link's good right.
pub(super) fn link_target(rng: &mut Rng) -> OsString {
    let length = match rng.below(4) {
        0 => rng.between(FAST_LINK + 1, SLOW_LINK),
        1 => *rng.pick(&[1, FAST_LINK, FAST_LINK + 1, SLOW_LINK]),
        _ => rng.between(1, FAST_LINK),
    };
    let target = (0..length).map(|_| *rng.pick(b"abc/.\xc3 ")).collect();
    OsString::from_vec(target)
}
