//! What a batch did, added up in the worker's own memory and written to the shared counters once.
//!
//! The identity of the design holds by construction: a packet enters by exactly one of the verbs
//! `received`, `injected` and `generated`, and leaves by exactly one of `transmitted`, `handed_over` and
//! `dropped`.

use crate::batch::Slot;
use crate::port::{Arrived, Submitted};
use crate::scene::Scene;
use sixlane_tables::settings::PORTS;
use sixlane_tables::{Adjacency, Counters, NextHopId, PacketKind, PortCounters, View, WorkerSegment};
use sixlane_tunnel::Reason;
use sixlane_xsk::FramePool;

/// Packets and bytes of a port in one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

/// Sums of one batch.
#[derive(Debug)]
pub(crate) struct Tally {
    rx: [Traffic; PORTS],
    tx: [Traffic; PORTS],
    /// One bit per port that has something in `rx` or `tx`.
    ports: u64,
    generated: u64,
    injected: u64,
    local: u64,
    punted: u64,
    dropped: [u32; Reason::COUNT],
    /// Something other than traffic by ports was counted.
    uncommon: bool,
    icmp_suppressed: u64,
    icmp_rate_limited: u64,
    neighbour_requests: u64,
    neighbour_limited: u64,
    /// By how much the number of packets that wait has changed.
    held: i64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            rx: [Traffic::default(); PORTS],
            tx: [Traffic::default(); PORTS],
            ports: 0,
            generated: 0,
            injected: 0,
            local: 0,
            punted: 0,
            dropped: [0; Reason::COUNT],
            uncommon: false,
            icmp_suppressed: 0,
            icmp_rate_limited: 0,
            neighbour_requests: 0,
            neighbour_limited: 0,
            held: 0,
        }
    }

    /// Packets taken from a port at once.
    #[inline]
    pub(crate) fn received(&mut self, port: u8, arrived: Arrived) {
        let traffic = &mut self.rx[usize::from(port) % PORTS];
        traffic.packets = traffic.packets.wrapping_add(arrived.packets);
        traffic.bytes = traffic.bytes.wrapping_add(arrived.bytes);
        self.ports |= 1 << (port % PORTS as u8);
    }

    /// A packet of `bytes` that came by the sockets of port `socket` turns out to be one of `port`.
    #[inline]
    pub(crate) fn belongs(&mut self, socket: u8, port: u8, bytes: u16) {
        // Differences that wrap: the sums are right when they are added to the shared counters.
        let traffic = &mut self.rx[usize::from(socket) % PORTS];
        traffic.packets = traffic.packets.wrapping_sub(1);
        traffic.bytes = traffic.bytes.wrapping_sub(bytes.into());
        self.received(port, Arrived { packets: 1, bytes: bytes.into() });
    }

    /// Packets put into a port's ring at once.
    #[inline]
    pub(crate) fn submitted(&mut self, port: u8, done: &Submitted) {
        let traffic = &mut self.tx[usize::from(port) % PORTS];
        traffic.packets += done.packets;
        traffic.bytes += done.bytes;
        self.ports |= 1 << (port % PORTS as u8);
    }

    /// A packet made here.
    pub(crate) fn generated(&mut self) {
        self.generated += 1;
    }

    /// A packet dropped.
    #[inline]
    pub(crate) fn dropped(&mut self, reason: Reason) {
        if let Some(count) = self.dropped.get_mut(reason.index()) {
            *count += 1;
        }
        self.uncommon = true;
    }

    /// A packet taken from the inject ring.
    pub(crate) fn injected(&mut self) {
        self.injected += 1;
        self.uncommon = true;
    }

    /// A packet whose end is the punt ring: it is in there, or there was no room.
    pub(crate) fn handed_over(&mut self, kind: PacketKind, given: bool) {
        match kind {
            _ if !given => return self.dropped(Reason::PuntLimit),
            PacketKind::Local => self.local += 1,
            _ => self.punted += 1,
        }
        self.uncommon = true;
    }

    /// Drops packets that nobody can judge or send, and gives their frames back.
    #[cold]
    pub(crate) fn drop_all(&mut self, slots: &mut [Slot], pool: &mut FramePool<'_>, reason: Reason) {
        for frame in slots.iter_mut().filter_map(|slot| slot.frame.take()) {
            self.dropped(reason);
            pool.release(frame);
        }
    }

    /// An ICMPv6 error not sent, because the packet was not trusted or is not to be answered.
    pub(crate) fn icmp_suppressed(&mut self) {
        self.icmp_suppressed += 1;
    }

    /// An ICMPv6 error not sent, because the budget was spent.
    pub(crate) fn icmp_rate_limited(&mut self) {
        self.icmp_rate_limited += 1;
    }

    /// A request for a neighbour that control will read.
    pub(crate) fn neighbour_requested(&mut self) {
        self.neighbour_requests += 1;
    }

    /// So many packets more wait, or fewer.
    pub(crate) fn held(&mut self, change: i64) {
        self.held += change;
        self.uncommon = true;
    }

    /// A request for a neighbour that was not made: budget spent or ring full.
    pub(crate) fn neighbour_limited(&mut self) {
        self.neighbour_limited += 1;
    }

    /// Adds everything to the shared counters and starts anew.
    #[inline]
    pub(crate) fn flush(&mut self, counters: &Counters, ports: &[PortCounters]) {
        let (mut received, mut transmitted) = (0u64, 0);
        while self.ports != 0 {
            let port = self.ports.trailing_zeros() as usize % PORTS;
            self.ports &= self.ports - 1;
            let rx = std::mem::take(&mut self.rx[port]);
            let tx = std::mem::take(&mut self.tx[port]);
            received = rx.packets.wrapping_add(received);
            transmitted += tx.packets;
            if let Some(shared) = ports.get(port) {
                shared.rx_packets.add(rx.packets);
                shared.rx_bytes.add(rx.bytes);
                shared.tx_packets.add(tx.packets);
                shared.tx_bytes.add(tx.bytes);
            }
        }
        counters.received.add(received);
        counters.transmitted.add(transmitted);
        if self.uncommon {
            self.flush_uncommon(counters);
        }
    }

    #[cold]
    fn flush_uncommon(&mut self, counters: &Counters) {
        for (shared, count) in counters.dropped.iter().zip(&mut self.dropped) {
            shared.add(u64::from(std::mem::take(count)));
        }
        counters.generated.add(std::mem::take(&mut self.generated));
        counters.injected.add(std::mem::take(&mut self.injected));
        counters.local.add(std::mem::take(&mut self.local));
        counters.punted.add(std::mem::take(&mut self.punted));
        counters.icmp_suppressed.add(std::mem::take(&mut self.icmp_suppressed));
        counters.icmp_rate_limited.add(std::mem::take(&mut self.icmp_rate_limited));
        counters.neighbour_requests.add(std::mem::take(&mut self.neighbour_requests));
        counters.neighbour_limited.add(std::mem::take(&mut self.neighbour_limited));
        let held = std::mem::take(&mut self.held);
        counters.held.add(held.max(0).unsigned_abs());
        counters.held.subtract(held.min(0).unsigned_abs());
        self.uncommon = false;
    }
}

/// Packets of one next hop in a row: its adjacency is looked up, and its shared counter written, when
/// another next hop follows.
pub(crate) struct Run<'a> {
    view: &'a View<'a>,
    segment: &'a WorkerSegment,
    next_hop: NextHopId,
    adjacency: Option<&'a Adjacency>,
    packets: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(scene: &Scene<'a>) -> Self {
        let (view, segment) = (scene.view, scene.segment);
        Self { view, segment, next_hop: NextHopId::NONE, adjacency: None, packets: 0 }
    }

    /// The adjacency of the next packet.
    #[inline]
    pub(crate) fn meet(&mut self, next_hop: NextHopId) -> Option<&'a Adjacency> {
        if next_hop != self.next_hop {
            self.end();
            self.next_hop = next_hop;
            self.adjacency = self.view.adjacency(next_hop);
        }
        self.adjacency
    }

    /// The adjacency of the next packet's flow, where `group` was met. `None`: the tables are damaged.
    #[inline(never)] // only packets with several next hops pay for it
    pub(crate) fn choose(&mut self, group: NextHopId, flow: u64) -> Option<&'a Adjacency> {
        let member = self.view.member(group, flow);
        self.meet(member)
    }

    /// Counts a packet of the adjacency met last.
    #[inline]
    pub(crate) fn count(&mut self) {
        self.packets += 1;
    }

    /// Writes the counter.
    #[inline]
    pub(crate) fn end(&mut self) {
        if let Some(counter) = self.segment.adjacency(self.next_hop) {
            counter.add(std::mem::take(&mut self.packets));
        }
    }
}
