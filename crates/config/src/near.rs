//! The nearest right word for a wrong one.

/// Longer words are no misspelt keys, and cost time to compare.
const LONGEST: usize = 64;

/// The word that was probably meant, if it is near: at most one letter in three is wrong.
pub(crate) fn nearest<'a>(
    wrong: &str,
    right: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong = wrong.to_lowercase().replace(['_', ' '], "-");
    let distance = |right: &str| strsim::damerau_levenshtein(&wrong, &right.to_lowercase());
    right
        .into_iter()
        .map(|right| (distance(right), right))
        .filter(|(distance, right)| *distance <= right.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, right)| right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["path", "glob", "mount-point", "required", "stay"];
        for (wrong, right) in [
            ("pth", Some("path")),
            ("Path", Some("path")),
            ("mount_point", Some("mount-point")),
            ("mountpoint", Some("mount-point")),
            ("reqired", Some("required")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, keys), right, "{wrong}");
        }
        assert_eq!(nearest(&"path".repeat(1 << 18), keys), None);
    }
}
