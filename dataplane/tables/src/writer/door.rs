//! Control's ends of the rings that carry packets (see [`crate::packets`]).

use super::{TableError, TableWriter};
use crate::packets::{INJECT_BYTES, Injector};
use crate::spsc::PartnerLine;
use crate::sync::Ordering;

impl TableWriter {
    /// The consumer's line of the ring of packets that `worker` (below 64) punts, for
    /// [`crate::packets::PacketConsumer`].
    #[must_use]
    pub fn packet_partner(&self, worker: u16) -> Option<&PartnerLine> {
        self.packet_partners.all().get(usize::from(worker))
    }

    /// Makes the inject ring of `worker` (below 64), empty. Workers look for it when they begin with a set
    /// of tables, so it is made before the set is handed out; once for each worker.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`], also for a worker beyond 64.
    pub fn open_inject(&mut self, worker: u16) -> Result<Injector, TableError> {
        let block = self.arena.allocate(INJECT_BYTES)?;
        // A block may have been used before: no word of it may look like a ring.
        self.arena.region().fill(block.offset.bytes(), INJECT_BYTES, 0).ok_or(TableError::ArenaFull)?;
        let injector = Injector::open(self.arena.region(), block.offset.bytes(), self.generation())
            .ok_or(TableError::ArenaFull)?;
        let word = self.inject.all().get(usize::from(worker)).ok_or(TableError::ArenaFull)?;
        word.store(block.offset.granules(), Ordering::Release);
        Ok(injector)
    }
}
