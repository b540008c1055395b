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

/// Frames in a row, of a fixed capacity.
#[derive(Debug)]
struct Row {
    frames: Box<[Option<Frame>]>,
    count: usize,
}

impl Row {
    fn new(capacity: usize) -> Self {
        Self { frames: std::iter::repeat_with(|| None).take(capacity).collect(), count: 0 }
    }

    /// The places behind the last frame.
    #[inline]
    fn room(&mut self) -> &mut [Option<Frame>] {
        self.frames.get_mut(self.count..).unwrap_or_default()
    }

    fn push(&mut self, frame: Frame) {
        if let Some(place) = self.room().first_mut() {
            *place = Some(frame);
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Option<Frame> {
        self.count = self.count.checked_sub(1)?;
        self.room().first_mut()?.take()
    }
}

/// A port that delivers its frames again and again. They are the port's, whether they arrive or are
/// sent; the ledger notes no more than that.
#[derive(Debug)]
pub struct MemoryPort {
    /// Where every packet lies on arrival, and that it comes and leaves by this port.
    extent: Extent,
    /// Frames whose packets arrive next, from the back.
    ready: Row,
    /// Frames that were sent.
    sent: Row,
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
        let (mut ready, sent) = (Row::new(frames), Row::new(frames));
        while let Some(mut frame) = pool.alloc() {
            let packet = packets.get(frame.index() as usize % packets.len())?;
            let chunk = pool.umem().bytes_mut(&mut frame);
            chunk.get_mut(HEADROOM..HEADROOM + len)?.copy_from_slice(packet);
            chunk.get_mut(TEMPLATE..)?.copy_from_slice(packet.get(..RESTORED)?);
            pool.note(&frame, FrameState::Fill);
            ready.push(frame);
        }
        for frame in (0..spare).map_while(|_| ready.pop()) {
            pool.release(frame);
        }
        let extent = Extent { start: HEADROOM as u16, len: len as u16, ingress: index, egress: index };
        Some(Self { extent, ready, sent, spare })
    }
}

impl<'a> Port<'a> for MemoryPort {
    #[inline]
    fn index(&self) -> u8 {
        self.extent.ingress
    }

    /// What was sent can arrive again once nothing else does.
    #[inline]
    fn reclaim(&mut self, _pool: &mut FramePool<'a>) -> usize {
        if self.ready.count != 0 {
            return 0;
        }
        std::mem::swap(&mut self.ready, &mut self.sent);
        self.ready.count
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
        let count = self.ready.count.min(batch.room());
        self.ready.count -= count;
        let umem = pool.umem();
        for (slot, place) in batch.extend(count).iter_mut().zip(self.ready.room()) {
            *slot = Slot { frame: place.take(), extent: self.extent };
            if let Some(frame) = &mut slot.frame {
                umem.bytes_mut(frame).copy_within(TEMPLATE.., HEADROOM);
            }
        }
        Arrived { packets: count as u64, bytes: count as u64 * u64::from(self.extent.len) }
    }

    /// Always has room: as much as there are frames.
    #[inline]
    fn submit(&mut self, _pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted {
        let index = slots.first().map_or(0, |slot| slot.extent.egress);
        let (mut seen, mut bytes) = (0, 0);
        let mut places = self.sent.room().iter_mut();
        let room = places.len();
        for slot in slots.iter_mut().take_while(|slot| slot.extent.egress == index) {
            seen += 1;
            if let Some(frame) = slot.frame.take()
                && let Some(place) = places.next()
            {
                *place = Some(frame);
                bytes += u64::from(slot.extent.len);
            }
        }
        let packets = room - places.len();
        self.sent.count += packets;
        Submitted { slots: seen, packets: packets as u64, bytes, refused: 0 }
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
