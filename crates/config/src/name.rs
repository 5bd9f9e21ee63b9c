//! Names of sources: what can be a directory at the top of a region, and an instance of a unit.

/// Longest name in bytes: with it `pkram-source@NAME.service` has 255 characters, the most that a
/// unit's name may have (`UNIT_NAME_MAX`, `src/basic/unit-name.h`).
const LONGEST: usize = 255 - "pkram-source@.service".len();

/// What an instance may consist of besides letters and digits (`VALID_CHARS_WITH_AT`,
/// `src/basic/unit-name.c`).
const OF_INSTANCES: &str = ":-_.\\@";

/// How the nodes of what services hand over begin.
pub const HANDOVER_NODES: &str = "fdstore-";

/// Refuses what `pkram::nodes` refuses for a node's name, what no unit can be called, and what is
/// another node's.
pub(crate) fn check(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        "." | ".." => Err("has a meaning of its own"),
        ".pkram" | "lost+found" => Err("is taken in every region"),
        n if n.len() > LONGEST => Err("is too long"),
        n if n.contains(|c: char| !c.is_ascii_alphanumeric() && !OF_INSTANCES.contains(c)) => Err(
            "has a character that no unit has in its name: not a letter, a digit or one of :-_.\\@",
        ),
        n if n.starts_with(HANDOVER_NODES) => Err("begins like the nodes of handovers"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_region_can_have() {
        for bad in
            ["", ".", "..", ".pkram", "lost+found", "a/b", "a\0", "a b", "50%", "ü", "fdstore-x"]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"n".repeat(235)).is_err());
        assert_eq!(
            [check("cache"), check("dev-shm-a\\x2db.c"), check(&"n".repeat(234))],
            [Ok(()); 3]
        );
    }
}
