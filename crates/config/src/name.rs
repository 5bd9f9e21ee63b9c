//! Names of nodes: what can be a directory at the top of a region.

/// Longest name in bytes; `EXT4_NAME_LEN` in `fs/ext4/ext4.h`.
const LONGEST: usize = 255;

/// How the nodes of what services hand over begin.
pub const HANDOVER_NODES: &str = "fdstore-";

/// Refuses what cannot be a node's name, as `pkram::nodes` does, and what is another node's.
pub(crate) fn check(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        "." | ".." => Err("has a meaning of its own"),
        ".pkram" | "lost+found" => Err("is taken in every region"),
        n if n.len() > LONGEST => Err("is too long"),
        n if n.contains(['/', '\0']) => Err("has a character that no file name has"),
        n if n.starts_with(HANDOVER_NODES) => Err("begins like the nodes of handovers"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_region_can_have() {
        for bad in ["", ".", "..", ".pkram", "lost+found", "a/b", "a\0", "fdstore-x"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"n".repeat(256)).is_err());
        assert_eq!([check("cache"), check("a b.ü"), check(&"n".repeat(255))], [Ok(()); 3]);
    }
}
