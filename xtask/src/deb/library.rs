//! The library for C, `libpkram.so.0`, and what programs that use it are compiled with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::succeed;
use super::tree::Tree;

/// Where Debian has libraries of this architecture.
const FOLDER: &str = "usr/lib/x86_64-linux-gnu";

const PC: &str = "prefix=/usr
libdir=${prefix}/lib/x86_64-linux-gnu
includedir=${prefix}/include

Name: libpkram
Description: hands open memory to pkramd, which keeps it across kexec
Version: @VERSION@
Libs: -L${libdir} -lpkram
Cflags: -I${includedir}
";

/// Compiles it. It is no static one: a program has one C library.
pub(super) fn build(folder: &Path, root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "-p", "fdstore-c", "--target-dir"]);
    command.arg(folder).current_dir(root);
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    succeed(&mut command)?;
    Ok(folder.join("release/libfdstore_c.so"))
}

/// Puts it there; returns the packages that it needs.
pub(super) fn install(tree: &Tree, library: &Path) -> Result<String> {
    tree.put_stripped(&format!("{FOLDER}/libpkram.so.0"), library, 0o644)?;
    let since = env!("CARGO_PKG_VERSION");
    tree.put("DEBIAN/shlibs", format!("libpkram 0 libpkram0 (>= {since})\n").as_bytes(), 0o644)?;
    tree.put("DEBIAN/triggers", b"activate-noawait ldconfig\n", 0o644)?;
    needs(library)
}

/// Puts there what programs are compiled with.
pub(super) fn install_headers(tree: &Tree, root: &Path) -> Result<()> {
    let crate_file = |name: &str| {
        let path = root.join("crates/fdstore-c").join(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    tree.put("usr/include/pkram.h", &crate_file("include/pkram.h")?, 0o644)?;
    let example = "usr/share/doc/libpkram-dev/examples/counter.c";
    tree.put(example, &crate_file("examples/counter.c")?, 0o644)?;
    let pc = PC.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    tree.put(&format!("{FOLDER}/pkgconfig/libpkram.pc"), pc.as_bytes(), 0o644)?;
    let link = tree.folder().join(FOLDER).join("libpkram.so");
    std::os::unix::fs::symlink("libpkram.so.0", &link).with_context(|| link.display().to_string())
}

/// The packages of the libraries that it names, the C library in the version of its newest symbol.
fn needs(library: &Path) -> Result<String> {
    let output = Command::new("objdump").arg("-p").arg(library).output().context("objdump")?;
    ensure!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let packages = text.lines().filter_map(|line| line.trim().strip_prefix("NEEDED"));
    let packages = packages.map(|library| match library.trim() {
        "libc.so.6" | "ld-linux-x86-64.so.2" => Ok(format!("libc6 (>= {})", newest_glibc(&text)?)),
        "libgcc_s.so.1" => Ok("libgcc-s1 (>= 4.2)".to_owned()),
        other => bail!("the library needs {other}, and nobody knows whose that is"),
    });
    Ok(packages.collect::<Result<BTreeSet<_>>>()?.into_iter().collect::<Vec<_>>().join(", "))
}

/// The newest `GLIBC_2.N` among the versions that are referred to.
fn newest_glibc(dump: &str) -> Result<String> {
    let minors = dump.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_2."));
    let minors = minors.filter_map(|minor| minor.split('.').next()?.parse::<u32>().ok());
    Ok(format!("2.{}", minors.max().context("the library uses no symbol of glibc")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_as_a_number() {
        let dump = "  NEEDED               libc.so.6\n  required from libc.so.6:\n\
                    0x09691972 0x00 04 GLIBC_2.3.4\n0x069691b4 0x00 02 GLIBC_2.34\n\
                    0x09691a75 0x00 05 GLIBC_2.2.5\n0x06969198 0x00 06 GLIBC_2.18\n";
        assert_eq!(newest_glibc(dump).unwrap(), "2.34");
    }
}
