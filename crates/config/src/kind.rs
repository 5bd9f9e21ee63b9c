//! Kinds of values: how each is read, and what was expected where it cannot be.

use crate::pattern::PathPattern;
use crate::size::parse_size;
use crate::unit;
use std::path::{Component, PathBuf};
use std::time::Duration;
use toml::de::{DeInteger, DeValue};

/// Longest path, without its final NUL; `PATH_MAX` in `include/uapi/linux/limits.h` is 4096 with it.
const PATH_MAX: usize = 4095;

/// Bounds of the deadline: a step needs some time, and nobody waits for longer before a machine.
const DEADLINE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];

/// Characters of a found value that a message shows.
const SHOWN: usize = 60;

/// Characters of a key that a message shows; a source's name has no more.
const KEY_SHOWN: usize = 255;

/// A kind of values.
pub(crate) struct Kind<T> {
    /// What was expected.
    pub(crate) expected: &'static str,
    pub(crate) read: fn(&DeValue<'_>) -> Result<T, Wrong>,
}

/// Why a value is not of its kind, if there is more to say than what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) Option<String>);

impl Wrong {
    fn because(why: impl Into<String>) -> Self {
        Self(Some(why.into()))
    }

    /// A value in a message.
    pub(crate) fn found(value: &DeValue<'_>) -> String {
        match value {
            DeValue::String(text) if text.chars().count() > SHOWN => {
                let start: String = text.chars().take(SHOWN).collect();
                format!("{start:?}… ({} bytes)", text.len())
            }
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.to_string().chars().take(SHOWN).collect(),
            DeValue::Float(number) => number.as_str().chars().take(SHOWN).collect(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(date) => format!("the date {date}"),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a section".to_owned(),
        }
    }
}

/// A key in a message, in quotes where TOML needs them, and never long.
pub(crate) fn shown(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let start: String = key.chars().take(KEY_SHOWN).collect();
    match start.len() < key.len() {
        true => format!("{start:?}…"),
        false if !key.is_empty() && key.chars().all(bare) => start,
        false => format!("{start:?}"),
    }
}

pub(crate) const BOOL: Kind<bool> =
    Kind { expected: "true or false", read: |value| value.as_bool().ok_or(Wrong(None)) };

pub(crate) const PATH: Kind<PathBuf> =
    Kind { expected: "an absolute path in quotes", read: |value| path(string(value)?) };

pub(crate) const GLOB: Kind<String> =
    Kind { expected: "an absolute path in quotes with *, ? or […] in it", read: glob };

pub(crate) const UNIT: Kind<String> = Kind {
    expected: "a unit such as \"memcached.service\"",
    read: |value| unit::name(string(value)?).map_err(Wrong::because),
};

pub(crate) const UNITS: Kind<String> = Kind {
    expected: "a unit such as \"memcached.service\" or \"worker@*.service\"",
    read: |value| unit::pattern(string(value)?).map_err(Wrong::because),
};

pub(crate) const USER: Kind<String> =
    Kind { expected: "the name or number of a user in quotes", read: user };

pub(crate) const TEXT: Kind<String> =
    Kind { expected: "kernel parameters in quotes, on one line", read: parameters };

pub(crate) const SIZE: Kind<u64> = Kind { expected: "a size such as \"512M\"", read: size };

pub(crate) const DURATION: Kind<Duration> =
    Kind { expected: "a time from \"1s\" to \"1h\"", read: duration };

pub(crate) const KEY: Kind<i32> =
    Kind { expected: "a key such as 0x1234, as `ipcs -m` shows it", read: sysv_key };

pub(crate) const COUNT: Kind<u32> = Kind { expected: "a number from 1 to 65536", read: count };

fn string<'a>(value: &'a DeValue<'_>) -> Result<&'a str, Wrong> {
    value.as_str().ok_or(Wrong(None))
}

/// A text that may be repeated in a message.
fn short<'a>(value: &'a DeValue<'_>) -> Result<&'a str, Wrong> {
    string(value).and_then(|text| if text.len() > SHOWN { Err(Wrong(None)) } else { Ok(text) })
}

fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.len() > PATH_MAX {
        return Err(Wrong::because("it is too long"));
    }
    if text.contains(char::is_control) {
        return Err(Wrong::because("it has a control character"));
    }
    if !text.starts_with('/') {
        return Err(Wrong(None));
    }
    let path = PathBuf::from(text);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Wrong::because("it has \"..\" in it"));
    }
    // Without `//`, `.` and a final slash, so that equal paths are equal.
    Ok(path.components().collect())
}

fn glob(value: &DeValue<'_>) -> Result<String, Wrong> {
    // Without `//` and the like, as the paths that it is compared with.
    let path = path(string(value)?)?;
    let text = path.to_str().ok_or(Wrong(None))?;
    if text.contains("**") {
        return Err(Wrong::because("** would match what is inside of another match"));
    }
    PathPattern::new(text).map_err(|error| Wrong::because(error.msg))?;
    if !text.contains(['*', '?', '[']) {
        return Err(Wrong::because("one path is given by `path`"));
    }
    Ok(text.to_owned())
}

fn user(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = string(value)?;
    // Neither what no table of users can hold, nor what looks like a pattern or an option.
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | '*' | '?');
    if text.is_empty() || text.len() > 255 || text.starts_with('-') || text.contains(odd) {
        return Err(Wrong(None));
    }
    Ok(text.to_owned())
}

fn parameters(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = string(value)?.trim();
    if text.contains(char::is_control) {
        return Err(Wrong::because("it has a control character"));
    }
    Ok(text.to_owned())
}

fn size(value: &DeValue<'_>) -> Result<u64, Wrong> {
    if let Some(number) = value.as_integer() {
        return unsigned(number).ok_or(Wrong(None));
    }
    // What `parse_size` says of a text without a number is what was expected.
    parse_size(short(value)?).map_err(|why| Wrong((!why.starts_with("expected")).then_some(why)))
}

fn duration(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let duration = humantime::parse_duration(short(value)?);
    let duration = duration.map_err(|error| Wrong::because(error.to_string()))?;
    if !(DEADLINE[0]..=DEADLINE[1]).contains(&duration) {
        return Err(Wrong(None));
    }
    Ok(duration)
}

/// Keys are signed (`__kernel_key_t`), but `ipcs` shows their bits.
fn sysv_key(value: &DeValue<'_>) -> Result<i32, Wrong> {
    let number = value.as_integer().ok_or(Wrong(None))?;
    let key = i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| Wrong(None))?;
    let key = match u32::try_from(key) {
        Ok(bits) => Some(bits.cast_signed()),
        Err(_) => i32::try_from(key).ok(),
    };
    match key {
        // `IPC_PRIVATE`, include/uapi/linux/ipc.h.
        Some(0) => Err(Wrong::because("0 is the key of every private segment")),
        key => key.ok_or(Wrong(None)),
    }
}

fn count(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let number = value.as_integer().and_then(unsigned);
    let count = number.and_then(|number| u32::try_from(number).ok());
    count.filter(|count| (1..=65536).contains(count)).ok_or(Wrong(None))
}

fn unsigned(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}
