//! Who may hand over how much: nobody for whom there is no rule.

use super::peer::Owner;
use serde::{Deserialize, Serialize};

/// For whom a rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// System services whose unit is matched.
    Unit(glob::Pattern),
    /// What a user runs outside of system services, by UID.
    User(u32),
}

/// How something arrives in the next kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// As a new memfd with the same name, size and seals.
    #[default]
    Copy,
    /// As the region's file.
    InPlace,
}

/// What those may hand over whom it matches; the first rule that matches counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For whom it is.
    pub who: Who,
    /// How much one owner's files may have in total, in bytes.
    pub max_size: u64,
    /// How many descriptors one owner may have stored.
    pub max_descriptors: usize,
    /// How they arrive.
    pub arrival: Arrival,
}

impl Rule {
    /// Whether it is for this one.
    #[must_use]
    pub fn is_for(&self, owner: &Owner) -> bool {
        match (&self.who, owner.uid()) {
            (Who::Unit(pattern), None) => pattern.matches(owner.as_str()),
            (Who::User(uid), Some(of)) => *uid == of,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_users_are_told_apart() {
        let rule = |who| Rule { who, max_size: 1, max_descriptors: 1, arrival: Arrival::Copy };
        let units = |pattern| rule(Who::Unit(glob::Pattern::new(pattern).unwrap()));
        let owner = |text: &str| Owner::try_from(text.to_owned()).unwrap();
        assert!(units("app@*.service").is_for(&owner("app@1.service")));
        assert!(!units("app@*.service").is_for(&owner("app.service")));
        assert!(!units("*").is_for(&owner("user-1000")), "a user is no service");
        assert!(rule(Who::User(1000)).is_for(&owner("user-1000")));
        assert!(!rule(Who::User(1000)).is_for(&owner("user-100")));
    }
}
