//! The door, as a worker sees it: packets for the kernel of this box out, packets from it in.
//!
//! Out goes what the program took and the kernel should have: packets to an address of this box (`local`),
//! and ICMPv4 errors about packets that are not ours (given back, `punted`). Both leave by the ring of
//! punted packets, within a budget; who finds no room is dropped as `punt_limit`. In come the packets
//! that the kernel sends into tunnels, a few a turn, so that no flood from there starves the ports.

use crate::batch::{Batch, Slot};
use crate::classify::{Flow, Packet, verdict_of};
use crate::pipeline::{Pipeline, share};
use crate::port::HEADROOM;
use crate::rewrite;
use crate::scene::{Origin, Scene};
use sixlane_tables::packets::{PacketConsumer, PacketProducer};
use sixlane_tables::{PacketKind, Settings, Tables, WorkerSegment};
use sixlane_tunnel::bucket::TokenBucket;
use sixlane_tunnel::sixinfour::{DELIVER_ALL, Native, check_from_host};
use sixlane_tunnel::{Reason, Verdict, guard, quote};
use sixlane_wire::{ethernet, ipv4, ipv6};
use sixlane_xsk::FramePool;

/// The most packets that are taken from the kernel in one turn.
const INJECTED_MAX: usize = 16;

/// How long after a packet the next one is expected soon, in nanoseconds.
const BUSY: u64 = 1_000_000_000;

/// Where an injected packet begins in its chunk: where a received one does.
const PACKET_START: usize = HEADROOM + ethernet::HEADER_LEN;

/// The worker's ends of the rings.
#[derive(Debug)]
pub(crate) struct Door {
    packets: PacketProducer,
    budget: TokenBucket,
    /// Packets per second and at once from which `budget` was made.
    rates: [u32; 2],
    /// `None`: these tables have no ring for this worker, or it lies in a segment that is not mapped yet.
    injected: Option<PacketConsumer>,
    /// Nothing is taken from the kernel.
    shut: bool,
    /// Packets that nobody has taken because control was replaced.
    lost: u64,
    /// A packet has passed in this turn.
    passed: bool,
    /// Until when another is expected (CLOCK_MONOTONIC in nanoseconds), and whether that is to come.
    busy_until: u64,
    busy: bool,
}

impl Door {
    /// For the owner of `segment`, which works with `tables` under `settings`.
    pub(crate) fn new(segment: &WorkerSegment, tables: &Tables, settings: &Settings) -> Self {
        let rates = rates(settings, segment.layout().worker);
        let mut door = Self {
            packets: segment.open_packets(),
            budget: TokenBucket::new(rates[0], rates[1]),
            rates,
            injected: None,
            shut: false,
            lost: 0,
            passed: false,
            busy_until: 0,
            busy: false,
        };
        door.attach(tables, segment);
        door
    }

    /// Takes over other rates at `now`; the bucket lacks as many tokens as before.
    pub(crate) fn renew(&mut self, settings: &Settings, worker: u16, now: u64) {
        let rates = rates(settings, worker);
        if rates != self.rates {
            self.rates = rates;
            self.budget = self.budget.retuned(rates[0], rates[1], now);
        }
    }

    fn attach(&mut self, tables: &Tables, segment: &WorkerSegment) {
        let ring = tables.inject_ring(segment.layout().worker);
        self.injected =
            ring.map(|ring| PacketConsumer::attach(ring, segment.inject_line(), segment.generation()));
    }

    /// The tables, and with them control's ring and line, are replaced by those of a new control.
    pub(crate) fn adopt(&mut self, old: &Tables, new: &Tables, segment: &WorkerSegment) {
        let worker = segment.layout().worker;
        if let Some(partner) = old.packet_partner(worker) {
            self.packets.leave(partner);
        }
        match (&mut self.injected, old.inject_ring(worker), new.inject_ring(worker)) {
            (Some(consumer), Some(old), Some(new)) => {
                self.lost += consumer.replace(old, new, segment.inject_line());
            }
            _ => self.attach(new, segment),
        }
    }

    /// Takes nothing from the kernel any more.
    pub(crate) fn shut(&mut self) {
        self.shut = true;
    }

    /// Packets that nobody has taken because a process was replaced, since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost) + self.packets.take_lost()
    }

    /// The end of a turn.
    #[inline]
    pub(crate) fn tick(&mut self, now: u64) {
        if std::mem::take(&mut self.passed) {
            self.busy_until = now.saturating_add(BUSY);
        }
        self.busy = now < self.busy_until;
    }

    /// Whether another packet is expected soon: an answer to the last one, or the next of a row.
    pub(crate) const fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives a packet, from its IP header on, to control; `false` when there was no room.
    pub(crate) fn hand_over(&mut self, kind: PacketKind, port: u8, packet: &[u8], scene: &Scene<'_>) -> bool {
        self.passed = true;
        self.budget.take(scene.now)
            && scene.tables.packet_partner(scene.worker).is_some_and(|partner| {
                self.packets.push(scene.segment.packet_ring(), partner, (kind, port), packet).is_ok()
            })
    }
}

/// The worker's share of the rates.
fn rates(settings: &Settings, worker: u16) -> [u32; 2] {
    [settings.punts_per_second, settings.punts_burst].map(|total| share(total, settings, worker))
}

impl Pipeline {
    /// Takes what the kernel sends into tunnels, into frames of our own.
    #[inline]
    pub(crate) fn take_injected(
        &mut self,
        tables: &Tables,
        segment: &WorkerSegment,
        pool: &mut FramePool<'_>,
        batch: &mut Batch,
    ) {
        let Some(ring) = tables.inject_ring(segment.layout().worker).filter(|_| !self.door.shut) else {
            return;
        };
        let Some(consumer) = &mut self.door.injected else { return self.door.attach(tables, segment) };
        while consumer.may_have(ring) && batch.len() < INJECTED_MAX {
            self.door.passed = true;
            // Without a frame the packet waits in the ring.
            let Some(mut frame) = pool.alloc() else { return };
            let (head, room) = pool.umem().bytes_mut(&mut frame).split_at_mut(PACKET_START);
            // No link header of an earlier packet, least of all one to a group.
            if let Some(link) = head.last_chunk_mut::<{ ethernet::HEADER_LEN }>() {
                link.fill(0);
            }
            let Some(taken) = consumer.pop(ring, segment.inject_line(), room) else {
                return pool.release(frame);
            };
            self.tally.injected();
            let len = taken.map_or(0, |packet| packet.bytes.len());
            // It came by no port; the number stands for none and is looked at by nobody.
            let slot = Slot::new(frame, 0, HEADROOM as u16, (ethernet::HEADER_LEN + len) as u16);
            if let Err(Slot { frame: Some(frame), .. }) = batch.push(slot) {
                self.tally.dropped(Reason::NoFrame);
                pool.release(frame);
            }
        }
    }

    /// Reads every packet that came from the kernel, as [`Pipeline::classify`] those that came by ports.
    #[cold]
    #[inline(never)]
    pub(crate) fn classify_injected(&mut self, batch: &Batch, scene: &Scene<'_>) {
        let relay = scene.relay.map_or(0, |relay| relay.address);
        let mut count = 0;
        for (at, slot) in batch.slots().iter().enumerate() {
            let at = at as u8;
            let packet = self.packets.at_mut(at);
            let l3 = slot.bytes(scene.umem).and_then(|frame| frame.get(ethernet::HEADER_LEN..));
            let sent = l3.filter(|l3| !l3.is_empty()).ok_or(Reason::MalformedFrame);
            match sent.and_then(|l3| check_from_host(l3, relay, scene.view)) {
                Ok(Native { len, embedded, hop_limit, destination, .. }) => {
                    let start = PACKET_START as u16;
                    *packet = Packet { start, len: len as u16, embedded, hop_limit, flow: Flow::Native };
                    self.live.put(count, at);
                    self.keys.hi.put(count, destination.hi);
                    self.keys.lo.put(count, destination.lo);
                    count += 1;
                }
                Err(reason) => {
                    let verdict = verdict_of(reason, slot, scene, packet);
                    self.refused.push(at, verdict);
                }
            }
        }
        self.live.end(count);
    }

    /// Ends a packet of the batch in the punt ring, as far as there is room.
    #[cold]
    pub(crate) fn hand_over(&mut self, batch: &mut Batch, at: u8, kind: PacketKind, scene: &Scene<'_>) {
        let packet = *self.packets.at(at);
        let slot = batch.at_mut(at);
        let port = slot.extent.ingress;
        if let Some(chunk) = slot.chunk_mut(scene.umem)
            && packet.flow > Flow::Decapsulated
        {
            rewrite::mark(chunk, &packet);
        }
        let start = usize::from(packet.start);
        let bytes =
            slot.chunk(scene.umem).and_then(|chunk| chunk.get(start..start + usize::from(packet.len)));
        let given = self.door.hand_over(kind, port, bytes.unwrap_or_default(), scene);
        self.tally.handed_over(kind, given);
    }
}

/// What happens to a packet to an address of this box.
///
/// A native one would be the kernel's without us: it has just become the box's own, and goes there whatever
/// it carries. Of what a tunnel delivers the kernel gets ICMPv6, or all if it is set so. What comes from
/// the kernel does not go back: both would hand it to and fro until the hop limit is spent.
#[cold]
pub(crate) fn local(packet: &Packet, slot: &Slot, origin: Origin, scene: &Scene<'_>) -> Verdict {
    if origin == Origin::Kernel {
        return Verdict::Drop(Reason::TunnelLoop);
    }
    if packet.flow != Flow::Native {
        let all = scene.relay.is_some_and(|relay| relay.deliver == DELIVER_ALL);
        let start = usize::from(packet.start);
        let bytes =
            slot.chunk(scene.umem).and_then(|chunk| chunk.get(start..start + usize::from(packet.len)));
        let Some(Ok((header, payload))) = bytes.map(ipv6::parse) else {
            return Verdict::Drop(Reason::InnerLength);
        };
        if let Err(reason) = guard::delivery(header.next_header, payload, all) {
            return Verdict::Drop(reason);
        }
    }
    if scene.settings.door == 0 { Verdict::Drop(Reason::LocalUnavailable) } else { Verdict::Local }
}

/// The length of an ICMPv4 packet that the kernel shall have back, because it is not about a packet of ours;
/// `None` for one that is, and when nobody serves the door.
#[cold]
pub(crate) fn not_ours(l3: &[u8], scene: &Scene<'_>) -> Option<u16> {
    let relay = scene.relay.filter(|_| scene.settings.door != 0)?;
    let (header, message) = ipv4::parse(l3).ok()?;
    let about_ours = quote::is_about_ours(message, relay.address, scene.view);
    (!about_ours).then_some(header.total_len.get())
}
