//! How long to wait before a child is started again: not at all when it had been at work for a while,
//! because packets wait in the rings; longer with every death soon after the start.

use std::time::Duration;

/// A child that lived this long has recovered.
const RECOVERED: Duration = Duration::from_millis(250);
/// The second wait; it doubles with every further one.
const FIRST: Duration = Duration::from_millis(20);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(1);

/// Remembers early deaths.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    early_deaths: u32,
}

impl Backoff {
    /// The wait after a death at the age of `age`.
    pub(crate) fn after(&mut self, age: Duration) -> Duration {
        if age >= RECOVERED {
            self.early_deaths = 0;
        }
        self.early_deaths = self.early_deaths.saturating_add(1);
        match self.early_deaths {
            1 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 2).min(10)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_a_long_life_starts_over() {
        let mut backoff = Backoff::default();
        let early = Duration::from_millis(5);
        let waits: Vec<u128> = (0..9).map(|_| backoff.after(early).as_millis()).collect();
        assert_eq!(waits, [0, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(backoff.after(RECOVERED), Duration::ZERO);
        for _ in 0..5_000 {
            assert!(backoff.after(early) <= LONGEST);
        }
    }
}
