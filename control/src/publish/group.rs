//! Routes written in groups: what many changes touch in the tables is built once for all of them. Of a full
//! Internet table nearly all routes lie below few nodes, so one by one would take minutes.

use ipnet::IpNet;
use sixlane_tables::{NextHopId, TableError};

use super::{Publisher, Readers, note};
use crate::compile::Target;
use crate::netlink::request::Key;

/// Changes that are written together, at most.
const GROUP: usize = 8192;
/// After so many refusals for want of memory the rest of a group is not tried any more.
const REFUSALS: usize = 16;

/// Where a prefix leads: to a target, perhaps as a host on a link.
type Place = (Option<Target>, Option<Key>);

/// A change that the publisher counts as made, and that the tables do not have yet.
#[derive(Debug, Clone, Copy)]
struct Queued {
    net: IpNet,
    before: Place,
    target: Option<Target>,
    id: Option<NextHopId>,
}

/// What the tables refused.
struct Refusals {
    first: Result<(), TableError>,
    /// How often for want of memory.
    memory: usize,
}

/// The changes that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Group {
    queued: Vec<Queued>,
    /// Targets that a prefix has left.
    left: Vec<Target>,
}

impl Publisher {
    /// Leads a prefix to a target whose next hop is `id`, or nowhere, with the next group.
    /// `host`: as a host on a link.
    pub(super) fn queue(&mut self, net: IpNet, to: Option<(Target, NextHopId)>, host: Option<Key>) {
        let before = (self.route(net), self.hosts.get(&net).copied());
        let (target, id) = to.unzip();
        self.group.queued.push(Queued { net, before, target, id });
        self.group.left.extend(before.0);
        self.stand(net, (target, host));
    }

    /// Writes the group if it is a large one, and gives back what readers have passed.
    pub(super) fn write_sometimes(&mut self, readers: Readers<'_>, first: &mut Result<(), TableError>) {
        if self.group.queued.len() >= GROUP {
            note(first, self.write_group());
            self.collect(readers);
        }
    }

    /// Writes what waits. What is refused stays as it was.
    ///
    /// # Errors
    /// [`TableError`], the first one. While a generation is made that is to be taken back then.
    pub(super) fn write_group(&mut self) -> Result<(), TableError> {
        let Group { queued, left } = std::mem::take(&mut self.group);
        let (four, six): (Vec<_>, Vec<_>) = queued.into_iter().partition(|one| one.net.addr().is_ipv4());
        let mut refusals = Refusals { first: Ok(()), memory: 0 };
        for family in [four, six] {
            match self.write(&family) {
                Ok(()) => {}
                Err(error) if self.undo.is_some() => note(&mut refusals.first, Err(error)),
                Err(_) => self.write_what_fits(&family, &mut refusals),
            }
        }
        // While a generation is made the one in force still uses what it has.
        if self.undo.is_none() {
            left.into_iter().for_each(|target| self.drop_if_unused(target));
        }
        refusals.first
    }

    /// Counts all as not made, then makes those for which there is room.
    fn write_what_fits(&mut self, family: &[Queued], refusals: &mut Refusals) {
        let after: Vec<_> = family.iter().map(|one| (*one, self.hosts.get(&one.net).copied())).collect();
        for one in family.iter().rev() {
            self.stand(one.net, one.before);
        }
        self.write_in_parts(&after, refusals);
    }

    fn write_in_parts(&mut self, changes: &[(Queued, Option<Key>)], refusals: &mut Refusals) {
        if changes.is_empty() || refusals.memory >= REFUSALS {
            return;
        }
        let queued: Vec<Queued> = changes.iter().map(|(one, _)| *one).collect();
        match self.write(&queued) {
            Ok(()) => changes.iter().for_each(|(one, host)| self.stand(one.net, (one.target, *host))),
            Err(error) if changes.len() == 1 => {
                refusals.memory += usize::from(matches!(error, TableError::ArenaFull));
                note(&mut refusals.first, Err(error));
            }
            Err(_) => {
                let (some, rest) = changes.split_at(changes.len() / 2);
                self.write_in_parts(some, refusals);
                self.write_in_parts(rest, refusals);
            }
        }
    }

    /// Writes all of these changes, which are of one family, or none.
    fn write(&mut self, family: &[Queued]) -> Result<(), TableError> {
        let four = family.iter().filter_map(|one| match one.net {
            IpNet::V4(net) => Some((net, one.id)),
            IpNet::V6(_) => None,
        });
        let six = family.iter().filter_map(|one| match one.net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some((net, one.id)),
        });
        self.writer.change_routes4(&four.collect::<Vec<_>>())?;
        self.writer.change_routes6(&six.collect::<Vec<_>>())
    }

    /// Notes where a prefix leads, and whether as a host on a link.
    pub(super) fn stand(&mut self, net: IpNet, (target, host): Place) {
        match (net, target) {
            (IpNet::V4(net), Some(target)) => drop(self.routes4.insert(net, target)),
            (IpNet::V4(net), None) => drop(self.routes4.remove(&net)),
            (IpNet::V6(net), Some(target)) => drop(self.routes6.insert(net, target)),
            (IpNet::V6(net), None) => drop(self.routes6.remove(&net)),
        }
        match host {
            Some(key) => drop(self.hosts.insert(net, key)),
            None => drop(self.hosts.remove(&net)),
        }
    }
}
