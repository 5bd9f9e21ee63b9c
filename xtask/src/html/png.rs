//! How much there is to see in a PNG image.

use anyhow::{Context, Result, ensure};
use flate2::read::ZlibDecoder;
use std::io::Read as _;

/// Bytes of the filtered image that are not zero (PNG 3rd edition, 9.2): each tells that a pixel
/// differs from its neighbour, and of a blank image there are hardly any.
pub(super) fn details(png: &[u8]) -> Result<usize> {
    ensure!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG image");
    let (mut packed, mut rest) = (Vec::new(), &png[8..]);
    // Length, type, data, checksum (5.3).
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        let (kind, more) = more.split_first_chunk::<4>().context("a chunk is cut")?;
        let (data, more) = more.split_at_checked(length).context("a chunk is cut")?;
        if kind == b"IDAT" {
            packed.extend_from_slice(data);
        }
        rest = more.get(4..).context("a chunk is cut")?;
    }
    let mut image = Vec::new();
    ZlibDecoder::new(&packed[..]).take(1 << 30).read_to_end(&mut image)?;
    Ok(image.iter().filter(|byte| **byte != 0).count())
}
