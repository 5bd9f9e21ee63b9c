//! The tree of a package: each file in its place, with its mode.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use flate2::{Compression, GzBuilder};

use super::succeed;
use crate::man;

/// Files of one folder, by their folder in the source tree: their name there, their place in the
/// package.
type Folder = (&'static str, &'static [(&'static str, &'static str)]);

/// Everything that goes into the package as it is.
const FOLDERS: [Folder; 5] = [
    ("crates/config", &[("pkram.toml", "etc/pkram/pkram.toml")]),
    (
        "crates/pkramd/units",
        &[
            ("pkramd.service", "usr/lib/systemd/system/pkramd.service"),
            ("pkram-arrive.service", "usr/lib/systemd/system/pkram-arrive.service"),
            ("pkram-shutdown.service", "usr/lib/systemd/system/pkram-shutdown.service"),
            ("pkram-source@.service", "usr/lib/systemd/system/pkram-source@.service"),
            ("pkram.catalog", "usr/lib/systemd/catalog/pkram.catalog"),
            ("system-generator", "usr/lib/systemd/system-generators/pkram"),
            ("system-shutdown", "usr/lib/systemd/system-shutdown/pkram"),
        ],
    ),
    (
        "packaging/initramfs-tools",
        &[
            ("hook", "usr/share/initramfs-tools/hooks/pkram"),
            ("premount", "usr/share/initramfs-tools/scripts/init-premount/pkram"),
        ],
    ),
    (
        "packaging/dracut",
        &[
            ("module-setup.sh", "usr/lib/dracut/modules.d/95pkram/module-setup.sh"),
            ("pkram-arrive.sh", "usr/lib/dracut/modules.d/95pkram/pkram-arrive.sh"),
        ],
    ),
    (
        "packaging/debian",
        &[
            ("README.Debian", "usr/share/doc/pkram/README.Debian"),
            ("lintian-overrides", "usr/share/lintian/overrides/pkram"),
        ],
    ),
];

/// What is written about each package, and whether it is compressed.
const DOCUMENTS: [(&str, &str, bool); 3] = [
    ("packaging/debian/copyright", "copyright", false),
    ("packaging/debian/changelog", "changelog.Debian.gz", true),
    ("CHANGELOG.md", "changelog.gz", true),
];

/// Completions, where each shell looks for those of packages.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "usr/share/bash-completion/completions/pkram"),
    (Shell::Zsh, "usr/share/zsh/vendor-completions/_pkram"),
    (Shell::Fish, "usr/share/fish/vendor_completions.d/pkram.fish"),
];

pub(super) struct Tree {
    folder: PathBuf,
    package: &'static str,
}

impl Tree {
    pub(super) fn new(folder: &Path, package: &'static str) -> Self {
        Self { folder: folder.to_owned(), package }
    }

    pub(super) fn package(&self) -> &'static str {
        self.package
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn programs(&self, from: &Path) -> Result<()> {
        for name in ["pkram", "pkramd"] {
            self.put_stripped(&format!("usr/sbin/{name}"), &from.join(name), 0o755)?;
        }
        Ok(())
    }

    /// Puts there what was compiled, without its names.
    pub(super) fn put_stripped(&self, to: &str, from: &Path, mode: u32) -> Result<()> {
        let stripped = tempfile::NamedTempFile::new()?;
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "--remove-section=.comment", "-o"]);
        succeed(strip.arg(stripped.path()).arg(from))?;
        self.put(to, &fs::read(stripped.path())?, mode)
    }

    /// Scripts can be executed, and nothing else.
    pub(super) fn units_and_hooks(&self, root: &Path) -> Result<()> {
        for (folder, files) in FOLDERS {
            for (name, to) in files {
                let text = read(root, &format!("{folder}/{name}"))?;
                let mode = if text.starts_with(b"#!") { 0o755 } else { 0o644 };
                self.put(to, &text, mode)?;
            }
        }
        Ok(())
    }

    pub(super) fn documents(&self, root: &Path) -> Result<()> {
        for (from, name, packed) in DOCUMENTS {
            let text = read(root, from)?;
            let text = if packed { gzip(&text)? } else { text };
            self.put(&format!("usr/share/doc/{}/{name}", self.package), &text, 0o644)?;
        }
        Ok(())
    }

    pub(super) fn manual(&self) -> Result<()> {
        for page in man::pages()? {
            let file = page.file();
            let (_, section) = file.rsplit_once('.').context("a page has a section")?;
            let to = format!("usr/share/man/man{section}/{file}.gz");
            self.put(&to, &gzip(page.text().as_bytes())?, 0o644)?;
        }
        Ok(())
    }

    pub(super) fn completions(&self) -> Result<()> {
        for (shell, to) in COMPLETIONS {
            let mut script = Vec::new();
            generate(shell, &mut pkram_cli::args::Cli::command(), "pkram", &mut script);
            self.put(to, &script, 0o644)?;
        }
        Ok(())
    }

    /// Writes a file; folders on the way to it are made, for everybody to read.
    pub(super) fn put(&self, to: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let path = self.folder.join(to);
        let parent = path.parent().context("no folder")?;
        fs::create_dir_all(parent)?;
        for folder in parent.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(mode))?)
    }
}

fn read(root: &Path, file: &str) -> Result<Vec<u8>> {
    fs::read(root.join(file)).with_context(|| format!("read {file}"))
}

/// As `gzip -9n`: without a name and a time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    Ok(packed.finish()?)
}
