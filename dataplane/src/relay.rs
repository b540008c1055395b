//! Into the tunnel and out of it: what the crate `tunnel` decides, applied to the packets of a batch.

use crate::batch::{Batch, Column, List, Slot};
use crate::classify::{Flow, Packet, Refused};
use crate::flow;
use crate::pipeline::Pipeline;
use crate::rewrite;
use crate::scene::{Origin, Scene};
use crate::tally::Run;
use sixlane_tables::adjacency::kind;
use sixlane_tables::{Adjacency, NextHopId};
use sixlane_tunnel::field_copy::{CE, ECN_MASK};
use sixlane_tunnel::mtu::{SIXINFOUR_OVERHEAD, too_big};
use sixlane_tunnel::sixinfour::{Native, decap, encap_checks};
use sixlane_tunnel::{Class4, IcmpError, Reason, Verdict};
use sixlane_wire::ipv6::{Address, MTU_MIN};
use sixlane_wire::{ipv4, ipv6};

/// Judges an IPv4 packet as what the 6to4 tunnel delivers. Fills in what it carries and gives the inner
/// destination. `l3` lies at byte `start` of its chunk.
#[inline]
pub(crate) fn leave_tunnel(
    l3: &[u8],
    start: u16,
    scene: &Scene<'_>,
    packet: &mut Packet,
) -> Result<Address, Reason> {
    let relay = scene.relay.ok_or(Reason::NotForUs)?;
    let inner = decap(l3, relay, scene.view)?;
    *packet = Packet {
        start: start + inner.inner_offset as u16,
        len: inner.inner_len as u16,
        embedded: Class4::NONE,
        hop_limit: inner.hop_limit,
        flow: match (inner.remark, inner.traffic_class & ECN_MASK) {
            (false, _) => Flow::Decapsulated,
            (true, CE) => Flow::Congested,
            (true, _) => Flow::Ect1,
        },
    };
    Ok(inner.destination)
}

/// The packets of a batch that are to enter the tunnel.
#[derive(Debug)]
pub(crate) struct Entering {
    /// Those that the IPv6 look-up sent here.
    pub(crate) list: List,
    /// Those that passed the checks, in the order of `far_ends` and `next_hops`.
    passed: List,
    far_ends: Column<u32>,
    next_hops: Column<NextHopId>,
}

impl Entering {
    pub(crate) const fn new() -> Self {
        Self {
            list: List::new(),
            passed: List::new(),
            far_ends: Column::new(0),
            next_hops: Column::new(NextHopId::NONE),
        }
    }

    /// Checks the packets (RFC 3964 §5.1) and looks up each outer destination by itself.
    #[inline(never)] // as the stages
    pub(crate) fn look_up(
        &mut self,
        batch: &Batch,
        scene: &Scene<'_>,
        packets: &Column<Packet>,
        refused: &mut Refused,
    ) {
        self.passed.clear();
        for &at in self.list.as_slice() {
            match far_end(packets.at(at), batch.at(at), scene) {
                Ok(address) => {
                    self.far_ends.put(self.passed.len(), address);
                    self.passed.push(at);
                }
                Err(reason) => refused.push(at, Verdict::from(reason)),
            }
        }
        let count = self.passed.len();
        scene.view.lookup4_batch(self.far_ends.first(count), self.next_hops.first_mut(count));
    }

    /// Those that passed: position, outer destination, and where that leads.
    #[inline]
    fn passed(&self) -> impl Iterator<Item = (u8, u32, NextHopId)> {
        let count = self.passed.len();
        let ways = self.far_ends.first(count).iter().zip(self.next_hops.first(count));
        self.passed.as_slice().iter().zip(ways).map(|(&at, (&far_end, &next_hop))| (at, far_end, next_hop))
    }
}

#[inline]
fn far_end(packet: &Packet, slot: &Slot, scene: &Scene<'_>) -> Result<u32, Reason> {
    if packet.flow != Flow::Native {
        // Its destination is native, and the route of that leads into the tunnel all the same (FWD-19).
        return Err(Reason::TunnelLoop);
    }
    let header = packet.header(slot, scene.umem).ok_or(Reason::V6Length)?;
    entry(packet, header, scene)
}

/// Whether a native packet may enter the tunnel, and where its outer header leads.
#[inline]
pub(crate) fn entry(packet: &Packet, header: &ipv6::Header, scene: &Scene<'_>) -> Result<u32, Reason> {
    let native = Native {
        len: usize::from(packet.len),
        traffic_class: 0,
        hop_limit: packet.hop_limit,
        source: header.source(),
        destination: header.destination(),
        embedded: packet.embedded,
    };
    encap_checks(&native, scene.view)
}

impl Pipeline {
    /// Encapsulates the packets that entered the tunnel, each by the route of its own outer destination.
    #[inline(never)] // a stage a function: its loop has the registers to itself
    pub(crate) fn encapsulate(&mut self, batch: &mut Batch, origin: Origin, scene: &Scene<'_>) {
        let Some(relay) = scene.relay else { return };
        self.entering.look_up(batch, scene, &self.packets, &mut self.refused);
        let mut run = Run::new(scene);
        for (at, far_end, next_hop) in self.entering.passed() {
            let packet = self.packets.at(at);
            let mut adjacency = run.meet(next_hop);
            if adjacency.is_some_and(|adjacency| adjacency.kind == kind::GROUP) {
                // The packet's own flow: all packets of a tunnel have the same outer addresses.
                adjacency = run.choose(next_hop, flow::hash(packet, batch.at(at), scene));
            }
            let Some(adjacency) = adjacency.filter(|adjacency| carries(adjacency, packet)) else {
                let mut verdict = far_end_refusal(adjacency, next_hop, packet);
                if let (Verdict::Drop(Reason::NeighQueue), Some(adjacency)) = (verdict, adjacency) {
                    let counted = (&mut self.waiting, &mut self.tally);
                    let reason = self.neighbours.want(adjacency, (at, mapped(far_end)), scene, counted);
                    verdict = Verdict::Drop(reason);
                }
                self.refused.push(at, verdict);
                continue;
            };
            run.count();
            let id = self.outer.ids.next(relay.address, far_end, ipv4::IPV6);
            let way = rewrite::Way { adjacency, origin, umem: scene.umem };
            let outer = rewrite::Outer { template: &self.outer.template, far_end, id };
            if rewrite::to_tunnel(batch.at_mut(at), packet, &way, &outer).is_none() {
                self.refused.push(at, Verdict::Drop(Reason::MalformedFrame));
            }
        }
        run.end();
    }
}

/// Whether the adjacency of the outer destination takes the packet with its outer header.
#[inline]
fn carries(adjacency: &Adjacency, packet: &Packet) -> bool {
    adjacency.kind == kind::REWRITE && u32::from(packet.len) + SIXINFOUR_OVERHEAD <= adjacency.mtu
}

/// What happens to a packet whose outer destination leads nowhere.
#[cold]
fn far_end_refusal(adjacency: Option<&Adjacency>, next_hop: NextHopId, packet: &Packet) -> Verdict {
    let unreachable = Verdict::Reply(IcmpError::AddressUnreachable, Reason::OuterNoRoute);
    let Some(adjacency) = adjacency else {
        return if next_hop.is_some() { Verdict::Drop(Reason::TableCorrupt) } else { unreachable };
    };
    match adjacency.kind {
        kind::NO_ROUTE | kind::UNREACHABLE | kind::PROHIBIT => unreachable,
        kind::BLACKHOLE => Verdict::Drop(Reason::Blackhole),
        kind::LOCAL => Verdict::Drop(Reason::V4LocalAddress),
        kind::BROADCAST => Verdict::Drop(Reason::V4EmbeddedBogon),
        kind::GLEAN | kind::UNRESOLVED => Verdict::Drop(Reason::NeighQueue),
        kind::REWRITE => too_big_outside(adjacency.mtu, packet),
        _ => Verdict::Drop(Reason::TableCorrupt),
    }
}

/// The packet fits the tunnel, but with its outer header not the link. Below 1280 bytes nobody can be
/// told (ICMP-08) and the outer packet would have to be fragmented, which this relay does not do.
#[cold]
fn too_big_outside(link_mtu: u32, packet: &Packet) -> Verdict {
    let mtu = link_mtu.saturating_sub(SIXINFOUR_OVERHEAD);
    if u32::from(packet.len) > MTU_MIN { too_big(mtu) } else { Verdict::Drop(Reason::TooBig) }
}

/// An IPv4 address in IPv6 form (RFC 4291 §2.5.5.2).
fn mapped(address: u32) -> [u8; 16] {
    (0xffff_0000_0000 | u128::from(address)).to_be_bytes()
}
