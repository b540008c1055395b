//! Where packets come from and go to: a trait with an AF_XDP implementation, one over prepared frames
//! in memory for measurements, and one over lists of packets for tests and `explain`.
//!
//! The worker is generic over it, so that a call costs no more than the code behind it.

mod memory;
mod script;
mod xdp;

pub use memory::MemoryPort;
pub use script::{ScriptPort, Sent};
pub use xdp::XdpPort;

use crate::batch::{Batch, Extent, Slot};
use sixlane_tables::settings::PORT_MTU_MAX;
use sixlane_wire::ethernet::HEADER_LEN;
use sixlane_xsk::{FRAME_BYTES, Frame, FramePool, QueueStatistics, WakeError};
use std::os::fd::BorrowedFd;

/// Where the kernel puts received data in a chunk, in bytes: room for headers in front of it.
pub const HEADROOM: usize = 256;

const _: () = assert!(FRAME_BYTES - HEADROOM - HEADER_LEN == PORT_MTU_MAX as usize);

/// What a port delivered at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Packets appended to the batch.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
}

/// What a port took at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Slots that were looked at: those that leave by this port.
    pub slots: usize,
    /// Packets queued.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// Packets for which there was no room.
    pub refused: u64,
}

impl Submitted {
    /// Walks over the slots that leave by the port of the first, and gives each packet to `queue`.
    #[inline]
    fn each(slots: &mut [Slot], mut queue: impl FnMut(Frame, Extent) -> Result<(), Frame>) -> Self {
        let port = slots.first().map_or(0, |slot| slot.extent.egress);
        let (mut seen, mut absent, mut refused, mut bytes) = (0, 0, 0, 0);
        for slot in slots.iter_mut().take_while(|slot| slot.extent.egress == port) {
            seen += 1;
            let Some(frame) = slot.frame.take() else {
                absent += 1;
                continue;
            };
            match queue(frame, slot.extent) {
                Ok(()) => bytes += u64::from(slot.extent.len),
                Err(frame) => {
                    slot.frame = Some(frame);
                    refused += 1;
                }
            }
        }
        Self { slots: seen, packets: seen as u64 - absent - refused, bytes, refused }
    }
}

/// One queue of one port, in the order in which a turn uses it.
pub trait Port<'a> {
    /// The port's place in the configuration (0..64); of several on one device that of the one for which
    /// the sockets were opened.
    fn index(&self) -> u8;

    /// Takes back the frames that were sent; gives their number.
    fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize;

    /// Hands out free frames to receive into; gives their number.
    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize;

    /// Appends what has arrived to the batch, as far as there is room. The frames stay the port's for a
    /// successor until [`Port::release_received`].
    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived;

    /// Queues the packets at the front of `slots` that leave by one port, up to the first one that leaves
    /// by another: this port, or another one on the same device, whose frames differ by their tag. A packet
    /// for which there is no room keeps its frame.
    fn submit(&mut self, pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted;

    /// Hands over what was queued.
    fn flush(&mut self);

    /// Says that everything received in this turn has been handed on.
    fn release_received(&mut self, pool: &mut FramePool<'a>);

    /// Makes the other side work, if it asks to be called. At most a few system calls per batch.
    ///
    /// # Errors
    /// The port cannot send now; what was queued stays queued.
    fn wake(&mut self) -> Result<(), WakeError>;

    /// Loss in front of the worker since the port was opened, as the other side counts it. A system call.
    fn losses(&self) -> QueueStatistics {
        QueueStatistics::default()
    }

    /// Whether the port is no more. A system call.
    fn gone(&self) -> bool {
        false
    }

    /// What to sleep on until something arrives; `None` where nothing can.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}
