//! ICMPv6 errors about refused packets (RFC 4443 §2.4): made in frames of our own, which then pass the
//! same stages as every packet.
//!
//! Before one is made: the packet must not be spoofed as far as we can tell (ICMP-10), must be one that
//! may be answered (ICMP-02), and there must be a token. Packet Too Big has its own bucket, so that no
//! other error can starve path MTU discovery (ICMP-12).

use crate::batch::{Batch, Slot};
use crate::classify::{Flow, Packet};
use crate::pipeline::{Pipeline, share};
use crate::port::HEADROOM;
use crate::relay;
use crate::rewrite::tag;
use crate::scene::{Origin, Scene};
use sixlane_tables::{PacketKind, Settings};
use sixlane_tunnel::bucket::TokenBucket;
use sixlane_tunnel::embed::is_sixtofour;
use sixlane_tunnel::guard::{is_answerable, is_from_here};
use sixlane_tunnel::icmp::{build_error, error_allowed};
use sixlane_tunnel::{IcmpError, Reason, Verdict};
use sixlane_wire::{ethernet, ipv6};
use sixlane_xsk::FramePool;
use zerocopy::IntoBytes;

/// Where the IPv6 header of an error begins in its chunk: where it does in a received one, so that the
/// room in front of it is the same.
const PACKET_START: usize = HEADROOM + ethernet::HEADER_LEN;

/// Rates of the settings: errors per second and at once, Packets Too Big per second and at once.
type Rates = [u32; 4];

/// The worker's share of the budgets for errors.
#[derive(Debug)]
pub(crate) struct Budgets {
    rates: Rates,
    errors: TokenBucket,
    too_big: TokenBucket,
}

impl Budgets {
    /// The share of `worker` under `settings`.
    pub(crate) fn new(settings: &Settings, worker: u16) -> Self {
        let rates = shares(settings, worker);
        let [errors, errors_burst, too_big, too_big_burst] = rates;
        Self {
            rates,
            errors: TokenBucket::new(errors, errors_burst),
            too_big: TokenBucket::new(too_big, too_big_burst),
        }
    }

    /// Takes over other rates at `now`. The buckets lack as many tokens as before, so that a reload gives
    /// nobody more.
    pub(crate) fn renew(&mut self, settings: &Settings, worker: u16, now: u64) {
        let rates = shares(settings, worker);
        if rates != self.rates {
            let [errors, errors_burst, too_big, too_big_burst] = rates;
            self.rates = rates;
            self.errors = self.errors.retuned(errors, errors_burst, now);
            self.too_big = self.too_big.retuned(too_big, too_big_burst, now);
        }
    }

    /// Gives no token any more: for runs that answer nobody.
    pub(crate) fn shut(&mut self) {
        self.errors = TokenBucket::new(0, 0);
        self.too_big = TokenBucket::new(0, 0);
    }

    fn take(&mut self, error: IcmpError, now: u64) -> bool {
        match error {
            IcmpError::PacketTooBig { .. } => self.too_big.take(now),
            _ => self.errors.take(now),
        }
    }
}

fn shares(settings: &Settings, worker: u16) -> Rates {
    let share = |total| share(total, settings, worker);
    [
        share(settings.errors_per_second),
        share(settings.errors_burst),
        share(settings.ptb_per_second),
        share(settings.ptb_burst),
    ]
}

/// Errors on their way, by how they find it.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// By the routes, through all stages.
    pub(crate) routed: Batch,
    /// Straight back to a link-local source, which has no route: by the port and to the neighbour that
    /// the packet came from.
    pub(crate) linkward: Batch,
}

impl Pipeline {
    /// Makes the errors about the refused packets of `batch`. To be called before the frames are given
    /// back: an error quotes the packet as it was received.
    #[inline]
    pub(crate) fn reply(
        &mut self,
        batch: &Batch,
        origin: Origin,
        replies: &mut Replies,
        pool: &mut FramePool<'_>,
        scene: &Scene<'_>,
    ) {
        for k in 0..self.refused.list.len() {
            let at = self.refused.list.as_slice().get(k).copied().unwrap_or_default();
            if let Verdict::Reply(..) = *self.refused.verdicts.at(at) {
                self.answer(batch, at, origin, scene, (&mut *replies, &mut *pool));
            }
        }
    }

    #[cold]
    fn answer(
        &mut self,
        batch: &Batch,
        at: u8,
        origin: Origin,
        scene: &Scene<'_>,
        (replies, pool): (&mut Replies, &mut FramePool<'_>),
    ) {
        let Verdict::Reply(error, _) = *self.refused.verdicts.at(at) else { return };
        let Some((link, header, invoking)) = self.invoking(batch, at, scene) else {
            return self.tally.icmp_suppressed();
        };
        if !self.budgets.take(error, scene.now) {
            return self.tally.icmp_rate_limited();
        }
        self.tally.generated();
        let Some(mut frame) = pool.alloc() else {
            return self.tally.dropped(Reason::NoFrame);
        };
        let (head, rest) = scene.umem.bytes_mut(&mut frame).split_at_mut(PACKET_START);
        let len = (ethernet::HEADER_LEN + build_error(rest, error, scene.router, invoking)) as u16;
        if let Some(header) = head.last_chunk_mut::<{ ethernet::HEADER_LEN }>() {
            header.copy_from_slice(reversed(link).as_bytes());
        }
        if origin == Origin::Kernel {
            // The kernel asked, and knows the way to whoever it asked for.
            let error = rest.get(..usize::from(len) - ethernet::HEADER_LEN).unwrap_or_default();
            let given = self.door.hand_over(PacketKind::Local, 0, error, scene);
            self.tally.handed_over(PacketKind::Local, given);
            return pool.release(frame);
        }
        let linkward = header.source().is_link_local();
        let to = if linkward { &mut replies.linkward } else { &mut replies.routed };
        let port = batch.at(at).extent.ingress;
        let mut slot = Slot::new(frame, port, HEADROOM as u16, len);
        let vlan = scene.settings.port(port).map_or(0, |port| port.vlan);
        if linkward && vlan != 0 {
            // There is always room: the frame begins behind its headroom.
            let _ = tag(&mut slot, vlan, scene.umem);
        }
        if let Err(Slot { frame: Some(frame), .. }) = to.push(slot) {
            self.tally.dropped(Reason::NoFrame);
            pool.release(frame);
        }
    }

    /// The packet to quote, with its headers; `None` when it is not to be answered.
    fn invoking<'b>(
        &self,
        batch: &'b Batch,
        at: u8,
        scene: &'b Scene<'_>,
    ) -> Option<(&'b ethernet::Header, &'b ipv6::Header, &'b [u8])> {
        let slot = batch.at(at);
        let (link, _) = ethernet::parse(slot.bytes(scene.umem)?).ok()?;
        let packet = self.packets.at(at);
        let header = packet.header(slot, scene.umem)?;
        let start = usize::from(packet.start);
        let invoking = slot.chunk(scene.umem)?.get(start..start + usize::from(packet.len))?;
        let permitted = !link.is_group() && trusted(packet, header, scene) && error_allowed(invoking);
        permitted.then_some((link, header, invoking))
    }
}

/// Whether the packet would have passed all checks against spoofing. What left the tunnel has passed
/// them; what came by a port must have a source that its way can be believed to have.
fn trusted(packet: &Packet, header: &ipv6::Header, scene: &Scene<'_>) -> bool {
    packet.flow != Flow::Native
        || (is_answerable(header.source()) || is_from_here(packet.embedded))
            && (!is_sixtofour(header.destination()) || relay::entry(packet, header, scene).is_ok())
}

/// The link header of an answer. Where the answer is routed, forwarding writes another over it.
fn reversed(link: &ethernet::Header) -> ethernet::Header {
    ethernet::Header { destination: link.source, source: link.destination, ethertype: ethernet::IPV6.into() }
}
