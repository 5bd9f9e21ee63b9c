//! Owners, modes, access control lists, extended attributes, times.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, lchown};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, XattrFlags, lremovexattr, lsetxattr, utimensat,
};
use rustix::io::Errno;

use crate::rng::Rng;

/// Owners that have been somebody's bug: root, users, nobody, the last valid id.
const IDS: [u32; 6] = [0, 1, 1000, 65_534, 65_536, u32::MAX - 1];

const MODES: [u32; 12] =
    [0o644, 0o644, 0o600, 0o755, 0o400, 0, 0o777, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777];

/// The seconds that ext4 can tell: 32 signed bits and two of epoch (kernel: fs/ext4/ext4.h,
/// ext4_encode_extra_time), from 1901 to 2446.
const FIRST_SECOND: i64 = -(1 << 31);
const SECONDS: u64 = 1 << 34;

/// Where an attribute's name must begin for all kinds of files, and for files and folders only.
const FOR_ALL: [&str; 2] = ["trusted.", "security.test-"];
const FOR_SOME: &str = "user.";

/// All that `apply` sets.
pub(super) struct Attributes {
    owner: (u32, u32),
    /// Links have none.
    mode: Option<u32>,
    named: Vec<(String, Vec<u8>)>,
    times: Timestamps,
}

/// Sets a `user.` attribute and takes it back.
pub(super) fn user_attributes_work(folder: &Path) -> Result<bool> {
    match lsetxattr(folder, "user.probe", b"", XattrFlags::empty()) {
        Ok(()) => {
            lremovexattr(folder, "user.probe")?;
            Ok(true)
        }
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("probe {}", folder.display())),
    }
}

impl Attributes {
    /// For an entry that exists.
    pub(super) fn of(rng: &mut Rng, path: &Path, user: bool) -> Result<Self> {
        let kind = fs::symlink_metadata(path)?.file_type();
        let mut named = extended(rng, user && (kind.is_file() || kind.is_dir()));
        if kind.is_file() && rng.chance(5) {
            named.push(("security.capability".into(), capability()));
        }
        let may_have_acl = !kind.is_symlink() && !kind.is_socket();
        if may_have_acl && rng.chance(10) {
            named.push(("system.posix_acl_access".into(), access_control_list(rng)));
        }
        if kind.is_dir() && rng.chance(30) {
            named.push(("system.posix_acl_default".into(), access_control_list(rng)));
        }
        Ok(Self {
            owner: (*rng.pick(&IDS), *rng.pick(&IDS)),
            mode: (!kind.is_symlink()).then(|| *rng.pick(&MODES)),
            named,
            times: times(rng),
        })
    }

    /// For a folder, once it is full.
    pub(super) fn of_folder(rng: &mut Rng, user: bool) -> Self {
        let mut named = extended(rng, user);
        for (name, chance) in [("system.posix_acl_access", 20), ("system.posix_acl_default", 30)] {
            if rng.chance(chance) {
                named.push((name.into(), access_control_list(rng)));
            }
        }
        let mode = Some(*rng.pick(&MODES));
        Self { owner: (*rng.pick(&IDS), *rng.pick(&IDS)), mode, named, times: times(rng) }
    }

    /// Owners first, for changing them drops setuid and capabilities; times last, for nothing
    /// must come after.
    pub(super) fn apply(&self, path: &Path) -> Result<()> {
        lchown(path, Some(self.owner.0), Some(self.owner.1)).context("change the owner")?;
        if let Some(mode) = self.mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        for (name, value) in &self.named {
            lsetxattr(path, name.as_str(), value, XattrFlags::empty())
                .with_context(|| format!("set {name} ({} bytes)", value.len()))?;
        }
        utimensat(CWD, path, &self.times, AtFlags::SYMLINK_NOFOLLOW).context("set the times")
    }
}

fn extended(rng: &mut Rng, user: bool) -> Vec<(String, Vec<u8>)> {
    if !rng.chance(35) {
        return Vec::new();
    }
    // Enough for an inode, too much for an inode, nearly a block.
    let sizes = [0, 1, 20, 60, 250, 1200];
    (0..rng.between(1, 3))
        .map(|index| {
            let prefix = if user && rng.chance(60) { FOR_SOME } else { rng.pick(&FOR_ALL) };
            let mut value = vec![0; *rng.pick(&sizes)];
            rng.fill(&mut value);
            (format!("{prefix}{index}-{}", rng.below(1000)), value)
        })
        .collect()
}

/// CAP_NET_RAW, permitted and effective, as revision 2 (kernel:
/// include/uapi/linux/capability.h, struct vfs_cap_data).
fn capability() -> Vec<u8> {
    let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Version 2: tag and permissions of 16 bits each, id of 32 (kernel:
/// include/uapi/linux/posix_acl_xattr.h and posix_acl.h).
fn access_control_list(rng: &mut Rng) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let user = *rng.pick(&[1, 1000, 65_534]);
    let entries: [(u16, u32); 6] =
        [(0x01, NO_ID), (0x02, user), (0x04, NO_ID), (0x08, 5000), (0x10, NO_ID), (0x20, NO_ID)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(u16::from(*rng.pick(b"\0\x01\x04\x05\x06\x07")).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn times(rng: &mut Rng) -> Timestamps {
    let mut time = || Timespec {
        tv_sec: FIRST_SECOND.saturating_add_unsigned(rng.below(SECONDS)),
        tv_nsec: i64::try_from(rng.below(1_000_000_000)).unwrap_or(0),
    };
    Timestamps { last_access: time(), last_modification: time() }
}
