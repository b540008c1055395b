//! IPv4 identifications of the outer headers that this worker writes (RFC 6864 §4.3, RFC 4963).
//!
//! The values of worker `w` of `W` are ≡ `w` modulo `W`, so two workers never give the same value to
//! the same pair at the same time. A worker keeps counters and picks one by a keyed hash of (source,
//! destination, protocol).
//!
//! What that guarantees: 65,536 / W consecutive packets of one worker to one destination carry
//! different identifications. Destinations that share a counter only see gaps. What it cannot
//! guarantee: above 65,536 packets in two minutes the 16 bits of IPv4 are used up whatever the
//! counter does; `df = "always"` makes the packets atomic, and then the value means nothing.

/// Counters of one worker: 32,768 × 2 bytes stay in the second-level cache.
const COUNTERS: usize = 1 << 15;

/// The identification counters of one worker.
#[derive(Debug)]
pub struct Identifications {
    counters: Box<[u16; COUNTERS]>,
    key: [u64; 2],
    worker: u16,
    stride: u32,
}

impl Identifications {
    /// Counters of worker `worker` of `workers` (at least 1), started at values that depend on the
    /// secret `key` and on `start` (the clock), so that a restart does not repeat the last values.
    pub fn new(worker: u16, workers: u16, key: [u64; 2], start: u64) -> Self {
        let stride = u32::from(workers.max(1));
        let values = 65_536 / stride;
        let mut counters = Box::new([0u16; COUNTERS]);
        let mut state = start ^ key[0];
        for counter in counters.iter_mut() {
            state = fold(state ^ key[1], 0x9e37_79b9_7f4a_7c15).wrapping_add(state);
            let step = (state >> 32) as u32 % values;
            *counter = (u32::from(worker) + step * stride) as u16;
        }
        Self { counters, key, worker, stride }
    }

    /// The next identification for a packet of `protocol` from `source` to `destination` (values of
    /// the addresses in host order).
    #[inline]
    pub fn next(&mut self, source: u32, destination: u32, protocol: u8) -> u16 {
        let pair = u64::from(destination) | u64::from(source) << 32;
        let hash = fold(pair ^ self.key[0], self.key[1] ^ u64::from(protocol) | 1);
        let counter = &mut self.counters[hash as usize % COUNTERS];
        let value = *counter;
        let next = u32::from(value) + self.stride;
        *counter = if next <= u32::from(u16::MAX) { next as u16 } else { self.worker };
        value
    }

    /// Takes a new secret; the counters go on from where they are.
    pub fn rekey(&mut self, key: [u64; 2]) {
        self.key = key;
    }
}

/// Both halves of the 128-bit product, folded: without the key nobody can say which pairs meet.
#[inline]
pub(crate) fn fold(value: u64, factor: u64) -> u64 {
    let product = u128::from(value) * u128::from(factor);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::Identifications;
    use std::collections::HashSet;

    const KEY: [u64; 2] = [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321];

    #[test]
    fn a_full_round_repeats_nothing() {
        let mut ids = Identifications::new(0, 1, KEY, 7);
        let seen: HashSet<u16> = (0..65_536).map(|_| ids.next(1, 2, 41)).collect();
        assert_eq!(seen.len(), 65_536);
    }

    #[test]
    fn workers_never_share_a_value() {
        for workers in [2u16, 3, 7, 64] {
            for worker in 0..workers {
                let mut ids = Identifications::new(worker, workers, KEY, 99);
                for _ in 0..70_000 {
                    assert_eq!(ids.next(9, 10, 41) % workers, worker);
                }
            }
        }
    }

    #[test]
    fn three_workers_use_all_their_values_before_one_returns() {
        let mut ids = Identifications::new(2, 3, KEY, 1);
        let seen: HashSet<u16> = (0..21_845).map(|_| ids.next(1, 2, 41)).collect();
        assert_eq!(seen.len(), 21_845);
    }

    #[test]
    fn a_restart_goes_on_elsewhere() {
        let mut first = Identifications::new(0, 1, KEY, 1);
        let mut second = Identifications::new(0, 1, KEY, 2);
        assert_ne!(first.next(1, 2, 41), second.next(1, 2, 41));
    }
}
