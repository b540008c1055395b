//! The two passes over the same sockets, frames and rings.

use std::cell::RefCell;
use std::rc::Rc;

use sixlane_dataplane::Worker;
use sixlane_dataplane::port::XdpPort;
use sixlane_tables::{CounterSnapshot, WorkerSegment};
use sixlane_xsk::RingSizes;

use crate::abx::{Side, Work};
use crate::rig::{self, Case};
use crate::wire::ground::{G1_MAC, Ground, R1_MAC};
use crate::wire::heir::{Heir, Share};
use crate::wire::l2fwd::L2fwd;
use crate::wire::sink::{Sink, Tally};

/// Of so many turns one may have found nothing, else the generator was too slow and the slice does not count.
const IDLE_TURNS: u64 = 200;

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The shipped worker's own turn.
    Relay,
    /// The bare forwarder.
    L2fwd,
}

/// The passes and what they share.
pub struct Bench {
    worker: Worker<'static, XdpPort<'static>>,
    segment: &'static WorkerSegment,
    rings: RingSizes,
    heir: Heir,
    l2fwd: L2fwd,
}

impl Bench {
    /// Takes the place of the keeper and the data plane of the ground's relay.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(ground: &mut Ground) -> Result<Self, String> {
        let (heir, Share { pool, queues, segment, rings }) = Heir::take(&mut ground.relay)?;
        let ports: Vec<_> = queues.into_iter().map(|(port, queue)| XdpPort::new(queue, port)).collect();
        if ports.len() != 2 {
            return Err(format!("{} sockets instead of two", ports.len()));
        }
        let worker = Worker::new(ports, pool, segment, heir.tables(), rig::clock());
        Ok(Self { worker, segment, rings, heir, l2fwd: L2fwd::default() })
    }

    /// One turn. Gives how many packets were received.
    #[inline]
    pub fn turn(&mut self, pass: Pass) -> usize {
        match pass {
            Pass::Relay => self.worker.turn(rig::clock()),
            Pass::L2fwd => {
                let (ports, pool) = self.worker.parts_mut();
                let Ok(ports) = <&mut [_; 2]>::try_from(ports) else { return 0 };
                self.l2fwd.turn(ports, pool, &ADDRESSES)
            }
        }
    }

    /// Sizes of the rings and number of frames, for people.
    #[must_use]
    pub fn rings(&self) -> String {
        let RingSizes { rx, tx, fill, completion } = self.rings;
        let frames = self.segment.layout().frames;
        format!("receive {rx}, send {tx}, fill {fill}, completion {completion}; {frames} frames")
    }

    /// The relay's figures.
    #[must_use]
    pub fn counters(&self) -> CounterSnapshot {
        self.segment.counters().snapshot()
    }

    /// Turns until nothing comes any more: what is still in the rings belongs to no measurement.
    pub fn drain(&mut self) {
        let mut idle = 0;
        while idle < 1_000 {
            idle = if self.turn(Pass::L2fwd) == 0 { idle + 1 } else { 0 };
        }
    }

    /// Hears what control has to say; call it now and then.
    ///
    /// # Errors
    /// Control has ended.
    pub fn hear(&mut self) -> Result<(), String> {
        self.heir.hear()
    }
}

/// What frames begin with that leave by r0 and by r1.
const ADDRESSES: [[u8; 12]; 2] = [pair(rig::THEIR_MAC, rig::OUR_MAC), pair(G1_MAC, R1_MAC)];

const fn pair(to: [u8; 6], from: [u8; 6]) -> [u8; 12] {
    let mut both = [0; 12];
    let mut at = 0;
    while at < 6 {
        both[at] = to[at];
        both[at + 6] = from[at];
        at += 1;
    }
    both
}

/// How many packets of a case arrive in the form that a pass gives them, and all others.
#[must_use]
pub fn arrived(tally: &Tally, case: Case, pass: Pass) -> (u64, u64) {
    let tunnelled = matches!((case, pass), (Case::Encap, Pass::Relay) | (Case::Decap, Pass::L2fwd));
    match tunnelled {
        true => (tally.tunnelled, tally.plain + tally.damaged),
        false => (tally.plain, tally.tunnelled + tally.damaged),
    }
}

/// Both passes and the sink, which the two sides of a comparison share.
pub struct Course {
    bench: Bench,
    sink: Sink,
    case: Case,
    seen: Tally,
    counted: CounterSnapshot,
    /// Slices that did not count because the generator was too slow.
    pub starved: u64,
}

impl Course {
    /// A course for a case; `sink` waits for what it brings.
    #[must_use]
    pub fn new(bench: Bench, sink: Sink, case: Case) -> Self {
        let counted = bench.counters();
        Self { bench, sink, case, seen: Tally::default(), counted, starved: 0 }
    }

    /// The passes.
    #[must_use]
    pub fn into_bench(self) -> Bench {
        self.bench
    }

    /// Judges a slice: everything that the pass handed over has arrived in its form, and nothing else.
    fn judge(&mut self, pass: Pass) -> Result<u64, String> {
        self.bench.hear()?;
        let tally = self.sink.tally()?;
        let (good, other) = arrived(&tally, self.case, pass);
        let (good_before, other_before) = arrived(&self.seen, self.case, pass);
        self.seen = tally;
        let (good, other) = (good - good_before, other - other_before);
        let now = self.bench.counters();
        let moved = now.transmitted - self.counted.transmitted;
        let dropped = now.dropped_total() - self.counted.dropped_total();
        now.identity().map_err(|error| error.to_string())?;
        self.counted = now;
        // What the kernel has not yet sent is still in the ring, in this slice or from the one before.
        let ring = u64::from(self.bench.rings.tx);
        if other > ring {
            return Err(format!(
                "{other} of {} packets arrived in a form that {pass:?} does not give them",
                good + other
            ));
        }
        if pass == Pass::Relay && (dropped != 0 || moved.abs_diff(good) > ring) {
            return Err(format!("the relay counts {moved} forwarded and {dropped} dropped, {good} arrived"));
        }
        Ok(good)
    }
}

/// One side of a comparison.
pub struct Lane {
    course: Rc<RefCell<Course>>,
    pass: Pass,
    turns: u64,
    idle: u64,
}

impl Lane {
    /// The side of a pass.
    #[must_use]
    pub fn new(course: &Rc<RefCell<Course>>, pass: Pass) -> Self {
        Self { course: Rc::clone(course), pass, turns: 0, idle: 0 }
    }
}

impl Side for Lane {
    fn work(&mut self) -> u64 {
        let mut course = self.course.borrow_mut();
        let mut packets = 0;
        for _ in 0..8 {
            let count = course.bench.turn(self.pass);
            self.turns += 1;
            self.idle += u64::from(count == 0);
            packets += count as u64;
        }
        packets
    }

    fn check(&mut self, _: u64) -> Result<Work, String> {
        let mut course = self.course.borrow_mut();
        let units = course.judge(self.pass)?;
        let undisturbed = self.idle * IDLE_TURNS <= self.turns;
        course.starved += u64::from(!undisturbed);
        (self.turns, self.idle) = (0, 0);
        Ok(Work { units, undisturbed })
    }
}
