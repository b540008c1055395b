//! A port over prepared frames in memory, for measurements without a kernel (rig M).
//!
//! Every frame holds a packet, and at its end a copy of the packet's first 64 bytes, which forwarding
//! rewrites: on arrival they are copied back. What was sent can arrive again when all others have, so
//! the number of frames decides in which cache they live.

use super::{Arrived, HEADROOM, Port, Submitted};
use crate::batch::{Batch, Extent, Slot};
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
    /// Frames whose packets arrive next, from the back.
    ready: Vec<Frame>,
    /// Frames that were sent.
    sent: Vec<Frame>,
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
        let frames = pool.umem().frames() as usize;
        let (mut ready, sent) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
        while let Some(mut frame) = pool.alloc() {
            let packet = packets.get(frame.index() as usize % packets.len())?;
            let chunk = pool.umem().bytes_mut(&mut frame);
            chunk.get_mut(HEADROOM..HEADROOM + len)?.copy_from_slice(packet);
            chunk.get_mut(TEMPLATE..)?.copy_from_slice(packet.get(..RESTORED)?);
            pool.note(&frame, FrameState::Fill);
            ready.push(frame);
        }
        for frame in ready.drain(..spare.min(ready.len())) {
            pool.release(frame);
        }
        Some(Self { index, len: len as u16, ready, sent, spare })
    }
}

impl<'a> Port<'a> for MemoryPort {
    #[inline]
    fn index(&self) -> u8 {
        self.index
    }

    /// What was sent can arrive again once nothing else does.
    #[inline]
    fn reclaim(&mut self, _pool: &mut FramePool<'a>) -> usize {
        if !self.ready.is_empty() {
            return 0;
        }
        std::mem::swap(&mut self.ready, &mut self.sent);
        self.ready.len()
    }

    /// Takes back what the worker dropped.
    #[inline]
    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize {
        let mut count = 0;
        while pool.len() > self.spare
            && let Some(frame) = pool.alloc()
        {
            pool.note(&frame, FrameState::Fill);
            self.sent.push(frame);
            count += 1;
        }
        count
    }

    #[inline]
    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived {
        let count = self.ready.len().min(batch.room());
        let extent =
            Extent { start: HEADROOM as u16, len: self.len, ingress: self.index, egress: self.index };
        let arriving = self.ready.drain(self.ready.len() - count..);
        for (slot, mut frame) in batch.extend(count).iter_mut().zip(arriving) {
            pool.note(&frame, FrameState::Batch);
            pool.umem().bytes_mut(&mut frame).copy_within(TEMPLATE.., HEADROOM);
            *slot = Slot { frame: Some(frame), extent };
        }
        Arrived { packets: count as u64, bytes: count as u64 * u64::from(self.len) }
    }

    /// Always has room: as much as there are frames.
    #[inline]
    fn submit(&mut self, pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted {
        let sent = &mut self.sent;
        Submitted::each(self.index, slots, |frame, _| {
            pool.note(&frame, FrameState::Tx);
            sent.push(frame);
            Ok(())
        })
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
