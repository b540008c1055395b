//! Tables as their one writer, control, sees them.
//!
//! Every change is prepared in memory that no reader sees and published by one release store; a change
//! that fails leaves everything as it was. What was replaced is reclaimed by [`TableWriter::collect`]
//! once every online worker has passed it.

mod adjacencies;
mod door;
mod routes;
mod stage;

use zerocopy::IntoBytes;

use crate::adjacency::NextHopId;
use crate::arena::{Arena, Block};
use crate::classes::{self, ClassRange};
use crate::fib::{Family, Fib};
use crate::group::Slots;
use crate::layout::{ControlLine, Offset, RootRecord, WORKERS, at};
use crate::quiescence::{Limbo, WorkerEpoch};
use crate::segment::{Fixed, One, Pages, Segment, SegmentError};
use crate::settings::Settings;
use crate::spsc::PartnerLine;
use crate::sync::{AtomicU32, Ordering, fence};

/// How much the tables may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 routes.
    pub routes4: usize,
    /// IPv6 routes.
    pub routes6: usize,
    /// Adjacencies; their ids are 1..=adjacencies.
    pub adjacencies: u32,
    /// Segments of 64 MiB (1..=1024).
    pub segments: usize,
    /// The memory's kind.
    pub pages: Pages,
    /// Fill reclaimed memory with a pattern that readers recognise as damage (for tests).
    pub poison: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            routes4: 2_000_000,
            routes6: 600_000,
            adjacencies: 65_536,
            segments: 16,
            pages: Pages::Plain,
            poison: false,
        }
    }
}

/// Why a change was refused. The tables are as before.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No memory is left that every reader has mapped: collect, or grow and acknowledge.
    #[error("the table arena is full; the old tables stay in force")]
    ArenaFull,
    /// `[limits] routes4` or `routes6` is reached.
    #[error("the limit of {0} routes is reached; the old tables stay in force")]
    RouteLimit(usize),
    /// `[limits] adjacencies` is reached (or ids wait for reclamation).
    #[error("the limit of {0} adjacencies is reached; the old tables stay in force")]
    AdjacencyLimit(u32),
    /// The id names no adjacency.
    #[error("there is no adjacency {}", .0.0)]
    UnknownNextHop(NextHopId),
    /// Routes still use the adjacency.
    #[error("adjacency {} is still used by {routes} routes", .id.0)]
    InUse {
        /// The adjacency.
        id: NextHopId,
        /// How many routes use it.
        routes: u32,
    },
    /// The kernel refused shared memory.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// What the tables occupy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of segments that can be used.
    pub capacity: usize,
    /// Bytes in use, retired ones included.
    pub used: usize,
    /// Retired things that wait for a reader.
    pub waiting: usize,
    /// IPv4 routes.
    pub routes4: usize,
    /// IPv6 routes.
    pub routes6: usize,
    /// Adjacencies.
    pub adjacencies: usize,
    /// Segments, acknowledged or not.
    pub segments: usize,
}

/// What waits for the readers.
#[derive(Clone, Copy, Debug)]
enum Retired {
    Block(Block),
    /// An adjacency with its record. Its word in the index stays until then, because a reader may have
    /// looked up a route and not its adjacency yet.
    Adjacency(NextHopId, Block),
}

/// An adjacency in force.
#[derive(Clone, Debug)]
struct Entry {
    record: Block,
    /// How many routes use it, and groups that have it as a member.
    routes: u32,
    /// The slots of a group.
    slots: Option<Box<Slots>>,
}

/// The blocks that a root record names.
#[derive(Clone, Copy, Debug)]
struct Generation {
    record: Block,
    settings: Block,
    bitmap: Block,
    ranges: Block,
    range_count: u32,
}

/// The writer of a table set.
#[derive(Debug)]
pub struct TableWriter {
    arena: Arena,
    limbo: Limbo<Retired>,
    control: One<ControlLine>,
    partners: Fixed<PartnerLine>,
    packet_partners: Fixed<PartnerLine>,
    inject: Fixed<AtomicU32>,
    root: One<RootRecord>,
    current: Generation,
    number: u64,
    settings: Settings,
    fib4: Fib,
    fib6: Fib,
    index: Fixed<AtomicU32>,
    index_offset: Offset,
    adjacencies: Vec<Option<Entry>>,
    free_ids: Vec<NextHopId>,
    limits: Limits,
    /// Changes of routes wait for the next generation.
    staging: bool,
}

impl TableWriter {
    /// Makes a sealed table set without routes, classes and adjacencies, as its first generation.
    ///
    /// # Errors
    /// [`TableError::Segment`] when the kernel refuses memory.
    pub fn create(limits: &Limits, settings: &Settings) -> Result<Self, TableError> {
        let mut arena = Arena::new(limits.pages, limits.segments, limits.poison)?;
        let gone = || TableError::ArenaFull;
        let control: One<ControlLine> = One::new(arena.region(), at::CONTROL).ok_or_else(gone)?;
        let partners = Fixed::new(arena.region(), at::PARTNERS, WORKERS).ok_or_else(gone)?;
        let packet_partners = Fixed::new(arena.region(), at::PACKET_PARTNERS, WORKERS).ok_or_else(gone)?;
        let inject = Fixed::new(arena.region(), at::INJECT, WORKERS).ok_or_else(gone)?;
        control.token.store(arena.generation(), Ordering::Relaxed);
        let count = limits.adjacencies.clamp(1, 1 << 24) as usize + 1;
        let index = arena.store(vec![0u32; count].as_bytes())?;
        let (fib4, fib6) = (Fib::new(&mut arena, Family::V4)?, Fib::new(&mut arena, Family::V6)?);
        let settings = Settings { generation: 1, ..*settings };
        let current = Generation {
            record: arena.allocate(size_of::<RootRecord>())?,
            settings: arena.store(settings.as_bytes())?,
            bitmap: arena.store(classes::bitmap(&[]).as_bytes())?,
            ranges: arena.allocate(1)?,
            range_count: 0,
        };
        let words = root_words(&current, 1, [fib4.root(), fib6.root()], (index.offset, count as u32));
        arena.write(current.record, words.as_bytes())?;
        let root = One::new(arena.region(), current.record.offset.bytes()).ok_or_else(gone)?;
        control.root.store(current.record.offset.granules(), Ordering::Release);
        Ok(Self {
            limbo: Limbo::new(arena.generation()),
            index: Fixed::new(arena.region(), index.offset.bytes(), count).ok_or_else(gone)?,
            index_offset: index.offset,
            adjacencies: vec![None; count],
            free_ids: (1..count as u32).rev().map(NextHopId).collect(),
            limits: Limits { adjacencies: count as u32 - 1, ..*limits },
            number: 1,
            staging: false,
            arena,
            control,
            partners,
            packet_partners,
            inject,
            root,
            current,
            settings,
            fib4,
            fib6,
        })
    }
}

/// Generations.
impl TableWriter {
    /// Publishes new settings; their `generation` is set here.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: the old ones stay in force.
    pub fn set_settings(&mut self, settings: &Settings) -> Result<(), TableError> {
        self.publish(Some(settings), None)
    }

    /// Publishes new classes of IPv4 addresses, in any order and overlapping as they like.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: the old ones stay in force.
    pub fn set_classes(&mut self, ranges: &[ClassRange]) -> Result<(), TableError> {
        self.publish(None, Some(ranges))
    }

    /// Publishes a generation with new settings, new classes or both, and the routes that were changed since
    /// [`TableWriter::stage`], by one store.
    ///
    /// # Errors
    /// [`TableError::ArenaFull`]: the old generation stays in force.
    pub fn publish(
        &mut self,
        settings: Option<&Settings>,
        ranges: Option<&[ClassRange]>,
    ) -> Result<(), TableError> {
        let mut made = Vec::new();
        match self.prepare(settings, ranges, &mut made) {
            Ok((next, root)) => {
                self.number += 1;
                self.settings.generation = self.number;
                if let Some(settings) = settings {
                    self.settings = Settings { generation: self.number, ..*settings };
                }
                self.control.root.store(next.record.offset.granules(), Ordering::Release);
                let old = core::mem::replace(&mut self.current, next);
                self.root = root;
                self.limbo.retire(Retired::Block(old.record));
                self.limbo.retire(Retired::Block(old.settings));
                if ranges.is_some() {
                    self.limbo.retire(Retired::Block(old.bitmap));
                    self.limbo.retire(Retired::Block(old.ranges));
                }
                self.unstage();
                self.limbo.publish(&self.control.token);
                Ok(())
            }
            Err(error) => {
                made.into_iter().for_each(|block| self.arena.free(block));
                Err(error)
            }
        }
    }

    fn prepare(
        &mut self,
        settings: Option<&Settings>,
        ranges: Option<&[ClassRange]>,
        made: &mut Vec<Block>,
    ) -> Result<(Generation, One<RootRecord>), TableError> {
        let mut keep = |block: Result<Block, TableError>| block.inspect(|block| made.push(*block));
        let number = self.number + 1;
        let settings = Settings { generation: number, ..*settings.unwrap_or(&self.settings) };
        let mut next = self.current;
        next.settings = keep(self.arena.store(settings.as_bytes()))?;
        if let Some(ranges) = ranges {
            let ranges = classes::normalise(ranges);
            next.bitmap = keep(self.arena.store(classes::bitmap(&ranges).as_bytes()))?;
            next.ranges = keep(self.arena.store(ranges.as_bytes()))?;
            next.range_count = ranges.len() as u32;
        }
        let index = (self.index_offset, self.index.all().len() as u32);
        let words = root_words(&next, number, [self.fib4.root(), self.fib6.root()], index);
        next.record = keep(self.arena.store(words.as_bytes()))?;
        let root = One::new(self.arena.region(), next.record.offset.bytes()).ok_or(TableError::ArenaFull)?;
        Ok((next, root))
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The number of the generation in force, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// Memory.
impl TableWriter {
    /// Reclaims what every worker of `epochs` has passed; offline workers hold nothing back. Name the
    /// lines of *all* workers whose processes live, however long they have been silent: only the death of
    /// its process takes a worker out of the list.
    pub fn collect(&mut self, epochs: &[WorkerEpoch<'_>]) {
        if self.limbo.is_empty() {
            return;
        }
        // Readers outside quiescence must see the count move before the memory changes; and who sees the
        // new count sees what was unlinked before.
        let reclaims = &self.control.reclaims;
        reclaims.store(reclaims.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        fence(Ordering::Release);
        let Self { arena, free_ids, index, .. } = self;
        self.limbo.collect(epochs, |retired| match retired {
            Retired::Block(block) => arena.free(block),
            Retired::Adjacency(id, record) => {
                adjacencies::point(index, id, Offset::NONE);
                arena.free(record);
                free_ids.push(id);
            }
        });
    }

    /// Adds a segment of 64 MiB. It is used after [`TableWriter::acknowledge`], once every worker has
    /// mapped it.
    ///
    /// # Errors
    /// [`TableError::Segment`]: no room, or no memory.
    pub fn grow(&mut self) -> Result<u32, TableError> {
        Ok(self.arena.grow()?)
    }

    /// Every worker has mapped segment `index` and all before it.
    pub fn acknowledge(&mut self, index: u32) {
        self.arena.acknowledge(index);
    }

    /// The set's segments, to be handed to readers in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.arena.segments()
    }

    /// Which set this is: CLOCK_MONOTONIC ns of its creation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.arena.generation()
    }

    /// The consumer's line of the punt ring of `worker` (below 64), for [`crate::spsc::Consumer`].
    #[must_use]
    pub fn partner(&self, worker: u16) -> Option<&PartnerLine> {
        self.partners.all().get(usize::from(worker))
    }

    #[cfg(test)]
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// What the tables occupy.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let (used, capacity) = self.arena.bytes();
        Memory {
            capacity,
            used,
            waiting: self.limbo.len(),
            routes4: self.fib4.len(),
            routes6: self.fib6.len(),
            adjacencies: self.adjacencies.iter().flatten().count(),
            segments: self.arena.segments().len(),
        }
    }
}

/// A root record as it is written.
fn root_words(generation: &Generation, number: u64, fibs: [Offset; 2], index: (Offset, u32)) -> [u32; 16] {
    let Generation { settings, bitmap, ranges, range_count, .. } = generation;
    let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
    let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
    let mut words = [0; 16];
    let fields = [
        low,
        high,
        fibs[0].granules(),
        fibs[1].granules(),
        settings.offset.granules(),
        bitmap.offset.granules(),
        ranges.offset.granules(),
        *range_count,
        index.0.granules(),
        index.1,
    ];
    words.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    words
}
