//! Tables as their readers see them: mapped read-only, every offset checked (D10).

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use sixlane_tunnel::{Class4, Classes};

use crate::adjacency::{Adjacency, NextHopId};
use crate::classes::{self, Bitmap, ClassRange};
use crate::fib;
use crate::group::Group;
use crate::layout::{
    ARENA_BYTES, ControlLine, LAYOUT_HASH, MAGIC, Offset, RootRecord, SEGMENT_BYTES, SegmentHeader, WORKERS,
    at, kind,
};
use crate::packets::{self, INJECT_SLOTS, PacketSlot};
use crate::segment::{Access, Fixed, One, Region, Segment, SegmentError};
use crate::settings::Settings;
use crate::spsc::{Partner, PartnerLine, Ring, RingReader};
use crate::sync::{AtomicU32, Ordering, fence};

/// The tables are damaged: an offset leads out of mapped memory. Packets are dropped as `table_corrupt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tables are damaged: an offset leads out of their memory")]
pub struct Corrupt;

/// A table set, mapped read-only.
#[derive(Debug)]
pub struct Tables {
    region: Arc<Region>,
    control: One<ControlLine>,
    partners: Fixed<PartnerLine>,
    packet_partners: Fixed<PartnerLine>,
    inject: Fixed<AtomicU32>,
    generation: u64,
    /// Number of mapped segments; serialises [`Tables::add_segment`].
    segments: Mutex<u32>,
}

/// Checks what a table segment says about itself.
fn check(header: &SegmentHeader, segment: &Segment, index: u32) -> Result<(), SegmentError> {
    if header.magic != MAGIC || header.layout_hash != LAYOUT_HASH {
        return Err(SegmentError::ForeignLayout);
    }
    if header.kind != kind::TABLES || header.index != index {
        return Err(SegmentError::Misplaced);
    }
    if header.bytes != segment.bytes() as u64 || segment.bytes() != SEGMENT_BYTES {
        return Err(SegmentError::Size { expected: SEGMENT_BYTES as u64, found: segment.bytes() as u64 });
    }
    Ok(())
}

impl Tables {
    /// Maps the first segment of a set.
    ///
    /// # Errors
    /// [`SegmentError::Unsealed`] or [`SegmentError::ForeignLayout`] for what is not ours,
    /// [`SegmentError::Misplaced`] for another kind of segment, else what the kernel refused.
    pub fn attach(first: OwnedFd) -> Result<Self, SegmentError> {
        let segment = Segment::accept(first)?;
        let header = peek(&segment)?;
        check(&header, &segment, 0)?;
        let region = Arc::new(Region::reserve(ARENA_BYTES, Access::ReadOnly)?);
        region.append(&segment)?;
        Ok(Self {
            control: One::new(&region, at::CONTROL).ok_or(SegmentError::ForeignLayout)?,
            partners: Fixed::new(&region, at::PARTNERS, WORKERS).ok_or(SegmentError::ForeignLayout)?,
            packet_partners: Fixed::new(&region, at::PACKET_PARTNERS, WORKERS)
                .ok_or(SegmentError::ForeignLayout)?,
            inject: Fixed::new(&region, at::INJECT, WORKERS).ok_or(SegmentError::ForeignLayout)?,
            generation: header.generation,
            segments: Mutex::new(1),
            region,
        })
    }

    /// Maps the next segment; readers may be at work. Segments arrive in order.
    ///
    /// # Errors
    /// As for [`Tables::attach`]; [`SegmentError::Misplaced`] also for a segment of another set or out of
    /// order.
    pub fn add_segment(&self, index: u32, fd: OwnedFd) -> Result<(), SegmentError> {
        let segment = Segment::accept(fd)?;
        let header = peek(&segment)?;
        check(&header, &segment, index)?;
        let mut count = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        if header.generation != self.generation || index != *count {
            return Err(SegmentError::Misplaced);
        }
        self.region.append(&segment)?;
        *count += 1;
        Ok(())
    }

    /// Which set this is: CLOCK_MONOTONIC ns of its creation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The reclamation token, for [`crate::EpochLine::quiesce`] and [`crate::EpochLine::go_online`].
    #[inline]
    #[must_use]
    pub fn token(&self) -> u64 {
        self.control.token.load(Ordering::Acquire)
    }

    /// Control's line of the punt ring of `worker` (below 64).
    #[must_use]
    pub fn partner(&self, worker: u16) -> Option<Partner<'_>> {
        self.partners.all().get(usize::from(worker)).map(PartnerLine::reader)
    }

    /// Control's line of the ring of packets that `worker` (below 64) punts.
    #[must_use]
    pub fn packet_partner(&self, worker: u16) -> Option<Partner<'_>> {
        self.packet_partners.all().get(usize::from(worker)).map(PartnerLine::reader)
    }

    /// The ring of packets that control injects into `worker` (below 64); `None` when this set of tables
    /// has none, or its place lies outside mapped memory.
    #[must_use]
    pub fn inject_ring(&self, worker: u16) -> Option<RingReader<'_, PacketSlot>> {
        let word = self.inject.all().get(usize::from(worker))?;
        let offset = Offset::new(word.load(Ordering::Acquire));
        if offset == Offset::NONE {
            return None;
        }
        let (line, slots) = packets::place(offset.bytes());
        let ring = Ring::new(self.region.atomics(line)?, self.region.atomic_slice(slots, INJECT_SLOTS)?);
        ring.map(Ring::reader)
    }

    /// The generation in force, for one batch. A worker is online and drops the view before its next
    /// quiescent point. Who takes no part in quiescence (a CLI) asks [`View::unchanged`] after use.
    ///
    /// # Errors
    /// [`Corrupt`] when an offset leads out of mapped memory.
    #[inline]
    pub fn enter(&self) -> Result<View<'_>, Corrupt> {
        let reclaims = self.control.reclaims.load(Ordering::Acquire);
        let root = Offset::new(self.control.root.load(Ordering::Acquire));
        View::new(&self.region, &self.control, root, reclaims).ok_or(Corrupt)
    }
}

/// A segment's header, before anything is made of it.
fn peek(segment: &Segment) -> Result<SegmentHeader, SegmentError> {
    let size = size_of::<SegmentHeader>();
    if segment.bytes() < size {
        return Err(SegmentError::ForeignLayout);
    }
    let region = Region::reserve(segment.bytes(), Access::ReadOnly)?;
    region.append(segment)?;
    region.record(0).copied().ok_or(SegmentError::ForeignLayout)
}

/// One generation of the tables, for the length of a batch.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    region: &'a Region,
    control: &'a ControlLine,
    fib4: &'a fib::Root4,
    fib6: &'a fib::Root6,
    settings: &'a Settings,
    bitmap: &'a Bitmap,
    ranges: &'a [ClassRange],
    adjacencies: &'a [AtomicU32],
    reclaims: u64,
}

impl<'a> View<'a> {
    #[inline]
    fn new(region: &'a Region, control: &'a ControlLine, root: Offset, reclaims: u64) -> Option<Self> {
        let root: &RootRecord = region.atomics(root.bytes())?;
        let place = |word: &AtomicU32| Offset::new(word.load(Ordering::Relaxed)).bytes();
        let count = |word: &AtomicU32| word.load(Ordering::Relaxed) as usize;
        Some(Self {
            region,
            control,
            fib4: region.atomics(place(&root.fib4))?,
            fib6: region.atomics(place(&root.fib6))?,
            settings: region.record(place(&root.settings))?,
            bitmap: region.record(place(&root.class_bitmap))?,
            ranges: region.records(place(&root.class_ranges), count(&root.class_count))?,
            adjacencies: region.atomic_slice(place(&root.adjacencies), count(&root.adjacency_count))?,
            reclaims,
        })
    }

    /// The settings of the generation.
    #[inline]
    #[must_use]
    pub fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// Looks up IPv4 addresses (numbers in host order; at most 64 per call are worth while). Fills as many
    /// answers as both slices have; damage answers [`NextHopId::CORRUPT`].
    #[inline]
    pub fn lookup4_batch(&self, keys: &[u32], out: &mut [NextHopId]) {
        fib::look_up4(fib::Level::best(), self.region, self.fib4, keys, out);
    }

    /// Looks up IPv6 addresses, given as their upper and lower halves in host order; otherwise as
    /// [`View::lookup4_batch`].
    #[inline]
    pub fn lookup6_batch(&self, hi: &[u64], lo: &[u64], out: &mut [NextHopId]) {
        fib::look_up6(fib::Level::best(), self.region, self.fib6, (hi, lo), out);
    }

    /// The same with vector instructions that are not the best that this processor has.
    #[cfg(test)]
    pub(crate) fn lookup4_at(&self, level: fib::Level, keys: &[u32], out: &mut [NextHopId]) {
        fib::look_up4(level, self.region, self.fib4, keys, out);
    }

    /// The same with vector instructions that are not the best that this processor has.
    #[cfg(test)]
    pub(crate) fn lookup6_at(&self, level: fib::Level, keys: (&[u64], &[u64]), out: &mut [NextHopId]) {
        fib::look_up6(level, self.region, self.fib6, keys, out);
    }

    /// What to do with packets of a next hop. `None` for no route, and for damage:
    /// `id.is_some()` tells them apart.
    #[inline]
    #[must_use]
    pub fn adjacency(&self, id: NextHopId) -> Option<&'a Adjacency> {
        let word = self.adjacencies.get(id.0 as usize)?;
        let offset = Offset::new(word.load(Ordering::Acquire));
        if offset == Offset::NONE { None } else { self.region.record(offset.bytes()) }
    }

    /// The member of a group ([`crate::adjacency::kind::GROUP`]) that takes a flow; damage answers
    /// [`NextHopId::CORRUPT`].
    #[inline]
    #[must_use]
    pub fn member(&self, group: NextHopId, hash: u64) -> NextHopId {
        let word = self.adjacencies.get(group.0 as usize);
        let offset = word.map_or(Offset::NONE, |word| Offset::new(word.load(Ordering::Acquire)));
        let group: Option<&Group> = self.region.record(offset.bytes());
        group.map_or(NextHopId::CORRUPT, |group| group.choose(hash))
    }

    /// How many adjacencies there can be: every id is below this.
    #[must_use]
    pub fn adjacency_limit(&self) -> u32 {
        u32::try_from(self.adjacencies.len()).unwrap_or(u32::MAX)
    }

    /// Whether no memory has been reclaimed since the view was made: then all that was read through it
    /// was consistent. For readers outside quiescence, who try again when it was not.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        // What was read before must not be read after the check.
        fence(Ordering::Acquire);
        self.control.reclaims.load(Ordering::Relaxed) == self.reclaims
    }
}

impl Classes for View<'_> {
    #[inline]
    fn class4(&self, address: u32) -> Class4 {
        classes::look_up(self.bitmap, self.ranges, address)
    }

    #[inline]
    fn lab(&self) -> bool {
        self.settings.lab != 0
    }
}
