//! The A/B harness: is one thing slower than another, on a machine that other people use too?
//!
//! Both sides run in one process, in slices of the same length, in the order ABBA BAAB, so that a drift
//! of the clock meets both alike. Before each slice a canary measures the machine itself. A pair of
//! slices counts only if both canaries agree, nobody took the processor away, and the thread ran nearly
//! all the time. The result is the median of the pairs' ratios with a bootstrap interval of 95 %.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::machine;
use crate::results::{Figure, Verdict};

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Length of a slice.
    pub slice: Duration,
    /// Pairs that must count.
    pub pairs: usize,
    /// Most that two canaries of a pair may differ, as a share.
    pub canary_drift: f64,
    /// Least share of the wall clock that the thread must have run.
    pub cpu_share: f64,
    /// Above this share of rejected pairs the machine is too noisy.
    pub rejected_max: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            slice: Duration::from_millis(50),
            pairs: 31,
            canary_drift: 0.05,
            cpu_share: 0.98,
            rejected_max: 0.60,
        }
    }
}

/// One side of a comparison: does some work and says how much (packets).
pub trait Side {
    /// Works for a few microseconds at least.
    fn work(&mut self) -> u64;

    /// Called after each slice with the work done in it; says what of it counts.
    ///
    /// # Errors
    /// A sentence that says what went wrong; it ends the measurement.
    fn check(&mut self, work: u64) -> Result<Work, String> {
        Ok(Work::undisturbed(work))
    }
}

/// What a slice achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Units of work (packets).
    pub units: u64,
    /// Whether the side could work all the time; a pair with a slice in which it could not is rejected.
    pub undisturbed: bool,
}

impl Work {
    /// Work that nothing stood in the way of.
    #[must_use]
    pub fn undisturbed(units: u64) -> Self {
        Self { units, undisturbed: true }
    }
}

/// What a comparison came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Cost of A relative to B; `None` when the machine was too noisy.
    pub figure: Option<Figure>,
    /// Nanoseconds per unit of work, medians of A and B.
    pub ns: (f64, f64),
    /// Pairs that counted.
    pub samples: usize,
    /// Pairs that did not.
    pub rejected: usize,
    /// What the canaries read: nanoseconds per dependent addition and per dependent load in 512 KiB.
    pub canary: (f64, f64),
}

/// What a slice was like.
#[derive(Clone, Copy, Debug)]
struct Slice {
    ns_per_unit: f64,
    add_ns: f64,
    load_ns: f64,
    quiet: bool,
}

/// The machine's own speed, from a chain of additions and a walk through half a megabyte.
struct Canary {
    ring: Vec<u32>,
}

const ADDS: u64 = 1_000_000;
const LOADS: u32 = 16_384;

impl Canary {
    fn new() -> Self {
        // A single cycle through all 8,192 lines, by a step that is odd and far from the line before.
        let lines = 512 * 1024 / 64;
        let mut ring = vec![0u32; lines * 16];
        for line in 0..lines {
            ring[line * 16] = (((line + 2_731) % lines) * 16) as u32;
        }
        Self { ring }
    }

    /// The place `steps` loads behind `place`.
    fn walk(&self, mut place: u32, steps: u32) -> u32 {
        for _ in 0..steps {
            place = self.ring.get(place as usize).copied().unwrap_or(0);
        }
        black_box(place)
    }

    /// Nanoseconds per addition and per load.
    fn read(&self) -> (f64, f64) {
        let start = Instant::now();
        let mut sum = black_box(1u64);
        for _ in 0..ADDS / 10 {
            for _ in 0..10 {
                sum = black_box(sum).wrapping_add(3);
            }
        }
        black_box(sum);
        let adds = start.elapsed();
        // Once round without the clock: the slice before has left other things in the cache.
        let mut place = self.walk(0, self.ring.len() as u32 / 16);
        let start = Instant::now();
        place = self.walk(place, LOADS);
        black_box(place);
        let loads = start.elapsed();
        (adds.as_nanos() as f64 / ADDS as f64, loads.as_nanos() as f64 / f64::from(LOADS))
    }
}

impl Slice {
    fn measure(side: &mut dyn Side, plan: &Plan, canary: &Canary) -> Result<Self, String> {
        let (add_ns, load_ns) = canary.read();
        let before = machine::Disturbance::now();
        let (start, cpu) = (Instant::now(), machine::thread_cpu());
        let mut work = 0;
        let wall = loop {
            for _ in 0..16 {
                work += side.work();
            }
            let wall = start.elapsed();
            if wall >= plan.slice {
                break wall;
            }
        };
        let cpu = machine::thread_cpu().saturating_sub(cpu);
        let undisturbed = machine::Disturbance::now() == before;
        let Work { units: work, undisturbed: busy } = side.check(work)?;
        if work == 0 {
            return Err("no work was done in a slice".to_owned());
        }
        let quiet = busy && undisturbed && cpu.as_secs_f64() >= plan.cpu_share * wall.as_secs_f64();
        Ok(Self { ns_per_unit: wall.as_nanos() as f64 / work as f64, add_ns, load_ns, quiet })
    }
}

/// Whether two readings are closer than `drift`.
fn close(one: f64, other: f64, drift: f64) -> bool {
    (one - other).abs() <= drift * one.min(other)
}

/// Whether pair `index` runs A first: AB BA, BA AB.
#[must_use]
pub fn a_first(index: usize) -> bool {
    matches!(index % 4, 0 | 3)
}

/// Measures the cost of a unit of A's work relative to one of B's.
///
/// # Errors
/// What a side's check says.
pub fn compare(a: &mut dyn Side, b: &mut dyn Side, plan: &Plan) -> Result<Outcome, String> {
    let canary = Canary::new();
    let attempts = (plan.pairs as f64 / (1.0 - plan.rejected_max)).ceil() as usize;
    let mut pairs: Vec<(Slice, Slice)> = Vec::with_capacity(plan.pairs);
    let mut rejected = 0;
    for index in 0..=attempts {
        let (one, two) = if a_first(index) {
            let one = Slice::measure(a, plan, &canary)?;
            (one, Slice::measure(b, plan, &canary)?)
        } else {
            let two = Slice::measure(b, plan, &canary)?;
            (Slice::measure(a, plan, &canary)?, two)
        };
        if index == 0 {
            continue; // the warm-up
        }
        let drift = plan.canary_drift;
        let steady = close(one.add_ns, two.add_ns, drift) && close(one.load_ns, two.load_ns, drift);
        if one.quiet && two.quiet && steady {
            pairs.push((one, two));
        } else {
            rejected += 1;
        }
        if pairs.len() == plan.pairs {
            break;
        }
    }
    Ok(summary(&pairs, rejected, plan))
}

fn summary(pairs: &[(Slice, Slice)], rejected: usize, plan: &Plan) -> Outcome {
    let of = |pick: fn(&(Slice, Slice)) -> f64| median(pairs.iter().map(pick).collect());
    let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a.ns_per_unit / b.ns_per_unit).collect();
    Outcome {
        figure: (pairs.len() == plan.pairs).then(|| interval(&ratios)),
        ns: (of(|pair| pair.0.ns_per_unit), of(|pair| pair.1.ns_per_unit)),
        samples: pairs.len(),
        rejected,
        canary: (of(|pair| pair.0.add_ns), of(|pair| pair.0.load_ns)),
    }
}

/// Measures until the floor is decided, at most three times. Gives the last outcome and the verdict.
///
/// # Errors
/// What a side's check says.
pub fn decide(
    mut measure: impl FnMut() -> Result<Outcome, String>,
    verdict: impl Fn(&Figure) -> Verdict,
) -> Result<(Outcome, Verdict), String> {
    let mut last = measure()?;
    for _ in 0..2 {
        match last.figure.as_ref().map(&verdict) {
            Some(Verdict::Undecided) | None => last = measure()?,
            Some(decided) => return Ok((last, decided)),
        }
    }
    let judged = last.figure.as_ref().map_or(Verdict::Undecided, verdict);
    Ok((last, judged))
}

/// The middle of some values; 0 of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(one), Some(two)) => (one + two) / 2.0,
        _ => 0.0,
    }
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;

/// The median with its 95 % interval, by a bootstrap with a fixed seed: the same samples give the same
/// interval.
#[must_use]
pub fn interval(values: &[f64]) -> Figure {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let draw = (0..values.len()).filter_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                values.get((state % values.len() as u64) as usize).copied()
            });
            median(draw.collect())
        })
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| medians.get((share * RESAMPLES as f64) as usize).copied().unwrap_or(0.0);
    Figure { ratio: median(values.to_vec()), low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_abba_baab() {
        let order: String = (0..4).map(|index| if a_first(index) { "AB" } else { "BA" }).collect();
        assert_eq!(order, "ABBABAAB");
    }

    #[test]
    fn medians_and_intervals() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
        let values: Vec<f64> = (0..31).map(|n| 1.0 + f64::from(n) / 100.0).collect();
        let figure = interval(&values);
        assert_eq!(figure.ratio, 1.15);
        assert!(
            figure.low < 1.15 && figure.low > 1.0 && figure.high > 1.15 && figure.high < 1.3,
            "{figure:?}"
        );
        assert_eq!(interval(&values), figure, "the same samples give the same interval");
        assert_eq!(interval(&[2.0; 31]), Figure { ratio: 2.0, low: 2.0, high: 2.0 });
    }

    fn slice(ns_per_unit: f64) -> Slice {
        Slice { ns_per_unit, add_ns: 0.3, load_ns: 3.0, quiet: true }
    }

    #[test]
    fn too_few_pairs_are_no_figure() {
        let pairs = vec![(slice(3.0), slice(1.5)); 31];
        let plan = Plan::default();
        assert_eq!(summary(&pairs, 4, &plan).figure, Some(Figure { ratio: 2.0, low: 2.0, high: 2.0 }));
        let noisy = summary(&pairs[..20], 58, &plan);
        assert_eq!((noisy.figure, noisy.samples, noisy.rejected), (None, 20, 58));
    }

    #[test]
    fn an_open_question_is_asked_three_times() {
        let outcome = |figure| Outcome { figure, ..summary(&[], 0, &Plan::default()) };
        let judge = |figure: &Figure| if figure.ratio < 2.0 { Verdict::Pass } else { Verdict::Undecided };
        let exact = |ratio| Some(Figure::exact(ratio));
        let run = |answers: &[Option<Figure>]| {
            let mut asked = 0;
            let measure = || {
                asked += 1;
                Ok(outcome(answers[asked - 1]))
            };
            let (_, verdict) = decide(measure, judge).unwrap();
            (asked, verdict)
        };
        assert_eq!(run(&[exact(1.0)]), (1, Verdict::Pass));
        assert_eq!(run(&[exact(3.0), None, exact(1.0)]), (3, Verdict::Pass));
        assert_eq!(run(&[exact(3.0), exact(3.0), None]), (3, Verdict::Undecided));
        assert!(decide(|| Err("broken".to_owned()), judge).is_err());
    }

    struct Spin(u32);

    impl Side for Spin {
        fn work(&mut self) -> u64 {
            let mut value = black_box(1u32);
            for _ in 0..self.0 {
                value = black_box(value).wrapping_mul(3);
            }
            black_box(value);
            1
        }
    }

    struct Starved;

    impl Side for Starved {
        fn work(&mut self) -> u64 {
            black_box(1)
        }

        fn check(&mut self, work: u64) -> Result<Work, String> {
            Ok(Work { units: work, undisturbed: false })
        }
    }

    #[test]
    fn a_side_that_was_disturbed_rejects_its_pairs() {
        let plan = Plan {
            slice: Duration::from_micros(100),
            pairs: 2,
            canary_drift: f64::INFINITY,
            cpu_share: 0.0,
            rejected_max: 0.5,
        };
        let outcome = compare(&mut Spin(100), &mut Starved, &plan).unwrap();
        assert_eq!((outcome.figure, outcome.samples, outcome.rejected), (None, 0, 4), "{outcome:?}");
    }

    #[test]
    fn twice_the_work_costs_about_twice() {
        // Everything counts here, however busy the machine: the median has to stand it.
        let plan = Plan {
            slice: Duration::from_millis(2),
            pairs: 15,
            canary_drift: f64::INFINITY,
            cpu_share: 0.0,
            rejected_max: 0.9,
        };
        let outcome = compare(&mut Spin(20_000), &mut Spin(10_000), &plan).unwrap();
        let Some(figure) = outcome.figure else { return assert!(outcome.rejected > 0) };
        assert!((1.2..3.5).contains(&figure.ratio), "{outcome:?}");
    }
}
