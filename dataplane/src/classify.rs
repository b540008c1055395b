//! From frames to packets: what each one is, where its IPv6 header lies, and whether it may be here.
//!
//! An IPv4 frame is judged as what a tunnel delivers, an IPv6 frame as native; [`crate::relay`] and the
//! crate `tunnel` know the rules. What survives is `live` and has its destination among the keys of the
//! look-up; what does not is `refused` with its verdict.

use crate::batch::{Batch, Column, List, Slot};
use crate::door;
use crate::pipeline::Pipeline;
use crate::relay;
use crate::scene::{Origin, Scene};
use sixlane_tunnel::sixinfour::check_native;
use sixlane_tunnel::{Class4, PuntReason, Reason, Verdict};
use sixlane_wire::ipv6::Address;
use sixlane_wire::{ethernet, ipv6};
use sixlane_xsk::Umem;
use zerocopy::FromBytes;
use zerocopy::big_endian::U16;

/// How an IPv6 packet came into the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Flow {
    /// By a port, from the kernel, or made here: nothing was in front of it.
    Native,
    /// Out of the 6to4 tunnel.
    Decapsulated,
    /// Out of the 6to4 tunnel, with another ECN field to write (RFC 6040 §4.2): congestion experienced.
    Congested,
    /// The same: ECT(1).
    Ect1,
}

/// The IPv6 packet of a slot: what later stages need of its header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    /// Where its IPv6 header begins in the chunk, in bytes.
    pub(crate) start: u16,
    /// Its length in bytes, header included.
    pub(crate) len: u16,
    /// Properties of the IPv4 address that a 6to4 destination embeds.
    pub(crate) embedded: Class4,
    /// Hop limit as received.
    pub(crate) hop_limit: u8,
    /// How it came.
    pub(crate) flow: Flow,
}

impl Packet {
    pub(crate) const BLANK: Self =
        Self { start: 0, len: 0, embedded: Class4::NONE, hop_limit: 0, flow: Flow::Native };

    /// The IPv6 header, as it stands in the slot's frame.
    #[inline]
    pub(crate) fn header<'s>(&self, slot: &'s Slot, umem: &'s Umem) -> Option<&'s ipv6::Header> {
        let bytes = slot.chunk(umem)?.get(usize::from(self.start)..)?;
        ipv6::Header::ref_from_prefix(bytes).ok().map(|(header, _)| header)
    }
}

/// Packets that end here, with their verdicts by position.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) list: List,
    pub(crate) verdicts: Column<Verdict>,
}

impl Refused {
    pub(crate) const fn new() -> Self {
        Self { list: List::new(), verdicts: Column::new(Verdict::Drop(Reason::MalformedFrame)) }
    }

    #[cold]
    pub(crate) fn push(&mut self, at: u8, verdict: Verdict) {
        self.list.push(at);
        *self.verdicts.at_mut(at) = verdict;
    }
}

impl Pipeline {
    /// Reads every packet of the batch.
    #[inline(never)] // a stage a function: its loop has the registers to itself
    pub(crate) fn classify(&mut self, batch: &mut Batch, origin: Origin, scene: &Scene<'_>) {
        // What was made here has our source.
        let ours = if origin == Origin::Wire { scene.router } else { Address::default() };
        let mut count = 0;
        for (at, slot) in batch.slots_mut().iter_mut().enumerate() {
            let at = at as u8;
            let packet = self.packets.at_mut(at);
            let mut judged = read(slot, ours, scene, packet);
            if judged == Err(Reason::MalformedFrame)
                && origin == Origin::Wire
                && self.vlans.arrive(slot, scene, &mut self.tally)
            {
                judged = read(slot, ours, scene, packet);
            }
            match judged {
                Ok(destination) => {
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
}

/// The EtherTypes as they stand in a frame.
const IPV4: U16 = U16::new(ethernet::IPV4);
const IPV6: U16 = U16::new(ethernet::IPV6);

/// Judges a frame as it came; `ours` is the source that nobody else may have. Fills in the packet and
/// gives its destination.
#[inline]
fn read(slot: &Slot, ours: Address, scene: &Scene<'_>, packet: &mut Packet) -> Result<Address, Reason> {
    let Some(frame) = &slot.frame else { return Err(Reason::MalformedFrame) };
    let chunk = scene.umem.bytes(frame);
    let (first, len) = (usize::from(slot.extent.start), usize::from(slot.extent.len));
    let bytes = chunk.get(first..first + len).ok_or(Reason::MalformedFrame)?;
    let (link, l3) = ethernet::parse(bytes).map_err(|_| Reason::MalformedFrame)?;
    let start = slot.extent.start + ethernet::HEADER_LEN as u16;
    if link.ethertype == IPV6 {
        let native = check_native(l3, ours, scene.view)?;
        *packet = Packet {
            start,
            len: native.len as u16,
            embedded: native.embedded,
            hop_limit: native.hop_limit,
            flow: Flow::Native,
        };
        Ok(native.destination)
    } else if link.ethertype == IPV4 {
        relay::leave_tunnel(l3, start, scene, packet)
    } else {
        Err(Reason::MalformedFrame)
    }
}

/// The verdict of a refusal. Of a packet that is to be answered, `packet` tells what to quote.
#[cold]
pub(crate) fn verdict_of(reason: Reason, slot: &Slot, scene: &Scene<'_>, packet: &mut Packet) -> Verdict {
    let frame = slot.bytes(scene.umem).unwrap_or_default();
    let l3 = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    let start = slot.extent.start + ethernet::HEADER_LEN as u16;
    if reason == Reason::IcmpQuoteUntrusted
        && let Some(len) = door::not_ours(l3, scene)
    {
        *packet = Packet { start, len, ..Packet::BLANK };
        return Verdict::Punt(PuntReason::GivenBack);
    }
    let Some(error) = reason.answer() else { return Verdict::Drop(reason) };
    let Ok((header, payload)) = ipv6::parse(l3) else { return Verdict::Drop(reason) };
    *packet = Packet {
        start,
        len: (ipv6::HEADER_LEN + payload.len()) as u16,
        hop_limit: header.hop_limit,
        ..Packet::BLANK
    };
    Verdict::Reply(error, reason)
}
