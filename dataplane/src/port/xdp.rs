//! A queue of a real port: an AF_XDP socket.

use super::{Arrived, Port, Submitted};
use crate::batch::{Batch, Slot};
use sixlane_xsk::{FramePool, Queue, QueueStatistics, WakeError};
use std::os::fd::BorrowedFd;

/// An AF_XDP socket of a port.
pub struct XdpPort<'a> {
    queue: Queue<'a>,
    index: u8,
}

impl<'a> XdpPort<'a> {
    /// The queue of the port at this place of the configuration.
    #[must_use]
    pub fn new(queue: Queue<'a>, index: u8) -> Self {
        Self { queue, index }
    }
}

impl<'a> XdpPort<'a> {
    /// The socket.
    pub(crate) fn queue(&self) -> &Queue<'a> {
        &self.queue
    }

    /// The socket itself.
    pub(crate) fn into_queue(self) -> Queue<'a> {
        self.queue
    }
}

impl<'a> Port<'a> for XdpPort<'a> {
    fn index(&self) -> u8 {
        self.index
    }

    fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize {
        self.queue.reclaim(pool)
    }

    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize {
        self.queue.refill(pool)
    }

    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived {
        let umem = pool.umem();
        let mut arrived = Arrived::default();
        let index = self.index;
        self.queue.receive(pool, batch.room(), |received| {
            let (start, len) = (received.start, received.len);
            umem.prefetch(&received.frame, usize::from(start));
            // `receive` gives at most what there is room for.
            if batch.push(Slot::new(received.frame, index, start, len)).is_ok() {
                arrived.packets += 1;
                arrived.bytes += u64::from(len);
            }
        });
        arrived
    }

    fn submit(&mut self, pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted {
        let queue = &mut self.queue;
        Submitted::each(slots, |frame, extent| queue.submit(pool, frame, extent.start, extent.len))
    }

    fn flush(&mut self) {
        self.queue.flush();
    }

    fn release_received(&mut self, pool: &mut FramePool<'a>) {
        self.queue.release_received(pool);
    }

    fn wake(&mut self) -> Result<(), WakeError> {
        self.queue.wake()
    }

    fn losses(&self) -> QueueStatistics {
        // A socket that cannot be asked has gone with its port.
        self.queue.statistics().unwrap_or_default()
    }

    fn gone(&self) -> bool {
        self.queue.gone()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.fd()
    }
}
