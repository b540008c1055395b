//! Rings with one producer and one consumer in different processes.
//!
//! Each word has one writer: head, generation and slots lie in the producer's segment, the tail in the
//! consumer's. Either side may die and be replaced. The ring carries a generation; a partner line names
//! the generation its tail belongs to and the incarnation of its owner. Who finds a new partner takes
//! over that partner's index and counts what lay between as lost:
//! - a new consumer starts at the head ([`Consumer::attach`]); the producer sees the new incarnation and
//!   counts what the old one left ([`Producer::take_lost`]);
//! - a new producer starts a new ring; the consumer counts what it leaves behind ([`Consumer::replace`]).
//!
//! Indices run freely over u32 and are compared by wrapping subtraction; slots are atomics, so neither a
//! torn nor a hostile write is more than a wrong message.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Words of a message.
pub const MESSAGE_WORDS: usize = 8;

/// One message: 64 bytes, meaning given by the ring's users.
pub type Message = [u64; MESSAGE_WORDS];

/// Where a message lies.
#[repr(C, align(64))]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes))]
#[derive(Debug, Default)]
pub struct Slot([AtomicU64; MESSAGE_WORDS]);

/// The producer's line of a ring.
#[repr(C, align(64))]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes))]
#[derive(Debug, Default)]
pub struct RingLine {
    generation: AtomicU64,
    head: AtomicU32,
    reserved: [AtomicU32; 13],
}

/// The consumer's line of a ring, in the consumer's segment.
#[repr(C, align(64))]
#[cfg_attr(not(loom), derive(zerocopy::FromBytes))]
#[derive(Debug, Default)]
pub struct PartnerLine {
    generation: AtomicU64,
    incarnation: AtomicU64,
    tail: AtomicU32,
    /// Where this incarnation took the ring over.
    start: AtomicU32,
    reserved: [AtomicU32; 10],
}

/// A ring in the producer's segment: its line and its slots (a power of two of them). A slot is a
/// [`Slot`] or another struct of atomics.
#[derive(Debug)]
pub struct Ring<'a, S = Slot> {
    line: &'a RingLine,
    slots: &'a [S],
}

impl<S> Clone for Ring<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Ring<'_, S> {}

/// A ring as its consumer may use it: nothing can be written.
#[derive(Debug)]
pub struct RingReader<'a, S = Slot>(Ring<'a, S>);

impl<S> Clone for RingReader<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for RingReader<'_, S> {}

/// A consumer's line as the producer may use it: nothing can be written.
#[derive(Clone, Copy, Debug)]
pub struct Partner<'a>(&'a PartnerLine);

impl PartnerLine {
    /// The line for the producer's use.
    #[must_use]
    pub fn reader(&self) -> Partner<'_> {
        Partner(self)
    }
}

/// The ring is full; the message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<'a, S> Ring<'a, S> {
    /// Puts a ring together; `None` unless the number of slots is a power of two below 2³¹.
    #[must_use]
    pub fn new(line: &'a RingLine, slots: &'a [S]) -> Option<Self> {
        (slots.len().is_power_of_two() && slots.len() < 1 << 31).then_some(Self { line, slots })
    }

    /// As [`Ring::new`], for callers that have checked the number of slots.
    #[cfg(not(loom))]
    pub(crate) fn over(line: &'a RingLine, slots: &'a [S]) -> Self {
        debug_assert!(slots.len().is_power_of_two());
        Self { line, slots }
    }

    /// The ring for the consumer's use.
    #[must_use]
    pub fn reader(self) -> RingReader<'a, S> {
        RingReader(self)
    }

    fn slot(&self, index: u32) -> Option<&'a S> {
        self.slots.get(index as usize & (self.slots.len() - 1))
    }

    fn capacity(&self) -> u32 {
        self.slots.len() as u32
    }
}

/// The producer's state. It works on the ring given with each call, which must always be the same.
#[derive(Debug)]
pub struct Producer {
    generation: u64,
    incarnation: u64,
    head: u32,
    tail: u32,
    lost: u64,
}

impl Producer {
    /// Opens the ring as `generation` (not zero, and another than that of any ring before), empty.
    #[must_use]
    pub fn open<S>(ring: Ring<'_, S>, generation: u64) -> Self {
        let head = ring.line.head.load(Ordering::Relaxed);
        ring.line.generation.store(generation, Ordering::Release);
        Self { generation, incarnation: 0, head, tail: head, lost: 0 }
    }

    /// Appends a message.
    ///
    /// # Errors
    /// [`Full`] when the consumer has not made room; an absent consumer makes none.
    pub fn push(&mut self, ring: Ring<'_>, partner: Partner<'_>, message: &Message) -> Result<(), Full> {
        self.push_with(ring, partner, |slot: &Slot| {
            for (word, value) in slot.0.iter().zip(message) {
                word.store(*value, Ordering::Relaxed);
            }
        })
    }

    /// Appends what `write` writes into the slot, which the consumer sees afterwards.
    ///
    /// # Errors
    /// [`Full`] as for [`Producer::push`]; `write` is not called then.
    pub fn push_with<S>(
        &mut self,
        ring: Ring<'_, S>,
        partner: Partner<'_>,
        write: impl FnOnce(&S),
    ) -> Result<(), Full> {
        self.look(partner);
        if self.head.wrapping_sub(self.tail) >= ring.capacity() {
            return Err(Full);
        }
        write(ring.slot(self.head).ok_or(Full)?);
        self.head = self.head.wrapping_add(1);
        // The slot's words before the index that shows them.
        ring.line.head.store(self.head, Ordering::Release);
        Ok(())
    }

    /// Reads the consumer's tail. A partner that has not taken this ring over yet has no say; a new one
    /// brings its own tail, and what lay between was read by nobody.
    fn look(&mut self, partner: Partner<'_>) {
        // Acquire on each word: what the consumer read before it moved its tail is read.
        if partner.0.generation.load(Ordering::Acquire) != self.generation {
            return;
        }
        let incarnation = partner.0.incarnation.load(Ordering::Relaxed);
        let tail = partner.0.tail.load(Ordering::Acquire);
        let unread = self.head.wrapping_sub(self.tail);
        let consumed = tail.wrapping_sub(self.tail);
        if consumed > unread {
            return; // not a position of this ring: a corrupt line frees no slot
        }
        if incarnation != self.incarnation {
            if self.incarnation != 0 {
                let start = partner.0.start.load(Ordering::Relaxed);
                self.lost += u64::from(start.wrapping_sub(self.tail).min(consumed));
            }
            self.incarnation = incarnation;
        }
        self.tail = tail;
    }

    /// Reads a partner's line for the last time, before its owner is given up for a new one, so that
    /// what it has read is not counted as lost.
    pub fn leave(&mut self, partner: Partner<'_>) {
        self.look(partner);
    }

    /// Messages that no consumer has read because consumers changed, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }
}

/// The consumer's state.
#[derive(Debug)]
pub struct Consumer {
    generation: u64,
    tail: u32,
}

impl Consumer {
    /// Takes a ring over at its present head, in a line of the caller's own segment. `incarnation` (not
    /// zero) tells this consumer from those before it.
    #[must_use]
    pub fn attach<S>(ring: RingReader<'_, S>, partner: &PartnerLine, incarnation: u64) -> Self {
        let generation = ring.0.line.generation.load(Ordering::Acquire);
        let tail = ring.0.line.head.load(Ordering::Acquire);
        partner.tail.store(tail, Ordering::Relaxed);
        partner.start.store(tail, Ordering::Relaxed);
        partner.incarnation.store(incarnation, Ordering::Relaxed);
        // The generation last: it makes the other words valid.
        partner.generation.store(generation, Ordering::Release);
        Self { generation, tail }
    }

    /// Goes over from the ring of a dead producer to its successor's, from whose start it reads. The
    /// number of messages left in the old ring, which are lost, is the answer; read them first
    /// ([`Consumer::pop`]) to make it 0.
    pub fn replace<S>(
        &mut self,
        old: RingReader<'_, S>,
        new: RingReader<'_, S>,
        partner: &PartnerLine,
    ) -> u64 {
        let left = old.0.line.head.load(Ordering::Acquire).wrapping_sub(self.tail).min(old.0.capacity());
        self.generation = new.0.line.generation.load(Ordering::Acquire);
        self.tail = 0;
        partner.tail.store(self.tail, Ordering::Relaxed);
        partner.generation.store(self.generation, Ordering::Release);
        u64::from(left)
    }

    /// The oldest message, if there is one. A head that cannot be (a corrupt or foreign ring) reads as
    /// empty.
    pub fn pop(&mut self, ring: RingReader<'_>, partner: &PartnerLine) -> Option<Message> {
        self.pop_with(ring, partner, |slot: &Slot| {
            let mut message = [0; MESSAGE_WORDS];
            for (value, word) in message.iter_mut().zip(&slot.0) {
                *value = word.load(Ordering::Relaxed);
            }
            message
        })
    }

    /// What `read` makes of the oldest slot, if there is one; the slot is given back afterwards. As for
    /// [`Consumer::pop`] a head that cannot be reads as empty, and what stands in a slot is the producer's
    /// word: hostile, and possibly changing while it is read.
    pub fn pop_with<S, R>(
        &mut self,
        ring: RingReader<'_, S>,
        partner: &PartnerLine,
        read: impl FnOnce(&S) -> R,
    ) -> Option<R> {
        let generation = ring.0.line.generation.load(Ordering::Acquire);
        if generation != self.generation {
            if self.generation != 0 {
                return None;
            }
            // Attached before the producer opened the ring: all that is in it is to be read.
            self.generation = generation;
            partner.generation.store(generation, Ordering::Release);
        }
        let unread = ring.0.line.head.load(Ordering::Acquire).wrapping_sub(self.tail);
        if unread == 0 || unread > ring.0.capacity() {
            return None;
        }
        let taken = read(ring.0.slot(self.tail)?);
        self.tail = self.tail.wrapping_add(1);
        // The slot is read before it is given back.
        partner.tail.store(self.tail, Ordering::Release);
        Some(taken)
    }

    /// Whether something may be waiting: one load, for a consumer that looks often.
    #[inline]
    #[must_use]
    pub fn may_have<S>(&self, ring: RingReader<'_, S>) -> bool {
        ring.0.line.head.load(Ordering::Relaxed) != self.tail
    }
}
