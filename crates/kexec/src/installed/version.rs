//! The order of versions.
//!
//! Source: UAPI.10 Version Format Specification, whose rules are numbered in its section "Version
//! Comparison".

use std::cmp::Ordering;
use std::convert::Infallible;
use std::ops::ControlFlow::{self, Break, Continue};

/// Whether `a` is older than `b`, the same, or newer.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match differ(a.as_bytes(), b.as_bytes()) {
        Break(order) => order,
    }
}

fn differ(mut a: &[u8], mut b: &[u8]) -> ControlFlow<Ordering, Infallible> {
    loop {
        // 1.
        (a, b) = (skip_others(a), skip_others(b));
        // 2.
        skip_both(&mut a, &mut b, b'~')?;
        // 3.
        if a.is_empty() || b.is_empty() {
            return Break(a.len().cmp(&b.len()));
        }
        // 4., 5., 6.
        for separator in *b"-^." {
            skip_both(&mut a, &mut b, separator)?;
        }
        // 7., 8.
        let is_number =
            a.first().is_some_and(u8::is_ascii_digit) || b.first().is_some_and(u8::is_ascii_digit);
        let kind = if is_number { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
        let ((mut left, rest_a), (mut right, rest_b)) = (prefix(a, kind), prefix(b, kind));
        let mut order = Ordering::Equal;
        if is_number {
            // The specification takes a missing number for 0; systemd, which boots, for less.
            order = left.is_empty().cmp(&right.is_empty()).reverse();
            (left, right) = (without_zeros(left), without_zeros(right));
            order = order.then_with(|| left.len().cmp(&right.len()));
        }
        order = order.then_with(|| left.cmp(right));
        if order.is_ne() {
            return Break(order);
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Skips a separator that both begin with; where one of them does, that one is lower.
fn skip_both(a: &mut &[u8], b: &mut &[u8], separator: u8) -> ControlFlow<Ordering> {
    match (a.strip_prefix(&[separator]), b.strip_prefix(&[separator])) {
        (Some(rest_a), Some(rest_b)) => (*a, *b) = (rest_a, rest_b),
        (Some(_), None) => return Break(Ordering::Less),
        (None, Some(_)) => return Break(Ordering::Greater),
        (None, None) => {}
    }
    Continue(())
}

fn skip_others(text: &[u8]) -> &[u8] {
    let means = |c: &u8| c.is_ascii_alphanumeric() || b"-.~^".contains(c);
    &text[text.iter().position(means).unwrap_or(text.len())..]
}

fn prefix(text: &[u8], kind: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|c| !kind(c)).unwrap_or(text.len()))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|&c| c != b'0').unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// The specification's own examples.
    #[test]
    fn orders_as_the_specification_says() {
        for (a, order, b) in [
            ("11", Ordering::Equal, "11"),
            ("systemd-123", Ordering::Equal, "systemd-123"),
            ("bar-123", Ordering::Less, "foo-123"),
            ("123a", Ordering::Greater, "123"),
            ("123.a", Ordering::Greater, "123"),
            ("123.a", Ordering::Less, "123.b"),
            ("123a", Ordering::Greater, "123.a"),
            ("11α", Ordering::Equal, "11β"),
            ("B", Ordering::Less, "a"),
            ("", Ordering::Less, "0"),
            ("0.", Ordering::Greater, "0"),
            ("0.0", Ordering::Greater, "0"),
            ("0", Ordering::Greater, "~"),
            ("", Ordering::Greater, "~"),
            ("1_", Ordering::Equal, "1"),
            ("_1", Ordering::Equal, "1"),
            ("1_", Ordering::Less, "1.2"),
            ("1_2_3", Ordering::Greater, "1.3.3"),
            ("1+", Ordering::Equal, "1"),
            ("+1", Ordering::Equal, "1"),
            ("1+2+3", Ordering::Greater, "1.3.3"),
        ] {
            assert_eq!(compare(a, b), order, "{a:?} {b:?}");
            assert_eq!(compare(b, a), order.reverse(), "{b:?} {a:?}");
        }
        let rising = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    /// `systemd-analyze compare-versions` exits with 11 (newer), 0 (the same) or 12 (older).
    fn systemd(a: &str, b: &str) -> Option<Ordering> {
        let mut analyze = Command::new("systemd-analyze");
        match analyze.args(["compare-versions", "--", a, b]).output().ok()?.status.code()? {
            11 => Some(Ordering::Greater),
            0 => Some(Ordering::Equal),
            12 => Some(Ordering::Less),
            _ => None,
        }
    }

    #[test]
    fn orders_as_systemd_does() {
        let has_systemd = systemd("1", "2") == Some(Ordering::Less);
        if !has_systemd {
            assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "no systemd-analyze");
            eprintln!("orders_as_systemd_does: not compared for want of systemd-analyze");
        }
        let config = ProptestConfig { cases: 200, ..ProptestConfig::default() };
        proptest!(config, |(a in "[0-9abZ.~^+-]{0,6}", b in "[0-9abZ.~^+-]{0,6}")| {
            let ours = compare(&a, &b);
            prop_assert_eq!(ours, compare(&b, &a).reverse());
            if has_systemd {
                prop_assert_eq!(Some(ours), systemd(&a, &b), "{} {}", a, b);
            }
        });
    }
}
