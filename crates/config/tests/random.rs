//! Whatever is written: no panic, and what is taken is said again in the same way.

use config::Config;
use proptest::prelude::*;
use std::path::Path;

const DEFAULT: &str = include_str!("../pkram.toml");

/// Sections and keys, right and nearly right, with values of every kind.
fn line() -> impl Strategy<Value = String> {
    let section = prop::sample::select(vec![
        "[kernel]",
        "[shutdown]",
        "[source]",
        "[source.a]",
        "[source.b]",
        "[source.'c@d']",
        "[source.'a-d']",
        "[source.\"\\u0001\\\"\"]",
        "[source.'']",
        "[[handover]]",
        "[handover]",
        "[[source.a]]",
        "[x",
    ]);
    let key = prop::sample::select(vec![
        "image",
        "initrd",
        "cmdline",
        "append",
        "reboot",
        "deadline",
        "reserve-ram",
        "move-huge",
        "path",
        "glob",
        "unit",
        "sysv-key",
        "arrival",
        "mount-point",
        "required",
        "verify",
        "stay",
        "early",
        "user",
        "max-size",
        "max-descriptors",
        "kernel",
        "source.a",
        "pth",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "'/x'",
            "'/x/y'",
            "\"/q\\\"\\\\\"",
            "'/g/*'",
            "'/g/[a-b]?'",
            "'u.service'",
            "'u'",
            "'quiet'",
            "'firmware'",
            "'kexec'",
            "'copy'",
            "'in-place'",
            "'1h'",
            "'1m 1s'",
            "'512M'",
            "'0'",
            "7",
            "0xffffffff",
            "-1",
            "1e9",
            "true",
            "false",
            "[1]",
            "{a=1}",
            "1979-05-27",
            "/x",
        ])
        .prop_map(str::to_owned),
        "'[ -&(-~]{0,20}'",
        any::<i64>().prop_map(|n| n.to_string()),
        "\\PC{0,20}",
    ];
    prop_oneof![
        1 => section.prop_map(str::to_owned),
        4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

/// Files with nothing wrong in most of them.
fn valid() -> impl Strategy<Value = String> {
    let text = "[ !#-&(-~ä]{0,20}";
    let path = "(/[ !#-&(-)+-.0->@-Z^-~ü]{1,6}){1,3}";
    let name = "[a-z@.:\\\\-]{1,8}";
    let source = (name, path, any::<[bool; 4]>(), "/mnt/[a-z]{4,9}");
    let sources = prop::collection::vec(source, 0..5);
    let handover = ("[a-z]{1,8}", any::<u64>(), 1..65536_u32, any::<bool>());
    let handovers = prop::collection::vec(handover, 0..4);
    let shutdown = (1..3600_u64, any::<u64>(), any::<bool>());
    (text, sources, handovers, shutdown).prop_map(|(append, sources, handovers, shutdown)| {
        let (deadline, ram, huge) = shutdown;
        let quoted = |name: &str| name.replace('\\', "\\\\").replace('"', "\\\"");
        let mut file = format!(
            "[kernel]\nappend = '{append}'\n[shutdown]\ndeadline = '{deadline}s'\n\
             reserve-ram = '{ram}'\nmove-huge = {huge}\n"
        );
        for (name, path, [a, b, c, d], at) in sources {
            file += &format!(
                "[source.\"{}\"]\npath = '{path}'\nrequired = {a}\nverify = {b}\nstay = {c}\n",
                quoted(&name)
            );
            if d {
                file += &format!("arrival = 'in-place'\nmount-point = '{at}'\n");
            }
        }
        for (user, size, descriptors, in_place) in handovers {
            let arrival = if in_place { "in-place" } else { "copy" };
            file += &format!(
                "[[handover]]\nuser = '{user}'\nmax-size = '{size}'\n\
                 max-descriptors = {descriptors}\narrival = '{arrival}'\n"
            );
        }
        file
    })
}

/// Without what tells where things stand.
fn values(mut config: Config) -> Config {
    let nowhere = config::Place { file: Path::new("").into(), line: 0 };
    config.origins.clear();
    config.warnings.clear();
    config.sources.iter_mut().for_each(|source| source.place = nowhere.clone());
    config.handovers.iter_mut().for_each(|rule| rule.place = nowhere.clone());
    config
}

/// Reads it, and if it can be read, what is shown of it as well. Whether it could.
fn read(text: &str) -> bool {
    match Config::parse(Path::new("/c"), text) {
        Ok(config) => {
            let shown = config.to_string();
            let again = Config::parse(Path::new("/c"), &shown);
            let again = again.unwrap_or_else(|error| panic!("{shown}\n{error}"));
            assert_eq!(values(again), values(config), "{shown}");
            true
        }
        Err(rejected) => {
            assert!(!rejected.errors.is_empty() && !rejected.to_string().is_empty());
            let lines = u32::try_from(text.matches('\n').count()).unwrap() + 1;
            assert!(rejected.errors.iter().all(|error| error.place.line <= lines));
            // Without what is in doubt the rest is a configuration.
            let mut rest = *rejected.rest;
            rest.sources.retain(|source| !source.in_doubt);
            let shown = rest.to_string();
            let again = Config::parse(Path::new("/c"), &shown);
            assert_eq!(values(again.expect(&shown)), values(rest), "{shown}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_lines(lines in prop::collection::vec(line(), 0..20)) {
        read(&lines.join("\n"));
    }

    #[test]
    fn any_text(text in "(?s).{0,200}") {
        read(&text);
    }

    #[test]
    fn what_is_shown_is_what_was_said(text in valid()) {
        read(&text);
    }

    #[test]
    fn the_installed_file_with_damage(
        comments in any::<u64>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 0..4),
    ) {
        let mut text: Vec<char> = DEFAULT
            .lines()
            .enumerate()
            .flat_map(|(i, line)| {
                let bare = line.strip_prefix('#').filter(|_| comments >> (i % 64) & 1 == 1);
                bare.unwrap_or(line).chars().chain(['\n'])
            })
            .collect();
        for (at, c) in damage {
            *at.get_mut(&mut text) = c;
        }
        read(&text.into_iter().collect::<String>());
    }
}

/// The strategy would be worth nothing if all of its files were wrong.
#[test]
fn most_valid_files_are_valid() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let right =
        (0..200).filter(|_| read(&valid().new_tree(&mut runner).unwrap().current())).count();
    assert!(right > 60, "{right} of 200");
}
