//! Asking control for the link-layer address of a next hop, within a budget (security.md D5).
//!
//! The packet that needed it is dropped as `neigh_queue`; the request is a message of its own and not
//! part of the identity.

use crate::scene::Scene;
use crate::tally::Tally;
use sixlane_tables::punt::NeighbourWanted;
use sixlane_tables::spsc::{Partner, Producer};
use sixlane_tables::{Adjacency, WorkerSegment};
use sixlane_tunnel::bucket::TokenBucket;

/// Requests per second of all workers together: a quarter of the kernel's smallest neighbour table would
/// be filled in a second, not in a moment.
const REQUESTS_PER_SECOND: u32 = 256;
/// Requests that may be made at once, all workers together.
const REQUESTS_BURST: u32 = 64;

/// How long a request is not repeated.
const PATIENCE_NS: u64 = 100_000_000;
/// Requests that are remembered.
const RECENT: usize = 64;

/// The worker's side of neighbour resolution.
#[derive(Debug)]
pub(crate) struct Neighbours {
    punt: Producer,
    budget: TokenBucket,
    /// What was asked for lately and when, by a few bits of the address: a flow to an unresolved host
    /// asks now and then, and leaves the budget to others.
    recent: [Option<(NeighbourWanted, u64)>; RECENT],
}

impl Neighbours {
    /// Opens the punt ring of `segment`, whose owner is one of `workers` workers.
    pub(crate) fn new(segment: &WorkerSegment, workers: u16) -> Self {
        let share = |total: u32| total.div_ceil(u32::from(workers.max(1)));
        Self {
            punt: segment.open_punt(),
            budget: TokenBucket::new(share(REQUESTS_PER_SECOND), share(REQUESTS_BURST)),
            recent: [None; RECENT],
        }
    }

    /// A packet needs `adjacency`, whose link-layer address is not known. `destination` is where the
    /// packet goes (IPv4-mapped for IPv4): its own next hop, unless the adjacency names a gateway.
    #[cold]
    pub(crate) fn want(
        &mut self,
        adjacency: &Adjacency,
        destination: [u8; 16],
        scene: &Scene<'_>,
        tally: &mut Tally,
    ) {
        let next_hop = if adjacency.next_hop == [0; 16] { destination } else { adjacency.next_hop };
        let wanted = NeighbourWanted { port: adjacency.port, ifindex: adjacency.ifindex, next_hop };
        let place = &mut self.recent[next_hop
            .iter()
            .fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)))
            % RECENT];
        if place.is_some_and(|(asked, at)| asked == wanted && scene.now.wrapping_sub(at) < PATIENCE_NS) {
            return;
        }
        *place = Some((wanted, scene.now));
        let sent = self.budget.take(scene.now)
            && scene.tables.partner(scene.worker).is_some_and(|partner| {
                self.punt.push(scene.segment.punt_ring(), partner, &wanted.encode()).is_ok()
            });
        if sent { tally.neighbour_requested() } else { tally.neighbour_limited() }
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
