//! `cargo xtask deb`: the Debian package.
//!
//! ```text
//! static programs, units, hooks ──┐
//! manual, completions ────────────┼─► staged tree ─► dpkg-deb ─► pkram_VERSION_amd64.deb
//! packaging/debian ───────────────┘
//! ```
//!
//! The same sources give the same bytes: every time in the package is that of the last entry of
//! `packaging/debian/changelog`, or `$SOURCE_DATE_EPOCH`.

mod control;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use control::Changelog;
use tree::Tree;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the package is written
    #[arg(long, value_name = "DIR", default_value = "target/deb")]
    out: PathBuf,
    /// Let lintian look at it, and fail where it finds errors or warnings
    #[arg(long)]
    lint: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let package = make(&args.out)?;
    if args.lint {
        lint(&package)?;
    }
    println!("{}", package.display());
    Ok(())
}

/// Builds everything that is in it, and writes the package to a folder.
fn make(out: &Path) -> Result<PathBuf> {
    let root = testbed::workspace()?;
    let changelog = Changelog::read(&root.join("packaging/debian/changelog"))?;
    eprintln!("building the programs");
    let build = testbed::folder()?.join("build");
    let programs = testbed::static_programs(&build, &["pkram-cli", "pkramd"], &[])?;

    let stage = tempfile::tempdir()?;
    let tree = Tree::new(stage.path());
    tree.programs(&programs)?;
    tree.units_and_hooks(&root)?;
    tree.documents(&root)?;
    tree.manual()?;
    tree.completions()?;
    control::write(&tree, &root, &changelog)?;

    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let package = out.join(format!("pkram_{}_amd64.deb", changelog.version));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(stage.path()).arg(&package);
    succeed(dpkg.env("SOURCE_DATE_EPOCH", changelog.epoch.to_string()))?;
    Ok(package)
}

fn lint(package: &Path) -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--display-info", "--pedantic"]);
    succeed(lintian.arg("--allow-root").arg(package))
}

/// Runs a program whose words go to standard error.
fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
