//! How long single turns take: the mean of a slice hides the turn that was late.

use hdrhistogram::Histogram;

use crate::abx::Side;

/// Turns that are timed; as many go before.
const TURNS: u32 = 100_000;

/// Longest turn that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 1_000_000_000;

/// The times of single turns, in nanoseconds, with three significant digits.
///
/// The clock is read around every turn, which costs some tens of nanoseconds that are in the figures. A
/// turn that the machine interrupted is in them too: that is what the tail shows.
///
/// # Errors
/// A sentence.
pub fn times(side: &mut impl Side) -> Result<Histogram<u64>, String> {
    let mut times =
        Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(|error| format!("no histogram: {error}"))?;
    for _ in 0..TURNS {
        side.work();
    }
    for _ in 0..TURNS {
        let begin = std::time::Instant::now();
        side.work();
        let taken = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        times.saturating_record(taken);
    }
    Ok(times)
}

/// One line: median and tail.
#[must_use]
pub fn line(name: &str, times: &Histogram<u64>) -> String {
    let at = |quantile: f64| times.value_at_quantile(quantile);
    let (median, late, later) = (at(0.5), at(0.99), at(0.999));
    format!("{name:<12} {median:>8} {late:>8} {later:>8} {:>10}", times.max())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still(u64);

    impl Side for Still {
        fn work(&mut self) -> u64 {
            self.0 += 1;
            64
        }
    }

    #[test]
    fn every_turn_after_the_warm_up_is_in_the_histogram() {
        let mut side = Still(0);
        let times = times(&mut side).unwrap();
        assert_eq!((times.len(), side.0), (u64::from(TURNS), 2 * u64::from(TURNS)));
        let line = line("still", &times);
        assert_eq!(line.split_whitespace().count(), 5, "{line}");
    }
}
