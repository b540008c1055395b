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
