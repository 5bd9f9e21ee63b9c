//! Old folders of images and logs make room for new ones.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

/// Images and kept runs are removed after this time.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// Removes folders that nobody has written to for [`KEEP`].
pub(crate) fn forget_old(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
        if metadata.is_dir() && age > KEEP {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
