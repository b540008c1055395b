//! Packets that wait for the link-layer address of their next hop (RFC 4861 §7.2.2): a few, for a moment, so
//! that the first packets to a host are not lost while control asks for it.
//!
//! A packet that waits is as it was received, in its frame, which the ledger calls held. Now and then all
//! that wait go through the stages again, in front of what has just been received; who still has no next
//! hop goes on waiting, until its time is up: then it is dropped as `neigh_queue`.

use crate::batch::{Batch, Column, Slot};
use crate::scene::Origin;
use sixlane_tables::punt::NeighbourWanted;
use sixlane_xsk::{FramePool, FrameState};

/// Packets that may wait, in all and for one next hop.
const PLACES: usize = 16;
const EACH: usize = 3;
/// How often they try again, and how long they wait.
const RETRY_NS: u64 = 5_000_000;
const WAIT_NS: u64 = 1_000_000_000;

/// A packet that waits.
#[derive(Debug)]
struct Kept {
    slot: Slot,
    next_hop: NeighbourWanted,
    age: Age,
}

/// Until when a packet may wait, and its number, which rises: of two the older is less.
type Age = (u64, u64);

/// The packets that wait, and what the batch in hand waits for.
#[derive(Debug)]
pub(crate) struct Waiting {
    kept: [Option<Kept>; PLACES],
    count: usize,
    due: u64,
    /// The ages of the first packets of the batch, which have waited already: how many in the next batch from
    /// the wire, and in the one in hand.
    ages: [Age; PLACES],
    serial: u64,
    resumed: usize,
    again: usize,
    /// What the refused packets of the batch wait for, by position.
    wanted: Column<Option<NeighbourWanted>>,
    /// The packets of the batch in hand may wait.
    open: bool,
    shut: bool,
}

impl Waiting {
    pub(crate) const fn new() -> Self {
        Self {
            kept: [const { None }; PLACES],
            count: 0,
            due: 0,
            ages: [(0, 0); PLACES],
            serial: 0,
            resumed: 0,
            again: 0,
            wanted: Column::new(None),
            open: false,
            shut: false,
        }
    }

    /// Nobody waits any more: for runs that say what would happen at once.
    pub(crate) const fn shut(&mut self) {
        self.shut = true;
    }

    /// Whether somebody waits.
    #[inline]
    pub(crate) const fn any(&self) -> bool {
        self.count != 0
    }

    /// Whether those who wait should try again.
    #[inline]
    pub(crate) const fn is_due(&self, now: u64) -> bool {
        self.count != 0 && now >= self.due
    }

    /// Puts all that wait into `batch`, which is empty, and gives their number.
    #[cold]
    pub(crate) fn resume(&mut self, now: u64, batch: &mut Batch, pool: &FramePool<'_>) -> u64 {
        self.due = now.saturating_add(RETRY_NS);
        self.resumed = 0;
        for Kept { slot, age, .. } in self.kept.iter_mut().filter_map(Option::take) {
            if let Some(frame) = &slot.frame {
                pool.note(frame, FrameState::Batch);
            }
            // There is room: a batch holds more than can wait.
            if batch.push(slot).is_ok()
                && let Some(place) = self.ages.get_mut(self.resumed)
            {
                *place = age;
                self.resumed += 1;
            }
        }
        std::mem::take(&mut self.count) as u64
    }

    /// The batch in hand is dropped without a look.
    #[cold]
    pub(crate) const fn give_up(&mut self) {
        self.resumed = 0;
    }

    /// A batch of this origin is in hand now.
    #[inline]
    pub(crate) fn begin(&mut self, origin: Origin) {
        self.open = origin == Origin::Wire && !self.shut;
        self.again = if self.open { std::mem::take(&mut self.resumed) } else { 0 };
    }

    /// Notes what a packet waits for. `true`: it has waited before, and need not ask again.
    pub(crate) fn wants(&mut self, at: u8, next_hop: NeighbourWanted) -> bool {
        *self.wanted.at_mut(at) = Some(next_hop);
        usize::from(at) < self.again
    }

    /// Lets a refused packet wait. `false`: what is in the slot now is to be dropped, which is the packet
    /// itself or the oldest that waited for the same next hop.
    #[cold]
    pub(crate) fn keep(&mut self, at: u8, slot: &mut Slot, now: u64, pool: &FramePool<'_>) -> bool {
        let place = usize::from(at);
        let waited = self.ages.get(place).filter(|_| place < self.again).copied();
        self.serial += 1;
        let age = waited.unwrap_or((now.saturating_add(WAIT_NS), self.serial));
        let (true, Some(next_hop), true) = (self.open, self.wanted.at_mut(at).take(), now < age.0) else {
            return false;
        };
        if let Some(frame) = &slot.frame {
            pool.note(frame, FrameState::Held);
        }
        let same = self.kept.iter().flatten().filter(|kept| kept.next_hop == next_hop).count();
        if same >= EACH {
            // RFC 4861 §7.2.2: the new one replaces the oldest.
            let others = self.kept.iter_mut().flatten().filter(|kept| kept.next_hop == next_hop);
            if let Some(oldest) = others.min_by_key(|kept| kept.age) {
                oldest.age = age;
                std::mem::swap(&mut oldest.slot, slot);
            }
            return false;
        }
        let Some(free) = self.kept.iter_mut().find(|place| place.is_none()) else { return false };
        let extent = slot.extent;
        *free = Some(Kept { slot: Slot { frame: slot.frame.take(), extent }, next_hop, age });
        if self.count == 0 {
            self.due = now.saturating_add(RETRY_NS);
        }
        self.count += 1;
        true
    }
}
