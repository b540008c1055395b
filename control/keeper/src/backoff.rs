//! How long to wait before a child is started again: not at all when it had been at work for a while,
//! because packets wait in the rings; longer with every death soon after the start. And the record of all
//! deaths, for the operator.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// Deaths further apart than this have nothing to do with each other.
const RECENT: Duration = Duration::from_mins(1);
/// As many recent deaths as are told one from the other.
const RECENT_MAX: usize = 1_000;

/// How often a child has died.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Since the start of the instance.
    pub(crate) total: u32,
    /// How it ended last.
    pub(crate) last: String,
    recent: VecDeque<Instant>,
}

impl Record {
    /// A record of deaths that another keeper saw.
    pub(crate) fn of_earlier(total: u32) -> Self {
        Self { total, ..Self::default() }
    }

    /// Another death.
    pub(crate) fn note(&mut self, how: &str, now: Instant) {
        self.total = self.total.saturating_add(1);
        how.clone_into(&mut self.last);
        self.recent.retain(|then| now.saturating_duration_since(*then) < RECENT);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }

    /// Deaths in the minute before the last one, that one included.
    pub(crate) fn recent(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_of_the_last_minute_are_counted_by_themselves() {
        let mut record = Record::of_earlier(7);
        let begin = Instant::now();
        for second in [0, 1, 2, 61, 200] {
            record.note("signal 9", begin + Duration::from_secs(second));
            let expected = [(0, 1), (1, 2), (2, 3), (61, 2), (200, 1)];
            let expected = expected.into_iter().find(|(at, _)| *at == second).map(|(_, count)| count);
            assert_eq!(Some(record.recent()), expected, "second {second}");
        }
        assert_eq!((record.total, record.last.as_str()), (12, "signal 9"));
    }

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
