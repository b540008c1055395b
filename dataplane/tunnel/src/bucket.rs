//! A token bucket: so many a second, so many at once (RFC 4443 §2.4(f)).

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;

/// A token bucket that is told the time.
///
/// It keeps the time at which it would be full (a virtual clock), so that it needs no timer and no
/// fractions: a token costs `1 s / rate` of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    cost_ns: u64,
    depth_ns: u64,
    full_at_ns: u64,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that fills with `rate` tokens a second. A rate or burst of 0 is a
    /// bucket that never gives one.
    #[must_use]
    pub const fn new(rate: u32, burst: u32) -> TokenBucket {
        let cost_ns = if rate == 0 { u64::MAX } else { SECOND_NS / rate as u64 };
        TokenBucket { cost_ns, depth_ns: cost_ns.saturating_mul(burst as u64), full_at_ns: 0 }
    }

    /// A bucket of another rate and burst that lacks as many tokens as this one does at `now_ns`: to change
    /// the numbers again and again gives nobody more. One that never gave a token owes nothing.
    #[must_use]
    pub const fn retuned(self, rate: u32, burst: u32, now_ns: u64) -> TokenBucket {
        let mut next = TokenBucket::new(rate, burst);
        let debt_ns = self.full_at_ns.saturating_sub(now_ns);
        if debt_ns != 0 && self.cost_ns != u64::MAX && next.cost_ns != u64::MAX {
            let missing = debt_ns.div_ceil(self.cost_ns);
            let debt_ns = missing.saturating_mul(next.cost_ns);
            let debt_ns = if debt_ns < next.depth_ns { debt_ns } else { next.depth_ns };
            next.full_at_ns = now_ns.saturating_add(debt_ns);
        }
        next
    }

    /// Takes a token at the time `now_ns` (any clock that does not go backward); `false` when there is
    /// none.
    #[inline]
    #[must_use]
    pub const fn take(&mut self, now_ns: u64) -> bool {
        let from = if self.full_at_ns > now_ns { self.full_at_ns } else { now_ns };
        let full_at_ns = from.saturating_add(self.cost_ns);
        let given = full_at_ns - now_ns <= self.depth_ns && self.cost_ns != u64::MAX;
        if given {
            self.full_at_ns = full_at_ns;
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// ICMP-03: 1000 errors offered in one second, N = 100, B = 10: 110 ± 2 in the first second.
    #[test]
    fn the_first_second() {
        let mut bucket = TokenBucket::new(100, 10);
        let start = 1_000 * SECOND_NS;
        let given = (0..1000).filter(|tick| bucket.take(start + tick * SECOND_NS / 1000)).count();
        assert!((108..=112).contains(&given), "{given}");
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(1000, 3);
        let given = |bucket: &mut TokenBucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(given(&mut bucket, 0), 3);
        assert_eq!(given(&mut bucket, 999_999), 0);
        assert_eq!(given(&mut bucket, 1_000_000), 1);
        assert_eq!(given(&mut bucket, 3_000_000), 2);
        assert_eq!(given(&mut bucket, SECOND_NS), 3, "never more than the burst");
    }

    #[test]
    fn other_numbers_do_not_fill_the_bucket() {
        let mut bucket = TokenBucket::new(1000, 10);
        let now = 5 * SECOND_NS;
        assert_eq!((0..20).filter(|_| bucket.take(now)).count(), 10);
        for round in 0..100_u32 {
            bucket = bucket.retuned(1000 + round % 2 * 1000, 10, now);
            assert!(!bucket.take(now), "round {round}");
        }
        assert!(bucket.retuned(1000, 11, now).take(now), "a larger bucket has room for one more");
        assert!(!bucket.retuned(0, 10, now).take(now + SECOND_NS));
        assert!(bucket.take(now + 1_000_000), "and it fills as it should");
    }

    #[test]
    fn nothing_configured_gives_nothing() {
        for (rate, burst) in [(0, 10), (10, 0), (0, 0)] {
            let mut bucket = TokenBucket::new(rate, burst);
            assert!(!(0..100).any(|tick| bucket.take(tick * SECOND_NS)), "{rate} {burst}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow(
            rate in 1_u32..2000, burst in 1_u32..50, steps in proptest::collection::vec(0_u64..20_000_000, 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, burst);
            let (mut now, mut given) = (SECOND_NS, 0);
            for step in steps {
                now += step;
                given += u64::from(bucket.take(now));
            }
            let elapsed = now - SECOND_NS;
            // One token more than exact arithmetic, because a token's cost is a whole number of ns.
            prop_assert!(given <= u64::from(burst) + elapsed * u64::from(rate) / SECOND_NS + 1);
        }

        #[test]
        fn any_clock_and_any_numbers(rate: u32, burst: u32, times: [u64; 8]) {
            let mut bucket = TokenBucket::new(rate, burst);
            for now in times {
                let _ = bucket.take(now);
            }
        }
    }
}
