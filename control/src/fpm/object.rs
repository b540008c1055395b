//! Next-hop objects as zebra tells them (`include/uapi/linux/nexthop.h`): one way out, or a group of others.

use std::collections::{BTreeMap, BTreeSet};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::netlink::attribute::attributes;
use crate::netlink::message::ip;
use crate::netlink::route::{Action, Path};

pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
/// Members of a group that are looked at; the kernel allows a few more, and a relay has 64 ports.
const MEMBERS_MAX: usize = 64;
/// Objects that are kept: zebra has one for each set of next hops in use.
const OBJECTS_MAX: usize = 1 << 18;

/// `struct nhmsg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    family: u8,
    scope: u8,
    protocol: u8,
    reserved: u8,
    flags: u32,
}

/// `struct nexthop_grp`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Member {
    id: u32,
    weight: u8,
    reserved1: u8,
    reserved2: u16,
}

/// What stands behind a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object {
    /// A way out, or the refusal of one.
    One(Action),
    /// Others, each one way out.
    Group(Vec<u32>),
}

/// Reads an object and its number. `None`: malformed.
pub(super) fn parse(payload: &[u8]) -> Option<(u32, Object)> {
    let (header, rest) = Header::read_from_prefix(payload).ok()?;
    let (mut id, mut group, mut refuses) = (None, None, false);
    let mut path = Path { ifindex: 0, gateway: None, foreign: false };
    for attribute in attributes(rest) {
        match attribute.kind {
            NHA_ID => id = Some(attribute.u32()?),
            NHA_GROUP => group = Some(members(attribute.value)),
            NHA_BLACKHOLE => refuses = true,
            NHA_OIF => path.ifindex = attribute.u32()?,
            NHA_GATEWAY => path.gateway = Some(ip(header.family, attribute.value)?),
            NHA_ENCAP_TYPE => path.foreign = true,
            _ => {}
        }
    }
    let object = match group {
        Some(members) => Object::Group(members),
        None if refuses => Object::One(Action::Blackhole),
        None if path.ifindex == 0 => Object::One(Action::Unusable),
        None => Object::One(Action::Paths(vec![path])),
    };
    Some((id?, object))
}

/// The number of an object that goes.
pub(super) fn parse_gone(payload: &[u8]) -> Option<u32> {
    let (_, rest) = Header::read_from_prefix(payload).ok()?;
    attributes(rest).find(|attribute| attribute.kind == NHA_ID)?.u32()
}

fn members(mut bytes: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    while let Ok((member, rest)) = Member::read_from_prefix(bytes)
        && found.len() < MEMBERS_MAX
    {
        found.push(member.id);
        bytes = rest;
    }
    found
}

/// The objects of all connections that still have routes: each connection has numbers of its own.
#[derive(Debug, Default)]
pub(super) struct Objects {
    known: BTreeMap<(u32, u32), Object>,
    /// Routes that name an object, also one that is not known (yet).
    users: BTreeMap<(u32, u32), usize>,
}

impl Objects {
    #[cfg(test)]
    pub(super) const fn new() -> Self {
        Self { known: BTreeMap::new(), users: BTreeMap::new() }
    }

    /// Learns an object. The answer: the objects whose routes lead elsewhere now.
    pub(super) fn set(&mut self, session: u32, id: u32, object: Object) -> BTreeSet<(u32, u32)> {
        let key = (session, id);
        if self.known.get(&key) == Some(&object)
            || (self.known.len() >= OBJECTS_MAX && !self.known.contains_key(&key))
        {
            return BTreeSet::new();
        }
        self.known.insert(key, object);
        self.used_with(key)
    }

    /// An object has gone.
    pub(super) fn remove(&mut self, session: u32, id: u32) -> BTreeSet<(u32, u32)> {
        match self.known.remove(&(session, id)) {
            Some(_) => self.used_with((session, id)),
            None => BTreeSet::new(),
        }
    }

    /// The object and the groups that it is in, as far as routes name them.
    fn used_with(&self, key: (u32, u32)) -> BTreeSet<(u32, u32)> {
        let names = |user: &(u32, u32)| {
            *user == key
                || (user.0 == key.0
                    && matches!(self.known.get(user), Some(Object::Group(ids)) if ids.contains(&key.1)))
        };
        self.users.keys().filter(|user| names(user)).copied().collect()
    }

    pub(super) fn name(&mut self, key: (u32, u32)) {
        *self.users.entry(key).or_insert(0) += 1;
    }

    pub(super) fn release(&mut self, key: (u32, u32)) {
        if let Some(users) = self.users.get_mut(&key) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&key);
            }
        }
    }

    /// Forgets what connections up to this one have told.
    pub(super) fn forget(&mut self, session: u32) {
        self.known.retain(|&(of, _), _| of > session);
    }

    /// What a route does that names the object.
    pub(super) fn action(&self, key: (u32, u32)) -> Action {
        let members = match self.known.get(&key) {
            None => return Action::Unusable,
            Some(Object::One(action)) => return action.clone(),
            Some(Object::Group(members)) => members,
        };
        let mut paths = Vec::new();
        for &id in members {
            match self.known.get(&(key.0, id)) {
                Some(Object::One(Action::Paths(own))) => paths.extend_from_slice(own),
                // The kernel lets a refusal be the only member of a group.
                Some(Object::One(refusal)) if members.len() == 1 => return refusal.clone(),
                // Groups of groups there are none.
                _ => {}
            }
        }
        if paths.is_empty() { Action::Unusable } else { Action::Paths(paths) }
    }
}
