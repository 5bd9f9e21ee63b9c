//! A no is not the same as no answer, and neither is the same as a failure.

use serde_json::Value;
use std::process::{Command, Output};

fn pkram(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pkram")).args(arguments).output().unwrap()
}

#[test]
fn verbs_that_look_say_no_with_1_and_have_no_answer_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let image = path.to_str().unwrap();
    let none = pkram(&["inspect", "--json", image]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    assert!(none.stdout.is_empty() && !none.stderr.is_empty(), "{none:?}");

    std::fs::write(&path, [0; 1 << 16]).unwrap();
    let no = pkram(&["inspect", "--json", image]);
    assert_eq!(no.status.code(), Some(1), "{no:?}");
    let answer: Value = serde_json::from_slice(&no.stdout).unwrap();
    assert!(answer["head_error"].is_string(), "{answer}");
}

#[test]
fn verbs_that_do_something_fail_with_1() {
    let refused = pkram(&["mount", "no-such-region", "/nowhere"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{refused:?}");
}

#[test]
fn a_command_line_that_makes_no_sense_is_2() {
    for words in [&["check", "--config", "/dev/shm/x"][..], &["mount"], &["nonsense"]] {
        assert_eq!(pkram(words).status.code(), Some(2), "{words:?}");
    }
    // It names no source, which is found out later.
    assert_eq!(pkram(&["check", "memfd:x"]).status.code(), Some(2));
}
