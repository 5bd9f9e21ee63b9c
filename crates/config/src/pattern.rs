//! Patterns of paths, matched part by part as the shell does it, `glob(7)`.
//!
//! No wildcard stands for a slash or a leading dot. Part by part, because a matcher that also has to
//! mind slashes takes exponential time for some names, which any user can give a file.

use glob::{MatchOptions, Pattern, PatternError};
use std::path::{Component, Path};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: true,
};

/// A pattern of paths.
#[derive(Debug)]
pub(crate) struct PathPattern {
    parts: Vec<Pattern>,
    /// How many parts come before the first one with a wildcard.
    fixed: usize,
}

impl PathPattern {
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        let parts: Result<Vec<_>, _> =
            parts(Path::new(text)).into_iter().flatten().map(Pattern::new).collect();
        let parts = parts?;
        let fixed = parts.iter().take_while(|part| !part.as_str().contains(['*', '?', '[']));
        Ok(Self { fixed: fixed.count(), parts })
    }

    /// The parts of a path that matches, from the first one that a wildcard stands for.
    pub(crate) fn match_of<'p>(&self, path: &'p Path) -> Option<Vec<&'p str>> {
        let found = parts(path)?;
        let matches = |(pattern, part): (&Pattern, &&str)| pattern.matches_with(part, OPTIONS);
        let all = found.len() == self.parts.len() && self.parts.iter().zip(&found).all(matches);
        all.then(|| found[self.fixed..].to_vec())
    }
}

/// The names in a path, if all are UTF-8.
fn parts(path: &Path) -> Option<Vec<&str>> {
    let names = path.components().filter(|part| *part != Component::RootDir);
    names.map(|part| part.as_os_str().to_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::time::{Duration, Instant};

    fn match_of<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
        PathPattern::new(pattern).unwrap().match_of(Path::new(path))
    }

    #[test]
    fn matches_as_the_shell_does() {
        for (pattern, path, expected) in [
            ("/x/a*", "/x/ab", Some(vec!["ab"])),
            ("/x/*/c", "/x/b/c", Some(vec!["b", "c"])),
            ("/*/b/?", "/x/b/c", Some(vec!["x", "b", "c"])),
            ("/x/[!a-c]", "/x/d", Some(vec!["d"])),
            ("/x/*", "/x/a/b", None),
            ("/x/*", "/x", None),
            ("/x/*", "/x/.a", None),
            ("/x/.*", "/x/.a", Some(vec![".a"])),
            ("/x/[!a]", "/x/a", None),
        ] {
            assert_eq!(match_of(pattern, path), expected, "{pattern} {path}");
        }
        assert!(PathPattern::new("/x/[a/b]").is_err());
        let no_text = Path::new(OsStr::from_bytes(b"/x/\xff"));
        assert_eq!(PathPattern::new("/x/*").unwrap().match_of(no_text), None);
    }

    #[test]
    fn no_name_takes_long() {
        let begun = Instant::now();
        let (pattern, name) = ("*a".repeat(100) + "b", "a".repeat(255));
        assert_eq!(match_of(&format!("/{pattern}/c"), &format!("/{name}/c")), None);
        assert_eq!(match_of(&format!("/{pattern}"), &format!("/{name}/c")), None);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
