//! A port over prepared frames in memory, for measurements without a kernel (rig M).
//!
//! Every frame of the pool belongs to a template, by its number. On arrival the first 64 bytes of the
//! packet, which forwarding rewrites, are copied from the template; the rest of the packet lies in the
//! frame from the start. What is sent goes to the back of the fill ring, so that the frames are walked
//! in a circle: their number decides which cache they live in.

use super::{Arrived, Port};
use crate::batch::Batch;
use sixlane_xsk::{FRAME_BYTES, Frame, FramePool, FrameState, WakeError};
use std::os::fd::BorrowedFd;

/// Where a packet begins in its chunk: where the kernel puts it.
const START: u16 = 256;

/// Bytes restored on arrival: one cache line.
const RESTORED: usize = 64;

/// The part of a packet that forwarding changes, and the packet's length.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Template {
    header: [u8; RESTORED],
    len: u16,
}

/// A port that delivers its frames again and again.
#[derive(Debug)]
pub struct MemoryPort {
    index: u8,
    templates: Box<[Template]>,
    /// All frames of the port, in a circle: `head .. filled` can arrive, `filled .. sent` were sent.
    ring: Box<[Option<Frame>]>,
    head: usize,
    filled: usize,
    sent: usize,
    /// Frames that are left in the pool.
    spare: usize,
}

impl MemoryPort {
    /// A port that delivers `packets` (from the Ethernet header on), frame by frame of `pool`: packet
    /// `i mod packets` lies in frame `i`. Takes every frame but `spare` out of the pool; the spare ones
    /// are for packets that the worker makes.
    ///
    /// `None` without packets, or when one does not fit a frame or is shorter than 64 bytes.
    #[must_use]
    pub fn new(index: u8, packets: &[Vec<u8>], pool: &mut FramePool<'_>, spare: usize) -> Option<Self> {
        let fits = |packet: &Vec<u8>| (RESTORED..=FRAME_BYTES - usize::from(START)).contains(&packet.len());
        if packets.is_empty() || !packets.iter().all(fits) {
            return None;
        }
        let frames = pool.umem().frames() as usize;
        let mut templates = Vec::with_capacity(frames);
        for packet in packets.iter().cycle().take(frames) {
            templates.push(Template { header: *packet.first_chunk()?, len: packet.len() as u16 });
        }
        let mut ring: Vec<Option<Frame>> = Vec::new();
        while let Some(mut frame) = pool.alloc() {
            let packet = packets.get(frame.index() as usize % packets.len())?;
            let chunk = pool.umem().bytes_mut(&mut frame);
            chunk.get_mut(usize::from(START)..)?.get_mut(..packet.len())?.copy_from_slice(packet);
            pool.note(&frame, FrameState::Fill);
            ring.push(Some(frame));
        }
        for frame in ring.drain(..spare.min(ring.len())).flatten() {
            pool.release(frame);
        }
        let filled = ring.len();
        ring.resize_with(frames.next_power_of_two(), || None);
        let (templates, ring) = (templates.into_boxed_slice(), ring.into_boxed_slice());
        Some(Self { index, templates, ring, head: 0, filled, sent: filled, spare })
    }

    #[inline]
    fn slot(&mut self, at: usize) -> Option<&mut Option<Frame>> {
        let mask = self.ring.len() - 1;
        self.ring.get_mut(at & mask)
    }
}

impl<'a> Port<'a> for MemoryPort {
    #[inline]
    fn index(&self) -> u8 {
        self.index
    }

    /// What was sent can arrive again: the detour through the pool is left out, so that the frames keep
    /// their order.
    #[inline]
    fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize {
        let count = self.sent - self.filled;
        for at in self.filled..self.sent {
            if let Some(Some(frame)) = self.slot(at) {
                pool.note(frame, FrameState::Fill);
            }
        }
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
            let at = self.sent;
            if let Some(slot) = self.slot(at) {
                *slot = Some(frame);
                self.sent += 1;
                count += 1;
            }
        }
        self.filled = self.sent;
        count
    }

    #[inline]
    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived {
        let mut arrived = Arrived::default();
        let count = (self.filled - self.head).min(batch.room());
        for at in self.head..self.head + count {
            let Some(mut frame) = self.slot(at).and_then(Option::take) else { continue };
            let Some(template) = self.templates.get(frame.index() as usize) else { continue };
            pool.note(&frame, FrameState::Batch);
            let chunk = pool.umem().bytes_mut(&mut frame);
            if let Some((_, packet)) = chunk.split_first_chunk_mut::<{ START as usize }>()
                && let Some(header) = packet.first_chunk_mut()
            {
                *header = template.header;
            }
            let len = template.len;
            if batch.push(frame, self.index, START, len).is_ok() {
                arrived.packets += 1;
                arrived.bytes += u64::from(len);
            }
        }
        self.head += count;
        arrived
    }

    #[inline]
    fn submit(&mut self, pool: &FramePool<'a>, frame: Frame, _start: u16, _len: u16) -> Result<(), Frame> {
        pool.note(&frame, FrameState::Tx);
        let at = self.sent;
        match self.slot(at) {
            Some(slot) => *slot = Some(frame),
            None => return Err(frame),
        }
        self.sent += 1;
        Ok(())
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
