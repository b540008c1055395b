//! Packets between workers and control: the rings behind the door.
//!
//! Two rings a worker, both of [`PacketSlot`]s and both under the protocol of [`crate::spsc`]:
//! - **punt**, worker to control: the ring lies in the worker's segment, control's line in the tables.
//!   The worker pushes with a [`PacketProducer`]; control pops with a [`PacketConsumer`] over
//!   [`crate::WorkerView::packet_ring`] and [`crate::TableWriter::packet_partner`].
//! - **inject**, control to worker: the ring lies in the tables ([`crate::TableWriter::open_inject`]), the
//!   worker's line in its segment. Control pushes with an [`Injector`]; the worker pops with a
//!   [`PacketConsumer`] over [`crate::Tables::inject_ring`].
//!
//! A packet begins with its IPv4 or IPv6 header; there is no link header. Control uses it like this:
//!
//! ```text
//! start      for each worker: injector = writer.open_inject(worker)?   (before the tables are handed out)
//! segment    a worker's segment arrives: consumer = PacketConsumer::attach(view.packet_ring(), line, own)
//!            or, when the same worker had one before: consumer.replace(old.packet_ring(), new…, line)
//! punted     while let Some(Some(packet)) = consumer.pop(view.packet_ring(), line, &mut buffer) { tun.write }
//! injected   injector.push(view.inject_partner(), packet)
//! settings   Settings::door = 1 once somebody reads: without it nothing is punted
//! ```
//!
//! Neither side believes the other: a length is checked where it is read, a head that cannot be reads as
//! empty, and a slot that changes while it is read gives a wrong packet and nothing worse.

use std::sync::Arc;

use zerocopy::FromBytes;

use crate::segment::{Fixed, One, Region};
use crate::settings::PORT_MTU_MAX;
use crate::spsc::{Consumer, Full, Partner, PartnerLine, Producer, Ring, RingLine, RingReader};
use crate::sync::{AtomicU64, Ordering};

/// The longest packet that a slot holds, in bytes from its IP header on: what a port takes.
pub const PACKET_MAX: usize = PORT_MTU_MAX as usize;

/// Slots of an inject ring.
pub const INJECT_SLOTS: usize = 128;

/// Bytes of an inject ring: its line and its slots.
pub(crate) const INJECT_BYTES: usize = size_of::<RingLine>() + INJECT_SLOTS * size_of::<PacketSlot>();

/// Words behind the first one of a slot.
const WORDS: usize = 223;

const _: () = assert!(PACKET_MAX <= WORDS * 8 && INJECT_SLOTS.is_power_of_two());

/// Where a packet lies: length and meaning in the first word, then its bytes.
#[repr(C, align(64))]
#[derive(Debug, FromBytes)]
pub struct PacketSlot {
    head: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// Why a packet is handed over.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Out of a tunnel, for an address of this box: the kernel shall take it. Counted as `local`.
    Local = 1,
    /// The program took it, but it is not ours: an ICMPv4 error about somebody else's packet (later also a
    /// reassembled datagram). The kernel shall have it back. Counted as `punted`.
    GivenBack = 2,
    /// From the kernel, to be sent. Counted as `injected`.
    Injected = 3,
}

impl PacketKind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Local),
            2 => Some(Self::GivenBack),
            3 => Some(Self::Injected),
            _ => None,
        }
    }
}

/// What came out of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PuntedPacket<'b> {
    /// Why.
    pub kind: PacketKind,
    /// The port by which it came, by its place in the configuration (not checked: any byte is possible).
    pub port: u8,
    /// The packet from its IP header on, 1 to [`PACKET_MAX`] bytes: the bytes are not checked.
    pub bytes: &'b [u8],
}

impl PuntedPacket<'_> {
    /// The version that the first byte names: 4 or 6 for what is worth looking at.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.bytes.first().map_or(0, |first| first >> 4)
    }
}

impl PacketSlot {
    /// Writes a packet of at most [`PACKET_MAX`] bytes.
    fn store(&self, kind: PacketKind, port: u8, packet: &[u8]) {
        let (chunks, rest) = packet.as_chunks::<8>();
        let mut words = self.words.iter();
        for (chunk, word) in chunks.iter().zip(words.by_ref()) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        if let (Some(word), false) = (words.next(), rest.is_empty()) {
            let mut padded = [0; 8];
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        let head = packet.len() as u64 | u64::from(kind as u8) << 32 | u64::from(port) << 40;
        self.head.store(head, Ordering::Relaxed);
    }

    /// Copies the packet into `buffer`; `None` for what no honest partner writes, or when it does not fit.
    fn load<'b>(&self, buffer: &'b mut [u8]) -> Option<PuntedPacket<'b>> {
        let head = self.head.load(Ordering::Relaxed);
        let len = head as u32 as usize;
        let kind = PacketKind::of((head >> 32) as u8)?;
        if !(1..=PACKET_MAX).contains(&len) {
            return None;
        }
        let bytes = buffer.get_mut(..len)?;
        for (chunk, word) in bytes.chunks_mut(8).zip(&self.words) {
            let word = word.load(Ordering::Relaxed).to_ne_bytes();
            chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
        Some(PuntedPacket { kind, port: (head >> 40) as u8, bytes })
    }
}

/// The side that pushes packets.
#[derive(Debug)]
pub struct PacketProducer(Producer);

impl PacketProducer {
    /// Opens the ring as `generation`, as [`Producer::open`].
    #[must_use]
    pub fn open(ring: Ring<'_, PacketSlot>, generation: u64) -> Self {
        Self(Producer::open(ring, generation))
    }

    /// Appends a packet, from its IP header on.
    ///
    /// # Errors
    /// [`Full`] when the consumer has not made room, or for an empty packet or one above [`PACKET_MAX`].
    pub fn push(
        &mut self,
        ring: Ring<'_, PacketSlot>,
        partner: Partner<'_>,
        (kind, port): (PacketKind, u8),
        packet: &[u8],
    ) -> Result<(), Full> {
        if !(1..=PACKET_MAX).contains(&packet.len()) {
            return Err(Full);
        }
        self.0.push_with(ring, partner, |slot: &PacketSlot| slot.store(kind, port, packet))
    }

    /// As [`Producer::leave`].
    pub fn leave(&mut self, partner: Partner<'_>) {
        self.0.leave(partner);
    }

    /// As [`Producer::take_lost`].
    pub fn take_lost(&mut self) -> u64 {
        self.0.take_lost()
    }
}

/// The side that pops packets.
#[derive(Debug)]
pub struct PacketConsumer(Consumer);

impl PacketConsumer {
    /// Takes a ring over at its present head, as [`Consumer::attach`].
    #[must_use]
    pub fn attach(ring: RingReader<'_, PacketSlot>, partner: &PartnerLine, incarnation: u64) -> Self {
        Self(Consumer::attach(ring, partner, incarnation))
    }

    /// Goes over to the ring of a successor, as [`Consumer::replace`]; gives the number of packets lost.
    pub fn replace(
        &mut self,
        old: RingReader<'_, PacketSlot>,
        new: RingReader<'_, PacketSlot>,
        partner: &PartnerLine,
    ) -> u64 {
        self.0.replace(old, new, partner)
    }

    /// Whether something may be waiting: one load.
    #[inline]
    #[must_use]
    pub fn may_have(&self, ring: RingReader<'_, PacketSlot>) -> bool {
        self.0.may_have(ring)
    }

    /// Takes the oldest packet out, into `buffer` ([`PACKET_MAX`] bytes hold any). `None` when the ring is
    /// empty; `Some(None)` for a slot with nonsense in it or a buffer that is too short, which is gone too.
    pub fn pop<'b>(
        &mut self,
        ring: RingReader<'_, PacketSlot>,
        partner: &PartnerLine,
        buffer: &'b mut [u8],
    ) -> Option<Option<PuntedPacket<'b>>> {
        self.0.pop_with(ring, partner, |slot: &PacketSlot| slot.load(buffer))
    }
}

/// Line and slots of the inject ring at this offset, in bytes.
pub(crate) const fn place(offset: usize) -> (usize, usize) {
    (offset, offset + size_of::<RingLine>())
}

/// Control's end of one worker's inject ring.
#[derive(Debug)]
pub struct Injector {
    line: One<RingLine>,
    slots: Fixed<PacketSlot>,
    producer: PacketProducer,
}

impl Injector {
    /// Opens the ring at `offset`, whose memory is all zero.
    pub(crate) fn open(region: &Arc<Region>, offset: usize, generation: u64) -> Option<Self> {
        let (line, slots) = place(offset);
        let line = One::new(region, line)?;
        let slots = Fixed::new(region, slots, INJECT_SLOTS)?;
        let producer = PacketProducer::open(Ring::over(&line, slots.all()), generation);
        Some(Self { line, slots, producer })
    }

    /// Hands a packet to the worker that owns `partner` ([`crate::WorkerView::inject_partner`]). The worker
    /// takes a few a turn; one that has not begun with these tables takes none.
    ///
    /// # Errors
    /// [`Full`] when the worker has not made room, or for an empty packet or one above [`PACKET_MAX`].
    pub fn push(&mut self, partner: Partner<'_>, packet: &[u8]) -> Result<(), Full> {
        let ring = Ring::over(&self.line, self.slots.all());
        self.producer.push(ring, partner, (PacketKind::Injected, 0), packet)
    }

    /// Packets that no worker has taken because workers were replaced, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        self.producer.take_lost()
    }
}
