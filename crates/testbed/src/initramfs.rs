//! The initramfs: the same for every kernel, for the first boot and for the next one.
//!
//! ```text
//! /init                    the guest program; also /opt/bin/guest
//! /opt/bin/pkram           the program under test
//! /opt/bin/warm_cache      the library's example
//! /lib/modules/RELEASE/    the needed modules of all three kernels, ready to load
//! /usr /boot               links to the artifacts disk, which carries everything else
//! ```

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use crate::programs::Programs;

const FOLDERS: [&str; 13] = [
    "dev",
    "etc",
    "lib",
    "mnt",
    "mnt/art",
    "mnt/region",
    "opt",
    "opt/bin",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
];

const LINKS: [(&str, &str); 8] = [
    ("bin", "usr/bin"),
    ("boot", "mnt/art/boot"),
    ("etc/mtab", "/proc/mounts"),
    ("lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"),
    ("lib64", "usr/lib64"),
    ("opt/bin/guest", "/init"),
    ("sbin", "usr/sbin"),
    ("usr", "mnt/art/usr"),
];

const TEXTS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

/// Writes the archive: `modules` is a folder that holds `lib/modules`.
pub(crate) fn write(path: &Path, programs: &Programs, modules: &Path) -> Result<()> {
    let mut archive = Archive::create(path)?;
    for folder in FOLDERS {
        archive.folder(folder)?;
    }
    for (name, target) in LINKS {
        archive.add(name, ModeFileType::Symlink, 0o777, target.as_bytes())?;
    }
    for (name, text) in TEXTS {
        archive.add(name, ModeFileType::Regular, 0o644, text.as_bytes())?;
    }
    archive.console()?;
    archive.program("init", &programs.guest)?;
    archive.program("opt/bin/pkram", &programs.pkram)?;
    archive.program("opt/bin/warm_cache", &programs.warm_cache)?;
    archive.tree("lib/modules", &modules.join("lib/modules"))?;
    archive.finish().with_context(|| format!("write {}", path.display()))
}

/// Writes the archive of a virtual machine inside a test machine: the guest program, nothing else.
pub(crate) fn write_inner(path: &Path, programs: &Programs) -> Result<()> {
    let mut archive = Archive::create(path)?;
    for folder in ["dev", "proc", "sys"] {
        archive.folder(folder)?;
    }
    archive.console()?;
    archive.program("init", &programs.guest)?;
    archive.finish().with_context(|| format!("write {}", path.display()))
}

/// A cpio archive in the `newc` format (kernel: Documentation/driver-api/early-userspace/
/// buffer-format.rst), without times or owners, so that equal input gives equal bytes.
struct Archive {
    out: BufWriter<File>,
    inodes: u32,
}

impl Archive {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { out: BufWriter::new(file), inodes: 0 })
    }

    fn finish(self) -> std::io::Result<()> {
        trailer(self.out)?.flush()
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32) -> Builder {
        self.inodes += 1;
        Builder::new(name).ino(self.inodes).nlink(1).mode(mode).set_mode_file_type(kind)
    }

    fn add(&mut self, name: &str, kind: ModeFileType, mode: u32, data: &[u8]) -> Result<()> {
        let size = u32::try_from(data.len()).with_context(|| format!("{name} is too large"))?;
        let entry = self.entry(name, kind, mode);
        let mut writer = entry.write(&mut self.out, size);
        writer.write_all(data)?;
        writer.finish().with_context(|| format!("add {name}"))?;
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        self.add(name, ModeFileType::Directory, 0o755, &[])
    }

    /// The kernel opens `/dev/console` for PID 1 before anything is mounted (major 5, minor 1:
    /// kernel Documentation/admin-guide/devices.txt).
    fn console(&mut self) -> Result<()> {
        let entry = self.entry("dev/console", ModeFileType::Char, 0o600);
        entry.rdev_major(5).rdev_minor(1).write(&mut self.out, 0).finish()?;
        Ok(())
    }

    fn program(&mut self, name: &str, path: &Path) -> Result<()> {
        let data = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        self.add(name, ModeFileType::Regular, 0o755, &data)
    }

    fn tree(&mut self, name: &str, path: &Path) -> Result<()> {
        self.folder(name)?;
        let mut entries: Vec<_> = fs::read_dir(path)
            .with_context(|| format!("read {}", path.display()))?
            .collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let child = entry.file_name();
            let child = std::str::from_utf8(child.as_bytes()).context("an odd module name")?;
            let child = format!("{name}/{child}");
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.tree(&child, &entry.path())?;
            } else {
                let mode = metadata.permissions().mode() & 0o777;
                self.add(&child, ModeFileType::Regular, mode, &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }
}
