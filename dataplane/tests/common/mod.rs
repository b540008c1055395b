//! The relay of the golden packets on in-memory ports: real tables, real worker, no kernel.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

pub mod door;
pub mod packets;
pub mod topology;

use sixlane_dataplane::Worker;
use sixlane_dataplane::port::{ScriptPort, Sent};
use sixlane_tables::{CounterSnapshot, Tables, WorkerLayout, WorkerSegment};
use sixlane_tunnel::Reason;
use sixlane_xsk::{Census, FramePool, Ledger, Memory, Umem};
use std::sync::Arc;

/// The port toward native IPv6.
pub const WAN6: u8 = 0;
/// The port toward IPv4.
pub const WAN4: u8 = 1;

/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// Sizes of a rig.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub worker: u16,
    pub frames: u32,
    pub fill: usize,
    pub tx: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { worker: 0, frames: 512, fill: 64, tx: 256 }
    }
}

/// A worker with two ports.
pub struct Rig {
    pub worker: Worker<'static, ScriptPort>,
    pub segment: &'static WorkerSegment,
    pub now: u64,
    frames: u32,
}

/// What became of the packets of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was sent, with the port.
    pub sent: Vec<(u8, Sent)>,
    /// By how much the counters moved.
    pub counters: CounterSnapshot,
}

impl Outcome {
    /// The one packet that was sent.
    pub fn only(&self) -> (u8, &[u8]) {
        assert_eq!(self.sent.len(), 1, "one packet should have been sent: {self:?}");
        (self.sent[0].0, &self.sent[0].1.bytes)
    }

    /// Asserts that exactly one packet was dropped, for this reason.
    pub fn dropped(&self, reason: Reason) {
        let counted: Vec<_> = reasons(&self.counters);
        assert_eq!(counted, [(reason, 1)], "wanted {}", reason.name());
    }

    /// Asserts that the one packet waits for its neighbour.
    pub fn waits(&self) {
        assert_eq!((reasons(&self.counters), self.counters.held, self.sent.len()), (vec![], 1, 0));
    }

    /// Asserts a silent drop: one packet in, one reason, nothing out.
    pub fn silent(&self, reason: Reason) {
        self.dropped(reason);
        assert_eq!(self.sent, [], "silence");
        assert_eq!(self.counters.generated, 0);
    }
}

/// The reasons that were counted.
pub fn reasons(counters: &CounterSnapshot) -> Vec<(Reason, u64)> {
    let all = Reason::ALL.into_iter().map(|reason| (reason, counters.dropped_for(reason)));
    all.filter(|(_, count)| *count != 0).collect()
}

impl Rig {
    /// A rig over the common topology.
    pub fn new() -> Self {
        Self::over(topology::tables(), Sizes::default())
    }

    /// A rig over these tables.
    pub fn over(tables: Arc<Tables>, sizes: Sizes) -> Self {
        Self::with_sockets(tables, sizes, &[WAN6, WAN4])
    }

    /// A rig over these tables, with sockets for these ports; places count from 0.
    pub fn with_sockets(tables: Arc<Tables>, sizes: Sizes, sockets: &[u8]) -> Self {
        let umem: &Umem = Box::leak(Box::new(Umem::create(sizes.frames, Memory::Heap).expect("memory")));
        let layout = WorkerLayout {
            worker: sizes.worker,
            adjacencies: 256,
            frames: sizes.frames,
            ports: 2,
            punt_slots: 64,
            packet_slots: 8,
        };
        let segment: &WorkerSegment =
            Box::leak(Box::new(WorkerSegment::create(layout).expect("a worker's segment")));
        let pool = FramePool::new(umem, Ledger::new(segment.ledger()));
        let port = |index| ScriptPort::new(index, sizes.fill, sizes.tx);
        let worker = Worker::new(sockets.iter().copied().map(port).collect(), pool, segment, tables, 0);
        Self { worker, segment, now: SECOND, frames: sizes.frames }
    }

    /// Offers a packet, from the Ethernet header on, to a port.
    pub fn offer(&mut self, port: u8, frame: Vec<u8>) {
        self.worker.ports_mut()[usize::from(port)].offer(frame);
    }

    /// Turns until everything that was offered has arrived and been dealt with.
    pub fn run(&mut self) -> Outcome {
        let before = self.segment.counters().snapshot();
        let mut sent = Vec::new();
        loop {
            self.now += 1_000;
            let count = self.worker.turn(self.now);
            for (index, port) in self.worker.ports_mut().iter_mut().enumerate() {
                sent.extend(port.take_sent().into_iter().map(|sent| (index as u8, sent)));
            }
            if count == 0 && self.worker.ports_mut().iter().all(|port| port.waiting() == 0) {
                break;
            }
        }
        self.check();
        Outcome { sent, counters: difference(&self.segment.counters().snapshot(), &before) }
    }

    /// Sends one IP packet to a port and says what became of it.
    pub fn one(&mut self, port: u8, packet: &[u8]) -> Outcome {
        self.offer(port, packets::framed(port, packet));
        let outcome = self.run();
        assert_eq!(outcome.counters.received, 1);
        outcome
    }

    /// The identity, and that every frame has one owner, none of which is a forgotten packet.
    pub fn check(&mut self) {
        self.segment.counters().snapshot().identity().expect("the identity of the design");
        let census = self.worker.pool().census();
        assert_eq!(census.total(), self.frames);
        let held = self.segment.counters().snapshot().held;
        assert_eq!((census.batch, u64::from(census.held)), (0, held), "a packet was forgotten: {census:?}");
        assert_eq!(census.free as usize, self.worker.pool().len());
    }

    /// Ends the traffic: every frame must come home.
    pub fn close(mut self) {
        // Who waits for a neighbour gives up.
        self.now += 2 * SECOND;
        self.run();
        let (ports, pool) = self.worker.parts_mut();
        ports.iter_mut().for_each(|port| port.close(pool));
        let all_free = Census { free: self.frames, ..Census::default() };
        assert_eq!(pool.census(), all_free);
        assert_eq!(pool.len(), self.frames as usize);
    }
}

/// By how much counters moved.
pub fn difference(after: &CounterSnapshot, before: &CounterSnapshot) -> CounterSnapshot {
    // Adding the negated figures: the counters wrap by design.
    let mut negated = before.clone();
    for (_, figure) in figures(&mut negated) {
        *figure = figure.wrapping_neg();
    }
    for figure in &mut negated.dropped {
        *figure = figure.wrapping_neg();
    }
    let mut moved = after.clone();
    moved.add(&negated);
    moved
}

fn figures(counters: &mut CounterSnapshot) -> [(&'static str, &mut u64); 13] {
    [
        ("received", &mut counters.received),
        ("injected", &mut counters.injected),
        ("generated", &mut counters.generated),
        ("transmitted", &mut counters.transmitted),
        ("local", &mut counters.local),
        ("punted", &mut counters.punted),
        ("consumed", &mut counters.consumed),
        ("held", &mut counters.held),
        ("icmp_suppressed", &mut counters.icmp_suppressed),
        ("icmp_rate_limited", &mut counters.icmp_rate_limited),
        ("neighbour_requests", &mut counters.neighbour_requests),
        ("neighbour_limited", &mut counters.neighbour_limited),
        ("punt_lost", &mut counters.punt_lost),
    ]
}
