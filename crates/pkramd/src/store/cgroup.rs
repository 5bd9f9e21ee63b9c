//! Which system service a process belongs to, from the path of its control group.
//!
//! | path in `/proc/PID/cgroup` | service |
//! |---|---|
//! | `/system.slice/foo.service/workers` | `foo.service` |
//! | `/system.slice/system-foo.slice/foo@1.service` | `foo@1.service` |
//! | `/user.slice/user-1000.slice/user@1000.service/app.slice/bar.service` | none: the user's |
//! | `/user.slice/user-1000.slice/session-3.scope` | none |
//! | `/` | none |
//!
//! The first unit on the way down that is no slice decides, as in systemd's `cg_path_get_unit`
//! (`src/basic/cgroup-util.c`): what a service does below its own group cannot change it.

/// Bytes in a unit's name: `UNIT_NAME_MAX`, systemd's `src/basic/unit-name.h`, with its NUL.
const MAX: usize = 255;

/// The path of the group in which systemd put the process, from the text of `/proc/PID/cgroup`
/// (`cgroups(7)`): that of systemd's own hierarchy where there is one, else the unified one.
pub(super) fn path(text: &str) -> Option<&str> {
    let of = |controllers| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            (names == controllers && path.starts_with('/')).then_some(path)
        })
    };
    of("name=systemd").or_else(|| of(""))
}

/// The system service of a group; none where it is not in one.
pub(super) fn service(path: &str) -> Option<&str> {
    let unit = path.split('/').filter(|part| !part.is_empty()).find_map(|part| {
        // What could be meant as something of the kernel's has this before it (`cg_escape`).
        let part = part.strip_prefix('_').unwrap_or(part);
        (!(is_unit(part) && part.ends_with(".slice"))).then_some(part)
    })?;
    let is_manager = unit.strip_prefix("user@").is_some_and(|rest| rest.ends_with(".service"));
    (is_unit(unit) && unit.ends_with(".service") && !is_manager).then_some(unit)
}

/// Whether it has the form of a unit's name: `VALID_CHARS_WITH_AT` of systemd's
/// `src/basic/unit-name.c`, and something before the suffix.
fn is_unit(name: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    name.len() <= MAX && !stem.is_empty() && !stem.starts_with('@') && name.bytes().all(is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_service() {
        for (path, expected) in [
            ("/system.slice/foo.service", Some("foo.service")),
            ("/system.slice/foo.service/workers/evil.service", Some("foo.service")),
            ("/system.slice/system-foo.slice/foo@1.service", Some("foo@1.service")),
            ("/machine.slice/_cpu.service", Some("cpu.service")),
            ("/foo.service", Some("foo.service")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/bar.service", None),
            ("/user.slice/user-1000.slice/session-3.scope", None),
            ("/user.slice/user-0.slice/session-1.scope/foo.service", None),
            ("/system.slice/docker-0123.scope/system.slice/foo.service", None),
            ("/../foo.service", None),
            ("/init.scope", None),
            ("/system.slice", None),
            ("/system.slice/foo.service (deleted)", None),
            ("/system.slice/.service", None),
            ("/system.slice/@.service", None),
            ("/a b/foo.service", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(service(path), expected, "{path}");
        }
    }

    #[test]
    fn reads_all_hierarchies() {
        let v1 = "9:name=systemd:/system.slice/a.service\n4:memory:/b.service\n0::/c.service\n";
        assert_eq!(path(v1), Some("/system.slice/a.service"));
        assert_eq!(path("0::/system.slice/a:b.service\n"), Some("/system.slice/a:b.service"));
        assert_eq!(path("4:memory:/b.service\n"), None);
        assert_eq!(path("nonsense\n0::relative\n::"), None);
    }

    proptest! {
        #[test]
        fn what_is_found_is_a_part_of_the_path(
            text in "([0-9]?:(name=systemd|memory|)?:)?(/[a-z@_.-]{0,6}(.slice|.service|.scope)?){0,5}\n?"
        ) {
            if let Some(unit) = path(&text).and_then(service) {
                prop_assert!(text.contains(unit) && unit.ends_with(".service"));
            }
        }
    }
}
