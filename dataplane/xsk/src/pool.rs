//! The frames that are the worker's, and the count of all of them by owner.

use crate::ledger::{FrameState, Ledger, Place};
use crate::umem::{FRAME_BYTES, Frame, Umem};

/// Frames of a worker: a stack of free ones (the hottest is reused first) over the arena and its
/// ledger. One for all sockets of a worker.
pub struct FramePool<'a> {
    umem: &'a Umem,
    ledger: Ledger<'a>,
    free: Vec<u32>,
    /// RX entries that were read, or inherited, and not yet released; see [`FramePool::may_refill`].
    unreleased: u32,
}

/// How many frames each owner has. With traffic off the sum is the size of the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// In the pool.
    pub free: u32,
    /// The kernel's, to receive into.
    pub fill: u32,
    /// Packets in hand.
    pub batch: u32,
    /// Packets kept beyond a turn.
    pub held: u32,
    /// The kernel's, to send.
    pub tx: u32,
}

impl Census {
    /// Counts a ledger.
    #[must_use]
    pub fn of(ledger: &Ledger<'_>) -> Self {
        let mut census = Self::default();
        for index in 0..u32::try_from(ledger.len()).unwrap_or(u32::MAX) {
            match ledger.get(index) {
                Some(FrameState::Free) => census.free += 1,
                Some(FrameState::Fill) => census.fill += 1,
                Some(FrameState::Batch) => census.batch += 1,
                Some(FrameState::Held) => census.held += 1,
                Some(FrameState::Tx) => census.tx += 1,
                None => {}
            }
        }
        census
    }

    /// All frames.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.free + self.fill + self.batch + self.held + self.tx
    }
}

impl<'a> FramePool<'a> {
    /// A pool with every frame of `umem` free: for in-memory ports, where no kernel owns any.
    ///
    /// Frames beyond the end of the ledger are left out. An arena gives its frames once: a second pool
    /// over it has none.
    #[must_use]
    pub fn new(umem: &'a Umem, ledger: Ledger<'a>) -> Self {
        if !umem.own() {
            return Self::empty(umem, ledger);
        }
        for index in 0..umem.frames() {
            ledger.set(index, FrameState::Free);
        }
        Self::over_free_frames(umem, ledger)
    }

    /// A pool that has no frame yet, to take completions with.
    pub(crate) fn empty(umem: &'a Umem, ledger: Ledger<'a>) -> Self {
        Self { umem, ledger, free: Vec::new(), unreleased: 0 }
    }

    /// A pool of the frames that the ledger calls free.
    pub(crate) fn over_free_frames(umem: &'a Umem, ledger: Ledger<'a>) -> Self {
        let mut free = Vec::with_capacity(umem.frames() as usize);
        free.extend((0..umem.frames()).rev().filter(|&i| ledger.get(i) == Some(FrameState::Free)));
        Self { umem, ledger, free, unreleased: 0 }
    }

    /// The arena of the frames.
    #[inline]
    #[must_use]
    pub fn umem(&self) -> &'a Umem {
        self.umem
    }

    /// The ledger of the frames.
    #[inline]
    #[must_use]
    pub fn ledger(&self) -> Ledger<'a> {
        self.ledger
    }

    /// Number of free frames.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// True if no frame is free.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes a free frame for a packet of the worker's own making. Its bytes are those of some
    /// earlier packet: whoever sends it writes every byte that it sends.
    #[inline]
    pub fn alloc(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        self.ledger.set(index, FrameState::Batch);
        Some(self.umem.token(index))
    }

    /// Takes a frame back.
    ///
    /// # Panics
    /// If the token belongs to another arena.
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        assert!(self.umem.owns(&frame), "a frame was released to another pool");
        self.put(frame.index());
    }

    /// Notes a new owner: for in-memory ports, which play the kernel's part.
    #[inline]
    pub fn note(&self, frame: &Frame, state: FrameState) {
        self.ledger.set(frame.index(), state);
    }

    /// Frames by owner.
    #[must_use]
    pub fn census(&self) -> Census {
        Census::of(&self.ledger)
    }

    /// True when no RX entry is unreleased. Only then may frames be handed to a fill ring: an
    /// unreleased entry would show a successor a frame that the kernel is filling anew.
    #[inline]
    pub(crate) fn may_refill(&self) -> bool {
        self.unreleased == 0
    }

    #[inline]
    pub(crate) fn note_unreleased(&mut self, entries: u32) {
        self.unreleased += entries;
    }

    #[inline]
    pub(crate) fn note_released(&mut self, entries: u32) {
        self.unreleased = self.unreleased.saturating_sub(entries);
    }

    /// Takes a free frame on its way to the kernel; the caller writes the ledger.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Takes back every frame that went to the socket at `place`, which is no more: its kernel side
    /// touches none of them again. Each comes back once, because the ledger names it once.
    pub(crate) fn take_back(&mut self, place: Place) -> usize {
        let before = self.free.len();
        for index in 0..self.umem.frames() {
            if self.ledger.byte(index).is_some_and(|byte| place.has(byte)) {
                self.put(index);
            }
        }
        self.free.len() - before
    }

    /// The free frames, for the audit of the tests.
    #[cfg(test)]
    pub(crate) fn free_frames(&self) -> &[u32] {
        &self.free
    }

    /// Puts a frame that is the worker's into the pool.
    #[inline]
    pub(crate) fn put(&mut self, index: u32) {
        self.ledger.set(index, FrameState::Free);
        self.free.push(index);
    }

    /// Makes the frame at `address` the worker's if the ledger says that the kernel was to fill
    /// it for the socket at `place`, and gives its token and the offset of `address` in it. Anything
    /// else is an entry that was handed on before a restart.
    #[inline]
    pub(crate) fn claim(&mut self, address: u64, place: Place) -> Option<(Frame, usize)> {
        let index = frame_at(address)?;
        if index >= self.umem.frames() || self.ledger.byte(index) != Some(place.fill()) {
            return None;
        }
        self.ledger.set(index, FrameState::Batch);
        Some((self.umem.token(index), offset_at(address)))
    }

    /// Takes back the frame at `address` if the ledger says that the kernel was to send it from the
    /// socket at `place`.
    #[inline]
    pub(crate) fn complete(&mut self, address: u64, place: Place) -> bool {
        match frame_at(address) {
            Some(index) if self.ledger.byte(index) == Some(place.tx()) => {
                self.put(index);
                true
            }
            _ => false,
        }
    }
}

/// Frame that an address of a descriptor lies in.
#[inline]
pub(crate) fn frame_at(address: u64) -> Option<u32> {
    u32::try_from(address / FRAME_BYTES as u64).ok()
}

#[inline]
fn offset_at(address: u64) -> usize {
    (address % FRAME_BYTES as u64) as usize
}

/// Address of byte `start` of a frame, as descriptors carry it.
#[inline]
pub(crate) fn address_of(index: u32, start: u16) -> u64 {
    u64::from(index) * FRAME_BYTES as u64 + u64::from(start)
}
