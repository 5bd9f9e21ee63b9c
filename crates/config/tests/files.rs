//! The commented file that is installed, and drop-ins over it.

use config::{Arrival, Cmdline, Config, Reboot, Rejected, What, Who};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const DEFAULT: &str = include_str!("../pkram.toml");

/// A root with these files.
fn root(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn read(files: &[(&str, &str)]) -> Config {
    Config::read(root(files).path()).unwrap()
}

/// Messages, with the root cut out.
fn errors(root: &Path) -> Vec<String> {
    let Rejected { errors, .. } = Config::read(root).unwrap_err();
    let root = format!("{}/", root.display());
    errors.iter().map(|error| error.to_string().replace(&root, "")).collect()
}

#[test]
fn the_installed_file_says_the_defaults() {
    let nothing = read(&[]);
    assert_eq!(nothing, Config::default());
    let mut installed = read(&[("etc/pkram/pkram.toml", DEFAULT)]);
    assert_eq!(installed, nothing);

    // Each line that is commented out alone, but the examples, which have no default.
    let examples = [
        "image",
        "initrd",
        "append",
        "cmdline",
        "reserve-ram",
        "path",
        "glob",
        "unit",
        "sysv-key",
        "mount-point",
        "user",
    ];
    let uncommented: String = DEFAULT
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
                .unwrap_or(line)
        })
        .filter(|line| !examples.iter().any(|key| line.starts_with(&format!("{key} ="))))
        .map(|line| match line {
            "[source.cache]" => "[source.cache]\npath = \"/x\"\n".to_owned(),
            "[[handover]]" => "[[handover]]\nunit = \"x.service\"\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect();
    installed = read(&[("etc/pkram/pkram.toml", &uncommented)]);
    assert!(installed.origins.contains_key("source.cache.stay"), "{uncommented}");
    let plain = "[source.cache]\npath='/x'\n[[handover]]\nunit='x.service'";
    let mut plain = read(&[("etc/pkram/pkram.toml", plain)]);
    for config in [&mut installed, &mut plain] {
        config.origins.clear();
        config.sources[0].place.line = 0;
        config.sources[0].place.file = Path::new("").into();
        config.handovers[0].place = config.sources[0].place.clone();
    }
    assert_eq!(installed, plain);
}

#[test]
fn every_example_of_the_installed_file_is_right() {
    for example in DEFAULT.lines().filter_map(|line| line.strip_prefix('#')) {
        let Some((key, _)) = example.split_once(" = ").filter(|(key, _)| !key.contains(' ')) else {
            continue;
        };
        let text = match key {
            "image" | "append" | "cmdline" => format!("[kernel]\n{example}"),
            "initrd" => format!("[kernel]\nimage = '/k'\n{example}"),
            "reboot" | "deadline" | "reserve-ram" | "move-huge" => format!("[shutdown]\n{example}"),
            "path" | "glob" | "unit" | "sysv-key" => format!("[source.x]\n{example}"),
            "user" => format!("[[handover]]\n{example}"),
            "max-size" | "max-descriptors" => format!("[[handover]]\nuser = 'a'\n{example}"),
            "mount-point" => format!("[source.x]\npath = '/x'\narrival = 'in-place'\n{example}"),
            _ => format!("[source.x]\npath = '/x'\n{example}"),
        };
        Config::parse(Path::new("/c"), &text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
}

#[test]
fn everything_can_be_said() {
    let config = read(&[(
        "etc/pkram/pkram.toml",
        "
        [kernel]
        image = '/k'
        initrd = '/i'
        cmdline = 'quiet'
        [shutdown]
        reboot = 'kexec'
        deadline = '1m 30s'
        reserve-ram = '1G'
        move-huge = true
        [source.a]
        sysv-key = 0xffffffff
        arrival = 'in-place'
        mount-point = '/srv/a'
        required = true
        verify = true
        stay = true
        [[handover]]
        unit = 'app@*.service'
        max-size = 4096
        max-descriptors = 3
        arrival = 'in-place'
    ",
    )]);
    assert_eq!(config.kernel.image.as_deref(), Some(Path::new("/k")));
    assert_eq!(config.kernel.initrd.as_deref(), Some(Path::new("/i")));
    assert_eq!(config.kernel.cmdline, Cmdline::Whole("quiet".to_owned()));
    assert_eq!(config.shutdown.reboot, Reboot::Kexec);
    assert_eq!(config.shutdown.deadline.as_secs(), 90);
    assert_eq!((config.shutdown.reserve_ram, config.shutdown.move_huge), (Some(1 << 30), true));
    let source = &config.sources[0];
    assert_eq!((source.name.as_str(), &source.what), ("a", &What::SysvKey(-1)));
    assert_eq!(source.arrival, Arrival::InPlace { mount_point: Some("/srv/a".into()) });
    assert_eq!([source.required, source.verify, source.stay], [true; 3]);
    let rule = &config.handovers[0];
    assert_eq!(rule.who, Who::Unit("app@*.service".to_owned()));
    assert_eq!((rule.max_size, rule.max_descriptors, rule.in_place), (4096, 3, true));
}

#[test]
fn later_names_win_and_nearer_directories_mask() {
    let config = read(&[
        ("etc/pkram/pkram.toml", "[shutdown]\nreserve-ram='1M'\nmove-huge=true\ndeadline='1s'"),
        ("usr/lib/pkram/pkram.toml.d/10-a.toml", "[shutdown]\nreserve-ram='2M'\nreboot='kexec'"),
        ("usr/lib/pkram/pkram.toml.d/20-b.toml", "[shutdown]\nreserve-ram='3M'\nnonsense=1"),
        ("usr/lib/pkram/pkram.toml.d/30-c.toml", "[shutdown]\nreserve-ram='4M'\nnonsense=1"),
        ("run/pkram/pkram.toml.d/30-c.toml", "[shutdown]\nreserve-ram='5M'"),
        ("run/pkram/pkram.toml.d/20-b.toml", "[shutdown]\nreserve-ram='6M'\nnonsense=1"),
        ("etc/pkram/pkram.toml.d/20-b.toml", "[shutdown]\nreserve-ram='7M'\ndeadline='2s'"),
        ("etc/pkram/pkram.toml.d/05-z.toml", "[shutdown]\nreserve-ram='8M'"),
        ("etc/pkram/pkram.toml.d/.99-hidden.toml", "nonsense=1"),
        ("etc/pkram/pkram.toml.d/99-backup.toml~", "nonsense=1"),
    ]);
    let shutdown = &config.shutdown;
    assert_eq!(shutdown.reserve_ram, Some(5 << 20));
    assert_eq!((shutdown.reboot, shutdown.move_huge), (Reboot::Kexec, true));
    assert_eq!(shutdown.deadline.as_secs(), 2);
    let origin = |key: &str| config.origins[key].to_string();
    assert!(origin("shutdown.reserve-ram").ends_with("/run/pkram/pkram.toml.d/30-c.toml:2"));
    assert!(origin("shutdown.move-huge").ends_with("/etc/pkram/pkram.toml:3"));
}

#[test]
fn a_link_to_dev_null_or_an_empty_file_masks() {
    let root = root(&[
        ("usr/lib/pkram/pkram.toml.d/a.toml", "[shutdown]\nreboot='kexec'"),
        ("usr/lib/pkram/pkram.toml.d/b.toml", "[shutdown]\nmove-huge=true"),
        ("etc/pkram/pkram.toml.d/b.toml", ""),
    ]);
    assert_eq!(Config::read(root.path()).unwrap().shutdown.reboot, Reboot::Kexec);
    symlink("/dev/null", root.path().join("etc/pkram/pkram.toml.d/a.toml")).unwrap();
    assert_eq!(Config::read(root.path()).unwrap(), Config::default());
}

#[test]
fn a_later_choice_takes_the_place_of_an_earlier_one() {
    let config = read(&[
        (
            "etc/pkram/pkram.toml",
            "[kernel]\nappend='a'\n[source.x]\npath='/x'\nverify=true\n\
         [[handover]]\nuser='u'\nmax-size=1\n[[handover]]\nuser='v'",
        ),
        (
            "etc/pkram/pkram.toml.d/1.toml",
            "[kernel]\ncmdline='b'\n[source.x]\nglob='/x/*'\n\
         [source.y]\npath='/y'\n[[handover]]\nuser='u'\nmax-size=2",
        ),
    ]);
    assert_eq!(config.kernel.cmdline, Cmdline::Whole("b".to_owned()));
    assert!(!config.origins.contains_key("kernel.append"));
    let whats: Vec<_> = config.sources.iter().map(|s| (s.what.to_string(), s.verify)).collect();
    assert_eq!(whats, [("/x/*".to_owned(), true), ("/y".to_owned(), false)]);
    assert!(config.sources[0].place.to_string().ends_with("1.toml:4"));
    let rules: Vec<_> = config.handovers.iter().map(|h| (h.who.to_string(), h.max_size)).collect();
    assert_eq!(rules, [("user v".to_owned(), 1 << 30), ("user u".to_owned(), 2)]);
}

#[test]
fn errors_of_all_files_at_once() {
    let root = root(&[
        ("etc/pkram/pkram.toml", "x=1\n[source.a]\npath='/x'"),
        ("run/pkram/pkram.toml.d/2.toml", "[source.b]\npath='/x'"),
        ("etc/pkram/pkram.toml.d/1.toml", "[shutdown]\nreboot='no'"),
    ]);
    assert_eq!(
        errors(root.path()),
        [
            "etc/pkram/pkram.toml:1: x: unknown; known here: kernel, shutdown, source, handover",
            "etc/pkram/pkram.toml.d/1.toml:2: shutdown.reboot: expected \"auto\" or \"firmware\" or \"kexec\", found \"no\"",
            "run/pkram/pkram.toml.d/2.toml:2: source.b: /x is already kept by source.a (etc/pkram/pkram.toml:3)",
        ]
    );
}

#[test]
fn files_that_cannot_be_read() {
    let root =
        root(&[("etc/pkram/pkram.toml.d/1.toml/x", ""), ("run/pkram/pkram.toml.d/2.conf", "")]);
    let etc = root.path().join("etc/pkram");
    fs::write(etc.join("pkram.toml"), b"# \n\xff").unwrap();
    fs::write(etc.join("pkram.toml.d/2.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    fs::write(etc.join("pkram.toml.d/3.toml"), vec![b'#'; 1 << 20]).unwrap();
    symlink("/nowhere", etc.join("pkram.toml.d/4.toml")).unwrap();
    assert_eq!(
        errors(root.path()),
        [
            "etc/pkram/pkram.toml: expected a text file of at most 1048576 bytes, found bytes on line 2 that are not UTF-8",
            "etc/pkram/pkram.toml.d/1.toml: expected a text file of at most 1048576 bytes, found a directory",
            "etc/pkram/pkram.toml.d/2.toml: expected a text file of at most 1048576 bytes, found a larger one",
            "etc/pkram/pkram.toml.d/4.toml: cannot be read: No such file or directory (os error 2)",
        ]
    );
    let Rejected { rest, .. } = Config::read(root.path()).unwrap_err();
    let warning = rest.warnings[0].to_string();
    assert!(
        warning.ends_with("2.conf: is not read: the names of drop-ins end in .toml"),
        "{warning}"
    );
    let many = self::root(&[("etc/pkram/pkram.toml", "")]);
    let dir = many.path().join("run/pkram/pkram.toml.d");
    fs::create_dir_all(&dir).unwrap();
    (0..257).for_each(|i| fs::write(dir.join(format!("{i}.toml")), "").unwrap());
    assert_eq!(
        errors(many.path()),
        ["run/pkram/pkram.toml.d: expected at most 256 drop-ins, found more"]
    );
}

#[test]
fn each_match_has_a_name_of_its_own() {
    let name = |glob: &str, path: &str| {
        let text = format!("[source.g]\nglob = '{glob}'");
        let config = Config::parse(Path::new("/c"), &text).unwrap();
        config.sources[0].match_name(Path::new(path))
    };
    for (glob, path, expected) in [
        ("/x/pg-*", "/x/pg-7", Some("g-pg-7")),
        ("/x/*/d", "/x/a/d", Some("g-a-d")),
        ("/x/*/*", "/x/a-b/c", Some("g-a\\x2db-c")),
        ("/x/*/*", "/x/a/b-c", Some("g-a-b\\x2dc")),
        ("/x/*", "/x/a/b", None),
        ("/x/*", "/x/.a", None),
        ("/x/[ab]", "/x/c", None),
    ] {
        assert_eq!(name(glob, path).as_deref(), expected, "{glob} {path}");
    }
}

#[test]
fn one_file_alone() {
    let root =
        root(&[("x.toml", "[shutdown]\nreboot='kexec'"), ("etc/pkram/pkram.toml.d/1.toml", "x=1")]);
    assert_eq!(
        Config::read_file(&root.path().join("x.toml")).unwrap().shutdown.reboot,
        Reboot::Kexec
    );
    assert!(Config::read_file(&root.path().join("missing.toml")).is_err());
}

#[test]
fn the_examples_of_the_manual_are_right() {
    let manual = include_str!("../pkram.toml.md");
    let examples: Vec<_> =
        manual.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let config = Config::parse(Path::new("/manual"), &examples.concat()).unwrap();
    assert!(examples.len() > 3 && config.sources.len() > 2 && config.warnings.is_empty());
}
