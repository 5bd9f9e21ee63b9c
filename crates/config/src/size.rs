//! Sizes as people write and read them: powers of 1024.

/// Units from large to small.
const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads `512M`, `512MiB`, `2g`, `4096` as bytes.
///
/// # Errors
/// What is wrong with the text, and what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        lower => {
            let found = UNITS.iter().find(|(name, _)| {
                let name = name.to_ascii_lowercase();
                lower == name || *lower == name[..1]
            });
            found.map(|u| u.1).ok_or_else(|| format!("unknown unit {unit:?}; use K, M, G or T"))?
        }
    };
    let number: u64 =
        digits.parse().map_err(|_| "expected a size such as 512M or 2G".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} does not fit in 64 bits"))
}

/// Writes `386.0 MiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn show(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Writes `386M` so that [`parse_size()`] reads the same; bytes where no unit fits.
#[must_use]
pub fn exact(bytes: u64) -> String {
    let fits = |unit: u64| bytes > 0 && bytes.is_multiple_of(unit);
    match UNITS.iter().find(|(_, unit)| fits(*unit)) {
        Some((name, unit)) => format!("{}{}", bytes / unit, &name[..1]),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("2g"), Ok(2 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "M", "1x", "-1", "99999999999T", "1.5G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(show(386 << 20), "386.0 MiB");
        assert_eq!(show(17), "17 B");
        for exactly in ["0", "4095", "4K", "386M", "1025G", "3T"] {
            assert_eq!(exact(parse_size(exactly).unwrap()), exactly);
        }
    }
}
