//! The writer's memory: blocks of granules in growing segments.
//!
//! Blocks come in classes of size: one granule, then even numbers of granules (whole cache lines) with four
//! steps to each doubling, so that at most a quarter of a block is unused. Freed blocks wait in a list of their
//! class, so a steady state needs no new memory. All bookkeeping is in the writer's own heap.

use std::sync::Arc;

use crate::layout::{
    ARENA_BYTES, GRANULE, LAYOUT_HASH, MAGIC, Offset, SEGMENT_BYTES, SegmentHeader, at, kind,
};
use crate::segment::{Access, Pages, Region, Segment, SegmentError};
use crate::writer::TableError;
use zerocopy::IntoBytes;

/// CLOCK_MONOTONIC in nanoseconds, the time of shared memory.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64).max(1)
}

/// A block: where it lies and its class of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) offset: Offset,
    class: u8,
}

impl Block {
    /// Its size in bytes, which may be more than was asked for.
    pub(crate) const fn bytes(self) -> usize {
        granules_of(self.class as usize) * GRANULE
    }
}

/// Classes 0..=4 have 1, 2, 4, 6 and 8 granules; each doubling after that has four steps.
const CLASSES: usize = 5 + 4 * 18;

/// The smallest class that holds `granules` (1 or more).
const fn class_of(granules: usize) -> usize {
    match granules {
        0 | 1 => 0,
        2 => 1,
        3..=8 => granules.div_ceil(2),
        _ => {
            let doubling = (granules - 1).ilog2() as usize;
            let step = 1 << (doubling - 2);
            4 + 4 * (doubling - 3) + (granules - (1 << doubling)).div_ceil(step)
        }
    }
}

/// Granules of a class.
const fn granules_of(class: usize) -> usize {
    match class {
        0 => 1,
        1..=4 => [2, 4, 6, 8][class - 1],
        _ => {
            let doubling = 3 + (class - 5) / 4;
            (1 << doubling) + ((class - 5) % 4 + 1) * (1 << (doubling - 2))
        }
    }
}

const _: () = {
    let mut granules = 1;
    while granules < 4096 {
        let class = class_of(granules);
        assert!(granules_of(class) >= granules && (class == 0 || granules_of(class - 1) < granules));
        granules += 1;
    }
    assert!(granules_of(CLASSES - 1) * GRANULE == SEGMENT_BYTES, "the largest class is a segment");
};

/// What freed memory is filled with when asked: as FIB entries, offsets beyond any arena.
const POISON: u8 = 0xff;

/// Segments and the blocks in them.
#[derive(Debug)]
pub(crate) struct Arena {
    region: Arc<Region>,
    segments: Vec<Segment>,
    /// Segments that every reader has mapped; blocks come from these only.
    usable: usize,
    pages: Pages,
    generation: u64,
    /// The next never used byte of the segment in use, and that segment's end.
    fresh: usize,
    end: usize,
    free: [Vec<Offset>; CLASSES],
    used: usize,
    poison: bool,
    /// Greatest number of segments.
    limit: usize,
}

impl Arena {
    /// Makes the first segment.
    pub(crate) fn new(pages: Pages, limit: usize, poison: bool) -> Result<Self, SegmentError> {
        let mut arena = Self {
            region: Arc::new(Region::reserve(ARENA_BYTES, Access::Writable)?),
            segments: Vec::new(),
            usable: 0,
            pages,
            generation: now_ns(),
            fresh: 0,
            end: 0,
            free: [const { Vec::new() }; CLASSES],
            used: 0,
            poison,
            limit: limit.clamp(1, ARENA_BYTES / SEGMENT_BYTES),
        };
        let first = arena.grow()?;
        arena.acknowledge(first);
        Ok(arena)
    }

    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes in blocks that are in use, and bytes that segments offer.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (self.used, self.usable * SEGMENT_BYTES)
    }

    /// The first byte that was never used.
    #[cfg(test)]
    pub(crate) fn high_water(&self) -> usize {
        self.fresh
    }

    /// Adds a segment, not to be used before [`Arena::acknowledge`].
    pub(crate) fn grow(&mut self) -> Result<u32, SegmentError> {
        if self.segments.len() >= self.limit {
            return Err(SegmentError::NoRoom);
        }
        let index = self.segments.len();
        let segment = Segment::create("sixlane-tables", SEGMENT_BYTES, self.pages)?;
        self.region.append(&segment)?;
        let header = SegmentHeader {
            magic: MAGIC,
            layout_hash: LAYOUT_HASH,
            generation: self.generation,
            bytes: SEGMENT_BYTES as u64,
            kind: kind::TABLES,
            index: index as u32,
            sizes: [0; 6],
        };
        self.region.write(index * SEGMENT_BYTES, header.as_bytes()).ok_or(SegmentError::NoRoom)?;
        segment.seal()?;
        self.segments.push(segment);
        Ok(index as u32)
    }

    /// Every reader has mapped segment `index` and those before it.
    pub(crate) fn acknowledge(&mut self, index: u32) {
        let count = (index as usize + 1).min(self.segments.len());
        if self.usable < count {
            self.usable = count;
        }
        if self.end == 0 {
            (self.fresh, self.end) = (at::ARENA, SEGMENT_BYTES);
        }
    }

    /// A block of at least `bytes` bytes whose content is undefined. Of a granule or less it lies somewhere in
    /// a cache line, else it begins one.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<Block, TableError> {
        let class = class_of(bytes.div_ceil(GRANULE));
        let size = granules_of(class.min(CLASSES - 1)) * GRANULE;
        let list = self.free.get_mut(class).ok_or(TableError::ArenaFull)?;
        let offset = match list.pop() {
            Some(offset) => offset,
            None if class == 0 => self.half_line()?,
            None => self.fresh(size)?,
        };
        self.used += size;
        Ok(Block { offset, class: class as u8 })
    }

    /// The first half of a new cache line; the second waits in its list.
    fn half_line(&mut self) -> Result<Offset, TableError> {
        let offset = self.fresh(2 * GRANULE)?;
        self.free[0].push(Offset::new(offset.granules() + 1));
        Ok(offset)
    }

    /// `size` bytes that were never used; goes over to the next usable segment when one is full.
    fn fresh(&mut self, size: usize) -> Result<Offset, TableError> {
        if self.fresh + size > self.end {
            let next = self.end / SEGMENT_BYTES;
            if next >= self.usable || size > SEGMENT_BYTES - at::ARENA {
                return Err(TableError::ArenaFull);
            }
            self.give_rest();
            self.fresh = next * SEGMENT_BYTES + at::ARENA;
            self.end = (next + 1) * SEGMENT_BYTES;
        }
        let offset = Offset::new((self.fresh / GRANULE) as u32);
        self.fresh += size;
        Ok(offset)
    }

    /// Puts what is left of a segment into the free lists, largest blocks first.
    fn give_rest(&mut self) {
        for class in (1..CLASSES).rev() {
            let size = granules_of(class) * GRANULE;
            while self.fresh + size <= self.end {
                self.free[class].push(Offset::new((self.fresh / GRANULE) as u32));
                self.fresh += size;
            }
        }
    }

    /// Writes into a block that no reader can see.
    pub(crate) fn write(&self, block: Block, bytes: &[u8]) -> Result<(), TableError> {
        self.region.write(block.offset.bytes(), bytes).ok_or(TableError::ArenaFull)
    }

    /// A block with these bytes in it.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> Result<Block, TableError> {
        let block = self.allocate(bytes.len())?;
        self.write(block, bytes)?;
        Ok(block)
    }

    /// Takes a block back that no reader can see any more.
    pub(crate) fn free(&mut self, block: Block) {
        let size = block.bytes();
        if self.poison {
            self.region.fill(block.offset.bytes(), size, POISON);
        }
        self.used -= size;
        if let Some(list) = self.free.get_mut(usize::from(block.class)) {
            list.push(block.offset);
        }
    }
}
