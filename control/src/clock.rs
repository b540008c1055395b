//! The one clock: CLOCK_MONOTONIC, which shared memory uses too.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment before the machine's start; never goes backward.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
