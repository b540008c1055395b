//! A whole new generation for another configuration: settings, classes and the routes that differ, seen
//! by the workers all at once.

use super::{Held, Publisher, Readers, adjacency};
use crate::compile::{Changes, Desired, Target};
use crate::neighbours::Neighbours;
use crate::netlink::request::Key;
use ipnet::IpNet;
use sixlane_tables::TableError;

/// How to take back what is staged.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// Where prefixes led, and whether as hosts; the last change last.
    routes: Vec<(IpNet, Option<Target>, Option<Key>)>,
    /// Targets that had no next hop before.
    added: Vec<Target>,
    /// Targets that have another next hop now, with the one in force.
    replaced: Vec<(Target, Held)>,
}

impl Publisher {
    /// Brings the tables to `desired`, which differs from what they hold by its configuration, in
    /// `changes`. The answer is the mark that the workers pass when they have left the old generation.
    ///
    /// # Errors
    /// [`TableError`]: the old generation is in force, and nothing is different.
    pub(crate) fn replace(
        &mut self,
        changes: &Changes,
        desired: &Desired,
        neighbours: &Neighbours,
        readers: Readers<'_>,
    ) -> Result<u64, TableError> {
        self.collect(readers);
        self.writer.stage();
        self.undo = Some(Undo::default());
        let staged = self.stage(changes, desired, neighbours);
        let done = staged.and_then(|()| self.writer.publish(Some(&desired.settings), Some(&desired.classes)));
        let undo = self.undo.take().unwrap_or_default();
        match done {
            Ok(()) => self.leave(undo),
            Err(error) => {
                self.take_back(undo);
                return Err(error);
            }
        }
        self.collect(readers);
        Ok(self.writer.mark())
    }

    fn stage(
        &mut self,
        changes: &Changes,
        desired: &Desired,
        neighbours: &Neighbours,
    ) -> Result<(), TableError> {
        // What a mechanism says in an adjacency is another adjacency with another configuration: one that a
        // worker may be using with the old one is never changed.
        let own: Vec<Target> =
            self.adjacencies.keys().copied().filter(|target| matches!(target, Target::Kind(_))).collect();
        for target in own {
            self.renew(target, desired, neighbours)?;
        }
        let mut first = Ok(());
        self.follow_nets(changes, desired, neighbours, Readers::Unknown, &mut first);
        first
    }

    /// Gives a target another next hop, if another configuration makes another of it.
    fn renew(
        &mut self,
        target: Target,
        desired: &Desired,
        neighbours: &Neighbours,
    ) -> Result<(), TableError> {
        let adjacency = adjacency(target, desired, neighbours);
        let Some(held) = self.adjacencies.get(&target).copied().filter(|held| held.adjacency != adjacency)
        else {
            return Ok(());
        };
        let id = self.writer.add_adjacency(&adjacency)?;
        self.adjacencies.insert(target, Held { id, adjacency });
        if let Some(undo) = &mut self.undo {
            undo.replaced.push((target, held));
        }
        for net in desired.served(target) {
            match net {
                IpNet::V4(net) if self.routes4.get(&net) == Some(&target) => {
                    self.writer.set_route4(net, id)?;
                }
                IpNet::V6(net) if self.routes6.get(&net) == Some(&target) => {
                    self.writer.set_route6(net, id)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes where a prefix leads before it is changed.
    pub(super) fn note_route(&mut self, net: IpNet) {
        let (route, host) = (self.route(net), self.hosts.get(&net).copied());
        if let Some(undo) = &mut self.undo {
            undo.routes.push((net, route, host));
        }
    }

    /// Notes that a target has its first next hop.
    pub(super) fn note_added(&mut self, target: Target) {
        if let Some(undo) = &mut self.undo {
            undo.added.push(target);
        }
    }

    /// The new generation is in force: what only the old one used goes.
    fn leave(&mut self, undo: Undo) {
        for (_, held) in undo.replaced {
            // A route of the kernel may lead there too; then the old record says what it said.
            let _ = self.writer.remove_adjacency(held.id);
        }
        for target in undo.routes.into_iter().filter_map(|(_, target, _)| target) {
            self.drop_if_unused(target);
        }
    }

    fn take_back(&mut self, undo: Undo) {
        self.writer.take_back();
        for (net, target, host) in undo.routes.into_iter().rev() {
            self.stand(net, (target, host));
        }
        for (target, held) in undo.replaced {
            if let Some(new) = self.adjacencies.insert(target, held) {
                let _ = self.writer.remove_adjacency(new.id);
            }
        }
        for target in undo.added {
            if let Some(held) = self.adjacencies.remove(&target) {
                let _ = self.writer.remove_adjacency(held.id);
            }
        }
    }
}
