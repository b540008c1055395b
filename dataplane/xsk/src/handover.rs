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

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use thiserror::Error;

use crate::ledger::{FrameState, INTENT_WORDS, Intents, Ledger, intend};
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
    rings: Vec<(Rings, Intents<'a>, u32)>,
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
        rings: Vec<Rings>,
        predecessor: Option<Predecessor<'_>>,
        ledger: Ledger<'a>,
        intents: &'a [AtomicU32],
    ) -> Result<Self, TakeOverError> {
        check_sizes(umem, rings.len(), &predecessor, &ledger, intents)?;
        if !umem.own() {
            return Err(TakeOverError::Owned);
        }
        let mut inheritance = Inheritance::default();
        inherit_ledger(umem, predecessor.as_ref(), &ledger);
        let mut prepared = Vec::with_capacity(rings.len());
        for (socket, mut rings) in rings.into_iter().enumerate() {
            let Some(own) = Intents::of(intents, socket) else { continue };
            let read = predecessor.map_or(0, |old| inherit_received(&mut rings, old, &ledger));
            inheritance.read += read;
            prepared.push((rings, own, read));
        }
        // Only now: a packet received on one socket may wait in the TX ring of any other.
        for (socket, (rings, own, _)) in prepared.iter_mut().enumerate() {
            if let Some(theirs) = predecessor.and_then(|old| Intents::of(old.intents, socket)) {
                inherit_intent(&mut rings.fill, theirs.fill, FrameState::Fill, &ledger, &mut inheritance);
                inherit_intent(&mut rings.tx, theirs.tx, FrameState::Tx, &ledger, &mut inheritance);
            }
            intend(own.fill, rings.fill.committed().0);
            intend(own.tx, rings.tx.committed().0);
        }
        inheritance.census = Census::of(&ledger);
        Ok(Self { umem, ledger, rings: prepared, inheritance })
    }

    /// What was found.
    #[must_use]
    pub fn inheritance(&self) -> Inheritance {
        self.inheritance
    }

    /// Second step: finishes what the predecessor had begun and gives the pool and the queues, in
    /// the order of the sockets. The keeper has this worker's segment by now.
    #[must_use]
    pub fn resume(mut self) -> (FramePool<'a>, Vec<Queue<'a>>) {
        for (rings, _, _) in &mut self.rings {
            rings.fill.publish();
            rings.tx.publish();
        }
        // All completions that the predecessor may have taken, before any frame is used anew.
        let mut pool = FramePool::empty(self.umem, self.ledger);
        for (rings, _, _) in &mut self.rings {
            reclaim(&mut rings.completion, &mut pool);
        }
        let mut pool = FramePool::over_free_frames(self.umem, self.ledger);
        let queues = self.rings.into_iter().map(|(rings, intents, read)| {
            pool.note_unreleased(read);
            Queue::new(rings, intents, read)
        });
        let queues = queues.collect();
        (pool, queues)
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

/// The kernel's frames stay the kernel's; everything else is free until a ring says otherwise.
fn inherit_ledger(umem: &Umem, predecessor: Option<&Predecessor<'_>>, ledger: &Ledger<'_>) {
    let old = predecessor.map(|p| Ledger::new(p.ledger));
    for index in 0..umem.frames() {
        let state = match old.and_then(|old| old.get(index)) {
            Some(kernel @ (FrameState::Fill | FrameState::Tx)) => kernel,
            _ => FrameState::Free,
        };
        ledger.set(index, state);
    }
}

/// Finds the RX entries that the predecessor had read, and makes those whose packets it had in
/// hand look unread. Gives the number of entries.
fn inherit_received(rings: &mut Rings, predecessor: Predecessor<'_>, ledger: &Ledger<'_>) -> u32 {
    let old = Ledger::new(predecessor.ledger);
    let mut read = 0;
    for entry in rings.rx.peek(u32::MAX).iter() {
        let index = frame_at(entry.address()).unwrap_or(u32::MAX);
        match old.get(index) {
            Some(FrameState::Fill) => break,
            Some(FrameState::Batch | FrameState::Held) => ledger.set(index, FrameState::Fill),
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
    state: FrameState,
    ledger: &Ledger<'_>,
    inheritance: &mut Inheritance,
) {
    let intent = RingIndex(word.load(Ordering::Acquire));
    match ring.abandoned(intent) {
        Some(entries) => {
            for index in entries.filter_map(|entry| frame_at(entry.address())) {
                ledger.set(index, state);
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
