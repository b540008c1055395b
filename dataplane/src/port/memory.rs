//! A port over prepared frames in memory, for measurements without a kernel (rig M).
//!
//! Every frame holds a packet, and at its end a copy of the packet's first 64 bytes, which forwarding
//! rewrites: on arrival they are copied back. The frames go round in a circle. Who was sent is at its
//! back and can arrive again, so the number of frames decides in which cache they live.

use super::{Arrived, HEADROOM, Port, Submitted};
use crate::batch::{Batch, Slot};
use sixlane_xsk::{FRAME_BYTES, Frame, FramePool, FrameState, WakeError};
use std::os::fd::BorrowedFd;

/// Bytes restored on arrival: one cache line.
const RESTORED: usize = 64;
/// Where their copy lies.
const TEMPLATE: usize = FRAME_BYTES - RESTORED;

/// A port that delivers its frames again and again.
#[derive(Debug)]
pub struct MemoryPort {
    index: u8,
    /// Length of every packet in bytes.
    len: u16,
    /// The circle, a power of two of places: `head .. filled` can arrive, `filled .. sent` was sent.
    ring: Box<[Option<Frame>]>,
    head: usize,
    filled: usize,
    sent: usize,
    /// Frames that are left in the pool, for packets that the worker makes.
    spare: usize,
}

impl MemoryPort {
    /// A port that delivers `packets` (from the Ethernet header on, all of one length) from the frames of
    /// `pool`: packet `i mod packets` lies in frame `i`. Takes every frame but `spare` out of the pool.
    ///
    /// `None` without packets, or when their length is not one, is below 64 bytes or does not fit.
    #[must_use]
    pub fn new(index: u8, packets: &[Vec<u8>], pool: &mut FramePool<'_>, spare: usize) -> Option<Self> {
        let len = packets.first()?.len();
        let fits = (RESTORED..=TEMPLATE - HEADROOM).contains(&len);
        if !fits || packets.iter().any(|packet| packet.len() != len) {
            return None;
        }
        let mut ring: Vec<Option<Frame>> = Vec::new();
        while let Some(mut frame) = pool.alloc() {
            let packet = packets.get(frame.index() as usize % packets.len())?;
            let chunk = pool.umem().bytes_mut(&mut frame);
            chunk.get_mut(HEADROOM..HEADROOM + len)?.copy_from_slice(packet);
            chunk.get_mut(TEMPLATE..)?.copy_from_slice(packet.get(..RESTORED)?);
            pool.note(&frame, FrameState::Fill);
            ring.push(Some(frame));
        }
        for frame in ring.drain(..spare.min(ring.len())).flatten() {
            pool.release(frame);
        }
        let filled = ring.len();
        ring.resize_with((pool.umem().frames() as usize).next_power_of_two(), || None);
        let ring = ring.into_boxed_slice();
        Some(Self { index, len: len as u16, ring, head: 0, filled, sent: filled, spare })
    }

    /// The places of the circle from number `from` on, without a break.
    #[inline]
    fn places(&mut self, from: usize, count: usize) -> &mut [Option<Frame>] {
        let first = from & (self.ring.len() - 1);
        let last = (first + count).min(self.ring.len());
        self.ring.get_mut(first..last).unwrap_or_default()
    }
}

impl<'a> Port<'a> for MemoryPort {
    #[inline]
    fn index(&self) -> u8 {
        self.index
    }

    /// What was sent can arrive again: it is in its place already.
    #[inline]
    fn reclaim(&mut self, _pool: &mut FramePool<'a>) -> usize {
        let count = self.sent - self.filled;
        self.filled = self.sent;
        count
    }

    /// Takes back what the worker dropped.
    #[inline]
    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize {
        let mut count = 0;
        while pool.len() > self.spare
            && let Some(frame) = pool.alloc()
        {
            pool.note(&frame, FrameState::Fill);
            let sent = self.sent;
            if let Some(place) = self.places(sent, 1).first_mut() {
                *place = Some(frame);
                self.sent += 1;
                count += 1;
            }
        }
        self.filled = self.sent;
        count
    }

    /// Delivers less than could be at the end of the array.
    #[inline]
    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived {
        let (index, len) = (self.index, self.len);
        let (head, most) = (self.head, (self.filled - self.head).min(batch.room()));
        let places = self.places(head, most);
        let count = places.len();
        for (slot, place) in batch.extend(count).iter_mut().zip(places) {
            let Some(mut frame) = place.take() else { continue };
            pool.note(&frame, FrameState::Batch);
            let chunk = pool.umem().bytes_mut(&mut frame);
            chunk.copy_within(TEMPLATE.., HEADROOM);
            *slot = Slot::new(frame, index, HEADROOM as u16, len);
        }
        self.head += count;
        Arrived { packets: count as u64, bytes: count as u64 * u64::from(len) }
    }

    #[inline]
    fn submit(&mut self, pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted {
        let (index, mut sent) = (self.index, self.sent);
        let mask = self.ring.len() - 1;
        let ring = &mut self.ring;
        let done = Submitted::each(index, slots, |frame, _, _| {
            let Some(place) = ring.get_mut(sent & mask) else { return Err(frame) };
            pool.note(&frame, FrameState::Tx);
            *place = Some(frame);
            sent += 1;
            Ok(())
        });
        self.sent = sent;
        done
    }

    #[inline]
    fn flush(&mut self) {}

    #[inline]
    fn release_received(&mut self, _pool: &mut FramePool<'a>) {}

    #[inline]
    fn wake(&mut self) -> Result<(), WakeError> {
        Ok(())
    }

    #[inline]
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
