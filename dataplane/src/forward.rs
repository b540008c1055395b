//! Where a packet goes: route, hop limit, MTU, adjacency (RFC 8200 §3, §5; RFC 4443 §3).
//!
//! All look-ups of a batch are one call, in which their loads overlap; then every packet meets its
//! adjacency and is rewritten for its link, sent into the tunnel, or refused.

use crate::batch::Batch;
use crate::classify::Packet;
use crate::door;
use crate::flow;
use crate::pipeline::Pipeline;
use crate::rewrite;
use crate::scene::{Origin, Scene};
use crate::tally::Run;
use sixlane_tables::adjacency::kind;
use sixlane_tables::{Adjacency, NextHopId};
use sixlane_tunnel::mtu::too_big;
use sixlane_tunnel::{IcmpError, Reason, Verdict};

impl Pipeline {
    /// Looks up all live packets and settles each one's way.
    #[inline(never)] // a stage a function: its loop has the registers to itself
    pub(crate) fn forward(&mut self, batch: &mut Batch, origin: Origin, scene: &Scene<'_>) {
        let count = self.live.len();
        let (hi, lo) = (self.keys.hi.first(count), self.keys.lo.first(count));
        scene.view.lookup6_batch(hi, lo, self.keys.next_hops.first_mut(count));
        let tunnel_mtu = scene.relay.map_or(0, |relay| relay.mtu);
        let hops = origin.hops();
        let mut run = Run::new(scene);
        for (&at, &next_hop) in self.live.as_slice().iter().zip(self.keys.next_hops.first(count)) {
            let packet = self.packets.at(at);
            let mut met = run.meet(next_hop);
            if met.is_some_and(|met| met.kind == kind::GROUP) {
                met = run.choose(next_hop, flow::hash(packet, batch.at(at), scene));
            }
            let Some(adjacency) = met else {
                self.refused.push(at, without_adjacency(next_hop, packet, hops));
                continue;
            };
            let tunnel = adjacency.kind == kind::SIXTOFOUR;
            let mtu = if tunnel { tunnel_mtu } else { adjacency.mtu };
            let fits = packet.hop_limit > hops && u32::from(packet.len) <= mtu;
            if fits && tunnel {
                run.count();
                self.entering.list.push(at);
            } else if fits && adjacency.kind == kind::REWRITE {
                run.count();
                let way = rewrite::Way { adjacency, origin, umem: scene.umem };
                if rewrite::to_link(batch.at_mut(at), packet, &way).is_none() {
                    self.refused.push(at, Verdict::Drop(Reason::MalformedFrame));
                }
            } else {
                let mut verdict = if adjacency.kind == kind::LOCAL {
                    door::local(packet, batch.at(at), origin, scene)
                } else {
                    refusal(adjacency, packet, mtu, hops)
                };
                if verdict == Verdict::Drop(Reason::NeighQueue) {
                    let header = packet.header(batch.at(at), scene.umem);
                    let destination = header.map_or([0; 16], |header| header.destination().octets());
                    let counted = (&mut self.waiting, &mut self.tally);
                    let reason = self.neighbours.want(adjacency, (at, destination), scene, counted);
                    verdict = Verdict::Drop(reason);
                }
                self.refused.push(at, verdict);
            }
        }
        run.end();
    }
}

/// What happens to a packet that has no adjacency.
#[cold]
fn without_adjacency(next_hop: NextHopId, packet: &Packet, hops: u8) -> Verdict {
    if next_hop.is_some() {
        Verdict::Drop(Reason::TableCorrupt)
    } else {
        refusal(&Adjacency::of_kind(kind::NO_ROUTE), packet, 0, hops)
    }
}

/// What happens to a packet that its adjacency does not carry: the first rule that it breaks, in the
/// order of CHK-00 (hop limit, by which `hops` are gone here, route, MTU, and then the neighbour).
#[cold]
fn refusal(adjacency: &Adjacency, packet: &Packet, mtu: u32, hops: u8) -> Verdict {
    if packet.hop_limit <= hops {
        return Verdict::Reply(IcmpError::TimeExceeded, Reason::HopLimit);
    }
    match adjacency.kind {
        kind::NO_ROUTE => Verdict::Reply(IcmpError::NoRoute, Reason::NoRoute),
        kind::BLACKHOLE => Verdict::Drop(Reason::Blackhole),
        kind::UNREACHABLE => Verdict::Reply(IcmpError::RejectRoute, Reason::RejectRoute),
        kind::PROHIBIT => Verdict::Reply(IcmpError::AdminProhibited, Reason::Prohibited),
        kind::SIXTOFOUR if mtu == 0 => Verdict::Drop(Reason::NoTunnel),
        kind::REWRITE | kind::SIXTOFOUR | kind::GLEAN | kind::UNRESOLVED if u32::from(packet.len) > mtu => {
            too_big(mtu)
        }
        kind::GLEAN | kind::UNRESOLVED => Verdict::Drop(Reason::NeighQueue),
        _ => Verdict::Drop(Reason::TableCorrupt),
    }
}
