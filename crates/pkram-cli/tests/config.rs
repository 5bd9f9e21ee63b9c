//! `pkram config` as it is called, on systems that lie in a directory, and on this one.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn pkram(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pkram")).args(arguments).output().unwrap()
}

/// The exit status and what was said on stdout, without the root.
fn said(root: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let path = root.to_str().unwrap();
    let output = pkram(&[&["config"], arguments, &["--root", path]].concat());
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text.replace(&format!("{path}/"), ""))
}

#[test]
fn nothing_is_a_configuration() {
    let root = root(&[]);
    let ok = "ok       0 sources, 0 handovers; 0 errors, 0 warnings\n";
    assert_eq!(said(root.path(), &["check"]), (Some(0), ok.to_owned()));
}

#[test]
fn all_mistakes_are_told() {
    let root =
        root(&[("etc/pkram/pkram.toml", "[shutdown]\nreboot='kexce'\n[source.a]\npth='/x'")]);
    let text = "error    etc/pkram/pkram.toml:2: shutdown.reboot: expected \"auto\" or \
                \"firmware\" or \"kexec\", found \"kexce\"; did you mean \"kexec\"?\n\
                error    etc/pkram/pkram.toml:4: source.a.pth: unknown; did you mean path?\n\
                NO       2 errors, 0 warnings\n";
    assert_eq!(said(root.path(), &["check"]), (Some(1), text.to_owned()));
    let (code, text) = said(root.path(), &["check", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["ok"], &json["version"]), (Some(1), &Value::from(false), &1.into()));
    assert_eq!(json["errors"][1]["file"], "etc/pkram/pkram.toml");
    assert_eq!(json["errors"][1]["line"], 4);
    assert_eq!(json["errors"][1]["message"], "source.a.pth: unknown; did you mean path?");
    let shown = pkram(&["config", "show", "--root", root.path().to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(2));
    assert!(shown.stdout.is_empty());
    assert!(String::from_utf8(shown.stderr).unwrap().contains("did you mean path?"));
}

#[test]
fn what_a_system_does_not_have_is_told() {
    let text = "[kernel]\nimage='/boot/k'\ninitrd='/boot/i'\n[source.u]\nunit='there.service'\n\
                [source.v]\nunit='gone.service'\n[[handover]]\nuser='alice'\n[[handover]]\nuser='bob'\n\
                [[handover]]\nunit='app@1.service'\n[[handover]]\nunit='app-*'\n[[handover]]\nunit='gone.service'";
    let root = root(&[
        ("etc/pkram/pkram.toml", text),
        ("boot/k", ""),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n"),
        ("usr/lib/systemd/system/there.service", ""),
        ("usr/lib/systemd/system/app@.service", ""),
    ]);
    let error = "error    etc/pkram/pkram.toml:3: kernel.initrd: /boot/i: No such file or directory (os error 2)\n";
    let rest = "warning  etc/pkram/pkram.toml:7: source.v: gone.service is not there now\n\
                warning  etc/pkram/pkram.toml:10: handover: user bob is not there now\n\
                warning  etc/pkram/pkram.toml:16: handover: unit gone.service is not there now\n";
    let no = format!("{error}{rest}NO       1 error, 3 warnings\n");
    assert_eq!(said(root.path(), &["check"]), (Some(1), no));
    fs::write(root.path().join("boot/i"), "").unwrap();
    let ok = format!("{rest}ok       2 sources, 5 handovers; 0 errors, 3 warnings\n");
    assert_eq!(said(root.path(), &["check"]), (Some(0), ok));
}

#[test]
fn paths_of_this_system_are_looked_at() {
    // A file that is no memory, and a directory that is.
    let here = root(&[]);
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        let required = std::env::var_os("PKRAM_TEST_REQUIRE").is_some_and(|v| v == "1");
        assert!(!required, "/dev/shm is required");
        return eprintln!("skipped: /dev/shm cannot be written to");
    };
    for name in ["m-1", "m-2", ".m-3"] {
        fs::write(memory.path().join(name), "").unwrap();
    }
    let file = here.path().join("c.toml");
    let check = |text: String| {
        fs::write(&file, text).unwrap();
        let output = pkram(&["config", "check", "--json", file.to_str().unwrap()]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(json["ok"] == false)));
        (json["errors"].to_string(), json["warnings"].to_string())
    };
    let shm = memory.path().display();
    let none = || "[]".to_owned();
    assert_eq!(check(format!("[source.a]\npath='{shm}'")), (none(), none()));
    assert_eq!(check(format!("[source.a]\nglob='{shm}/m-*'")), (none(), none()));
    let (errors, warnings) = check(format!("[source.a]\nglob='{shm}/*-3'"));
    assert!(errors == "[]" && warnings.contains("source.a: nothing matches now"), "{warnings}");
    let (errors, warnings) = check(format!("[source.a]\npath='{shm}/x'"));
    assert!(errors == "[]" && warnings.contains("/x is not there now"), "{errors} {warnings}");
    let (errors, _) = check("[source.a]\npath='/proc/self'".to_owned());
    assert!(errors.contains("which is not memory; a source must lie on tmpfs"), "{errors}");
    let (_, warnings) = check("[source.a]\nsysv-key=0x7ffffff1".to_owned());
    assert!(warnings.contains("the SysV segment 0x7ffffff1 is not there now"), "{warnings}");
}

#[test]
fn what_is_used_is_shown() {
    let root = root(&[
        ("etc/pkram/pkram.toml", "[source.a]\npath='/x'\nrequired=true\n[[handover]]\nuser='u'"),
        ("run/pkram/pkram.toml.d/1.toml", "[shutdown]\nreboot='kexec'\n[source.a]\nglob='/x/*'"),
    ]);
    let text = "[kernel]\n\
                # image: what the machine would boot\n\
                # cmdline: the running kernel's\n\
                \n[shutdown]\n\
                reboot = \"kexec\"  # run/pkram/pkram.toml.d/1.toml:2\n\
                deadline = \"1m\"\n\
                # reserve-ram: what pkram kexec finds right\n\
                move-huge = false\n\
                \n[source.a]\n\
                glob = \"/x/*\"  # run/pkram/pkram.toml.d/1.toml:4\n\
                arrival = \"copy\"\n\
                required = true  # etc/pkram/pkram.toml:3\n\
                verify = false\n\
                stay = false\n\
                early = false\n\
                \n[[handover]]  # etc/pkram/pkram.toml:4\n\
                user = \"u\"\n\
                max-size = \"1G\"\n\
                max-descriptors = 16\n\
                arrival = \"copy\"\n";
    assert_eq!(said(root.path(), &["show"]), (Some(0), text.to_owned()));
    let (_, text) = said(root.path(), &["show", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["shutdown"]["deadline"], 60.0);
    assert_eq!(json["sources"][0]["glob"], "/x/*");
    assert_eq!(json["sources"][0]["arrival"], "copy");
    assert_eq!(json["handovers"][0]["user"], "u");
    assert_eq!(json["kernel"]["cmdline"], "reuse");
    assert_eq!(json["origins"]["source.a.required"], "etc/pkram/pkram.toml:3");
}
