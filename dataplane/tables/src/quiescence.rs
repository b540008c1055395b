//! Quiescent-state reclamation (QSBR): when may memory that readers could still see be used again?
//!
//! The writer unlinks something, then raises its *token* and tags what it unlinked with the new value.
//! A worker that holds no reference (between two batches) loads the token and stores it in its own
//! [`EpochLine`]. What carries tag T is free when every online worker's line shows T or more: such a
//! worker has passed a quiescent point after the unlinking and can only have found the new state since.
//!
//! Cost for a worker: one load and one store per batch; it never waits. Races, by cases:
//! - *unlink against look-up*: the worker's line shows a token below the tag until it has passed a
//!   quiescent point, so nothing is freed under it;
//! - *going online against the writer's check*: the worker stores its line, then fences; the writer
//!   unlinks, then fences before it reads the lines. One of the two sees the other: either the writer
//!   sees the worker online, or the worker sees the unlinking;
//! - *two table sets*: a set's first token is the monotonic time of its creation in nanoseconds, and
//!   tokens rise slower than that clock, so a worker that still uses an older set shows a smaller token
//!   than any tag of the newer one and holds it back.
//!
//! A slot goes offline by its worker's own hand, or because the process is dead and the caller no
//! longer names it. A late heartbeat is an alarm and frees nothing.

use std::collections::VecDeque;

use crate::sync::{AtomicU64, Ordering, fence};

/// The value of an offline worker's line; no token is zero.
const OFFLINE: u64 = 0;

/// What one worker tells about itself: one cache line, written by that worker alone.
#[repr(C, align(64))]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes))]
#[derive(Debug, Default)]
pub struct EpochLine {
    seen: AtomicU64,
    heartbeat_ns: AtomicU64,
    turns: AtomicU64,
    reserved: [AtomicU64; 5],
}

impl EpochLine {
    /// Enters the protocol: from here on nothing that `token` or later tags is freed. Call it before the
    /// first look at the tables, with the token loaded just before. To be called by the owner only.
    pub fn go_online(&self, token: u64) {
        self.seen.store(token.max(1), Ordering::Relaxed);
        // Orders the store before every later load of the tables (second case above).
        fence(Ordering::SeqCst);
    }

    /// A quiescent point: the caller holds no reference into the tables and has just loaded `token` from
    /// them. To be called by the owner only.
    #[inline]
    pub fn quiesce(&self, token: u64) {
        self.seen.store(token.max(1), Ordering::Release);
    }

    /// Leaves the protocol, for instance before sleeping in `poll`: the caller holds no reference and
    /// will not look at the tables before [`EpochLine::go_online`]. To be called by the owner only.
    pub fn go_offline(&self) {
        self.seen.store(OFFLINE, Ordering::Release);
    }

    /// Says that the worker is alive at `now_ns` (CLOCK_MONOTONIC), and counts a turn. Owner only.
    #[inline]
    pub fn beat(&self, now_ns: u64) {
        self.heartbeat_ns.store(now_ns, Ordering::Relaxed);
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The line as others may use it: without the right to write.
    #[must_use]
    pub fn reader(&self) -> WorkerEpoch<'_> {
        WorkerEpoch(self)
    }
}

/// Another process's view of a worker's line.
#[derive(Clone, Copy, Debug)]
pub struct WorkerEpoch<'a>(&'a EpochLine);

impl WorkerEpoch<'_> {
    /// The token that the worker has seen; `None` while it is offline.
    #[must_use]
    pub fn seen(self) -> Option<u64> {
        match self.0.seen.load(Ordering::Acquire) {
            OFFLINE => None,
            token => Some(token),
        }
    }

    /// When the worker last ended a turn, CLOCK_MONOTONIC in nanoseconds; 0 = never.
    #[must_use]
    pub fn heartbeat_ns(self) -> u64 {
        self.0.heartbeat_ns.load(Ordering::Relaxed)
    }

    /// Turns since the worker started.
    #[must_use]
    pub fn turns(self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }
}

/// The writer's side: what was unlinked and waits for the readers.
#[derive(Debug)]
pub struct Limbo<T> {
    token: u64,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Limbo<T> {
    /// Starts with `token` (not zero), which must be what the shared word holds.
    #[must_use]
    pub fn new(token: u64) -> Self {
        Self { token: token.max(1), waiting: VecDeque::new() }
    }

    /// Takes what has just been unlinked. Call [`Limbo::publish`] after the last of one change.
    pub fn retire(&mut self, item: T) {
        self.waiting.push_back((self.token + 1, item));
    }

    /// Raises the token in its shared `word`, so that workers can pass what was retired.
    pub fn publish(&mut self, word: &AtomicU64) {
        self.token += 1;
        word.store(self.token, Ordering::Release);
    }

    /// Gives back, oldest first, what every online worker of `epochs` has passed.
    pub fn collect(&mut self, epochs: &[WorkerEpoch<'_>], mut free: impl FnMut(T)) {
        // The writer's half of the going-online race: unlinking before, reading the lines after.
        fence(Ordering::SeqCst);
        let passed =
            epochs.iter().filter_map(|epoch| epoch.seen()).min().unwrap_or(self.token).min(self.token);
        while self.waiting.front().is_some_and(|(tag, _)| *tag <= passed) {
            if let Some((_, item)) = self.waiting.pop_front() {
                free(item);
            }
        }
    }

    /// How many retired items wait for a reader.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True if nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
