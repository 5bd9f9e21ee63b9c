//! Composing region filesystems for synthetic trees: many files, and large ones.

use anyhow::Result;
use regionfs::compose;
use regionfs::synthetic::Synthetic;

use super::figure::Figure;
use super::once::{peak_mib, timed};

/// What metadata may take of a region of large files, in per cent.
const LARGE_SHARE: f64 = 0.02;

/// A million files, 1.02 TiB in four million extents.
pub(super) fn files() -> Result<Vec<Figure>> {
    let shape = Synthetic { files: 1_000_000, file_blocks: 268, extent_blocks: 67 };
    let (figures, _) =
        measure("compose.files", shape, "1 M files, 1 TiB in extents of 268 KiB, none adjoining")?;
    Ok(figures)
}

/// Four files of 256 GiB each.
pub(super) fn large() -> Result<Vec<Figure>> {
    let shape = Synthetic { files: 4, file_blocks: 64 << 20, extent_blocks: 4096 };
    let (mut figures, share) =
        measure("compose.large", shape, "4 files, 1 TiB in extents of 16 MiB, none adjoining")?;
    let about = "metadata in a region of large files";
    figures.push(Figure::new("compose.large.share", share, "%", about).at_most(LARGE_SHARE));
    Ok(figures)
}

/// Seconds and peak memory of composing and of streaming all metadata out, and the metadata's
/// share of the region in per cent.
fn measure(name: &str, shape: Synthetic, what: &str) -> Result<(Vec<Figure>, f64)> {
    let (tree, geometry) = shape.build()?;
    let (composed, seconds) = timed(|| -> Result<_> {
        let image = compose(tree, geometry)?;
        let mut written = 0_u64;
        image.write_metadata(&mut |_, _| {
            written += 1;
            Ok(())
        })?;
        Ok((written, image.figures().blocks))
    });
    let (written, blocks) = composed?;
    let share = 100.0 * written as f64 / blocks as f64;
    let peak = "most memory of the process, with the tree and its extents";
    let figures = vec![
        Figure::new(&format!("{name}.seconds"), seconds, "s", what),
        Figure::new(&format!("{name}.peak"), peak_mib()?, "MiB", peak),
    ];
    Ok((figures, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_large_files_stay_below_what_is_promised() -> Result<()> {
        let figures = large()?;
        let share = figures.iter().find(|f| f.at_most.is_some()).map(|f| f.value);
        // Bitmaps alone take two blocks of every group of 32768.
        assert!(share.is_some_and(|s| (0.003..=LARGE_SHARE).contains(&s)), "{share:?}");
        Ok(())
    }
}
