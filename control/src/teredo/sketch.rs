//! How often something was done for a key in the last while, in memory that does not grow.

use siphasher::sip128::{Hasher128, SipHasher13};
use sixlane_wire::ipv6::Address;
use std::hash::Hasher;

/// Rows of a generation: a key has one counter in each.
const ROWS: usize = 4;

/// A count-min sketch of two generations, of which the older one is forgotten whole. It says no less than was
/// noted within a generation's time; what was noted longer ago than two it does not know; and seldom does it
/// say more than was noted. Its hash is keyed, so that nobody can choose keys that share their counters.
#[derive(Debug)]
pub(super) struct Sketch {
    key: [u64; 2],
    /// Counters, row after row, of the present generation and of the one before.
    generations: [Vec<u8>; 2],
    row_len: usize,
    generation_ns: u64,
    /// When the present generation began.
    began_ns: u64,
}

impl Sketch {
    /// An empty sketch of `2 * 4 * row_len` bytes.
    pub(super) fn new(key: [u64; 2], row_len: usize, generation_ns: u64) -> Sketch {
        let row_len = row_len.max(1);
        let generations = [vec![0; ROWS * row_len], vec![0; ROWS * row_len]];
        Sketch { key, generations, row_len, generation_ns, began_ns: 0 }
    }

    /// Lets time pass: to be called before anything else is asked.
    pub(super) fn turn(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.began_ns) / self.generation_ns;
        for _ in 0..passed.min(2) {
            self.generations.swap(0, 1);
            self.generations[0].fill(0);
        }
        self.began_ns += passed * self.generation_ns;
    }

    /// How often something was noted for a key, at most.
    pub(super) fn count(&self, key: Address) -> u32 {
        let places = self.places(key);
        let least = |counters: &Vec<u8>| places.iter().map(|&at| u32::from(counters[at])).min().unwrap_or(0);
        self.generations.iter().map(least).sum()
    }

    /// Notes something.
    pub(super) fn note(&mut self, key: Address) {
        for at in self.places(key) {
            self.generations[0][at] = self.generations[0][at].saturating_add(1);
        }
    }

    /// Forgets a key. (Where others share all of its counters, which is seldom and nobody's choice, they lose
    /// some of their count.)
    pub(super) fn forget(&mut self, key: Address) {
        let places = self.places(key);
        for counters in &mut self.generations {
            let least = places.iter().map(|&at| counters[at]).min().unwrap_or(0);
            for at in places {
                counters[at] -= least;
            }
        }
    }

    fn places(&self, key: Address) -> [usize; ROWS] {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(&key.octets());
        let hash = hasher.finish128();
        let words = [hash.h1, hash.h1 >> 32, hash.h2, hash.h2 >> 32];
        let mut row = 0;
        words.map(|word| {
            let at = row * self.row_len + word as u32 as usize % self.row_len;
            row += 1;
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(lo: u64) -> Address {
        Address { hi: 7, lo }
    }

    #[test]
    fn a_generation_is_kept_for_one_and_forgotten_after_two() {
        let mut sketch = Sketch::new([1, 2], 1024, 100);
        sketch.turn(50);
        sketch.note(key(1));
        for (now, count) in [(99, 1), (100, 1), (199, 1), (200, 0), (1_000_000, 0)] {
            sketch.turn(now);
            assert_eq!(sketch.count(key(1)), count, "{now}");
        }
        sketch.note(key(1));
        sketch.turn(1_000_000 + 199);
        assert_eq!(sketch.count(key(1)), 1);
        sketch.turn(1_000_000 + 1000);
        assert_eq!(sketch.count(key(1)), 0, "a long silence");
    }

    #[test]
    fn what_is_forgotten_was_never_noted() {
        let mut sketch = Sketch::new([1, 2], 1024, 100);
        sketch.note(key(1));
        sketch.note(key(2));
        sketch.turn(150);
        sketch.note(key(1));
        assert_eq!((sketch.count(key(1)), sketch.count(key(2))), (2, 1));
        sketch.forget(key(1));
        assert_eq!((sketch.count(key(1)), sketch.count(key(2))), (0, 1));
        sketch.forget(key(1));
        assert_eq!((sketch.count(key(1)), sketch.count(key(2))), (0, 1));
    }

    /// The relay's sketch under a flood: of 300,000 strangers with four bubbles each, it takes hardly an
    /// honest one for one of them.
    #[test]
    fn a_flood_hardly_touches_others() {
        let mut sketch = Sketch::new([3, 4], 1 << 19, 300);
        for stranger in 0..75_000 {
            for _ in 0..4 {
                sketch.note(key(stranger));
            }
        }
        let wronged = (0..10_000).filter(|honest| sketch.count(key(1 << 40 | honest)) >= 4).count();
        assert!(wronged < 20, "{wronged} of 10,000");
    }

    proptest! {
        /// Against a list of everything that was noted: never less than what was noted within one generation,
        /// and with few keys nothing older than two.
        #[test]
        fn never_less_than_was_noted(
            steps in proptest::collection::vec((0..20_u64, 0..40_u64), 1..200), keys: [u64; 2],
        ) {
            let mut sketch = Sketch::new(keys, 1 << 12, 100);
            let (mut now, mut noted) = (0, BTreeMap::<u64, Vec<u64>>::new());
            for (step, stranger) in steps {
                now += step;
                sketch.turn(now);
                sketch.note(key(stranger));
                let times = noted.entry(stranger).or_default();
                times.push(now);
                let recent = times.iter().filter(|at| now - **at < 100).count() as u32;
                prop_assert!(sketch.count(key(stranger)) >= recent);
            }
        }
    }
}
