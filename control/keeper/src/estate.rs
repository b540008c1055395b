//! What a successor of this keeper needs: control keeps a copy of the list, which is brought up to date
//! whenever the list has changed. Whoever adds something that the keeper holds adds it to
//! [`crate::held::Held::estate`] or to a store's list; the rest follows from there.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::layout::mix;
use crate::plan::Plan;
use crate::protocol::{Estate, Keep, Message};
use crate::store::Parcel;

/// The key of the last parcel, which says how many there are.
pub(crate) const LAST: u64 = u64::MAX;

/// The name of a parcel: what it is and which one of them. Two parcels of one list have two names.
pub(crate) fn key(message: &Message) -> u64 {
    let name = |kind: u64, what: u32, first: u64, second: u64| {
        (kind << 56) | (u64::from(what) << 48) | ((first & 0xffff_ffff) << 16) | (second & 0xffff)
    };
    match message {
        Message::Plan(_) => name(1, 0, 0, 0),
        Message::Link(link) => name(2, link.what, 0, link.port.into()),
        Message::Segment(segment) => name(3, segment.what, segment.incarnation.into(), segment.worker.into()),
        Message::Port(port) => name(4, 0, port.port.into(), port.queue.into()),
        // These say something and hold nothing.
        Message::Ready(_)
        | Message::Retire(_)
        | Message::PortReturned(_)
        | Message::Keep(_)
        | Message::Deaths(_) => name(5, 0, 0, 0),
        Message::Estate(_) => LAST,
    }
}

/// What control has of the list.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    kept: BTreeMap<u64, Parcel>,
}

impl Mirror {
    /// The messages that make control's copy equal to `parcels`, and `head` its last parcel.
    pub(crate) fn update(&mut self, parcels: Vec<Parcel>, head: Estate) -> Vec<Parcel> {
        let mut wanted: BTreeMap<u64, Parcel> =
            parcels.into_iter().map(|parcel| (key(&parcel.0), parcel)).collect();
        let head = Estate { parcels: u32::try_from(wanted.len()).unwrap_or(u32::MAX), ..head };
        wanted.insert(LAST, (Message::Estate(head), Vec::new()));
        let gone = self.kept.keys().filter(|key| !wanted.contains_key(key));
        let mut messages: Vec<Parcel> =
            gone.map(|key| (Message::Keep(Keep::about(Keep::DROP, *key)), Vec::new())).collect();
        for (key, parcel) in &wanted {
            if self.kept.get(key).is_some_and(|kept| same(kept, parcel)) {
                continue;
            }
            if let Some(keep) = Keep::put(*key, &parcel.0) {
                messages.push((Message::Keep(keep), parcel.1.clone()));
            }
        }
        self.kept = wanted;
        messages
    }
}

/// The same record with the very same descriptors. (What is kept here is open, so that an address is not
/// used again.)
fn same(one: &Parcel, other: &Parcel) -> bool {
    let equal = |(a, b): (&Rc<OwnedFd>, &Rc<OwnedFd>)| Rc::ptr_eq(a, b);
    one.0 == other.0 && one.1.len() == other.1.len() && one.1.iter().zip(&other.1).all(equal)
}

/// Digests of what is fixed at the start: a successor with another configuration cannot adopt.
pub(crate) fn shape(plan: &Plan) -> [u64; Estate::PARTS] {
    [
        digest(&format!("{:?}", plan.ports)),
        digest(&format!("{:?} {:?}", plan.workers, plan.idle)),
        digest(&format!("{:?} {:?} {:?}", plan.mode, plan.rings, plan.frames)),
        digest(&format!("{:?} {}", plan.users, plan.admin_group)),
    ]
}

/// The parts of [`shape`] in words.
const PARTS: [&str; Estate::PARTS] = [
    "the ports",
    "dataplane.workers or idle",
    "dataplane.mode, the rings or frames",
    "the users or the admin group",
];

/// The first part in which two shapes differ.
pub(crate) fn difference(one: &[u64; Estate::PARTS], other: &[u64; Estate::PARTS]) -> Option<&'static str> {
    one.iter().zip(other).zip(PARTS).find(|((a, b), _)| a != b).map(|(_, words)| words)
}

fn digest(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash, byte.into()))
}

#[cfg(test)]
#[path = "estate_tests.rs"]
mod tests;
