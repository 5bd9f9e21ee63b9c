//! The resource tree of `/proc/iomem`.

use crate::{PhysRange, RangeError};

/// One line of `/proc/iomem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IomemResource {
    /// How deep it is nested; 0 at the top (two spaces a level, `kernel/resource.c: r_show`).
    pub depth: usize,
    /// Where.
    pub range: PhysRange,
    /// The name that its owner gave it, e.g. `System RAM` or `Kernel code`.
    pub name: String,
}

/// Why `/proc/iomem` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IomemError {
    /// A line is not `start-end : name`.
    #[error("/proc/iomem line {line}: expected `start-end : name`, found {found:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line.
        found: String,
    },
    /// Without privileges the kernel writes zeros for all addresses.
    #[error("/proc/iomem shows no addresses: root (CAP_SYS_ADMIN) is needed to read it")]
    Hidden,
    /// A line's range is none.
    #[error("/proc/iomem line {line}: {source}")]
    Range {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: RangeError,
    },
}

/// The resources in `/proc/iomem`, in the file's order. Resources of no bytes are left out.
pub fn parse_iomem(text: &str) -> Result<Vec<IomemResource>, IomemError> {
    let mut resources = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let bad = || IomemError::Line { line: i + 1, found: line.to_owned() };
        let depth = line.bytes().take_while(|&b| b == b' ').count() / 2;
        let (span, name) = line.trim_start().split_once(" : ").ok_or_else(bad)?;
        let (start, end) = span.split_once('-').ok_or_else(bad)?;
        let parse = |s: &str| u64::from_str_radix(s, 16).map_err(|_| bad());
        let (start, last) = (parse(start)?, parse(end)?);
        if start == 0 && last == 0 {
            continue;
        }
        let range = last
            .checked_add(1)
            .ok_or(RangeError::TooHigh { start, len: last })
            .and_then(|end| PhysRange::new(start, end))
            .map_err(|source| IomemError::Range { line: i + 1, source })?;
        resources.push(IomemResource { depth, range, name: name.to_owned() });
    }
    if resources.is_empty() && !text.trim().is_empty() {
        return Err(IomemError::Hidden);
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_tree() {
        let text = "00001000-0009fbff : System RAM\n\
                    100000000-13fffffff : System RAM\n  \
                    12a000000-12b3fffff : Kernel code\n";
        let got = parse_iomem(text).unwrap();
        assert_eq!(got.len(), 3);
        assert_eq!((got[2].depth, got[2].name.as_str()), (1, "Kernel code"));
        assert_eq!(got[2].range, PhysRange::new(0x12a000000, 0x12b400000).unwrap());
    }

    #[test]
    fn tells_hidden_from_broken() {
        assert_eq!(parse_iomem("00000000-00000000 : System RAM\n"), Err(IomemError::Hidden));
        assert!(matches!(parse_iomem("nonsense"), Err(IomemError::Line { line: 1, .. })));
        assert!(matches!(parse_iomem("9-3 : x"), Err(IomemError::Range { line: 1, .. })));
    }
}
