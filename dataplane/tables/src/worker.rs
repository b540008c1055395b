//! A worker's own segment: epoch line, counters, frame ledger, intent words, its punt rings and its line
//! of the inject ring.
//!
//! The data plane creates and seals one per worker ([`WorkerSegment`]); control and a successor attach
//! read-only ([`WorkerView`]).

use core::mem::size_of;
use core::sync::atomic::{AtomicU8, Ordering};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::adjacency::NextHopId;
use crate::counters::{Counter, CounterSnapshot, Counters, PortCounters, PortSnapshot};
use crate::layout::{LAYOUT_HASH, MAGIC, SegmentHeader, WORKERS, kind};
use crate::packets::{PacketProducer, PacketSlot};
use crate::quiescence::{EpochLine, WorkerEpoch};
use crate::segment::{Access, Atomics, Fixed, One, Pages, Region, Segment, SegmentError};
use crate::settings::PORTS;
use crate::spsc::{Partner, PartnerLine, Producer, Ring, RingLine, RingReader, Slot};
use crate::sync::AtomicU32;

/// Intent words of a port (the meaning is xsk's: one a ring whose producer the worker is).
pub const INTENTS_PER_PORT: usize = 4;

/// The states of a frame in the order of [`frame_state`].
pub const FRAME_STATES: [&str; 5] = ["free", "fill", "batch", "held", "tx"];

/// Which of [`FRAME_STATES`] a byte of the frame ledger stands for; `None` for a byte that no worker
/// writes. (The meaning is xsk's: of frames that are the kernel's the byte also names the socket.)
#[must_use]
pub const fn frame_state(byte: u8) -> Option<usize> {
    match byte {
        0 => Some(0),
        1 | 16..=127 => Some(1),
        2 => Some(2),
        3 => Some(3),
        4 | 128.. => Some(4),
        5..=15 => None,
    }
}

/// The sizes of a worker's segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLayout {
    /// The worker's number (0..64).
    pub worker: u16,
    /// Adjacencies that have a counter; ids from there on are counted nowhere.
    pub adjacencies: u32,
    /// Frames of the UMEM, one ledger byte each.
    pub frames: u32,
    /// Ports (up to 64).
    pub ports: u32,
    /// Slots of the punt ring, a power of two.
    pub punt_slots: u32,
    /// Slots of the ring of punted packets, a power of two.
    pub packet_slots: u32,
}

/// Greatest size of a worker's segment in bytes; a header that asks for more is not believed.
const BYTES_MAX: usize = 1 << 30;

/// Where the parts lie, in bytes; each begins on a cache line.
#[derive(Clone, Copy, Debug)]
struct Parts {
    epoch: usize,
    counters: usize,
    ports: usize,
    intents: usize,
    ring: usize,
    slots: usize,
    packet_ring: usize,
    packet_slots: usize,
    inject: usize,
    adjacencies: usize,
    ledger: usize,
    end: usize,
}

impl WorkerLayout {
    fn parts(&self) -> Result<Parts, SegmentError> {
        let sound = (self.worker as usize) < WORKERS
            && self.ports as usize <= PORTS
            && self.punt_slots.is_power_of_two()
            && self.packet_slots.is_power_of_two()
            && self.frames > 0;
        if !sound {
            return Err(SegmentError::TooLarge);
        }
        let mut end = size_of::<SegmentHeader>();
        let mut place = |count: u32, each: usize| {
            let start = end;
            let bytes = (count as usize).checked_mul(each)?;
            end = start.checked_add(bytes)?.checked_next_multiple_of(64)?;
            (end <= BYTES_MAX).then_some(start)
        };
        let mut lay = || {
            Some(Parts {
                epoch: place(1, size_of::<EpochLine>())?,
                counters: place(1, size_of::<Counters>())?,
                ports: place(self.ports, size_of::<PortCounters>())?,
                intents: place(self.ports, INTENTS_PER_PORT * size_of::<AtomicU32>())?,
                ring: place(1, size_of::<RingLine>())?,
                slots: place(self.punt_slots, size_of::<Slot>())?,
                packet_ring: place(1, size_of::<RingLine>())?,
                packet_slots: place(self.packet_slots, size_of::<PacketSlot>())?,
                inject: place(1, size_of::<PartnerLine>())?,
                adjacencies: place(self.adjacencies, size_of::<Counter>())?,
                ledger: place(self.frames, 1)?,
                end: 0,
            })
        };
        let parts = lay().ok_or(SegmentError::TooLarge)?;
        Ok(Parts { end: end.next_multiple_of(4096), ..parts })
    }
}

impl Atomics for Counter {}

/// The parts of a mapped segment: what the owner and the readers have in common.
#[derive(Debug)]
struct Mapped {
    layout: WorkerLayout,
    epoch: One<EpochLine>,
    counters: One<Counters>,
    ring: One<RingLine>,
    slots: Fixed<Slot>,
    packet_ring: One<RingLine>,
    packet_slots: Fixed<PacketSlot>,
    inject: One<PartnerLine>,
    ports: Fixed<PortCounters>,
    intents: Fixed<AtomicU32>,
    adjacencies: Fixed<Counter>,
    ledger: Fixed<AtomicU8>,
}

impl Mapped {
    fn new(region: &Arc<Region>, layout: WorkerLayout, parts: &Parts) -> Option<Self> {
        let ports = layout.ports as usize;
        Some(Self {
            layout,
            epoch: One::new(region, parts.epoch)?,
            counters: One::new(region, parts.counters)?,
            ring: One::new(region, parts.ring)?,
            slots: Fixed::new(region, parts.slots, layout.punt_slots as usize)?,
            packet_ring: One::new(region, parts.packet_ring)?,
            packet_slots: Fixed::new(region, parts.packet_slots, layout.packet_slots as usize)?,
            inject: One::new(region, parts.inject)?,
            ports: Fixed::new(region, parts.ports, ports)?,
            intents: Fixed::new(region, parts.intents, ports * INTENTS_PER_PORT)?,
            adjacencies: Fixed::new(region, parts.adjacencies, layout.adjacencies as usize)?,
            ledger: Fixed::new(region, parts.ledger, layout.frames as usize)?,
        })
    }

    /// The layout demands a power of two of slots, so this is a ring.
    fn ring(&self) -> Ring<'_> {
        Ring::over(&self.ring, self.slots.all())
    }

    /// As [`Mapped::ring`].
    fn packet_ring(&self) -> Ring<'_, PacketSlot> {
        Ring::over(&self.packet_ring, self.packet_slots.all())
    }
}

/// A worker's segment in the hands of its worker.
///
/// The words are atomics with one writer, the owner of this value: one thread, the worker's.
#[derive(Debug)]
pub struct WorkerSegment {
    segment: Segment,
    mapped: Mapped,
    generation: u64,
}

impl WorkerSegment {
    /// Makes, maps and seals a segment with all figures 0 and every ledger byte 0.
    ///
    /// # Errors
    /// [`SegmentError::TooLarge`] for sizes outside the ranges of [`WorkerLayout`], else what the kernel
    /// refused.
    pub fn create(layout: WorkerLayout) -> Result<Self, SegmentError> {
        let parts = layout.parts()?;
        let segment = Segment::create("sixlane-worker", parts.end, Pages::Plain)?;
        let region = Region::reserve(parts.end, Access::Writable)?;
        region.append(&segment)?;
        let generation = crate::arena::now_ns();
        let WorkerLayout { worker, adjacencies, frames, ports, punt_slots, packet_slots } = layout;
        let header = SegmentHeader {
            magic: MAGIC,
            layout_hash: LAYOUT_HASH,
            generation,
            bytes: parts.end as u64,
            kind: kind::WORKER,
            index: u32::from(worker),
            sizes: [adjacencies, frames, ports, punt_slots, packet_slots, 0],
        };
        region.write(0, header.as_bytes()).ok_or(SegmentError::TooLarge)?;
        segment.seal()?;
        let mapped = Mapped::new(&Arc::new(region), layout, &parts).ok_or(SegmentError::TooLarge)?;
        Ok(Self { segment, mapped, generation })
    }

    /// The sizes.
    #[must_use]
    pub fn layout(&self) -> &WorkerLayout {
        &self.mapped.layout
    }

    /// The memory, to be shared with keeper and control.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Opens the punt ring of this segment. Its generation is the segment's.
    #[must_use]
    pub fn open_punt(&self) -> Producer {
        Producer::open(self.mapped.ring(), self.generation)
    }

    /// Opens the ring of punted packets. Its generation is the segment's.
    #[must_use]
    pub fn open_packets(&self) -> PacketProducer {
        PacketProducer::open(self.mapped.packet_ring(), self.generation)
    }

    /// When the segment was made (CLOCK_MONOTONIC ns): tells this worker's lives apart.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The ring of punted packets, for its producer.
    #[inline]
    #[must_use]
    pub fn packet_ring(&self) -> Ring<'_, PacketSlot> {
        self.mapped.packet_ring()
    }

    /// The worker's line of its inject ring, for its consumer.
    #[inline]
    #[must_use]
    pub fn inject_line(&self) -> &PartnerLine {
        &self.mapped.inject
    }

    /// The worker's line of the quiescence protocol.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> &EpochLine {
        &self.mapped.epoch
    }

    /// The figures.
    #[inline]
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.mapped.counters
    }

    /// The figures of the ports.
    #[inline]
    #[must_use]
    pub fn ports(&self) -> &[PortCounters] {
        self.mapped.ports.all()
    }

    /// The packets of an adjacency; `None` for ids beyond the layout.
    #[inline]
    #[must_use]
    pub fn adjacency(&self, id: NextHopId) -> Option<&Counter> {
        self.mapped.adjacencies.all().get(id.0 as usize)
    }

    /// The frame ledger: one byte a frame.
    #[inline]
    #[must_use]
    pub fn ledger(&self) -> &[AtomicU8] {
        self.mapped.ledger.all()
    }

    /// The intent words, [`INTENTS_PER_PORT`] a port.
    #[inline]
    #[must_use]
    pub fn intents(&self) -> &[AtomicU32] {
        self.mapped.intents.all()
    }

    /// The punt ring, for its producer.
    #[inline]
    #[must_use]
    pub fn punt_ring(&self) -> Ring<'_> {
        self.mapped.ring()
    }
}

/// A worker's segment as others see it: nothing can be written.
#[derive(Debug)]
pub struct WorkerView {
    mapped: Mapped,
    generation: u64,
}

impl WorkerView {
    /// Maps a worker's segment read-only. Its sizes are copied once, checked, and never read again.
    ///
    /// # Errors
    /// [`SegmentError::Unsealed`] or [`SegmentError::ForeignLayout`] for what is not ours,
    /// [`SegmentError::Misplaced`] for another kind of segment, [`SegmentError::Size`] or
    /// [`SegmentError::TooLarge`] for a header that contradicts itself, else what the kernel refused.
    pub fn attach_read_only(fd: OwnedFd) -> Result<Self, SegmentError> {
        let segment = Segment::accept(fd)?;
        let region = Region::reserve(segment.bytes().clamp(1, BYTES_MAX), Access::ReadOnly)?;
        region.append(&segment)?;
        let header: SegmentHeader = *region.record(0).ok_or(SegmentError::ForeignLayout)?;
        if header.magic != MAGIC || header.layout_hash != LAYOUT_HASH {
            return Err(SegmentError::ForeignLayout);
        }
        if header.kind != kind::WORKER {
            return Err(SegmentError::Misplaced);
        }
        let [adjacencies, frames, ports, punt_slots, packet_slots, _] = header.sizes;
        let worker = u16::try_from(header.index).map_err(|_| SegmentError::Misplaced)?;
        let layout = WorkerLayout { worker, adjacencies, frames, ports, punt_slots, packet_slots };
        let parts = layout.parts()?;
        if segment.bytes() != parts.end {
            return Err(SegmentError::Size { expected: parts.end as u64, found: segment.bytes() as u64 });
        }
        let mapped = Mapped::new(&Arc::new(region), layout, &parts).ok_or(SegmentError::ForeignLayout)?;
        Ok(Self { mapped, generation: header.generation })
    }

    /// The sizes.
    #[must_use]
    pub fn layout(&self) -> &WorkerLayout {
        &self.mapped.layout
    }

    /// When the segment was made (CLOCK_MONOTONIC ns); also the generation of its punt ring.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The worker's line of the quiescence protocol.
    #[must_use]
    pub fn epoch(&self) -> WorkerEpoch<'_> {
        self.mapped.epoch.reader()
    }

    /// The figures now.
    #[must_use]
    pub fn counters(&self) -> CounterSnapshot {
        self.mapped.counters.snapshot()
    }

    /// The figures of the ports now.
    #[must_use]
    pub fn ports(&self) -> Vec<PortSnapshot> {
        self.mapped.ports.all().iter().map(PortCounters::snapshot).collect()
    }

    /// The packets of an adjacency now; 0 for ids beyond the layout.
    #[must_use]
    pub fn adjacency_packets(&self, id: NextHopId) -> u64 {
        self.mapped.adjacencies.all().get(id.0 as usize).map_or(0, Counter::get)
    }

    /// A copy of the frame ledger.
    #[must_use]
    pub fn ledger(&self) -> Vec<u8> {
        self.mapped.ledger.all().iter().map(|byte| byte.load(Ordering::Acquire)).collect()
    }

    /// A copy of the intent words, [`INTENTS_PER_PORT`] a port.
    #[must_use]
    pub fn intents(&self) -> Vec<u32> {
        self.mapped.intents.all().iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    /// The punt ring, for its consumer.
    #[must_use]
    pub fn punt_ring(&self) -> RingReader<'_> {
        self.mapped.ring().reader()
    }

    /// The ring of punted packets, for its consumer.
    #[must_use]
    pub fn packet_ring(&self) -> RingReader<'_, PacketSlot> {
        self.mapped.packet_ring().reader()
    }

    /// The worker's line of its inject ring, for [`crate::Injector::push`].
    #[must_use]
    pub fn inject_partner(&self) -> Partner<'_> {
        self.mapped.inject.reader()
    }
}
