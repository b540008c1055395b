//! From one worker to the next, whenever the last one died.
//!
//! # The order of stores
//! A worker can be killed between any two instructions. What it has stored stays, in program
//! order (all stores below are release stores). Its private memory, the free list above all, is
//! lost. So every transfer of a frame is a sequence of which each prefix can be read:
//!
//! 1. **to the kernel** (fill, TX): ring slot → intent → ledger → producer index.
//!    *Before the intent* the ledger still calls the frame free or in hand, and it is.
//!    *From the intent to the index* the slots between index and intent are complete: the
//!    successor finishes the transfer (it sets the ledger and the index), whatever the ledger
//!    says. *After the index* the ledger is right.
//! 2. **from RX**: ledger (fill → batch), while the entry stays unreleased; at the end of the
//!    turn, after every packet has been handed on, the consumer index.
//!    So the entries before the first one whose frame the ledger still calls fill are those that
//!    the dead worker had read. Frames in hand among them are delivered again (a packet may be
//!    rewritten by half: it is judged like any packet from the wire); frames that had been handed
//!    on (tx, free) are skipped.
//! 3. **from completion**: ledger (tx → free), then the consumer index. An entry whose frame the
//!    ledger does not call tx has been taken already.
//!
//! A frame that the ledger calls fill or tx and that is in no ring is the kernel's: zero-copy
//! drivers keep frames outside the rings. A frame that is free, in hand or held and in no ring
//! is free.
//!
//! A frame must not go to a fill ring while an RX entry of it is unreleased (the kernel could
//! receive into it, and the old entry would look fresh): the pool refuses to refill meanwhile.
//!
//! # Two steps
//! The successor has its own ledger and intents in a segment of its own, and may be killed as
//! well. [`TakeOver::prepare`] only reads the rings and the predecessor's memory, and writes the
//! new ledger. Then the new segment is given to the keeper, and from then on *it* is what the
//! next successor reads. Only after that [`TakeOver::resume`] moves an index. The kernel goes on
//! all the time; it only adds entries whose frames the ledger calls fill or tx, so neither step
//! cares.
//!
//! # Sockets that go and come
//! A socket whose interface was deleted is dead for ever: the kernel touches neither its rings nor its
//! frames again, its rings can no longer be mapped, and it gives nothing back. The ledger says which
//! frames went to it, and those are free. Its place is empty until the keeper has another socket for it,
//! when the interface has been made again. The keeper's number of the socket that a worker uses at a place
//! stands beside the intents; it is written after the frames of the socket before it were taken back and
//! before the first frame goes to the new one. So a successor that was handed another number than it finds
//! there, or no rings, knows that what the ledger says of this place is about a dead socket.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use thiserror::Error;

use crate::ledger::{FrameState, INTENT_WORDS, Intents, Ledger, Place, SOCKETS_MAX, intend};
use crate::pool::{Census, FramePool, frame_at};
use crate::queue::{Queue, Rings, reclaim};
use crate::ring::{Producer, RingIndex, Slot};
use crate::uapi::Descriptor;
use crate::umem::Umem;

/// The shared memory of a dead worker, mapped read-only.
#[derive(Clone, Copy)]
pub struct Predecessor<'p> {
    /// One byte a frame.
    pub ledger: &'p [AtomicU8],
    /// [`INTENT_WORDS`] words a socket, sockets in the same order as now.
    pub intents: &'p [AtomicU32],
}

/// One place among the sockets of a worker.
pub struct Handed {
    /// The rings; `None` while the socket's interface is away.
    pub rings: Option<Rings>,
    /// The keeper's number of the socket: another one than the predecessor's means that it is new.
    pub number: u32,
}

/// Why a worker cannot take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TakeOverError {
    /// A ledger is not as long as the arena.
    #[error("the frame ledger has {ledger} entries for {frames} frames")]
    Ledger {
        /// Entries of the ledger.
        ledger: usize,
        /// Frames of the arena.
        frames: u32,
    },
    /// There are too few words of intent.
    #[error("{words} words of intent do not suffice for {sockets} sockets")]
    Intents {
        /// Words given.
        words: usize,
        /// Sockets of the worker.
        sockets: usize,
    },
    /// More sockets than a worker can have.
    #[error("{0} sockets are too many for one worker, which has at most {SOCKETS_MAX}")]
    Sockets(usize),
    /// The arena has an owner.
    #[error("the frames have an owner in this process already")]
    Owned,
}

/// What was found in the rings and the ledger of the predecessor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// RX entries that the predecessor had read and not released. Those whose packets it still
    /// had in hand are received again.
    pub read: u32,
    /// Transfers to the kernel that will be finished for it.
    pub finished: u32,
    /// Intents that could not be its own and are ignored.
    pub refused_intents: u32,
    /// Frames by owner, before completions are taken.
    pub census: Census,
}

/// A worker between the two steps of taking over.
#[must_use = "the rings stand still until resume"]
pub struct TakeOver<'a> {
    umem: &'a Umem,
    ledger: Ledger<'a>,
    places: Vec<Option<(Rings, Intents<'a>, Place, u32)>>,
    inheritance: Inheritance,
}

impl<'a> TakeOver<'a> {
    /// First step: reads the rings and the predecessor and writes `ledger` and `intents`, which
    /// are this worker's own. Without a predecessor every frame is free: the sockets are new.
    ///
    /// # Errors
    /// The memory given does not fit the arena or the number of sockets, or somebody in this process has
    /// the frames.
    pub fn prepare(
        umem: &'a Umem,
        handed: Vec<Handed>,
        predecessor: Option<Predecessor<'_>>,
        ledger: Ledger<'a>,
        intents: &'a [AtomicU32],
    ) -> Result<Self, TakeOverError> {
        check_sizes(umem, handed.len(), &predecessor, &ledger, intents)?;
        if !umem.own() {
            return Err(TakeOverError::Owned);
        }
        let mut inheritance = Inheritance::default();
        let known = Known::of(&handed, predecessor);
        inherit_ledger(umem, &known, &ledger);
        let mut places = Vec::with_capacity(handed.len());
        for (socket, Handed { rings, number }) in handed.into_iter().enumerate() {
            let (Some(own), Some(place)) = (Intents::of(intents, socket), Place::new(socket)) else {
                continue;
            };
            intend(own.socket, number);
            places.push(rings.map(|mut rings| {
                let old = known.at(socket);
                let read = old.map_or(0, |old| inherit_received(&mut rings, old, place, &ledger));
                inheritance.read += read;
                (rings, own, place, read)
            }));
        }
        // Only now: a packet received on one socket may wait in the TX ring of any other.
        for (socket, (rings, own, place, _)) in
            places.iter_mut().enumerate().filter_map(|(socket, taken)| Some((socket, taken.as_mut()?)))
        {
            if let Some(theirs) = known.at(socket).and_then(|old| Intents::of(old.intents, socket)) {
                inherit_intent(&mut rings.fill, theirs.fill, place.fill(), &ledger, &mut inheritance);
                inherit_intent(&mut rings.tx, theirs.tx, place.tx(), &ledger, &mut inheritance);
            }
            intend(own.fill, rings.fill.committed().0);
            intend(own.tx, rings.tx.committed().0);
        }
        inheritance.census = Census::of(&ledger);
        Ok(Self { umem, ledger, places, inheritance })
    }

    /// What was found.
    #[must_use]
    pub fn inheritance(&self) -> Inheritance {
        self.inheritance
    }

    /// Second step: finishes what the predecessor had begun and gives the pool and the queues, in
    /// the order of the sockets; `None` where the interface is away. The keeper has this worker's segment
    /// by now.
    #[must_use]
    pub fn resume(mut self) -> (FramePool<'a>, Vec<Option<Queue<'a>>>) {
        for (rings, ..) in self.places.iter_mut().flatten() {
            rings.fill.publish();
            rings.tx.publish();
        }
        // All completions that the predecessor may have taken, before any frame is used anew.
        let mut pool = FramePool::empty(self.umem, self.ledger);
        for (rings, _, place, _) in self.places.iter_mut().flatten() {
            reclaim(&mut rings.completion, *place, &mut pool);
        }
        let mut pool = FramePool::over_free_frames(self.umem, self.ledger);
        let queues = self.places.into_iter().map(|taken| {
            let (rings, intents, place, read) = taken?;
            pool.note_unreleased(read);
            Some(Queue::new(rings, intents, place, read))
        });
        let queues = queues.collect();
        (pool, queues)
    }
}

/// What is known of each place: the predecessor, where it used the very sockets that were handed over.
struct Known<'p> {
    predecessor: Option<Predecessor<'p>>,
    same: Vec<bool>,
    /// By byte of the ledger: whether the frame is with a socket that lives.
    lives: [bool; 256],
}

impl<'p> Known<'p> {
    fn of(handed: &[Handed], predecessor: Option<Predecessor<'p>>) -> Self {
        let mut known = Self { predecessor, same: Vec::with_capacity(handed.len()), lives: [false; 256] };
        for (socket, handed) in handed.iter().enumerate() {
            let words = predecessor.and_then(|old| Intents::of(old.intents, socket));
            let theirs = words.map(|words| words.socket.load(Ordering::Acquire));
            let same = handed.rings.is_some() && theirs == Some(handed.number);
            known.same.push(same);
            if let Some(place) = Place::new(socket) {
                known.lives[usize::from(place.fill())] = same;
                known.lives[usize::from(place.tx())] = same;
            }
        }
        known
    }

    /// The predecessor, if it used this socket.
    fn at(&self, socket: usize) -> Option<Predecessor<'p>> {
        self.predecessor.filter(|_| self.same.get(socket) == Some(&true))
    }
}

fn check_sizes(
    umem: &Umem,
    sockets: usize,
    predecessor: &Option<Predecessor<'_>>,
    ledger: &Ledger<'_>,
    intents: &[AtomicU32],
) -> Result<(), TakeOverError> {
    let old = predecessor.as_ref();
    if sockets > SOCKETS_MAX {
        return Err(TakeOverError::Sockets(sockets));
    }
    for entries in [Some(ledger.len()), old.map(|p| p.ledger.len())].into_iter().flatten() {
        if entries != umem.frames() as usize {
            return Err(TakeOverError::Ledger { ledger: entries, frames: umem.frames() });
        }
    }
    for words in [Some(intents.len()), old.map(|p| p.intents.len())].into_iter().flatten() {
        if words < sockets * INTENT_WORDS {
            return Err(TakeOverError::Intents { words, sockets });
        }
    }
    Ok(())
}

/// The frames of sockets that live stay the kernel's; everything else is free until a ring says otherwise.
fn inherit_ledger(umem: &Umem, known: &Known<'_>, ledger: &Ledger<'_>) {
    let old = known.predecessor.map(|p| Ledger::new(p.ledger));
    for index in 0..umem.frames() {
        match old.and_then(|old| old.byte(index)) {
            Some(byte) if known.lives[usize::from(byte)] => ledger.set_byte(index, byte),
            _ => ledger.set(index, FrameState::Free),
        }
    }
}

/// Finds the RX entries that the predecessor had read, and makes those whose packets it had in
/// hand look unread. Gives the number of entries.
fn inherit_received(
    rings: &mut Rings,
    predecessor: Predecessor<'_>,
    place: Place,
    ledger: &Ledger<'_>,
) -> u32 {
    let old = Ledger::new(predecessor.ledger);
    let mut read = 0;
    for entry in rings.rx.peek(u32::MAX).iter() {
        let index = frame_at(entry.address()).unwrap_or(u32::MAX);
        match old.get(index) {
            Some(FrameState::Fill) => break,
            Some(FrameState::Batch | FrameState::Held) => ledger.set_byte(index, place.fill()),
            _ => {}
        }
        read += 1;
    }
    read
}

/// Takes over the entries that the predecessor had written and not handed over.
fn inherit_intent<T: Slot + Address>(
    ring: &mut Producer<T>,
    word: &AtomicU32,
    to: u8,
    ledger: &Ledger<'_>,
    inheritance: &mut Inheritance,
) {
    let intent = RingIndex(word.load(Ordering::Acquire));
    match ring.abandoned(intent) {
        Some(entries) => {
            for index in entries.filter_map(|entry| frame_at(entry.address())) {
                ledger.set_byte(index, to);
                inheritance.finished += 1;
            }
        }
        None => {
            inheritance.refused_intents += 1;
            return;
        }
    }
    ring.adopt(intent);
}

/// The address that a ring entry carries.
trait Address {
    fn address(&self) -> u64;
}

impl Address for u64 {
    fn address(&self) -> u64 {
        *self
    }
}

impl Address for Descriptor {
    fn address(&self) -> u64 {
        self.address
    }
}
