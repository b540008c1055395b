//! From frames to packets: what each one is, where its IPv6 header lies, and whether it may be here.
//!
//! An IPv4 frame is judged as what a tunnel delivers, an IPv6 frame as native; [`crate::relay`] and the
//! crate `tunnel` know the rules. What survives is `live` and has its destination among the keys of the
//! look-up; what does not is `refused` with its verdict.

use crate::batch::{Batch, Column, List, Slot};
use crate::pipeline::Pipeline;
use crate::relay;
use crate::scene::{Origin, Scene};
use sixlane_tunnel::sixinfour::{Native, check_native};
use sixlane_tunnel::{Class4, Reason, Verdict};
use sixlane_wire::ipv6::Address;
use sixlane_wire::{ethernet, ipv6};

/// How an IPv6 packet came into the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// By a port, or made here: nothing was in front of it.
    Native,
    /// Out of the 6to4 tunnel.
    Decapsulated,
    /// Out of the 6to4 tunnel, with a congestion mark to pass on (RFC 6040 §4.2).
    Marked,
}

/// The IPv6 packet of a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    /// What its header says. The source of a decapsulated packet is not kept.
    pub(crate) header: Native,
    /// Where its IPv6 header begins in the chunk, in bytes.
    pub(crate) start: u16,
    /// How it came.
    pub(crate) flow: Flow,
}

impl Packet {
    pub(crate) const BLANK: Self = Self {
        header: Native {
            len: 0,
            traffic_class: 0,
            hop_limit: 0,
            source: Address { hi: 0, lo: 0 },
            destination: Address { hi: 0, lo: 0 },
            embedded: Class4::NONE,
        },
        start: 0,
        flow: Flow::Native,
    };
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
    #[inline]
    pub(crate) fn classify(&mut self, batch: &Batch, origin: Origin, scene: &Scene<'_>) {
        let mut count = 0;
        for (at, slot) in batch.slots().iter().enumerate() {
            let at = at as u8;
            match read(slot, origin, scene) {
                Ok(packet) => {
                    let destination = packet.header.destination;
                    *self.keys.hi.at_mut(count) = destination.hi;
                    *self.keys.lo.at_mut(count) = destination.lo;
                    *self.packets.at_mut(at) = packet;
                    self.live.push(at);
                    count += 1;
                }
                Err(reason) => {
                    let verdict = verdict_of(reason, slot, scene, self.packets.at_mut(at));
                    self.refused.push(at, verdict);
                }
            }
        }
    }
}

#[inline]
fn read(slot: &Slot, origin: Origin, scene: &Scene<'_>) -> Result<Packet, Reason> {
    let frame = slot.bytes(scene.umem).ok_or(Reason::MalformedFrame)?;
    let (link, packet) = ethernet::parse(frame).map_err(|_| Reason::MalformedFrame)?;
    let start = slot.start + ethernet::HEADER_LEN as u16;
    match link.ethertype.get() {
        ethernet::IPV6 => {
            let header = check_native(packet, scene.view)?;
            if header.source == scene.router && origin == Origin::Wire {
                return Err(Reason::OwnSource);
            }
            Ok(Packet { header, start, flow: Flow::Native })
        }
        ethernet::IPV4 => relay::leave_tunnel(packet, start, scene),
        _ => Err(Reason::MalformedFrame),
    }
}

/// The verdict of a refusal. Of a packet that is to be answered, `packet` tells what to quote.
#[cold]
fn verdict_of(reason: Reason, slot: &Slot, scene: &Scene<'_>, packet: &mut Packet) -> Verdict {
    let Some(error) = reason.answer() else { return Verdict::Drop(reason) };
    let frame = slot.bytes(scene.umem).unwrap_or_default();
    let parsed = frame.get(ethernet::HEADER_LEN..).map(ipv6::parse);
    let Some(Ok((header, payload))) = parsed else { return Verdict::Drop(reason) };
    *packet = Packet {
        header: Native {
            len: ipv6::HEADER_LEN + payload.len(),
            traffic_class: header.traffic_class(),
            hop_limit: header.hop_limit,
            source: header.source(),
            destination: header.destination(),
            embedded: Class4::NONE,
        },
        start: slot.start + ethernet::HEADER_LEN as u16,
        flow: Flow::Native,
    };
    Verdict::Reply(error, reason)
}
