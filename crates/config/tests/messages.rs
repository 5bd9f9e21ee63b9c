//! What each mistake is told as, word for word.

use config::{Config, Rejected};
use std::path::Path;

fn parse(text: &str) -> Result<Config, Rejected> {
    Config::parse(Path::new("/c"), text)
}

/// The messages without the file, which is always `/c`.
fn errors(text: &str) -> Vec<String> {
    let rejected = parse(text).expect_err(text);
    let told = rejected.errors.iter().map(ToString::to_string);
    told.map(|e| e.strip_prefix("/c").unwrap_or(&e).to_owned()).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let config = parse(text).unwrap_or_else(|rejected| panic!("{text}: {rejected}"));
    let told = config.warnings.iter().map(ToString::to_string);
    told.map(|w| w.strip_prefix("/c").unwrap_or(&w).to_owned()).collect()
}

#[test]
fn unknown_keys_and_the_nearest_right_one() {
    for (text, message) in [
        ("[kernal]", ":1: kernal: unknown; did you mean kernel?"),
        ("[source.a]\npth='/x'\npath='/y'", ":2: source.a.pth: unknown; did you mean path?"),
        (
            "[source.a]\npath='/y'\nmount_point='/x'",
            ":3: source.a.mount_point: unknown; did you mean mount-point?",
        ),
        (
            "[shutdown]\n'a\tb'=1",
            ":2: shutdown.\"a\\tb\": unknown; known here: reboot, deadline, reserve-ram, move-huge",
        ),
        (
            "[[handover]]\nuser='a'\nmaxsize='1G'",
            ":3: handover.maxsize: unknown; did you mean max-size?",
        ),
        ("reboot='kexec'", ":1: reboot: unknown; known here: kernel, shutdown, source, handover"),
    ] {
        assert_eq!(errors(text), [message]);
    }
}

#[test]
fn values_of_another_kind() {
    for (text, message) in [
        ("[kernel]\nimage=5", "kernel.image: expected an absolute path in quotes, found 5"),
        (
            "[kernel]\nimage='vmlinuz'",
            "kernel.image: expected an absolute path in quotes, found \"vmlinuz\"",
        ),
        (
            "[kernel]\nimage='/a/../b'",
            "kernel.image: expected an absolute path in quotes, found \"/a/../b\"; it has \"..\" in it",
        ),
        (
            "[kernel]\nappend=\"a\\nb\"",
            "kernel.append: expected kernel parameters in quotes, on one line, found \"a\\nb\"; it has a control character",
        ),
        (
            "[shutdown]\nreboot='kexce'",
            "shutdown.reboot: expected \"auto\" or \"firmware\" or \"kexec\", found \"kexce\"; did you mean \"kexec\"?",
        ),
        (
            "[shutdown]\nreboot=true",
            "shutdown.reboot: expected \"auto\" or \"firmware\" or \"kexec\", found true",
        ),
        (
            "[shutdown]\ndeadline=60",
            "shutdown.deadline: expected a time from \"1s\" to \"1h\", found 60",
        ),
        (
            "[shutdown]\ndeadline='2h'",
            "shutdown.deadline: expected a time from \"1s\" to \"1h\", found \"2h\"",
        ),
        (
            "[shutdown]\nreserve-ram='512X'",
            "shutdown.reserve-ram: expected a size such as \"512M\", found \"512X\"; unknown unit \"X\"; use K, M, G or T",
        ),
        (
            "[shutdown]\nreserve-ram='much'",
            "shutdown.reserve-ram: expected a size such as \"512M\", found \"much\"; unknown unit \"much\"; use K, M, G or T",
        ),
        (
            "[shutdown]\nreserve-ram=-1",
            "shutdown.reserve-ram: expected a size such as \"512M\", found -1",
        ),
        (
            "[shutdown]\nreserve-ram='99999999T'",
            "shutdown.reserve-ram: expected a size such as \"512M\", found \"99999999T\"; 99999999T does not fit in 64 bits",
        ),
        (
            "[shutdown]\nmove-huge='yes'",
            "shutdown.move-huge: expected true or false, found \"yes\"",
        ),
        (
            "[source.a]\nglob='/x'",
            "source.a.glob: expected an absolute path in quotes with *, ? or […] in it, found \"/x\"; one path is given by `path`",
        ),
        (
            "[source.a]\nglob='/x/**'",
            "source.a.glob: expected an absolute path in quotes with *, ? or […] in it, found \"/x/**\"; ** would match what is inside of another match",
        ),
        (
            "[source.a]\nglob='/x/['",
            "source.a.glob: expected an absolute path in quotes with *, ? or […] in it, found \"/x/[\"; invalid range pattern",
        ),
        (
            "[source.a]\nunit='x.servcie'",
            "source.a.unit: expected a unit such as \"memcached.service\", found \"x.servcie\"; did you mean \"x.service\"?",
        ),
        (
            "[source.a]\nsysv-key='0x1'",
            "source.a.sysv-key: expected a key such as 0x1234, as `ipcs -m` shows it, found \"0x1\"",
        ),
        (
            "[source.a]\nsysv-key=0",
            "source.a.sysv-key: expected a key such as 0x1234, as `ipcs -m` shows it, found 0; 0 is the key of every private segment",
        ),
        (
            "[source.a]\nsysv-key=0x1_0000_0000",
            "source.a.sysv-key: expected a key such as 0x1234, as `ipcs -m` shows it, found 0x100000000",
        ),
        (
            "[source.a]\npath='/x'\narrival='inplace'",
            "source.a.arrival: expected \"copy\" or \"in-place\", found \"inplace\"; did you mean \"in-place\"?",
        ),
        (
            "[[handover]]\nuser='a b'",
            "handover.user: expected the name or number of a user in quotes, found \"a b\"",
        ),
        (
            "[[handover]]\nunit='a/b'",
            "handover.unit: expected a unit such as \"memcached.service\" or \"worker@*.service\", found \"a/b\"; a unit is a name, not a path",
        ),
        (
            "[[handover]]\nuser='a'\nmax-descriptors=0",
            "handover.max-descriptors: expected a number from 1 to 65536, found 0",
        ),
    ] {
        let line = text.matches('\n').count() + 1;
        assert_eq!(errors(text), [format!(":{line}: {message}")]);
    }
}

#[test]
fn sections_of_another_shape() {
    for (text, message) in [
        ("kernel=5", ":1: kernel: expected a section [kernel], found 5"),
        ("[source]\npath='/x'", ":2: source.path: expected a section [source.NAME], found \"/x\""),
        ("[handover]\nuser='a'", ":1: handover: expected sections [[handover]], found a section"),
        ("handover=[1]", ":1: handover: expected sections [[handover]], found 1"),
        ("[source.a]", ":1: source.a: expected path, glob, unit or sysv-key, found none"),
        ("[[handover]]", ":1: handover: expected unit or user, found none"),
        (
            "[source.'a/b']\npath='/x'",
            ":1: source \"a/b\" has a character that no unit has in its name: not a letter, a digit or one of :-_.\\@",
        ),
        (
            "[source.fdstore-x]\npath='/x'",
            ":1: source fdstore-x begins like the nodes of handovers",
        ),
    ] {
        assert_eq!(errors(text), [message]);
    }
}

#[test]
fn no_toml() {
    for (text, message) in [
        (
            "[source.a]\npath=/x",
            ":2: not TOML: string values must be quoted, expected literal string",
        ),
        ("[shutdown]\nmove-huge=true\nmove-huge=false", ":3: not TOML: duplicate key"),
        ("[kernel", ":1: not TOML: unclosed table, expected `]`"),
    ] {
        assert_eq!(errors(text), [message]);
    }
}

#[test]
fn contradictions() {
    for (text, message) in [
        (
            "[source.a]\nglob='/x/*'\n[source.a-b]\npath='/y'",
            ":4: source.a-b: its node would pass for one of source.a (/c:2), whose nodes are called a-…; give one of them another name",
        ),
        (
            "[kernel]\nappend='a'\ncmdline='b'",
            ":2: kernel.append: cannot be beside cmdline (line 3); give one of them",
        ),
        (
            "[source.a]\npath='/x'\nunit='u.service'",
            ":3: source.a.unit: cannot be beside path (line 2); give one of them",
        ),
        (
            "[[handover]]\nunit='u.service'\nuser='x'",
            ":3: handover.user: cannot be beside unit (line 2); give one of them",
        ),
        ("[kernel]\ninitrd='/i'", ":2: kernel.initrd: needs image: the kernel that it belongs to"),
        (
            "[source.a]\npath='/x'\nmount-point='/y'",
            ":3: source.a.mount-point: needs arrival = \"in-place\"",
        ),
        (
            "[source.a]\nglob='/x*'\narrival='in-place'\nmount-point='/y'",
            ":4: source.a.mount-point: needs path: each match of a glob is mounted where it was",
        ),
        (
            "[source.a]\nsysv-key=7\narrival='in-place'",
            ":3: source.a.arrival: needs mount-point: a segment has no path of its own",
        ),
        (
            "[source.a]\npath='/x'\narrival='in-place'\nmount-point='/usr/'",
            ":4: source.a: mounted at /usr, it would hide the system's own files",
        ),
        (
            "[source.a]\npath='/x'\n[source.b]\npath='//x/.'",
            ":4: source.b: /x is already kept by source.a (/c:2)",
        ),
        (
            "[source.a]\nglob='/x/p-*'\n[source.b]\npath='/x/p-1'",
            ":4: source.b: /x/p-1 is already kept by source.a (/c:2)",
        ),
        (
            "[source.a]\nsysv-key=-1\n[source.b]\nsysv-key=0xffffffff",
            ":4: source.b: the SysV segment 0xffffffff is already kept by source.a (/c:2)",
        ),
        (
            "[source.a]\npath='/x'\narrival='in-place'\n[source.b]\npath='/y'\narrival='in-place'\nmount-point='/x/z'",
            ":7: source.b: mount point /x/z is inside of the mount point /x of source.a (/c:2); one would hide the other",
        ),
        (
            "[source.a]\npath='/x'\narrival='in-place'\n[source.b]\npath='/y'\narrival='in-place'\nmount-point='/x'",
            ":7: source.b: mount point /x is also the mount point /x of source.a (/c:2); one would hide the other",
        ),
        (
            "[[handover]]\nuser='a'\n[[handover]]\nuser='a'",
            ":3: handover: user a has a rule already at /c:1; put both into one",
        ),
    ] {
        assert_eq!(errors(text), [message]);
    }
}

#[test]
fn odd_but_possible() {
    for (text, message) in [
        (
            "[kernel]\nimage='/k'",
            ":2: kernel.image: no initrd is given with it, so this kernel starts without one",
        ),
        ("[source.a]\npath='/tmp/x'", ":2: source.a: systemd-tmpfiles may remove what is in /tmp"),
        (
            "[source.a]\nunit='memcached'",
            ":2: source.a.unit: \"memcached\" is taken for \"memcached.service\"",
        ),
        ("[[handover]]\nunit='app'", ":2: handover.unit: \"app\" is taken for \"app.service\""),
        (
            "[source.a]\npath='/x'\n[source.b]\npath='/x/y'",
            ":4: source.b: is inside of source.a (/c:2); it can be kept only where another filesystem is mounted there",
        ),
    ] {
        assert_eq!(warnings(text), [message]);
    }
    assert_eq!(warnings("[source.a]\npath='/tmpfs/x'\n[source.b]\npath='/tmpfs/xy'"), [""; 0]);
}

#[test]
fn all_errors_at_once_in_the_order_of_lines() {
    let text = "[shutdown]\nreboot='kexce'\ndeadlin='1s'\n[kernel]\nimage=5\ncmdline=x\n\
                [source.a]\npath='/x'\nmount-point='/y'\narrival='copie'";
    let lines: Vec<_> =
        errors(text).iter().map(|e| e.split(':').nth(1).unwrap().to_owned()).collect();
    // The mount point may be right, once the arrival is.
    assert_eq!(lines, ["2", "3", "5", "6", "10"]);
}

/// The sources in what is left of a configuration with errors, and whether each is in doubt.
fn rest(text: &str) -> Vec<(String, bool)> {
    let rest = parse(text).expect_err(text).rest;
    rest.sources.iter().map(|source| (source.name.clone(), source.in_doubt)).collect()
}

#[test]
fn a_mistake_in_one_place_does_not_lose_what_another_one_names() {
    let rest = |text: &str| {
        let rest = rest(text);
        rest.iter()
            .map(|(name, doubt)| format!("{name}{}", if *doubt { "?" } else { "" }))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let a = "[source.a]\npath='/a'\n";
    for (more, left) in [
        ("[source.b]\npath='/b'\nverfy=true", "a b?"),
        ("[source.b]\npth='/b'", "a"),
        ("[source.b]\npath='/b'\nmount-point='/m'", "a b?"),
        ("[source.b]\npath='/b'\narrival='in-place'\nmount-point='/etc'", "a b?"),
        ("[source.b]\npath='/a'", "a"),
        ("[source.'b c']\npath='/b'", "a"),
        ("[shutdown]\nreboot=5", "a"),
        ("[source.b]\npath='/b'\nverify=yes", "a? b?"),
        ("[source.b]\nglob='/b/*'\n[source.b-c]\npath='/c'", "a b? b-c?"),
    ] {
        assert_eq!(rest(&format!("{a}{more}")), left, "{more}");
    }
    let kernel = parse("[kernel]\nimage='k'\ninitrd='/i'\nappend='x'").unwrap_err().rest.kernel;
    assert_eq!((kernel.image, kernel.initrd), (None, None));
}

#[test]
fn what_is_early_comes_to_run_and_is_in_nobodys_way() {
    let below_run = ":3: source.a.early: needs a place below /run: nothing else goes from the initramfs \
                     into the system";
    for text in [
        "[source.a]\npath='/dev/shm/a'\nearly=true",
        "[source.a]\nsysv-key=1\nearly=true",
        "[source.a]\nglob='/runs/*'\nearly=true",
        "[source.a]\npath='/run/a'\nearly=true\narrival='in-place'\nmount-point='/srv/a'",
    ] {
        assert_eq!(errors(text), [below_run], "{text}");
    }
    let mount = ":3: source.a: mounted in the initramfs, it keeps source.b (/c:6) from being \
                 copied from the same region; let both be copied, or both be in place";
    let two = |a: &str, b: &str| {
        format!("[source.a]\npath='/run/a'\nearly=true\n{a}\n[source.b]\npath='/srv/b'\n{b}")
    };
    let in_place = "arrival='in-place'";
    assert_eq!(errors(&two(in_place, "")), [mount]);
    for [a, b] in [["", ""], ["", in_place], [in_place, in_place]] {
        assert!(parse(&two(a, b)).is_ok(), "{a} {b}");
    }
    for what in ["path='/run/a'", "glob='/run/a-*'", "unit='a.service'"] {
        assert!(parse(&format!("[source.a]\n{what}\nearly=true")).is_ok(), "{what}");
    }
}

#[test]
fn nobody_reads_thousands_of_errors() {
    let text: String = (0..1000).map(|i| format!("x{i} = 1\n")).collect();
    let errors = errors(&text);
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[100], ": 900 more errors in this file");
    let text: String = (0..1025).map(|i| format!("[source.s{i}]\npath='/{i}'\n")).collect();
    assert_eq!(self::errors(&text), [":1: expected at most 1024 sources, found more"]);
}

#[test]
fn messages_are_short_and_printable_whatever_is_found() {
    let long = "\\u001b".repeat(1 << 16);
    for key in ["image", "initrd", "cmdline", "append"] {
        check(&format!("[kernel]\n{key}=\"{long}\""));
    }
    for key in ["reboot", "deadline", "reserve-ram", "move-huge"] {
        check(&format!("[shutdown]\n{key}=\"{long}\""));
    }
    for key in ["path", "glob", "unit", "sysv-key", "arrival", "mount-point", "stay"] {
        check(&format!("[source.a]\n{key}=\"{long}\""));
    }
    for key in ["unit", "user", "max-size", "max-descriptors"] {
        check(&format!("[[handover]]\n{key}=\"{long}\""));
    }
    check(&format!("\"{long}\"=1\n[source.\"{long}\"]\npath='/x'"));
    check(&format!("a={}", "9".repeat(1 << 16)));
    check(&format!("[shutdown]\ndeadline='9{}'\nreserve-ram={0}", "9".repeat(1 << 16)));

    fn check(text: &str) {
        for error in errors(text) {
            let start: String = error.chars().take(200).collect();
            assert!(error.len() < 4096 && !error.contains(char::is_control), "{start}");
        }
    }
}
