//! A port that receives a list of packets and keeps copies of what is sent: for tests and `explain`.

use super::{Arrived, HEADROOM, Port, Submitted};
use crate::batch::{Batch, Slot};
use sixlane_xsk::{FRAME_BYTES, Frame, FramePool, FrameState, WakeError};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

/// What fills a chunk around the packet, so that bytes from nowhere show.
const POISON: u8 = 0xa5;

/// A packet that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Number of the frame it lay in.
    pub frame: u32,
    /// Where in the frame it began, in bytes.
    pub start: u16,
}

/// A port whose traffic is a list.
#[derive(Debug)]
pub struct ScriptPort {
    index: u8,
    offered: VecDeque<Vec<u8>>,
    fill: VecDeque<Frame>,
    fill_slots: usize,
    queued: Vec<(Frame, Sent)>,
    sending: Vec<Frame>,
    tx_slots: usize,
    sent: Vec<Sent>,
}

impl ScriptPort {
    /// A port at this place of the configuration, with rings of so many slots.
    #[must_use]
    pub fn new(index: u8, fill_slots: usize, tx_slots: usize) -> Self {
        Self {
            index,
            offered: VecDeque::new(),
            fill: VecDeque::new(),
            fill_slots,
            queued: Vec::new(),
            sending: Vec::new(),
            tx_slots,
            sent: Vec::new(),
        }
    }

    /// Adds a packet, from the Ethernet header on, to what will arrive. What a frame cannot hold behind
    /// its headroom of 256 bytes is cut off.
    pub fn offer(&mut self, mut packet: Vec<u8>) {
        packet.truncate(FRAME_BYTES - HEADROOM);
        self.offered.push_back(packet);
    }

    /// How many packets have not arrived yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.offered.len()
    }

    /// Takes what was sent, in order.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// Takes all frames back into the pool, as a port that is closed with its traffic off.
    pub fn close(&mut self, pool: &mut FramePool<'_>) {
        for frame in self.fill.drain(..).chain(self.sending.drain(..)) {
            pool.release(frame);
        }
    }
}

impl<'a> Port<'a> for ScriptPort {
    fn index(&self) -> u8 {
        self.index
    }

    fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize {
        let count = self.sending.len();
        for frame in self.sending.drain(..) {
            pool.release(frame);
        }
        count
    }

    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize {
        let mut count = 0;
        while self.fill.len() < self.fill_slots
            && let Some(frame) = pool.alloc()
        {
            pool.note(&frame, FrameState::Fill);
            self.fill.push_back(frame);
            count += 1;
        }
        count
    }

    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived {
        let mut arrived = Arrived::default();
        while batch.room() > 0
            && !self.offered.is_empty()
            && let Some(mut frame) = self.fill.pop_front()
            && let Some(packet) = self.offered.pop_front()
        {
            pool.note(&frame, FrameState::Batch);
            let chunk = pool.umem().bytes_mut(&mut frame);
            chunk.fill(POISON);
            for (to, from) in chunk.iter_mut().skip(HEADROOM).zip(&packet) {
                *to = *from;
            }
            if batch.push(Slot::new(frame, self.index, HEADROOM as u16, packet.len() as u16)).is_ok() {
                arrived.packets += 1;
                arrived.bytes += packet.len() as u64;
            }
        }
        arrived
    }

    fn submit(&mut self, pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted {
        let Self { queued, sending, tx_slots, .. } = self;
        Submitted::each(slots, |frame, extent| {
            let first = usize::from(extent.start);
            let bytes = pool.umem().bytes(&frame).get(first..first + usize::from(extent.len));
            let (Some(bytes), true) = (bytes, queued.len() + sending.len() < *tx_slots) else {
                return Err(frame);
            };
            let sent = Sent { bytes: bytes.to_vec(), frame: frame.index(), start: extent.start };
            pool.note(&frame, FrameState::Tx);
            queued.push((frame, sent));
            Ok(())
        })
    }

    fn flush(&mut self) {
        for (frame, sent) in self.queued.drain(..) {
            self.sending.push(frame);
            self.sent.push(sent);
        }
    }

    fn release_received(&mut self, _pool: &mut FramePool<'a>) {}

    fn wake(&mut self) -> Result<(), WakeError> {
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
