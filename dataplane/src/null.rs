//! The least that a forwarder can do: swap the MAC addresses and send back. The measure of the relay's
//! own cost (G10), over the same ports, pool and batch.

use crate::batch::{Batch, Slot};
use crate::port::Port;
use sixlane_xsk::FramePool;

/// Forwards everything by the port it came by.
pub struct NullForwarder<'a, P> {
    port: P,
    pool: FramePool<'a>,
    batch: Batch,
}

impl<'a, P: Port<'a>> NullForwarder<'a, P> {
    /// A forwarder over one port.
    #[must_use]
    pub fn new(port: P, pool: FramePool<'a>) -> Self {
        Self { port, pool, batch: Batch::default() }
    }

    /// The pool and the port.
    #[must_use]
    pub fn into_parts(self) -> (P, FramePool<'a>) {
        (self.port, self.pool)
    }

    /// One turn. Gives how many packets were forwarded.
    pub fn turn(&mut self) -> usize {
        let Self { port, pool, batch } = self;
        port.reclaim(pool);
        port.refill(pool);
        port.receive(pool, batch);
        let count = batch.len();
        for slot in batch.slots_mut() {
            swap(slot, pool);
        }
        let done = port.submit(pool, batch.slots_mut());
        if done.refused != 0 {
            batch
                .slots_mut()
                .iter_mut()
                .filter_map(|slot| slot.frame.take())
                .for_each(|frame| pool.release(frame));
        }
        batch.clear();
        port.flush();
        port.release_received(pool);
        // A port that cannot send keeps what was queued.
        let _ = port.wake();
        count
    }
}

/// Exchanges the two MAC addresses of a packet.
#[inline]
fn swap(slot: &mut Slot, pool: &FramePool<'_>) {
    let start = usize::from(slot.extent.start);
    if let Some(chunk) = slot.chunk_mut(pool.umem())
        && let Some(addresses) = chunk.get_mut(start..).and_then(|bytes| bytes.first_chunk_mut::<12>())
    {
        let ([destination, source], _) = addresses.as_chunks_mut::<6>() else { return };
        std::mem::swap(destination, source);
    }
}
