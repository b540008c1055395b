//! Control's state, and what it does with each event. Nothing here waits.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use rustix::io::Errno;
use sixlane_tables::TableError;
use sixlane_tables::punt::NeighbourWanted;
use tokio::sync::oneshot;

use super::RunOptions;
use super::corrupt::Corrupt;
use super::deaths::Deaths;
use super::follow::Follow;
use super::fpm::Fpm;
use super::offloads::Offloads;
use super::ports::Missing;
use super::queues::Queues;
use super::reload::{Loaded, Reload};
use super::shortage::Shortage;
use super::start::tables_full;
use crate::admin;
use crate::alarms::{Alarm, Alarms};
use crate::clock::now_ns;
use crate::compile::Desired;
use crate::config::Checked;
use crate::door::Door;
use crate::fence::Fence;
use crate::kernel::Kernel;
use crate::link::{FromKeeper, PlanFacts, ToKeeper};
use crate::names;
use crate::neighbours::{Change, Neighbours};
use crate::netlink::request::{Ask, Key};
use crate::netlink::socket::Requests;
use crate::publish::{Publisher, Readers};
use crate::sets::Program;
use crate::workers::{self, Workers};

pub(super) const SECOND_NS: u64 = 1_000_000_000;
/// Requests to the kernel in one turn: each is a system call of some microseconds.
const REQUESTS: usize = 128;

/// Turns of control a second in which a worker must have been silent to be replaced: half of those
/// that an idle machine gives.
const WITNESSED_TURNS: u32 = 50;

/// What control is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) options: RunOptions,
    pub(super) config: Checked,
    /// The configuration's text.
    pub(super) loaded: Loaded,
    pub(super) fence: Fence,
    pub(super) path: PathBuf,
    pub(super) plan: PlanFacts,
    pub(super) kernel: Kernel,
    /// Numbers of the kernel's tables that are followed.
    pub(super) tables: Vec<u32>,
    pub(super) hash_key: [u64; 2],
    pub(super) program: Box<dyn Program>,
    pub(super) desired: Desired,
    pub(super) alarms: Alarms,
    pub(super) neighbours: Neighbours,
    pub(super) publisher: Publisher,
    pub(super) workers: Workers,
    pub(super) requests: Requests,
    pub(super) door: Option<Door>,
    pub(super) messages: VecDeque<ToKeeper>,
}

/// How far the data plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not said yet that it runs.
    Starting,
    /// It runs, and its sockets are not fed yet.
    Ready,
    /// Packets flow.
    Attached,
    /// It is dead; the keeper starts another.
    Down,
}

/// The state.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) parts: Parts,
    pub(super) started_ns: u64,
    pub(super) stage: Stage,
    /// Whether the program is attached: the keeper says so once.
    attached: bool,
    next_second_ns: u64,
    /// What is heard of the kernel and not published yet.
    pub(super) follow: Follow,
    pub(super) reload: Reload,
    /// The tables lack something that was refused.
    unapplied: Option<Shortage>,
    /// Turns in a row in which some worker was stuck.
    silent_turns: u32,
    /// The incarnation for which a restart was asked because a worker was stuck.
    pub(super) restart_asked: u32,
    /// How often processes have died.
    pub(super) deaths: Deaths,
    /// Who counts the ports' queues.
    pub(super) queues: Queues,
    pub(super) offloads: Offloads,
    pub(super) missing: Missing,
    pub(super) corrupt: Corrupt,
    pub(super) fpm: Fpm,
}

impl Control {
    pub(super) fn new(parts: Parts) -> Self {
        let now = now_ns();
        let fpm = Fpm::new(&parts.config);
        let mut control = Self {
            parts,
            started_ns: now,
            stage: Stage::Starting,
            attached: false,
            next_second_ns: now,
            follow: Follow::default(),
            reload: Reload::default(),
            unapplied: None,
            silent_turns: 0,
            restart_asked: 0,
            deaths: Deaths::default(),
            queues: Queues::default(),
            offloads: Offloads::default(),
            missing: Missing::default(),
            corrupt: Corrupt::default(),
            fpm,
        };
        control.tables_are_first();
        control
    }

    /// The tables are new: may they have been too small?
    pub(super) fn tables_are_first(&mut self) {
        self.unapplied = self.parts.alarms.stands(Alarm::TablesFull).then(Shortage::default);
    }

    /// What the keeper must hear, in order.
    pub(super) fn take_messages(&mut self) -> VecDeque<ToKeeper> {
        std::mem::take(&mut self.parts.messages)
    }

    /// Raises an alarm.
    pub(super) fn alarm(&mut self, alarm: Alarm, text: String) {
        self.parts.alarms.raise(alarm, text);
    }

    /// Number of the group that may ask, if there is such a group.
    pub(super) fn admin_group(&self) -> Option<u32> {
        names::group(&self.parts.config.admin.group)
    }
}

/// What the keeper says.
impl Control {
    /// Takes a message (other than stop).
    pub(super) fn told(&mut self, message: FromKeeper) {
        match message {
            FromKeeper::WorkerSegment { worker, incarnation, fd } => {
                let Parts { workers, publisher, .. } = &mut self.parts;
                let lines = |worker| workers::lines(publisher.writer(), worker);
                if let Err(error) = workers.add(worker, incarnation, fd, lines) {
                    tracing::warn!("the segment of worker {worker} is of no use: {error}; restart sixlane");
                }
            }
            FromKeeper::DataplaneReady { .. } => {
                self.stage = if self.attached { Stage::Attached } else { Stage::Ready };
            }
            FromKeeper::Attached => {
                self.attached = true;
                self.stage = Stage::Attached;
            }
            FromKeeper::DataplaneDown { incarnation } => self.dataplane_down(incarnation),
            FromKeeper::Adopted => self.adopted(),
            FromKeeper::Deaths(deaths) => self.child_died(&deaths, now_ns()),
            FromKeeper::TablesMapped { set, segment } => {
                if set == self.parts.publisher.writer().generation() && self.parts.publisher.mapped(segment) {
                    self.apply_again();
                }
            }
            FromKeeper::PortBack(fact) => self.port_back(fact),
            FromKeeper::PortRefused { port, reason } => self.port_refused(port, reason),
            FromKeeper::Reload { order, number, text } => self.reload_text(order, number, text),
            FromKeeper::Unreadable { order, sentence } => self.reload_unreadable(order, sentence),
            FromKeeper::RefusedBefore(sentence) => self.reload_refused_before(sentence),
            other => tracing::warn!("the keeper said {other:?}, which has no place here"),
        }
    }

    fn dataplane_down(&mut self, incarnation: u32) {
        // What it had asked for is still wanted.
        self.take_punts();
        self.workers_hand_over();
        self.parts.workers.down(incarnation);
        self.stage = Stage::Down;
        self.parts.alarms.clear(Alarm::WorkerStuck);
        match self.parts.workers.dead().seal() {
            Ok(fd) => self.parts.messages.push_back(ToKeeper::Totals { incarnation, fd }),
            Err(error) => tracing::warn!("the counters of the dead cannot be kept: {error}"),
        }
    }
}

/// What the admin group orders.
impl Control {
    /// Does what is ordered. The outcome may be told later.
    pub(super) fn ordered(&mut self, order: &admin::Order, outcome: oneshot::Sender<admin::Done>) {
        match *order {
            admin::Order::Reload => self.reload_ordered(outcome),
        }
    }
}

/// What time says.
impl Control {
    /// Every few milliseconds.
    pub(super) fn turn(&mut self) {
        let now = now_ns();
        self.take_punts();
        self.workers_hand_over();
        self.watch_workers(now);
        if now >= self.next_second_ns {
            self.next_second_ns = now + SECOND_NS;
            self.second(now);
        }
        self.settle();
        self.leave_old();
        self.settle_door(now);
        self.collect();
    }

    fn second(&mut self, now: u64) {
        let Parts { neighbours, publisher, workers, .. } = &mut self.parts;
        neighbours.tick(now, |key| publisher.next_hop(key).map_or(0, |id| workers.packets(id)));
        if self.unapplied.is_some_and(|then| then.eased(&self.parts)) {
            self.apply_again();
        }
        self.mend_sets();
        self.deaths_over(now);
        self.watch_queues();
        self.watch_offloads();
        self.miss_ports(now);
        self.watch_tables(now);
        self.narrow_fence(now);
    }

    pub(super) fn take_punts(&mut self) {
        let Parts { workers, publisher, neighbours, .. } = &mut self.parts;
        let now = now_ns();
        for (_, wanted) in workers.punted(|worker| publisher.writer().partner(worker)) {
            // Refusals are counted by the machine.
            let _ = neighbours.wanted(now, key(&wanted));
        }
    }

    fn watch_workers(&mut self, now: u64) {
        let Some((worker, incarnation, silence)) = self.parts.workers.stuck(now) else {
            self.parts.alarms.clear(Alarm::WorkerStuck);
            self.silent_turns = 0;
            return;
        };
        self.silent_turns = self.silent_turns.saturating_add(1);
        let patience = self.parts.config.dataplane.stuck_seconds;
        let remedy = if patience == 0 {
            "restart the data plane by hand (dataplane.stuck_seconds is 0)".to_owned()
        } else {
            format!("the data plane is replaced after {patience} s")
        };
        let sentence =
            format!("worker {worker} has not ended a turn for {} ms: {remedy}", silence / 1_000_000);
        // A machine that did not let control run either is no proof against the worker.
        let witnessed = self.silent_turns >= patience.saturating_mul(WITNESSED_TURNS);
        let overdue = patience != 0 && silence > u64::from(patience) * SECOND_NS && witnessed;
        if overdue && self.restart_asked < incarnation {
            self.restart_asked = incarnation;
            self.parts.messages.push_back(ToKeeper::RestartDataplane { reason: sentence.clone() });
        }
        self.alarm(Alarm::WorkerStuck, sentence);
    }
}

/// What follows from it all.
impl Control {
    /// Brings the neighbours' changes and the kernel's into the tables, and requests to the kernel.
    pub(super) fn settle(&mut self) {
        for change in self.parts.neighbours.take_changes() {
            let Parts { publisher, desired, neighbours, .. } = &mut self.parts;
            let (Change::Up(key, _) | Change::Down(key) | Change::Lost(key)) = change;
            let done = match change {
                Change::Up(..) | Change::Down(_) => publisher.neighbour(key, desired, neighbours),
                Change::Lost(_) => Ok(()),
            };
            if !matches!(change, Change::Down(_)) {
                self.follow.pending.nets.extend(desired.depending_on(key));
            }
            if let Err(error) = done {
                self.refused(&error);
            }
        }
        self.follow_kernel(now_ns());
        self.ask_kernel();
    }

    /// Sends the neighbours' requests, a bounded number.
    pub(super) fn ask_kernel(&mut self) {
        for _ in 0..REQUESTS {
            let Some((ask, key)) = self.parts.neighbours.next_request() else { return };
            match self.parts.requests.neighbour(ask, key) {
                Ok(()) => {
                    if ask != Ask::Forget {
                        self.parts.alarms.clear(Alarm::NeighbourTableFull);
                    }
                }
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    self.parts.neighbours.kernel_full(now_ns(), key);
                    self.alarm(
                        Alarm::NeighbourTableFull,
                        "the kernel's neighbour table is full: raise net.ipv4.neigh.default.gc_thresh3 and \
                         net.ipv6.neigh.default.gc_thresh3"
                            .to_owned(),
                    );
                }
                // Forgetting what has gone already, or asking on an interface that is down.
                Err(error) => self.request_failed(ask, key, &error),
            }
        }
    }

    /// At an orderly stop: the kernel forgets the gateways that it probed for us. It resolves those that
    /// it needs itself again.
    pub(super) fn release_neighbours(&mut self) {
        let Parts { neighbours, requests, .. } = &mut self.parts;
        for key in neighbours.managed() {
            if let Err(error) = requests.neighbour(Ask::Forget, key) {
                tracing::debug!("the kernel did not forget {}: {error}", key.address);
            }
        }
    }

    fn request_failed(&self, ask: Ask, key: Key, error: &io::Error) {
        if ask != Ask::Forget {
            tracing::debug!("the kernel was asked for {} in vain: {error}", key.address);
        }
    }

    /// The tables refused something: it is tried again when something has been freed, and with more
    /// memory.
    pub(super) fn refused(&mut self, error: &TableError) {
        let shortage = Shortage::of(&self.parts, error);
        self.unapplied = Some(shortage);
        self.alarm(
            Alarm::TablesFull,
            format!("{} ({} routes are missing)", tables_full(error), shortage.missing),
        );
        if matches!(error, TableError::ArenaFull) {
            self.more_memory();
        }
    }

    /// Asks the data plane to map another segment of tables.
    pub(super) fn more_memory(&mut self) {
        self.collect();
        let Ok(Some(index)) = self.parts.publisher.grow() else { return };
        let writer = self.parts.publisher.writer();
        let segment = usize::try_from(index).ok().and_then(|at| writer.segments().get(at));
        match segment.map(sixlane_tables::Segment::share) {
            Some(Ok(fd)) => {
                let set = writer.generation();
                self.parts.messages.push_back(ToKeeper::TablesSegment { set, index, fd });
            }
            Some(Err(error)) => tracing::warn!("a new segment of tables cannot be handed out: {error}"),
            None => {}
        }
    }

    /// Tries again what was refused.
    fn apply_again(&mut self) {
        let Parts { publisher, desired, neighbours, workers, .. } = &mut self.parts;
        let epochs = workers.epochs();
        let readers = epochs.as_deref().map_or(Readers::Unknown, Readers::Workers);
        match publisher.bring_to(desired, neighbours, readers) {
            Ok(()) => {
                self.unapplied = None;
                self.parts.alarms.clear(Alarm::TablesFull);
            }
            Err(error) => self.refused(&error),
        }
    }

    fn collect(&mut self) {
        let Parts { publisher, workers, .. } = &mut self.parts;
        let epochs = workers.epochs();
        publisher.collect(epochs.as_deref().map_or(Readers::Unknown, Readers::Workers));
    }
}

/// The neighbour that a worker wants. IPv4 comes mapped into IPv6.
fn key(wanted: &NeighbourWanted) -> Key {
    let address = Ipv6Addr::from(wanted.next_hop);
    let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
    Key { ifindex: wanted.ifindex, address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_addresses_keep_their_family() {
        let v4 = "9.254.253.7".parse::<std::net::Ipv4Addr>().unwrap();
        let wanted = NeighbourWanted { port: 0, ifindex: 3, next_hop: v4.to_ipv6_mapped().octets() };
        assert_eq!(key(&wanted), Key { ifindex: 3, address: v4.into() });
        let v6: Ipv6Addr = "2001:600::1".parse().unwrap();
        let wanted = NeighbourWanted { next_hop: v6.octets(), ..wanted };
        assert_eq!(key(&wanted).address, IpAddr::V6(v6));
    }
}
