//! Where packets come from and go to: a trait with an AF_XDP implementation, one over prepared frames
//! in memory for measurements, and one over lists of packets for tests and `explain`.
//!
//! The worker is generic over it, so that a call costs no more than the code behind it.

mod memory;
mod script;
mod xdp;

pub use memory::{MemoryPort, Template};
pub use script::{ScriptPort, Sent};
pub use xdp::XdpPort;

use crate::batch::Batch;
use sixlane_xsk::{Frame, FramePool, WakeError};
use std::os::fd::BorrowedFd;

/// What a port delivered at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Packets appended to the batch.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
}

/// One queue of one port, in the order in which a turn uses it.
pub trait Port<'a> {
    /// The port's place in the configuration (0..64).
    fn index(&self) -> u8;

    /// Takes back the frames that were sent; gives their number.
    fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize;

    /// Hands out free frames to receive into; gives their number.
    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize;

    /// Appends what has arrived to the batch, as far as there is room. The frames stay the port's for a
    /// successor until [`Port::release_received`].
    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived;

    /// Queues bytes `start .. start + len` of the frame for sending.
    ///
    /// # Errors
    /// Gives the frame back when there is no room.
    fn submit(&mut self, pool: &FramePool<'a>, frame: Frame, start: u16, len: u16) -> Result<(), Frame>;

    /// Hands over what was queued.
    fn flush(&mut self);

    /// Says that everything received in this turn has been handed on.
    fn release_received(&mut self, pool: &mut FramePool<'a>);

    /// Makes the other side work, if it asks to be called. At most a few system calls per batch.
    ///
    /// # Errors
    /// The port cannot send now; what was queued stays queued.
    fn wake(&mut self) -> Result<(), WakeError>;

    /// What to sleep on until something arrives; `None` where nothing can.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}
