//! The name of a stored descriptor, by systemd's rules.

use std::fmt;

/// Bytes in a name: `FDNAME_MAX`, systemd's `src/basic/fd-util.h`.
const MAX: usize = 255;

/// The name of a stored descriptor: up to 255 bytes of printable ASCII without `:`, which
/// separates names in `LISTEN_FDNAMES`. It may be empty (`fdname_is_valid` in systemd's
/// `src/basic/fd-util.c`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why something is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "name {name:?} {why}; a descriptor's name has up to 255 bytes of printable ASCII without ':'"
)]
pub struct NameError {
    name: String,
    why: &'static str,
}

impl Name {
    /// Takes what is a name by systemd's rules.
    ///
    /// # Errors
    /// More than 255 bytes, a colon, or something else than printable ASCII.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let why = match name {
            n if n.len() > MAX => "is too long",
            n if n.contains(':') => "has a colon",
            n if !n.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
                "has something else than printable ASCII"
            }
            _ => return Ok(Self(name.to_owned())),
        };
        Err(NameError { name: name.chars().take(64).collect(), why })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What systemd calls a descriptor that came without a name (`service_add_fd_store`,
/// `src/core/service.c`).
impl Default for Name {
    fn default() -> Self {
        Self("stored".to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names as `LISTEN_FDNAMES` lists them.
pub(crate) fn join<'n>(names: impl Iterator<Item = &'n Name>) -> String {
    names.map(Name::as_str).collect::<Vec<_>>().join(":")
}

/// The other way.
pub(crate) fn split(list: &str) -> Result<Vec<Name>, NameError> {
    list.split(':').map(Name::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules_are_systemds() {
        for good in ["", "stored", "a b", "a=b", "~", &"x".repeat(255)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["a:b", "a\nb", "\x7f", "ä", "\0", &"x".repeat(256)] {
            let error = Name::new(bad).unwrap_err().to_string();
            assert!(error.contains("printable ASCII without ':'"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn lists_come_back(names in prop::collection::vec("[ -9;-~]{0,20}", 1..40)) {
            let names: Vec<Name> = names.iter().map(|n| Name::new(n).unwrap()).collect();
            prop_assert_eq!(split(&join(names.iter())).unwrap(), names);
        }
    }
}
