//! Next-hop groups: one route, several ways, chosen by flow.
//!
//! A group has a fixed number of slots, each with the id of a member; a flow's hash picks a slot. Members
//! have as many slots as their weights say. When a member leaves, only its slots are given away; when one
//! comes, it is given as few as make its share: all other flows keep their way.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::adjacency::{NextHopId, kind};

/// Slots of a group, a power of two. The smallest share of a member is one of them.
pub const SLOTS: usize = 128;

/// The slots of a group, in an order that means nothing.
pub type Slots = [NextHopId; SLOTS];

/// A group, as it lies in the tables: it begins as an [`crate::Adjacency`] of its kind does. Immutable once
/// published.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Group {
    kind: u8,
    /// Zero.
    reserved: [u8; 63],
    pub(crate) slots: Slots,
}

impl Group {
    pub(crate) const fn new(slots: &Slots) -> Self {
        Self { kind: kind::GROUP, reserved: [0; 63], slots: *slots }
    }

    /// The member for a flow.
    #[inline]
    pub(crate) fn choose(&self, hash: u64) -> NextHopId {
        // Nothing else has this kind at this place, unless the tables are damaged.
        if self.kind == kind::GROUP { self.slots[hash as usize % SLOTS] } else { NextHopId::CORRUPT }
    }
}

/// Distributes the slots among `members` (ids with weights; a weight of 0 counts as 1), of which the first
/// [`SLOTS`] are used, changing as little as possible of `old`. `None` without members.
#[must_use]
pub fn distribute(old: Option<&Slots>, members: &[(NextHopId, u32)]) -> Option<Slots> {
    let members = members.get(..members.len().min(SLOTS)).unwrap_or(members);
    members.first()?;
    let mut left = shares(members);
    // Free slots are those of who has gone, of who has too many, or all.
    let mut slots = *old.unwrap_or(&[NextHopId::NONE; SLOTS]);
    for slot in &mut slots {
        match left.iter_mut().find(|(id, left)| id == slot && *left > 0) {
            Some((_, left)) => *left -= 1,
            None => *slot = NextHopId::NONE,
        }
    }
    let mut given = left.into_iter().flat_map(|(id, left)| std::iter::repeat_n(id, left));
    for slot in slots.iter_mut().filter(|slot| !slot.is_some()) {
        *slot = given.next().unwrap_or_default();
    }
    Some(slots)
}

/// How many slots each member has: one at least, each further one goes to who has least for his weight
/// (Sainte-Laguë's method: when a member goes, nobody else has fewer than before).
fn shares(members: &[(NextHopId, u32)]) -> Vec<(NextHopId, usize)> {
    let mut shares: Vec<(NextHopId, usize)> = members.iter().map(|(id, _)| (*id, 1)).collect();
    for _ in members.len()..SLOTS {
        // Weight by 2 n + 1, compared as a fraction of whole numbers; the first of equals.
        let claim = |at: usize| {
            let weight = members.get(at).map_or(1, |(_, weight)| u64::from((*weight).max(1)));
            (weight, shares.get(at).map_or(1, |(_, slots)| 2 * *slots as u64 + 1))
        };
        let neediest = (1..members.len()).fold(0, |best, at| {
            let ((weight, slots), (best_weight, best_slots)) = (claim(at), claim(best));
            if weight * best_slots > best_weight * slots { at } else { best }
        });
        if let Some((_, slots)) = shares.get_mut(neediest) {
            *slots += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn counts(slots: &Slots) -> BTreeMap<NextHopId, usize> {
        let mut counts = BTreeMap::new();
        slots.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
        counts
    }

    fn member(id: u32, weight: u32) -> (NextHopId, u32) {
        (NextHopId(id), weight)
    }

    #[test]
    fn weights_are_shares() {
        let slots = distribute(None, &[member(1, 1), member(2, 3)]).unwrap();
        assert_eq!(counts(&slots), BTreeMap::from([(NextHopId(1), 32), (NextHopId(2), 96)]));
        let slots = distribute(None, &[member(1, 1), member(2, 100_000)]).unwrap();
        assert_eq!(counts(&slots), BTreeMap::from([(NextHopId(1), 1), (NextHopId(2), 127)]));
        assert_eq!(distribute(None, &[]), None);
    }

    fn members() -> impl Strategy<Value = BTreeMap<u32, u32>> {
        proptest::collection::btree_map(1..40_u32, prop_oneof![Just(1_u32), 1..300_u32], 1..20)
    }

    proptest! {
        /// No slot would be better with somebody else: who could give one has no more for his weight than
        /// who could take it.
        #[test]
        fn shares_are_as_exact_as_slots_allow(members in members()) {
            let list: Vec<_> = members.iter().map(|(&id, &weight)| member(id, weight)).collect();
            let counts = counts(&distribute(None, &list).unwrap());
            prop_assert_eq!(counts.len(), list.len(), "everybody has a slot, and nobody else");
            for (giver, weight) in list.iter().filter(|(id, _)| counts[id] > 1) {
                for (taker, other) in &list {
                    let (gives, takes) = (2 * counts[giver] - 1, 2 * counts[taker] + 1);
                    prop_assert!(u64::from(*other) * gives as u64 <= u64::from(*weight) * takes as u64);
                }
            }
        }

        /// Who goes gives his slots away, and no other slot moves; who comes moves no more than he gets.
        #[test]
        fn only_what_must_move_moves(members in members(), gone in any::<prop::sample::Index>()) {
            prop_assume!(members.len() > 1);
            let all: Vec<_> = members.iter().map(|(&id, &weight)| member(id, weight)).collect();
            let gone = *gone.get(&all);
            let rest: Vec<_> = all.iter().copied().filter(|member| *member != gone).collect();
            let before = distribute(None, &all).unwrap();
            let without = distribute(Some(&before), &rest).unwrap();
            for (old, new) in before.iter().zip(&without) {
                prop_assert!(*new != gone.0 && (old == new || *old == gone.0));
            }
            let again = distribute(Some(&without), &all).unwrap();
            prop_assert_eq!(counts(&again), counts(&before));
            for (old, new) in without.iter().zip(&again) {
                prop_assert!(old == new || *new == gone.0);
            }
            prop_assert_eq!(distribute(Some(&again), &all).unwrap(), again, "a second time nothing moves");
        }
    }
}
