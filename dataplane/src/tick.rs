//! The end of a turn: counters, quiescence, heartbeat; and how a worker rests and changes tables.

use crate::port::Port;
use crate::run::Idle;
use crate::worker::Worker;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, Timespec, clock_gettime};
use sixlane_tables::settings::PORTS;
use sixlane_tables::{SocketSnapshot, Tables};
use sixlane_xsk::FramePool;
use std::sync::Arc;
use std::time::Duration;

/// Empty turns before a worker that may sleep does.
const PATIENCE: u32 = 1_000;

/// The longest sleep: what nothing wakes a worker for waits as long, the first packet of this box after a
/// quiet second above all. (100 turns a second cost a few thousandths of a core.)
const REST: Duration = Duration::from_millis(10);

/// The longest sleep while packets pass the door or wait for a neighbour: nothing wakes a worker for them.
const REST_AT_THE_DOOR: Duration = Duration::from_millis(1);

/// How often the kernel is asked for its loss figures, in nanoseconds.
const LOSSES: u64 = 1_000_000_000;

/// Whether the worker should rest.
#[derive(Debug)]
pub(crate) struct Pace {
    idle: Idle,
    empty: u32,
}

impl Pace {
    pub(crate) fn new(idle: Idle) -> Self {
        Self { idle, empty: 0 }
    }

    /// Whether to sleep after a turn that received `count` packets.
    #[inline]
    pub(crate) fn tired(&mut self, count: usize) -> bool {
        self.empty = if count == 0 { self.empty.saturating_add(1) } else { 0 };
        self.idle == Idle::Sleep && self.empty >= PATIENCE
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
#[inline]
pub(crate) fn clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl<'a, P: Port<'a>> Worker<'a, P> {
    /// Ends a turn: no reference into the tables is held any more.
    #[inline]
    pub(crate) fn tick(&mut self, now: u64) {
        let counters = self.segment.counters();
        self.pipeline.tally.flush(counters, self.segment.ports());
        self.pipeline.door.tick(now);
        counters.punt_lost.add(self.pipeline.neighbours.take_lost() + self.pipeline.door.take_lost());
        self.segment.epoch().quiesce(self.tables.token());
        self.segment.epoch().beat(now);
        if now >= self.next_losses {
            self.note_losses(now);
        }
    }

    /// Shows what the kernel dropped before the worker could have it.
    #[cold]
    fn note_losses(&mut self, now: u64) {
        self.next_losses = now + LOSSES;
        self.port_lost |= self.ports.iter().any(P::gone);
        for (index, shared) in self.segment.ports().iter().enumerate() {
            let mut sum = SocketSnapshot::default();
            for port in self.ports.iter().filter(|port| usize::from(port.index()) == index) {
                let losses = port.losses();
                sum.add(&SocketSnapshot {
                    rx_dropped: losses.rx_dropped,
                    rx_ring_full: losses.rx_ring_full,
                    fill_ring_empty: losses.fill_ring_empty,
                    rx_invalid: losses.rx_invalid,
                    tx_invalid: losses.tx_invalid,
                });
            }
            shared.sockets.set(&sum);
        }
    }

    /// Goes over to another set of tables, between two turns. Gives the old set back.
    #[must_use]
    pub fn adopt(&mut self, tables: Arc<Tables>) -> Arc<Tables> {
        let worker = self.segment.layout().worker;
        self.pipeline.neighbours.leave(self.tables.partner(worker));
        self.pipeline.door.adopt(&self.tables, &tables, self.segment);
        self.pipeline.forget_generation();
        self.segment.epoch().go_online(tables.token());
        std::mem::replace(&mut self.tables, tables)
    }

    /// How long the worker may sleep.
    #[must_use]
    pub fn rest(&self) -> Duration {
        if self.pipeline.door.is_busy() || self.pipeline.waiting.any() { REST_AT_THE_DOOR } else { REST }
    }

    /// Sleeps until a packet arrives at a port, at most [`Worker::rest`], offline for quiescence.
    pub fn sleep(&mut self) {
        let rest = Timespec { tv_sec: 0, tv_nsec: self.rest().subsec_nanos().into() };
        self.segment.epoch().go_offline();
        let mut sockets = self.ports.iter().filter_map(P::fd);
        // Interrupted, timed out or ready: the next turn looks for itself.
        if let Some(first) = sockets.next() {
            // A fixed array, because a worker does not allocate: unused places repeat the first socket.
            let mut watched: [PollFd<'_>; PORTS] = std::array::from_fn(|_| {
                PollFd::from_borrowed_fd(sockets.next().unwrap_or(first), PollFlags::IN)
            });
            // The first socket fills what is left over; with more than 64 sockets it is still in.
            watched[PORTS - 1] = PollFd::from_borrowed_fd(first, PollFlags::IN);
            let _ = poll(&mut watched, Some(&rest));
        } else {
            let _ = poll(&mut [], Some(&rest));
        }
        self.segment.epoch().go_online(self.tables.token());
    }

    /// Ends the worker: it looks at the tables no more. Its frames stay where they are.
    pub fn retire(&self) {
        self.segment.epoch().go_offline();
    }

    /// The ports.
    pub fn ports_mut(&mut self) -> &mut [P] {
        &mut self.ports
    }

    /// The frames.
    #[must_use]
    pub fn pool(&self) -> &FramePool<'a> {
        &self.pool
    }

    /// Ports and frames, for a port that is closed.
    pub fn parts_mut(&mut self) -> (&mut [P], &mut FramePool<'a>) {
        (&mut self.ports, &mut self.pool)
    }
}
