//! A batch: at most 64 packets in hand, one column per property.
//!
//! The frames are owned here from the receive ring to the transmit ring or the pool, so a packet
//! cannot be forgotten: [`Batch::is_empty`] after every turn is the proof, asserted in tests.

use sixlane_xsk::{FRAME_BYTES, Frame, Umem};

/// The most packets of a pass: their headers and columns fit the first-level cache.
pub const BATCH: usize = 64;

/// Positions in the columns are below this by construction; the mask lets the compiler see it.
const MASK: usize = BATCH - 1;

const _: () = assert!(BATCH.is_power_of_two() && BATCH <= 256);

/// One value per packet of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Column<T>([T; BATCH]);

impl<T: Copy> Column<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self([value; BATCH])
    }

    #[inline]
    pub(crate) fn get(&self, at: u8) -> T {
        self.0[usize::from(at) & MASK]
    }

    #[inline]
    pub(crate) fn set(&mut self, at: u8, value: T) {
        self.0[usize::from(at) & MASK] = value;
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

impl<T> Column<T> {
    #[inline]
    pub(crate) fn as_ref(&self, at: u8) -> &T {
        &self.0[usize::from(at) & MASK]
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

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.positions.get(..self.count).unwrap_or(&self.positions)
    }
}

/// Packets in hand.
#[derive(Debug)]
pub struct Batch {
    count: usize,
    frames: [Option<Frame>; BATCH],
    ports: Column<u8>,
    starts: Column<u16>,
    lens: Column<u16>,
    egress: Column<u8>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            count: 0,
            frames: [const { None }; BATCH],
            ports: Column::new(0),
            starts: Column::new(0),
            lens: Column::new(0),
            egress: Column::new(0),
        }
    }

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

    /// Appends a packet: bytes `start .. start + len` of the frame are an Ethernet frame that came by
    /// `port`.
    ///
    /// # Errors
    /// Gives the frame back when the batch is full.
    #[inline]
    pub fn push(&mut self, frame: Frame, port: u8, start: u16, len: u16) -> Result<(), Frame> {
        let Some(slot) = self.frames.get_mut(self.count) else { return Err(frame) };
        *slot = Some(frame);
        let at = self.count as u8;
        self.ports.set(at, port);
        self.starts.set(at, start);
        self.lens.set(at, len);
        self.count += 1;
        Ok(())
    }

    /// All positions.
    #[inline]
    pub fn positions(&self) -> std::ops::Range<u8> {
        0..self.count as u8
    }

    /// The port by which the packet came.
    #[inline]
    #[must_use]
    pub fn port(&self, at: u8) -> u8 {
        self.ports.get(at)
    }

    /// Where the Ethernet frame begins and how long it is, in bytes.
    #[inline]
    #[must_use]
    pub fn extent(&self, at: u8) -> (u16, u16) {
        (self.starts.get(at), self.lens.get(at))
    }

    /// The port by which the packet leaves.
    #[inline]
    #[must_use]
    pub fn egress(&self, at: u8) -> u8 {
        self.egress.get(at)
    }

    /// Says where the packet leaves, and where its frame begins now: headers are prepended and cut off
    /// by moving the start.
    #[inline]
    pub fn dispatch(&mut self, at: u8, egress: u8, start: u16, len: u16) {
        self.egress.set(at, egress);
        self.starts.set(at, start);
        self.lens.set(at, len);
    }

    /// The whole chunk of a packet; `None` once it was taken.
    #[inline]
    #[must_use]
    pub fn chunk<'b>(&'b self, at: u8, umem: &'b Umem) -> Option<&'b [u8; FRAME_BYTES]> {
        self.frames[usize::from(at) & MASK].as_ref().map(|frame| umem.bytes(frame))
    }

    /// The whole chunk, to write.
    #[inline]
    #[must_use]
    pub fn chunk_mut<'b>(&'b mut self, at: u8, umem: &'b Umem) -> Option<&'b mut [u8; FRAME_BYTES]> {
        self.frames[usize::from(at) & MASK].as_mut().map(|frame| umem.bytes_mut(frame))
    }

    /// Takes the frame out, to hand it on.
    #[inline]
    #[must_use]
    pub fn take(&mut self, at: u8) -> Option<Frame> {
        self.frames[usize::from(at) & MASK].take()
    }

    /// Ends the batch, whose frames have all been taken.
    #[inline]
    pub fn clear(&mut self) {
        debug_assert!(self.frames.iter().all(Option::is_none), "a packet without a verdict");
        self.count = 0;
    }
}
