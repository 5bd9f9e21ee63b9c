//! Where something stands: a file, and a line of it.

use serde::{Serialize, Serializer};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as it was opened.
    pub file: Arc<Path>,
    /// The line, counted from 1; 0 means the whole file.
    pub line: u32,
}

impl Place {
    /// A whole file.
    pub(crate) fn whole(file: &Path) -> Self {
        Self { file: file.into(), line: 0 }
    }
}

/// `FILE:LINE`, or `FILE`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// As it is displayed: a file's name need not be UTF-8.
impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text of one file, with its lines counted.
#[derive(Debug)]
pub(crate) struct File {
    path: Arc<Path>,
    pub(crate) text: String,
    /// Where each line but the first begins.
    starts: Vec<usize>,
}

impl File {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { path: path.into(), text, starts }
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Place {
        Place { file: Arc::clone(&self.path), line: 0 }
    }

    /// The place of a byte of the text.
    pub(crate) fn place(&self, byte: usize) -> Place {
        let before = self.starts.partition_point(|&start| start <= byte);
        let line = u32::try_from(before).map_or(u32::MAX, |before| before.saturating_add(1));
        Place { file: Arc::clone(&self.path), line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_from_one() {
        let file = File::new(Path::new("/x"), "a\n\nb\n".to_owned());
        let lines = [0, 1, 2, 3, 4, 5, 99].map(|byte| file.place(byte).line);
        assert_eq!(lines, [1, 1, 2, 3, 3, 4, 4]);
        assert_eq!(file.place(3).to_string(), "/x:3");
        assert_eq!(Place::whole(Path::new("/x")).to_string(), "/x");
    }
}
