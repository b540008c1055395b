//! What lies where in shared memory: headers, granules, and the records that begin a table set.
//!
//! Offsets are u32 counts of granules of 32 bytes from the start of the arena, so they reach 128 GiB and
//! survive being mapped anywhere. A process that finds another magic or layout hash leaves the segment
//! alone and builds its own beside it.

use core::mem::{align_of, size_of};

use sixlane_tunnel::reason::Reason;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::adjacency::Adjacency;
use crate::classes::ClassRange;
use crate::counters::{Counters, PortCounters};
use crate::group::Group;
use crate::packets::PacketSlot;
use crate::quiescence::EpochLine;
use crate::segment::Atomics;
use crate::settings::Settings;
use crate::spsc::{PartnerLine, RingLine, Slot};
use crate::sync::{AtomicU32, AtomicU64};

/// Begins every segment: "sixlane" and a zero byte.
pub const MAGIC: u64 = u64::from_le_bytes(*b"sixlane\0");

/// Bytes of a granule, the unit of offsets.
pub const GRANULE: usize = 32;

/// Bytes of one segment of a table arena.
pub const SEGMENT_BYTES: usize = 64 << 20;

/// Address space reserved per arena, in bytes.
pub const ARENA_BYTES: usize = 64 << 30;

/// Most workers of one data plane.
pub const WORKERS: usize = 64;

/// Raised by hand when the meaning of a word changes while its size does not.
const REVISION: u64 = 2;

/// Fingerprint of everything that both sides of shared memory must agree on: the sizes of the records,
/// the number of drop reasons and their names in order.
pub const LAYOUT_HASH: u64 = layout_hash();

const fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

const fn layout_hash() -> u64 {
    let sizes = [
        size_of::<SegmentHeader>(),
        size_of::<ControlLine>(),
        size_of::<RootRecord>(),
        size_of::<Settings>(),
        size_of::<Adjacency>(),
        size_of::<Group>(),
        size_of::<ClassRange>(),
        size_of::<PartnerLine>(),
        size_of::<RingLine>(),
        size_of::<Slot>(),
        size_of::<PacketSlot>(),
        size_of::<EpochLine>(),
        size_of::<Counters>(),
        size_of::<PortCounters>(),
        WORKERS,
        SEGMENT_BYTES,
        GRANULE,
        Reason::COUNT,
    ];
    let mut hash = mix(0xcbf2_9ce4_8422_2325, REVISION);
    let mut index = 0;
    while index < sizes.len() {
        hash = mix(hash, sizes[index] as u64);
        index += 1;
    }
    let mut reason = 0;
    while reason < Reason::COUNT {
        let name = Reason::ALL[reason].name().as_bytes();
        let mut byte = 0;
        while byte < name.len() {
            hash = mix(hash, name[byte] as u64);
            byte += 1;
        }
        hash = mix(hash, 0);
        reason += 1;
    }
    hash
}

/// A place in an arena, in granules from its start. 0 (the header) means "none".
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(u32);

impl Offset {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The place `granules` granules from the start.
    #[must_use]
    pub const fn new(granules: u32) -> Self {
        Self(granules)
    }

    /// Granules from the start.
    #[must_use]
    pub const fn granules(self) -> u32 {
        self.0
    }

    /// Bytes from the start.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0 as usize * GRANULE
    }
}

/// What a segment is for.
pub(crate) mod kind {
    /// Tables, written by control.
    pub(crate) const TABLES: u32 = 1;
    /// One worker's words, written by that worker.
    pub(crate) const WORKER: u32 = 2;
}

/// The first line of every segment; never changes.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
pub struct SegmentHeader {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`LAYOUT_HASH`] of the writer.
    pub layout_hash: u64,
    /// Which set the segment belongs to: CLOCK_MONOTONIC ns of the set's creation.
    pub generation: u64,
    /// Size of the segment in bytes.
    pub bytes: u64,
    /// What the segment is for.
    pub kind: u32,
    /// Place in the set, from 0; for a worker's segment the worker's number.
    pub index: u32,
    /// Sizes of what follows; worker segments only ([`crate::worker::WorkerLayout`]).
    pub sizes: [u32; 6],
}

/// The line of a table set's first segment that the writer keeps changing.
#[repr(C, align(64))]
#[derive(Debug, FromBytes)]
pub(crate) struct ControlLine {
    /// The reclamation token (quiescence).
    pub(crate) token: AtomicU64,
    /// Raised before reclaimed memory is handed out again; tells readers outside the protocol.
    pub(crate) reclaims: AtomicU64,
    /// The generation word: offset of the current [`RootRecord`].
    pub(crate) root: AtomicU32,
    reserved: [AtomicU32; 11],
}

/// What one generation consists of. Immutable.
#[repr(C, align(64))]
#[derive(Debug, FromBytes)]
pub(crate) struct RootRecord {
    pub(crate) generation: AtomicU64,
    /// Offset of the IPv4 root page.
    pub(crate) fib4: AtomicU32,
    /// Offset of the IPv6 root page.
    pub(crate) fib6: AtomicU32,
    pub(crate) settings: AtomicU32,
    pub(crate) class_bitmap: AtomicU32,
    pub(crate) class_ranges: AtomicU32,
    pub(crate) class_count: AtomicU32,
    /// Offset of the adjacency index, one word an adjacency.
    pub(crate) adjacencies: AtomicU32,
    pub(crate) adjacency_count: AtomicU32,
    reserved: [AtomicU32; 6],
}

impl Atomics for ControlLine {}
impl Atomics for RootRecord {}
impl Atomics for EpochLine {}
impl Atomics for PartnerLine {}
impl Atomics for RingLine {}
impl Atomics for Slot {}
impl Atomics for PacketSlot {}
impl Atomics for Counters {}
impl Atomics for PortCounters {}

/// Byte offsets in a table set's first segment.
pub(crate) mod at {
    use super::WORKERS;
    /// The [`super::ControlLine`].
    pub(crate) const CONTROL: usize = 64;
    /// One word a worker: the offset of its inject ring, or none.
    pub(crate) const INJECT: usize = 128;
    /// One [`super::PartnerLine`] a worker, of its punt ring.
    pub(crate) const PARTNERS: usize = 4096;
    /// One [`super::PartnerLine`] a worker, of its ring of punted packets.
    pub(crate) const PACKET_PARTNERS: usize = PARTNERS + WORKERS * 64;
    /// Where the arena begins in the first segment; in later ones too, for simplicity.
    pub(crate) const ARENA: usize = PACKET_PARTNERS + WORKERS * 64;
}

const _: () = {
    assert!(size_of::<SegmentHeader>() == 64);
    assert!(size_of::<ControlLine>() == 64);
    assert!(size_of::<RootRecord>() == 64);
    assert!(size_of::<Adjacency>() == 64 && align_of::<Adjacency>() == 64);
    assert!(size_of::<PartnerLine>() == 64);
    assert!(size_of::<RingLine>() == 64);
    assert!(size_of::<Slot>() == 64);
    assert!(size_of::<PacketSlot>() == 1792);
    assert!(size_of::<EpochLine>() == 64);
    assert!(size_of::<ClassRange>() == 12);
    assert!(at::ARENA.is_multiple_of(GRANULE) && at::ARENA == 12_288);
    assert!(at::INJECT + WORKERS * 4 <= at::PARTNERS);
    assert!(SEGMENT_BYTES.is_multiple_of(GRANULE));
    assert!(
        (ARENA_BYTES / GRANULE) as u64 <= 1 << 31,
        "an offset must leave the top bit of a FIB entry free"
    );
};
