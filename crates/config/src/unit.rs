//! Names of systemd's units.
//!
//! The rules are `unit_name_is_valid`'s (`src/basic/unit-name.c`): at most 255 characters of letters,
//! digits and `:-_.\@`, then a dot and a type. `systemctl` takes a name without a type for a
//! service's; so does pkram, and warns.

use crate::near::nearest;

/// Types of units, `systemd.unit(5)`.
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// Types that have a `RuntimeDirectory=`, `systemd.exec(5)`.
const WITH_DIRECTORIES: [&str; 4] = ["service", "socket", "mount", "swap"];

/// Longest name; `UNIT_NAME_MAX` in `src/basic/unit-name.h` is 256 with the final NUL.
const LONGEST: usize = 255;

/// A unit that has a runtime directory.
pub(crate) fn name(text: &str) -> Result<String, String> {
    check(text, "")?;
    let unit = with_type(text)?;
    let (stem, kind) = unit.rsplit_once('.').unwrap_or((&unit, ""));
    if !WITH_DIRECTORIES.contains(&kind) {
        return Err(format!("a {kind} has no RuntimeDirectory="));
    }
    if stem.ends_with('@') {
        return Err(format!("a template is no unit; name one of it, such as {stem}1.{kind}"));
    }
    Ok(unit)
}

/// A unit, or a pattern of units.
pub(crate) fn pattern(text: &str) -> Result<String, String> {
    check(text, "*?[]!")?;
    if let Err(error) = glob::Pattern::new(text) {
        return Err(error.msg.to_owned());
    }
    // A pattern's last part may stand for the type.
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.contains(['*', '?', '[', ']']) { Ok(text.to_owned()) } else { with_type(text) }
}

fn check(text: &str, besides: &str) -> Result<(), String> {
    let right = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c) || besides.contains(c);
    match text.chars().find(|&c| !right(c)) {
        _ if text.is_empty() => Err("it is empty".to_owned()),
        _ if text.len() > LONGEST => Err(format!("it has more than {LONGEST} characters")),
        Some('/') => Err("a unit is a name, not a path".to_owned()),
        Some(c) => Err(format!("no unit has {c:?} in its name")),
        None => Ok(()),
    }
}

/// The name with its type, which may be left out for a service.
fn with_type(text: &str) -> Result<String, String> {
    let Some((stem, kind)) = text.rsplit_once('.') else { return Ok(format!("{text}.service")) };
    match nearest(kind, TYPES) {
        _ if stem.is_empty() => Err("nothing stands before the dot".to_owned()),
        _ if TYPES.contains(&kind) => Ok(text.to_owned()),
        Some(near) => Err(format!("did you mean \"{stem}.{near}\"?")),
        // A dot of the name, as in `redis-7.2`.
        None => Ok(format!("{text}.service")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_units_for_what_systemd_takes_them() {
        assert_eq!(name("memcached.service").as_deref(), Ok("memcached.service"));
        assert_eq!(name("memcached").as_deref(), Ok("memcached.service"));
        assert_eq!(name("redis-7.2").as_deref(), Ok("redis-7.2.service"));
        assert_eq!(name("getty@tty1.service").as_deref(), Ok("getty@tty1.service"));
        assert_eq!(pattern("app-*").as_deref(), Ok("app-*"));
        assert_eq!(pattern("app-*.service").as_deref(), Ok("app-*.service"));
        assert_eq!(pattern("app-[ab]@?.scope").as_deref(), Ok("app-[ab]@?.scope"));
    }

    #[test]
    fn says_why_a_name_is_none() {
        for (unit, why) in [
            ("", "it is empty"),
            (".service", "nothing stands before the dot"),
            ("a b.service", "no unit has ' ' in its name"),
            ("app-*.service", "no unit has '*' in its name"),
            ("/etc/x.service", "a unit is a name, not a path"),
            ("memcached.servcie", "did you mean \"memcached.service\"?"),
            ("tmp.slice", "a slice has no RuntimeDirectory="),
            ("app@.service", "a template is no unit; name one of it, such as app@1.service"),
        ] {
            assert_eq!(name(unit), Err(why.to_owned()), "{unit}");
        }
        assert_eq!(name(&"n".repeat(256)), Err("it has more than 255 characters".to_owned()));
        assert!(pattern("app-[").is_err());
    }
}
