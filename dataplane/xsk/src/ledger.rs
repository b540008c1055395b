//! Who owns each frame, in memory that outlives the worker.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::crash;

/// The owner of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameState {
    /// In the worker's pool. The value of zeroed memory.
    Free = 0,
    /// The kernel's, to receive into, until an RX entry shows it.
    Fill = 1,
    /// A packet in the worker's hands.
    Batch = 2,
    /// A packet that the worker keeps beyond the turn.
    Held = 3,
    /// The kernel's, to send, until a completion shows it.
    Tx = 4,
}

impl FrameState {
    /// The state that a byte stands for; an unknown byte is `Held`, which recovery frees.
    #[inline]
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Free,
            1 => Self::Fill,
            2 => Self::Batch,
            4 => Self::Tx,
            _ => Self::Held,
        }
    }
}

/// One byte a frame, written before the ring index that hands the frame over.
///
/// The memory is the caller's: the worker's shared segment, or a heap slice where nothing has to
/// survive. It has exactly one writer, the worker.
///
/// Every store is a release store: a successor reads the ledger of a dead process, and needs to
/// see the stores in the order in which the protocol of [`crate::handover`] makes them.
#[derive(Clone, Copy)]
pub struct Ledger<'a>(&'a [AtomicU8]);

impl<'a> Ledger<'a> {
    /// A ledger over `bytes`, one a frame.
    #[must_use]
    pub fn new(bytes: &'a [AtomicU8]) -> Self {
        Self(bytes)
    }

    /// Number of frames that the ledger describes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if it describes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Owner of frame `index`; `None` beyond the end.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u32) -> Option<FrameState> {
        self.0.get(index as usize).map(|byte| FrameState::from_byte(byte.load(Ordering::Acquire)))
    }

    #[inline]
    pub(crate) fn set(&self, index: u32, state: FrameState) {
        if let Some(byte) = self.0.get(index as usize) {
            byte.store(state as u8, Ordering::Release);
            crash::point();
        }
    }
}

/// How far the worker meant to move the two indices that it produces for one socket.
///
/// Written after the ring slots and before the ledger and the index: entries between the ring's
/// producer index and the intent are complete but not yet handed over.
#[derive(Clone, Copy)]
pub(crate) struct Intents<'a> {
    pub(crate) fill: &'a AtomicU32,
    pub(crate) tx: &'a AtomicU32,
}

/// Words of intent that each socket needs.
pub const INTENT_WORDS: usize = 2;

impl<'a> Intents<'a> {
    /// The words of socket number `socket`, in the order in which the worker got its sockets.
    pub(crate) fn of(words: &'a [AtomicU32], socket: usize) -> Option<Self> {
        let at = socket.checked_mul(INTENT_WORDS)?;
        Some(Self { fill: words.get(at)?, tx: words.get(at + 1)? })
    }
}

/// Stores an intent.
#[inline]
pub(crate) fn intend(word: &AtomicU32, index: u32) {
    word.store(index, Ordering::Release);
    crash::point();
}
