//! Adjacencies and groups of them, as their one writer changes them.

use zerocopy::IntoBytes;

use super::{Entry, Retired, TableError, TableWriter};
use crate::adjacency::{Adjacency, NextHopId};
use crate::group::{Group, Slots};
use crate::layout::Offset;
use crate::segment::Fixed;
use crate::sync::{AtomicU32, Ordering};

/// Adjacencies.
impl TableWriter {
    pub(super) fn entry(&self, id: NextHopId) -> Option<&Entry> {
        self.adjacencies.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// Adds an adjacency that no route uses yet.
    ///
    /// # Errors
    /// [`TableError::AdjacencyLimit`] or [`TableError::ArenaFull`].
    pub fn add_adjacency(&mut self, adjacency: &Adjacency) -> Result<NextHopId, TableError> {
        self.add(adjacency.as_bytes(), None)
    }

    /// Adds a group that no route uses yet. What is in its slots ([`crate::group::distribute`]) are
    /// adjacencies, and no groups.
    ///
    /// # Errors
    /// As for [`TableWriter::add_adjacency`]; [`TableError::UnknownNextHop`] for a member that there is not.
    pub fn add_group(&mut self, slots: &Slots) -> Result<NextHopId, TableError> {
        self.check_members(slots)?;
        let id = self.add(Group::new(slots).as_bytes(), Some(Box::new(*slots)))?;
        self.count_uses(slots.iter().map(|id| (*id, 1)).collect());
        Ok(id)
    }

    fn check_members(&self, slots: &Slots) -> Result<(), TableError> {
        let is_member = |id: &NextHopId| self.entry(*id).is_some_and(|entry| entry.slots.is_none());
        let stranger = slots.iter().find(|id| !is_member(id));
        stranger.map_or(Ok(()), |id| Err(TableError::UnknownNextHop(*id)))
    }

    fn add(&mut self, record: &[u8], slots: Option<Box<Slots>>) -> Result<NextHopId, TableError> {
        let full = TableError::AdjacencyLimit(self.limits.adjacencies);
        let id = self.free_ids.last().copied().ok_or(full)?;
        let record = self.arena.store(record)?;
        self.free_ids.pop();
        if let Some(slot) = self.adjacencies.get_mut(id.0 as usize) {
            *slot = Some(Entry { record, routes: 0, slots });
        }
        self.point(id, record.offset);
        Ok(id)
    }

    /// Replaces an adjacency under the routes that use it: a neighbour's new address, for instance.
    ///
    /// # Errors
    /// [`TableError::UnknownNextHop`], or [`TableError::ArenaFull`]: the old one stays in force.
    pub fn replace_adjacency(&mut self, id: NextHopId, adjacency: &Adjacency) -> Result<(), TableError> {
        if self.entry(id).is_none_or(|entry| entry.slots.is_some()) {
            return Err(TableError::UnknownNextHop(id));
        }
        self.replace(id, adjacency.as_bytes())
    }

    /// Gives a group other members, or other shares, under the routes that use it.
    ///
    /// # Errors
    /// [`TableError::UnknownNextHop`] for what is no group or no member, or [`TableError::ArenaFull`]: the
    /// old one stays in force.
    pub fn replace_group(&mut self, id: NextHopId, slots: &Slots) -> Result<(), TableError> {
        let Some(old) = self.group(id).copied() else { return Err(TableError::UnknownNextHop(id)) };
        self.check_members(slots)?;
        self.replace(id, Group::new(slots).as_bytes())?;
        if let Some(entry) = self.adjacencies.get_mut(id.0 as usize).and_then(Option::as_mut) {
            entry.slots = Some(Box::new(*slots));
        }
        self.count_uses(slots.iter().map(|id| (*id, 1)).collect());
        self.count_uses(old.iter().map(|id| (*id, -1)).collect());
        Ok(())
    }

    /// The slots of a group; `None` for what is none.
    #[must_use]
    pub fn group(&self, id: NextHopId) -> Option<&Slots> {
        self.entry(id)?.slots.as_deref()
    }

    fn replace(&mut self, id: NextHopId, record: &[u8]) -> Result<(), TableError> {
        let record = self.arena.store(record)?;
        let slot = self.adjacencies.get_mut(id.0 as usize).and_then(Option::as_mut);
        let old = slot.map(|entry| core::mem::replace(&mut entry.record, record));
        self.point(id, record.offset);
        if let Some(old) = old {
            self.limbo.retire(Retired::Block(old));
            self.limbo.publish(&self.control.token);
        }
        Ok(())
    }

    /// Removes an adjacency that no route uses. Its id is used again only after reclamation.
    ///
    /// # Errors
    /// [`TableError::UnknownNextHop`] or [`TableError::InUse`].
    pub fn remove_adjacency(&mut self, id: NextHopId) -> Result<(), TableError> {
        let slot = self.adjacencies.get_mut(id.0 as usize).filter(|slot| slot.is_some());
        let slot = slot.ok_or(TableError::UnknownNextHop(id))?;
        if let Some(Entry { routes: routes @ 1.., .. }) = *slot {
            return Err(TableError::InUse { id, routes });
        }
        if let Some(entry) = slot.take() {
            self.limbo.retire(Retired::Adjacency(id, entry.record));
            self.limbo.publish(&self.control.token);
            let members = entry.slots.iter().flat_map(|slots| slots.iter());
            self.count_uses(members.map(|id| (*id, -1)).collect());
        }
        Ok(())
    }

    /// The adjacency of an id, from the writer's own tables.
    #[must_use]
    pub fn adjacency(&self, id: NextHopId) -> Option<Adjacency> {
        let entry = self.entry(id)?;
        self.arena.region().record::<Adjacency>(entry.record.offset.bytes()).copied()
    }

    /// How many routes, and groups as their member, use an adjacency; `None` for an unknown id.
    #[must_use]
    pub fn adjacency_routes(&self, id: NextHopId) -> Option<u32> {
        self.entry(id).map(|entry| entry.routes)
    }

    fn point(&self, id: NextHopId, offset: Offset) {
        point(&self.index, id, offset);
    }
}

/// Makes the index name the record of an id.
pub(super) fn point(index: &Fixed<AtomicU32>, id: NextHopId, offset: Offset) {
    if let Some(word) = index.all().get(id.0 as usize) {
        word.store(offset.granules(), Ordering::Release);
    }
}
