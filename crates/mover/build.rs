//! Compiles the mover with `$RUSTC` into a flat image.
//!
//! ```text
//! mover-abi ─► rlib ─┐
//! src/blob ──────────┴─► mover.bin (linked as static-pie at 0, no relocations), mover.map
//! ```
//!
//! Only rustc and the `rust-lld` that comes with it are needed: no cc, no binutils, no target to
//! install. The workspace's own flags (RUSTFLAGS, profile) do not reach the mover.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of both crates: no unwinding, no red zone (exceptions use the mover's stack), nothing
/// that only some processors have, and nothing that needs a relocation: tables of pointers to
/// strings, calls through a table of addresses (which `relro` brings).
const CODEGEN: &[&str] = &[
    "--edition=2024",
    "--target=x86_64-unknown-linux-gnu",
    "-Dwarnings",
    "-Dunsafe_op_in_unsafe_fn",
    "-Copt-level=2",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Cforce-unwind-tables=no",
    "-Crelocation-model=pic",
    "-Crelro-level=off",
    "-Cllvm-args=-switch-to-lookup=false",
    "-Cno-redzone=yes",
    "-Cno-vectorize-loops",
    "-Cno-vectorize-slp",
    "-Coverflow-checks=no",
    "-Cdebug-assertions=no",
    "-Ctarget-cpu=x86-64",
];

/// Static-pie, so that a relocation would show up as one; the linker script asserts none. Thin
/// LTO, because fat LTO takes over from `core` that calls go through a table.
const LINK: &[&str] = &[
    "-Clto=thin",
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
    "-Clink-arg=-pie",
    "-Clink-arg=--no-dynamic-linker",
    "-Clink-arg=--build-id=none",
    "-Clink-arg=--oformat=binary",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/blob");
    println!("cargo::rerun-if-changed=../mover-abi/src");
    println!("cargo::rustc-check-cfg=cfg(mover_blob)");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let abi = out.join("libmover_abi.rlib");
    rustc(&["--crate-type=rlib", "--crate-name=mover_abi", "../mover-abi/src/lib.rs"], &[], &abi);
    let extern_abi = format!("mover_abi={}", abi.display());
    let script = format!("-Clink-arg=-T{}/src/blob/mover.ld", env!("CARGO_MANIFEST_DIR"));
    let map = format!("-Clink-arg=-Map={}", out.join("mover.map").display());
    let more = ["--extern", &extern_abi, &script, &map];
    let blob = ["--crate-type=bin", "--crate-name=mover", "--cfg=mover_blob", "src/blob/main.rs"];
    rustc(&[&blob, LINK].concat(), &more, &out.join("mover.bin"));
}

fn rustc(what: &[&str], more: &[&str], out: &Path) {
    let status = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"))
        .args([CODEGEN, what, more].concat())
        .arg("-o")
        .arg(out)
        .status()
        .expect("rustc runs");
    assert!(status.success(), "the mover does not build");
}
