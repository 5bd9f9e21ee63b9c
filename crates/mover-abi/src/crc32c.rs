//! CRC-32C (Castagnoli), eight bytes a step.
//!
//! Tables instead of the SSE4.2 instruction: the mover must run on any x86-64, and its lists are
//! small. RFC 3720 §12.1 names the polynomial; the slicing is the well-known "slice by 8".

/// 0x1EDC6F41 with its bits reversed (RFC 3720 §12.1).
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// `TABLES[k][b]`: what byte `b` does to the checksum when `k` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

/// The CRC-32C of `parts`, one after the other.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    !parts.iter().fold(!0, |state, part| update(state, part))
}

fn update(mut state: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word) ^ u64::from(state);
        let step = |k: u32| TABLES[7 - k as usize][(word >> (8 * k) & 0xff) as usize];
        state = step(0) ^ step(1) ^ step(2) ^ step(3) ^ step(4) ^ step(5) ^ step(6) ^ step(7);
    }
    for &byte in rest {
        state = state >> 8 ^ TABLES[0][((state ^ u32::from(byte)) & 0xff) as usize];
    }
    state
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "byte < 256")]
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        let mut k = 1;
        while k < 8 {
            let before: u32 = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            k += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::crc32c;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_crc32c_crate(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(crc32c(&[head, tail]), ::crc32c::crc32c(&bytes));
        }
    }

    #[test]
    fn rfc_3720_examples() {
        // RFC 3720 §B.4, read as little-endian words.
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c(&[&ascending]), 0x46dd_794e);
    }
}
