//! A batch: at most 64 packets in hand.
//!
//! The frames are owned here from the receive ring to the transmit ring or the pool, so a packet
//! cannot be forgotten: [`Batch::clear`] checks it in tests. What stages look up in bulk stands in
//! [`Column`]s, what belongs to one packet in one slot.

use sixlane_xsk::{FRAME_BYTES, Frame, Umem};

/// The most packets of a pass: their headers and columns fit the first-level cache.
pub const BATCH: usize = 64;

/// Positions are below [`BATCH`] by construction; the mask lets the compiler see it.
const MASK: usize = BATCH - 1;

const _: () = assert!(BATCH.is_power_of_two() && BATCH <= 256);

/// One value per packet of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Column<T>([T; BATCH]);

impl<T: Copy> Column<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self([value; BATCH])
    }
}

impl<T> Column<T> {
    #[inline]
    pub(crate) fn at(&self, at: u8) -> &T {
        &self.0[usize::from(at) & MASK]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, at: u8) -> &mut T {
        &mut self.0[usize::from(at) & MASK]
    }

    /// Writes the value at place `count` (below [`BATCH`]), for loops that fill a column densely.
    #[inline]
    pub(crate) fn put(&mut self, count: usize, value: T) {
        self.0[count & MASK] = value;
    }

    /// The first `count` values.
    #[inline]
    pub(crate) fn first(&self, count: usize) -> &[T] {
        self.0.get(..count).unwrap_or(&self.0)
    }

    /// The first `count` values, to fill.
    #[inline]
    pub(crate) fn first_mut(&mut self, count: usize) -> &mut [T] {
        &mut self.0[..if count <= BATCH { count } else { BATCH }]
    }
}

/// Positions of a batch that share a fate, in order.
#[derive(Debug, Clone)]
pub(crate) struct List {
    positions: [u8; BATCH],
    count: usize,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self { positions: [0; BATCH], count: 0 }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    #[inline]
    pub(crate) fn push(&mut self, at: u8) {
        debug_assert!(self.count < BATCH);
        self.positions[self.count & MASK] = at;
        self.count += 1;
    }

    /// Writes a position to place `count`; [`List::end`] says how many there are. For loops that keep
    /// the count themselves.
    #[inline]
    pub(crate) fn put(&mut self, count: usize, at: u8) {
        self.positions[count & MASK] = at;
    }

    #[inline]
    pub(crate) fn end(&mut self, count: usize) {
        self.count = count;
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.positions.get(..self.count).unwrap_or(&self.positions)
    }
}

/// Where a packet lies in its chunk, where it came from and where it goes. One word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Extent {
    /// Where the Ethernet frame begins in the chunk, in bytes. Headers are prepended and cut off by
    /// moving it.
    pub start: u16,
    /// Length of the Ethernet frame in bytes.
    pub len: u16,
    /// The port by which the packet came.
    pub ingress: u8,
    /// The port by which it leaves.
    pub egress: u8,
}

/// A packet in hand.
#[derive(Debug, Default)]
pub struct Slot {
    /// The frame; `None` once it was handed on.
    pub frame: Option<Frame>,
    /// The packet in it.
    pub extent: Extent,
}

impl Slot {
    /// A packet that came by `ingress`: bytes `start .. start + len` of the frame.
    #[inline]
    #[must_use]
    pub fn new(frame: Frame, ingress: u8, start: u16, len: u16) -> Self {
        Self { frame: Some(frame), extent: Extent { start, len, ingress, egress: ingress } }
    }

    /// The whole chunk.
    #[inline]
    #[must_use]
    pub fn chunk<'s>(&'s self, umem: &'s Umem) -> Option<&'s [u8; FRAME_BYTES]> {
        self.frame.as_ref().map(|frame| umem.bytes(frame))
    }

    /// The whole chunk, to write.
    #[inline]
    #[must_use]
    pub fn chunk_mut<'s>(&'s mut self, umem: &'s Umem) -> Option<&'s mut [u8; FRAME_BYTES]> {
        self.frame.as_mut().map(|frame| umem.bytes_mut(frame))
    }

    /// The Ethernet frame.
    #[inline]
    #[must_use]
    pub fn bytes<'s>(&'s self, umem: &'s Umem) -> Option<&'s [u8]> {
        let start = usize::from(self.extent.start);
        self.chunk(umem)?.get(start..start + usize::from(self.extent.len))
    }
}

/// Packets in hand.
#[derive(Debug)]
pub struct Batch {
    count: usize,
    slots: [Slot; BATCH],
}

impl Default for Batch {
    fn default() -> Self {
        Self { count: 0, slots: std::array::from_fn(|_| Slot::default()) }
    }
}

impl Batch {
    /// How many packets there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many more fit.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        BATCH - self.count
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// Gives it back when the batch is full.
    #[inline]
    pub fn push(&mut self, slot: Slot) -> Result<(), Slot> {
        match self.slots.get_mut(self.count) {
            Some(place) => {
                *place = slot;
                self.count += 1;
                Ok(())
            }
            None => Err(slot),
        }
    }

    /// Makes room for `count` packets (at most [`Batch::room`]), all of which the caller puts in.
    #[inline]
    pub fn extend(&mut self, count: usize) -> &mut [Slot] {
        let first = self.count;
        self.count = (first + count).min(BATCH);
        self.slots.get_mut(first..self.count).unwrap_or_default()
    }

    /// The packets.
    #[inline]
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        self.slots.get(..self.count).unwrap_or(&self.slots)
    }

    /// The packets.
    #[inline]
    #[must_use]
    pub fn slots_mut(&mut self) -> &mut [Slot] {
        self.slots.get_mut(..self.count).unwrap_or_default()
    }

    /// One packet.
    #[inline]
    #[must_use]
    pub(crate) fn at(&self, at: u8) -> &Slot {
        &self.slots[usize::from(at) & MASK]
    }

    /// One packet.
    #[inline]
    #[must_use]
    pub(crate) fn at_mut(&mut self, at: u8) -> &mut Slot {
        &mut self.slots[usize::from(at) & MASK]
    }

    /// Ends the batch, whose frames have all been handed on.
    #[inline]
    pub fn clear(&mut self) {
        debug_assert!(self.slots.iter().all(|slot| slot.frame.is_none()), "a packet without a verdict");
        self.count = 0;
    }
}
