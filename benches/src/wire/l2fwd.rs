//! The measure: forwards everything from each of two ports to the other with new Ethernet addresses, over the
//! ports, frames and batches of the worker. It reads nothing of a packet and counts nothing.

use sixlane_dataplane::batch::{Batch, Slot};
use sixlane_dataplane::port::Port;
use sixlane_xsk::FramePool;

/// The forwarder.
#[derive(Debug, Default)]
pub struct L2fwd {
    batch: Batch,
}

impl L2fwd {
    /// One turn over the two ports. `addresses` are the first twelve bytes of what leaves by each of them.
    /// Gives how many packets were received.
    pub fn turn<'a, P: Port<'a>>(
        &mut self,
        ports: &mut [P; 2],
        pool: &mut FramePool<'a>,
        addresses: &[[u8; 12]; 2],
    ) -> usize {
        for port in &mut *ports {
            port.reclaim(pool);
            port.refill(pool);
        }
        let mut count = 0;
        for from in [0, 1] {
            let to = 1 - from;
            ports[from].receive(pool, &mut self.batch);
            count += self.batch.len();
            for slot in self.batch.slots_mut() {
                readdress(slot, pool, &addresses[to]);
            }
            if ports[to].submit(pool, self.batch.slots_mut()).refused != 0 {
                let refused = self.batch.slots_mut().iter_mut().filter_map(|slot| slot.frame.take());
                refused.for_each(|frame| pool.release(frame));
            }
            self.batch.clear();
        }
        for port in &mut *ports {
            port.flush();
        }
        for port in &mut *ports {
            port.release_received(pool);
        }
        for port in &mut *ports {
            // A port that cannot send now keeps what was queued.
            let _ = port.wake();
        }
        count
    }
}

#[inline]
fn readdress(slot: &mut Slot, pool: &FramePool<'_>, addresses: &[u8; 12]) {
    let start = usize::from(slot.extent.start);
    if let Some(chunk) = slot.chunk_mut(pool.umem())
        && let Some(header) = chunk.get_mut(start..).and_then(|bytes| bytes.first_chunk_mut::<12>())
    {
        *header = *addresses;
    }
}
