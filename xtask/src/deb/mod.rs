//! `cargo xtask deb`: the Debian packages.
//!
//! ```text
//! static programs, units, hooks ──┐
//! manual, completions ────────────┼─► staged tree ─► dpkg-deb ─► pkram_VERSION_amd64.deb
//! packaging/debian ───────────────┤
//! libpkram.so.0 ──────────────────┼─► staged tree ─► dpkg-deb ─► libpkram0_VERSION_amd64.deb
//! pkram.h, pkg-config, example ───┴─► staged tree ─► dpkg-deb ─► libpkram-dev_VERSION_amd64.deb
//! ```
//!
//! The same sources give the same bytes: every time in the packages is that of the last entry of
//! `packaging/debian/changelog`, or `$SOURCE_DATE_EPOCH`.

mod control;
mod library;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use control::Changelog;
use tree::Tree;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the packages are written
    #[arg(long, value_name = "DIR", default_value = "target/deb")]
    out: PathBuf,
    /// Let lintian look at them, and fail where it finds errors or warnings
    #[arg(long)]
    lint: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let packages = make(&args.out)?;
    for package in &packages {
        if args.lint {
            lint(package)?;
        }
        println!("{}", package.display());
    }
    Ok(())
}

/// Builds everything that is in them, and writes the packages to a folder, `pkram` first.
pub(crate) fn make(out: &Path) -> Result<Vec<PathBuf>> {
    let root = testbed::workspace()?;
    let changelog = Changelog::read(&root.join("packaging/debian/changelog"))?;
    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let package = |name: &'static str, fill: &dyn Fn(&Tree) -> Result<()>| {
        let stage = tempfile::tempdir()?;
        let tree = Tree::new(stage.path(), name);
        tree.documents(&root)?;
        fill(&tree)?;
        write(&tree, &changelog, out)
    };
    eprintln!("building the programs");
    let build = testbed::folder()?.join("build");
    let programs = testbed::static_programs(&build, &["pkram-cli", "pkramd"], &[])?;
    let pkram = package("pkram", &|tree| {
        tree.programs(&programs)?;
        tree.units_and_hooks(&root)?;
        tree.manual()?;
        tree.completions()?;
        control::write(tree, &root, &changelog, "")
    });
    eprintln!("building the library");
    let library = library::build(&build.join("library"), &root)?;
    let libpkram = package("libpkram0", &|tree| {
        let needs = library::install(tree, &library)?;
        control::write(tree, &root, &changelog, &format!("Depends: {needs}\n"))
    });
    let headers = package("libpkram-dev", &|tree| {
        library::install_headers(tree, &root)?;
        let same = format!("Depends: libpkram0 (= {})\n", changelog.version);
        control::write(tree, &root, &changelog, &same)
    });
    [pkram, libpkram, headers].into_iter().collect()
}

/// Makes a package of a tree that has everything.
fn write(tree: &Tree, changelog: &Changelog, out: &Path) -> Result<PathBuf> {
    let package = out.join(format!("{}_{}_amd64.deb", tree.package(), changelog.version));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(tree.folder()).arg(&package);
    succeed(dpkg.env("SOURCE_DATE_EPOCH", changelog.epoch.to_string()))?;
    Ok(package)
}

fn lint(package: &Path) -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--display-info", "--pedantic"]);
    // The packages are not made for an archive with such bugs.
    lintian.args(["--suppress-tags", "initial-upload-closes-no-bugs"]);
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
