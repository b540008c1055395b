//! Who owns each frame, in memory that outlives the worker: one byte a frame. Of frames that are the
//! kernel's it names the socket too, because a socket whose interface was deleted gives nothing back.

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

/// Most sockets of one worker: each has a byte of its own for its frames, and [`INTENT_WORDS`] words.
pub const SOCKETS_MAX: usize = 85;

/// The byte of a frame in the fill ring of the worker's first socket; the others follow.
const FILL: u8 = 16;
/// The same for frames to be sent.
const TX: u8 = 128;

const _: () = assert!(FILL as usize + SOCKETS_MAX <= TX as usize && TX as usize + SOCKETS_MAX <= 256);

/// A socket's place among those of its worker, the same in every life of the worker; below
/// [`SOCKETS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u8);

impl Place {
    /// The place number `socket`; `None` beyond the last.
    pub(crate) fn new(socket: usize) -> Option<Self> {
        (socket < SOCKETS_MAX).then_some(Self(socket as u8))
    }

    /// The number of the socket.
    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The byte of a frame that this socket's kernel side may receive into.
    #[inline]
    pub(crate) fn fill(self) -> u8 {
        FILL + self.0
    }

    /// The byte of a frame that this socket's kernel side is to send.
    #[inline]
    pub(crate) fn tx(self) -> u8 {
        TX + self.0
    }

    /// Whether a byte says that the frame is with this socket.
    #[inline]
    pub(crate) fn has(self, byte: u8) -> bool {
        byte == self.fill() || byte == self.tx()
    }
}

impl FrameState {
    /// The state that a byte stands for; an unknown byte is `Held`, which recovery frees. Of frames that
    /// are the kernel's the byte also says which socket they went to.
    #[inline]
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Free,
            1 | FILL..TX => Self::Fill,
            2 => Self::Batch,
            4 | TX.. => Self::Tx,
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

    /// The byte of frame `index`: its owner, and of the kernel's frames the socket.
    #[inline]
    pub(crate) fn byte(&self, index: u32) -> Option<u8> {
        self.0.get(index as usize).map(|byte| byte.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn set(&self, index: u32, state: FrameState) {
        self.set_byte(index, state as u8);
    }

    /// Notes that a frame goes to a socket: [`Place::fill`] or [`Place::tx`].
    #[inline]
    pub(crate) fn set_byte(&self, index: u32, to: u8) {
        if let Some(byte) = self.0.get(index as usize) {
            byte.store(to, Ordering::Release);
            crash::point();
        }
    }
}

/// How far the worker meant to move the two indices that it produces for one socket, and which socket
/// that is.
///
/// Written after the ring slots and before the ledger and the index: entries between the ring's
/// producer index and the intent are complete but not yet handed over.
#[derive(Clone, Copy)]
pub(crate) struct Intents<'a> {
    pub(crate) fill: &'a AtomicU32,
    pub(crate) tx: &'a AtomicU32,
    /// The keeper's number of the socket at this place. Written last when another takes the place, so
    /// that ledger and indices are believed only of the socket that they are about.
    pub(crate) socket: &'a AtomicU32,
}

/// Words of intent that each socket needs.
pub const INTENT_WORDS: usize = 3;

impl<'a> Intents<'a> {
    /// The words of socket number `socket`, in the order in which the worker got its sockets.
    pub(crate) fn of(words: &'a [AtomicU32], socket: usize) -> Option<Self> {
        let at = socket.checked_mul(INTENT_WORDS)?;
        Some(Self { fill: words.get(at)?, tx: words.get(at + 1)?, socket: words.get(at + 2)? })
    }
}

/// Stores an intent.
#[inline]
pub(crate) fn intend(word: &AtomicU32, index: u32) {
    word.store(index, Ordering::Release);
    crash::point();
}
