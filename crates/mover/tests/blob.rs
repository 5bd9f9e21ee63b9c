//! The blob as a file: its shape, and that building it again gives the same bytes.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use mover::BLOB;
use mover_abi::{PARAMS_OFFSET, Params};

#[test]
fn parameter_block_is_empty_and_jumped_over() {
    let params = PARAMS_OFFSET..PARAMS_OFFSET + Params::SIZE;
    assert!(BLOB[params.clone()].iter().all(|&byte| byte == 0));
    // `jmp rel32`, Intel SDM vol. 2, "JMP": relative to the next instruction.
    assert_eq!(BLOB[0], 0xe9);
    let distance = i32::from_le_bytes(BLOB[1..5].try_into().unwrap());
    assert_eq!(usize::try_from(5 + distance), Ok(params.end));
}

/// Another profile and another target directory, hence other paths, give the same blob.
#[test]
fn blob_is_reproducible() {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--release", "--package=mover", "--target-dir"])
        .arg(dir.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success());
    let again: Vec<_> = fs::read_dir(dir.path().join("release/build"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("out/mover.bin"))
        .filter(|path| Path::exists(path))
        .collect();
    let [again] = &again[..] else { panic!("one blob was built, not {again:?}") };
    assert!(fs::read(again).unwrap() == BLOB, "the second build gave other bytes");
}
