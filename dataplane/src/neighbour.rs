//! Asking control for the link-layer address of a next hop.
//!
//! The packet that needed it waits ([`crate::waiting`]), or is dropped: as `neigh_queue` while the next hop
//! is asked for, as `neigh_limit` if it could not be. The request is a message of its own and not part of the identity.
//!
//! The budget for the kernel's table (RFC 6583 §7, security.md D5) is control's. What a worker may ask is
//! limited so that its ring has room for all who ask: gateways, whose number the routes limit, apart from
//! hosts, and hosts by the prefix they are on, so that a scan of one prefix costs the others nothing.

use crate::scene::Scene;
use crate::tally::Tally;
use crate::waiting::Waiting;
use sixlane_tables::punt::NeighbourWanted;
use sixlane_tables::spsc::{Partner, Producer};
use sixlane_tables::{Adjacency, WorkerSegment};
use sixlane_tunnel::Reason;
use sixlane_tunnel::bucket::TokenBucket;

/// Requests per second of all workers together, for gateways and for the hosts of each prefix. Control asks
/// the kernel for as many.
const REQUESTS_PER_SECOND: u32 = 64;
/// Requests that may be made at once, all workers together.
const REQUESTS_BURST: u32 = 64;
/// Buckets for prefixes; more prefixes than that share them.
const PREFIXES: usize = 64;

/// How long a request is not repeated.
const PATIENCE_NS: u64 = 100_000_000;
/// Requests that are remembered.
const RECENT: usize = 64;

/// The worker's side of neighbour resolution.
#[derive(Debug)]
pub(crate) struct Neighbours {
    punt: Producer,
    gateways: TokenBucket,
    prefixes: [TokenBucket; PREFIXES],
    /// What was asked for lately and when, by a few bits of the address: a flow to an unresolved host
    /// asks now and then, and leaves the budget to others.
    recent: [Option<(NeighbourWanted, u64)>; RECENT],
}

impl Neighbours {
    /// Opens the punt ring of `segment`, whose owner is one of `workers` workers.
    pub(crate) fn new(segment: &WorkerSegment, workers: u16) -> Self {
        let share = |total: u32| total.div_ceil(u32::from(workers.max(1)));
        let budget = TokenBucket::new(share(REQUESTS_PER_SECOND), share(REQUESTS_BURST));
        Self {
            punt: segment.open_punt(),
            gateways: budget,
            prefixes: [budget; PREFIXES],
            recent: [None; RECENT],
        }
    }

    /// A packet at place `at` of the batch needs `adjacency`, whose link-layer address is not known.
    /// `destination` is where the packet goes (IPv4-mapped for IPv4): its own next hop, unless the adjacency
    /// names a gateway. The answer is why the packet is dropped, unless it may wait.
    #[cold]
    pub(crate) fn want(
        &mut self,
        adjacency: &Adjacency,
        (at, destination): (u8, [u8; 16]),
        scene: &Scene<'_>,
        (waiting, tally): (&mut Waiting, &mut Tally),
    ) -> Reason {
        let host = adjacency.next_hop == [0; 16];
        let next_hop = if host { destination } else { adjacency.next_hop };
        let wanted = NeighbourWanted { port: adjacency.port, ifindex: adjacency.ifindex, next_hop };
        if waiting.wants(at, wanted) {
            return Reason::NeighQueue;
        }
        let place = &mut self.recent[next_hop
            .iter()
            .fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)))
            % RECENT];
        if place.is_some_and(|(asked, at)| asked == wanted && scene.now.wrapping_sub(at) < PATIENCE_NS) {
            return Reason::NeighQueue;
        }
        let budget = if host { &mut self.prefixes[prefix(&wanted)] } else { &mut self.gateways };
        let sent = budget.take(scene.now)
            && scene.tables.partner(scene.worker).is_some_and(|partner| {
                self.punt.push(scene.segment.punt_ring(), partner, &wanted.encode()).is_ok()
            });
        if sent {
            *place = Some((wanted, scene.now));
            tally.neighbour_requested();
            Reason::NeighQueue
        } else {
            tally.neighbour_limited();
            Reason::NeighLimit
        }
    }

    /// The tables, and with them control's line of the ring, are about to be replaced.
    pub(crate) fn leave(&mut self, partner: Option<Partner<'_>>) {
        if let Some(partner) = partner {
            self.punt.leave(partner);
        }
    }

    /// Messages that no control has read because it was replaced, since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        self.punt.take_lost()
    }
}

/// The bucket of the prefix that a host is on: the upper half of an IPv6 address (a link has a /64), the
/// upper half of an IPv4 address. A stranger can only choose among the prefixes on our links.
fn prefix(wanted: &NeighbourWanted) -> usize {
    let [a, b, c, d, e, f, g, h, rest @ ..] = wanted.next_hop;
    let upper = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let [.., v4a, v4b, _, _] = rest;
    let mapped = u64::from(u16::from_be_bytes([v4a, v4b]));
    let named = (if upper == 0 { mapped } else { upper }) ^ u64::from(wanted.ifindex);
    // The fractional part of the golden ratio spreads neighbouring numbers (Knuth, volume 3, 6.4).
    (named.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % PREFIXES
}
