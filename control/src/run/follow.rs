//! Following the kernel: its notices into the mirror, what they changed into the tables.
//!
//! Notices are taken as they come and published together, at most every [`PUBLISH_NS`]: a burst costs
//! one publication per few milliseconds, a single route none of that delay. What cannot be known from
//! notices (some were lost, or the kernel changed something in silence) is read again as a whole into a
//! shadow; only the difference is published, and the old tables serve meanwhile.

use super::control::{Control, Parts};
use crate::alarms::Alarm;
use crate::clock::now_ns;
use crate::compile::{Changes, Input, STATE_ALARMS, Sets};
use crate::kernel::{self, Kernel, Pending};
use crate::netlink::message::Message;
use crate::netlink::request::Key;
use crate::netlink::socket::{Events, Listener};
use crate::publish::Readers;
use crate::sets::SetsError;

const MILLISECOND_NS: u64 = 1_000_000;
/// Least time between two publications of routes.
const PUBLISH_NS: u64 = 4 * MILLISECOND_NS;
/// Datagrams taken from the kernel before other events have their turn.
const DATAGRAMS: usize = 64;
/// Datagrams that are passed over at most before everything is read again: more than the kernel keeps.
const PASSED_OVER: usize = 200_000;
/// Of its time control spends at most one part in so many on reading everything again.
const PAUSE: u64 = 4;
/// The pause doubles so often, while routes go all the time.
const UNSURE_MAX: u32 = 5;

/// What is heard of the kernel and not published yet.
#[derive(Debug, Default)]
pub(super) struct Follow {
    pub(super) pending: Pending,
    /// Notices were lost: neighbours must be read again too.
    neighbours: bool,
    published_ns: u64,
    /// When everything may be read again.
    read_ns: u64,
    /// How often in a row what was read was not sure to be whole; then it is read again at `unsure_ns`.
    unsure: u32,
    unsure_ns: u64,
    /// The program's sets lack something.
    pub(super) sets: bool,
}

impl Control {
    /// Takes some of what the listening socket holds; `false`: it is empty.
    pub(super) fn kernel_says(&mut self, listener: &mut Listener) -> bool {
        let mut more = true;
        for _ in 0..DATAGRAMS {
            match self.listen(listener) {
                Some(changes) => changes.into_iter().for_each(|change| self.heard(change)),
                None => {
                    more = false;
                    break;
                }
            }
        }
        self.read_when_due(listener);
        self.settle();
        more
    }

    /// Reads everything again, when there is a doubt and it is time.
    pub(super) fn read_when_due(&mut self, listener: &mut Listener) {
        let now = now_ns();
        let doubt = self.follow.pending.doubt && now >= self.follow.read_ns;
        let unsure = self.follow.unsure != 0 && now >= self.follow.unsure_ns;
        if !doubt && !unsure {
            return;
        }
        // What waits is older than what is read now. A socket that has overflowed takes nothing more, and
        // does not say so again, until it is empty.
        let emptied = self.drain(listener, |control, change| {
            control.neighbour_heard(&change);
        });
        if emptied {
            self.read_again(now, listener);
        }
    }

    /// At the start: what has come since the subscription, and with it whether what was read is whole.
    pub(super) fn first_notices(&mut self, listener: &mut Listener) {
        let mut gone = false;
        let emptied = self.drain(listener, |control, change| {
            gone |= route6_gone(&change);
            control.heard(change);
        });
        self.follow.unsure = u32::from(gone || !emptied);
    }

    /// Takes all that waits; `false`: there is more.
    fn drain(&mut self, listener: &mut Listener, mut take: impl FnMut(&mut Self, Message)) -> bool {
        for _ in 0..PASSED_OVER {
            let Some(changes) = self.listen(listener) else { return true };
            changes.into_iter().for_each(|change| take(self, change));
        }
        false
    }

    /// The next notices; `None`: none waits.
    fn listen(&mut self, listener: &mut Listener) -> Option<Vec<Message>> {
        match listener.next() {
            Ok(Events::Changes(changes)) => Some(changes),
            Ok(Events::Lost) => {
                tracing::info!("the kernel sent changes faster than they were read; reading all again");
                self.follow.pending.doubt = true;
                self.follow.neighbours = true;
                Some(Vec::new())
            }
            Ok(Events::Empty) => None,
            Err(error) => {
                self.alarm(
                    Alarm::NetlinkBroken,
                    format!("the kernel's changes cannot be followed: {error}; restart sixlane"),
                );
                None
            }
        }
    }

    fn heard(&mut self, change: Message) {
        if !self.neighbour_heard(&change) {
            let Parts { kernel, tables, .. } = &mut self.parts;
            kernel.take(change, tables, &mut self.follow.pending);
        }
    }

    /// Takes a notice about a neighbour; `false`: it is about something else.
    fn neighbour_heard(&mut self, change: &Message) -> bool {
        let Parts { neighbours, desired, .. } = &mut self.parts;
        let now = now_ns();
        match change {
            Message::Neighbour(neighbour) => {
                if desired.ports.contains_key(&neighbour.ifindex) {
                    neighbours.heard(now, neighbour);
                }
            }
            Message::NeighbourGone(neighbour) => {
                neighbours.gone(now, Key { ifindex: neighbour.ifindex, address: neighbour.address });
            }
            _ => return false,
        }
        true
    }

    /// Publishes what is heard, when its time has come.
    pub(super) fn follow_kernel(&mut self, now: u64) {
        if now >= self.follow.published_ns.saturating_add(PUBLISH_NS) {
            self.publish_followed();
        }
    }

    /// The kernel's tables are the truth. But of IPv6 routes a dump passes over as many as are removed in
    /// the middle of it, and does not say so: then those that it lacks are kept, and read once more later.
    fn read_again(&mut self, now: u64, listener: &mut Listener) {
        let Parts { requests, tables, .. } = &mut self.parts;
        match Kernel::read(requests, tables) {
            Ok(shadow) => {
                self.follow.pending.doubt = false;
                self.parts.alarms.clear(Alarm::NetlinkBroken);
                let mut since = Vec::new();
                let emptied = self.drain(listener, |_, change| since.push(change));
                let whole = emptied && !self.follow.pending.doubt && !since.iter().any(route6_gone);
                shadow.succeed(&mut self.parts.kernel, whole, &mut self.follow.pending);
                self.follow.unsure = if whole { 0 } else { self.follow.unsure.saturating_add(1) };
                since.into_iter().for_each(|change| self.heard(change));
            }
            Err(error) => self.alarm(Alarm::NetlinkBroken, error.to_string()),
        }
        if std::mem::take(&mut self.follow.neighbours) {
            self.read_neighbours();
        }
        let end = now_ns();
        let pause = end.saturating_sub(now).saturating_mul(PAUSE);
        self.follow.read_ns = end.saturating_add(pause);
        self.follow.unsure_ns = end.saturating_add(pause << self.follow.unsure.min(UNSURE_MAX));
    }

    pub(super) fn read_neighbours(&mut self) {
        match kernel::read_neighbours(&mut self.parts.requests) {
            Ok(mut known) => {
                known.retain(|neighbour| self.parts.desired.ports.contains_key(&neighbour.ifindex));
                self.parts.neighbours.heard_all(now_ns(), &known);
            }
            Err(error) => {
                self.alarm(Alarm::NetlinkBroken, error.to_string());
                self.follow.pending.doubt = true;
                self.follow.neighbours = true;
            }
        }
    }

    /// Compiles and publishes what is heard.
    pub(super) fn publish_followed(&mut self) {
        if !self.follow.pending.work() {
            return;
        }
        let doubt = self.follow.pending.doubt;
        let pending = std::mem::replace(&mut self.follow.pending, Pending { doubt, ..Pending::default() });
        let state = pending.state;
        let Parts { config, plan, kernel, tables, hash_key, desired, neighbours, .. } = &mut self.parts;
        let (failed, fpm) = (neighbours.lost(), &self.fpm.source.routes);
        let input = Input { config, plan, kernel, tables, failed, hash_key: *hash_key, fpm };
        let (links, sets) = (desired.on_link.clone(), desired.sets.clone());
        let changes = desired.follow(input, pending);
        if changes.topology {
            neighbours.set_topology(now_ns(), &desired.gateways, &desired.on_link);
        }
        if state {
            self.state_alarms();
            self.miss_ports(now_ns());
        }
        self.publish_changes(&changes, &sets);
        let known = |link| links.binary_search(link).is_ok();
        if !self.parts.desired.on_link.iter().all(known) {
            // The kernel may know neighbours on a new link that were none of ours until now.
            self.read_neighbours();
        }
        self.follow.published_ns = now_ns();
    }

    fn publish_changes(&mut self, changes: &Changes, before: &Sets) {
        if changes.meaning {
            let done = self.parts.program.narrow(before, &self.parts.desired.sets);
            self.sets_written(done);
        }
        let Parts { publisher, desired, neighbours, workers, .. } = &mut self.parts;
        let epochs = workers.epochs();
        let readers = epochs.as_deref().map_or(Readers::Unknown, Readers::Workers);
        if let Err(error) = publisher.follow(changes, desired, neighbours, readers) {
            self.refused(&error);
        }
        if changes.meaning {
            let done = self.parts.program.widen(before, &self.parts.desired);
            self.sets_written(done);
        }
    }

    pub(super) fn sets_written(&mut self, done: Result<(), SetsError>) {
        if let Err(error) = done {
            self.follow.sets = true;
            self.alarm(Alarm::ProgramSets, error.to_string());
        }
    }

    /// Writes the program's sets anew, when they lack something: once a second.
    pub(super) fn mend_sets(&mut self) {
        if !std::mem::take(&mut self.follow.sets) {
            return;
        }
        match self.parts.program.rewrite(&self.parts.desired) {
            Ok(()) => self.parts.alarms.clear(Alarm::ProgramSets),
            refused => self.sets_written(refused),
        }
    }

    pub(super) fn state_alarms(&mut self) {
        let Parts { alarms, desired, .. } = &mut self.parts;
        for alarm in STATE_ALARMS {
            match desired.alarms.iter().find(|(standing, _)| *standing == alarm) {
                Some((_, text)) => alarms.raise(alarm, text.clone()),
                None => alarms.clear(alarm),
            }
        }
    }
}

/// Whether an IPv6 route has gone, of whatever table.
fn route6_gone(change: &Message) -> bool {
    matches!(change, Message::RouteGone(route) if route.destination.addr().is_ipv6())
}
