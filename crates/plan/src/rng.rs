//! A small random sequence, the same for the same seed.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; none is below 0. The skew is at most `limit` / 2^64.
    pub(crate) const fn below(&mut self, limit: u64) -> Option<u64> {
        self.next().checked_rem(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn is_splitmix64() {
        // The first three numbers of the reference implementation for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        let want =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([rng.next(), rng.next(), rng.next()], want);
    }
}
