//! Next-hop objects of all connections that still have routes: each connection has numbers of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::next_hops::NextHops;
use crate::netlink::next_hop::{NextHop, What};
use crate::netlink::route::Action;

/// Objects that are kept of a connection: zebra has one for each set of next hops in use.
const OBJECTS_MAX: usize = 1 << 18;

/// A connection and a number.
pub(super) type Name = (u32, u32);

#[derive(Debug, Default)]
pub(super) struct Objects {
    known: BTreeMap<u32, NextHops>,
    /// How many routes name an object, also one that is not known (yet).
    users: BTreeMap<Name, usize>,
    /// What was named by a route or a group before it was known.
    missing: BTreeSet<Name>,
}

impl Objects {
    #[cfg(test)]
    pub(super) const fn new() -> Self {
        Self { known: BTreeMap::new(), users: BTreeMap::new(), missing: BTreeSet::new() }
    }

    fn get(&self, (session, id): Name) -> Option<&What> {
        self.known.get(&session)?.get(id)
    }

    /// Learns an object. The answer: the objects whose routes lead elsewhere now.
    pub(super) fn set(&mut self, session: u32, next_hop: NextHop) -> BTreeSet<Name> {
        let name = (session, next_hop.id);
        let old = self.get(name);
        if old == Some(&next_hop.what) {
            return BTreeSet::new();
        }
        let new = old.is_none();
        let unknown = |id: &u32| self.get((session, *id)).is_none();
        let missing: Vec<Name> = match &next_hop.what {
            What::Group(members) => {
                members.iter().map(|(id, _)| *id).filter(unknown).map(|id| (session, id)).collect()
            }
            _ => Vec::new(),
        };
        let objects = self.known.entry(session).or_default();
        if new && objects.len() >= OBJECTS_MAX {
            return BTreeSet::new();
        }
        objects.set(next_hop);
        self.missing.extend(missing);
        // Of most that are new nobody has spoken yet.
        if new && !self.missing.remove(&name) { BTreeSet::new() } else { self.used_with(name) }
    }

    /// An object has gone.
    pub(super) fn remove(&mut self, session: u32, id: u32) -> BTreeSet<Name> {
        let moved = match self.get((session, id)) {
            Some(_) => self.used_with((session, id)),
            None => return BTreeSet::new(),
        };
        if !moved.is_empty() {
            self.missing.insert((session, id));
        }
        if let Some(objects) = self.known.get_mut(&session) {
            objects.remove(id);
        }
        moved
    }

    /// The object and the groups that it is in, as far as routes name them.
    fn used_with(&self, (session, id): Name) -> BTreeSet<Name> {
        let holds = |user: &Name| {
            user.1 == id
                || matches!(self.get(*user), Some(What::Group(all)) if all.iter().any(|(member, _)| *member == id))
        };
        self.users.range((session, 0)..=(session, u32::MAX)).map(|(user, _)| *user).filter(holds).collect()
    }

    /// A route names an object.
    pub(super) fn name(&mut self, name: Name) {
        *self.users.entry(name).or_insert(0) += 1;
        if self.get(name).is_none() {
            self.missing.insert(name);
        }
    }

    /// A route names an object no longer.
    pub(super) fn release(&mut self, name: Name) {
        if let Some(users) = self.users.get_mut(&name) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&name);
            }
        }
    }

    /// Forgets what connections up to this one have told.
    pub(super) fn forget(&mut self, session: u32) {
        self.known.retain(|of, _| *of > session);
        self.missing.retain(|(of, _)| *of > session);
    }

    /// What a route does that names the object.
    pub(super) fn action(&self, (session, id): Name) -> Action {
        self.known.get(&session).map_or(Action::Unusable, |objects| objects.action(id))
    }
}
