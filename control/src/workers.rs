//! The workers as control sees them: their counters, their epochs, their signs of life, and what they
//! punt. Their segments are mapped read-only, and what stands in them is hostile input.

mod door;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use sixlane_tables::packets::PacketConsumer;
use sixlane_tables::punt::NeighbourWanted;
use sixlane_tables::spsc::{Consumer, PartnerLine};
use sixlane_tables::worker::frame_state;
use sixlane_tables::{
    Injector, NextHopId, SegmentError, SocketSnapshot, TableWriter, WorkerEpoch, WorkerView,
};

use crate::figures::{Dead, Figures};

/// A worker that has not ended a turn for so long is stuck: one that sleeps turns more often, too.
pub(crate) const STUCK_NS: u64 = 100_000_000;
pub(crate) use sixlane_tables::worker::FRAME_STATES;
/// Most punted messages that are taken from one worker at a time.
const PUNTS_MAX: usize = 256;

#[derive(Debug)]
struct Worker {
    view: WorkerView,
    consumer: Consumer,
    packets: PacketConsumer,
    incarnation: u32,
    alive: bool,
}

/// A worker as the operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) worker: u16,
    pub(crate) incarnation: u32,
    pub(crate) alive: bool,
    /// It sleeps, or has not started.
    pub(crate) offline: bool,
    pub(crate) heartbeat_ns: u64,
    pub(crate) turns: u64,
}

/// Control's lines of the rings of one worker, in the tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) punt: &'a PartnerLine,
    pub(crate) packets: &'a PartnerLine,
}

/// The lines of a worker's rings in these tables.
pub(crate) fn lines(writer: &TableWriter, worker: u16) -> Option<Lines<'_>> {
    Some(Lines { punt: writer.partner(worker)?, packets: writer.packet_partner(worker)? })
}

/// All workers, and the sum over the dead.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: BTreeMap<u16, Worker>,
    dead: Dead,
    expected: usize,
    /// Tells this control's consumers from those of the controls before it; not 0.
    consumer: u64,
    /// Control's ends of the inject rings.
    injectors: BTreeMap<u16, Injector>,
}

impl Workers {
    /// `consumer`: a number that no earlier control had, such as the time of the start.
    pub(crate) fn new(expected: u16, consumer: u64, dead: Dead) -> Self {
        Self {
            workers: BTreeMap::new(),
            dead,
            expected: expected.into(),
            consumer: consumer.max(1),
            injectors: BTreeMap::new(),
        }
    }

    /// Takes a worker's segment. One that is older than what is known is left alone.
    ///
    /// # Errors
    /// [`SegmentError`]: it is not a worker's segment of this build.
    pub(crate) fn add<'a>(
        &mut self,
        worker: u16,
        incarnation: u32,
        fd: OwnedFd,
        lines: impl FnOnce(u16) -> Option<Lines<'a>>,
    ) -> Result<(), SegmentError> {
        let view = WorkerView::attach_read_only(fd)?;
        if view.layout().worker != worker {
            return Err(SegmentError::Misplaced);
        }
        let Some(lines) = lines(worker) else { return Err(SegmentError::Misplaced) };
        if incarnation <= self.dead.incarnation {
            return Ok(());
        }
        let (consumer, packets) = match self.workers.remove(&worker) {
            Some(old) if old.incarnation > incarnation => {
                self.workers.insert(worker, old);
                return Ok(());
            }
            Some(mut old) => {
                // Whoever forgot to say that the old one is dead: its figures count all the same.
                if old.alive {
                    self.dead.figures.add(&old.view.counters(), &old.view.ports());
                }
                old.consumer.replace(old.view.punt_ring(), view.punt_ring(), lines.punt);
                old.packets.replace(old.view.packet_ring(), view.packet_ring(), lines.packets);
                (old.consumer, old.packets)
            }
            None => (
                Consumer::attach(view.punt_ring(), lines.punt, self.consumer),
                PacketConsumer::attach(view.packet_ring(), lines.packets, self.consumer),
            ),
        };
        self.workers.insert(worker, Worker { view, consumer, packets, incarnation, alive: true });
        Ok(())
    }

    /// From now on what the workers hand over is read as `consumer` by the lines in these tables.
    pub(crate) fn read_by(&mut self, writer: &TableWriter, consumer: u64) {
        self.consumer = consumer.max(1);
        for (&number, worker) in &mut self.workers {
            let Some(lines) = lines(writer, number) else { continue };
            worker.consumer = Consumer::attach(worker.view.punt_ring(), lines.punt, self.consumer);
            worker.packets = PacketConsumer::attach(worker.view.packet_ring(), lines.packets, self.consumer);
        }
    }

    /// The data plane of `incarnation` is dead: its figures go to the sum over the dead.
    pub(crate) fn down(&mut self, incarnation: u32) {
        for worker in self.workers.values_mut().filter(|worker| worker.incarnation <= incarnation) {
            if worker.alive {
                self.dead.figures.add(&worker.view.counters(), &worker.view.ports());
                worker.alive = false;
            }
        }
        self.dead.incarnation = self.dead.incarnation.max(incarnation);
    }

    /// The sum over the dead.
    pub(crate) const fn dead(&self) -> &Dead {
        &self.dead
    }

    fn alive(&self) -> impl Iterator<Item = (u16, &Worker)> {
        self.workers.iter().filter(|(_, worker)| worker.alive).map(|(&number, worker)| (number, worker))
    }

    /// The epochs of all workers; `None` while some may run that are not known.
    pub(crate) fn epochs(&self) -> Option<Vec<WorkerEpoch<'_>>> {
        let epochs: Vec<_> = self.alive().map(|(_, worker)| worker.view.epoch()).collect();
        (epochs.len() >= self.expected).then_some(epochs)
    }

    /// What the workers punted, a bounded number from each, oldest first.
    pub(crate) fn punted<'a>(
        &mut self,
        partner: impl Fn(u16) -> Option<&'a PartnerLine>,
    ) -> Vec<(u16, NeighbourWanted)> {
        let mut found = Vec::new();
        for (&number, worker) in &mut self.workers {
            let Some(partner) = partner(number) else { continue };
            for _ in 0..PUNTS_MAX {
                let Some(message) = worker.consumer.pop(worker.view.punt_ring(), partner) else { break };
                found.extend(NeighbourWanted::decode(&message).map(|wanted| (number, wanted)));
            }
        }
        found
    }

    /// Packets of a next hop, by the workers that live.
    pub(crate) fn packets(&self, id: NextHopId) -> u64 {
        self.alive().fold(0, |sum, (_, worker)| sum.wrapping_add(worker.view.adjacency_packets(id)))
    }

    /// The worker that has been silent longest since its first turn, asleep or not, with its silence in
    /// nanoseconds, if that is more than [`STUCK_NS`].
    pub(crate) fn stuck(&self, now: u64) -> Option<(u16, u32, u64)> {
        self.alive()
            .filter(|(_, worker)| worker.view.epoch().heartbeat_ns() != 0)
            .map(|(number, worker)| {
                (number, worker.incarnation, now.saturating_sub(worker.view.epoch().heartbeat_ns()))
            })
            .filter(|(_, _, silence)| *silence > STUCK_NS)
            .max_by_key(|(_, _, silence)| *silence)
    }

    /// Whether a living worker shows no sign of life, also one that has not begun.
    pub(crate) fn silent(&self, now: u64) -> bool {
        self.alive().any(|(_, worker)| now.saturating_sub(worker.view.epoch().heartbeat_ns()) > STUCK_NS)
    }

    /// The sum over the living and the dead.
    pub(crate) fn totals(&self) -> Figures {
        let mut sum = self.dead.figures.clone();
        for (_, worker) in self.alive() {
            sum.add(&worker.view.counters(), &worker.view.ports());
        }
        sum
    }

    /// The figures of each living worker.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (u16, Figures)> + '_ {
        self.alive().map(|(number, worker)| {
            let mut figures = Figures::default();
            figures.add(&worker.view.counters(), &worker.view.ports());
            (number, figures)
        })
    }

    /// What the kernel dropped at a port. The sockets outlive the data plane, so the living know it all.
    pub(crate) fn socket_losses(&self, port: u8) -> SocketSnapshot {
        let mut sum = SocketSnapshot::default();
        for (_, worker) in self.alive() {
            if let Some(port) = worker.view.ports().get(usize::from(port)) {
                sum.add(&port.sockets);
            }
        }
        sum
    }

    /// How many frames of a living worker are in each state of [`FRAME_STATES`].
    pub(crate) fn census(&self, number: u16) -> [u64; FRAME_STATES.len()] {
        let mut census = [0; FRAME_STATES.len()];
        let ledger =
            self.workers.get(&number).filter(|worker| worker.alive).map(|worker| worker.view.ledger());
        for byte in ledger.unwrap_or_default() {
            // A state that does not exist is counted nowhere, and so the sum tells of it.
            if let Some(state) = frame_state(byte) {
                census[state] += 1;
            }
        }
        census
    }

    /// How many frames all living workers have.
    pub(crate) fn frames(&self) -> u64 {
        self.alive().map(|(_, worker)| u64::from(worker.view.layout().frames)).sum()
    }

    /// All workers that were ever seen, by number.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Shown> + '_ {
        self.workers.iter().map(|(&number, worker)| {
            let epoch = worker.view.epoch();
            Shown {
                worker: number,
                incarnation: worker.incarnation,
                alive: worker.alive,
                offline: epoch.seen().is_none(),
                heartbeat_ns: epoch.heartbeat_ns(),
                turns: epoch.turns(),
            }
        })
    }
}

#[cfg(test)]
mod tests;
