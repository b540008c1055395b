//! From frames to packets: what each one is, where its IPv6 header lies, and whether it may be here.
//!
//! An IPv4 frame is judged as what a tunnel delivers, an IPv6 frame as native; [`crate::relay`] and the
//! crate `tunnel` know the rules. What survives has its columns filled and is in `live`; what does not
//! is in `refused` with its verdict.

use crate::batch::{Batch, Column, List};
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

/// The IPv6 packets of a batch, by column.
#[derive(Debug)]
pub(crate) struct Packets {
    /// How it came.
    pub(crate) flow: Column<Flow>,
    /// Where its IPv6 header begins in the chunk, in bytes.
    pub(crate) start: Column<u16>,
    /// What its header says. The source of a decapsulated packet is not kept.
    pub(crate) header: Column<Native>,
}

impl Packets {
    pub(crate) const fn new() -> Self {
        let nowhere = Address { hi: 0, lo: 0 };
        let blank = Native {
            len: 0,
            traffic_class: 0,
            hop_limit: 0,
            source: nowhere,
            destination: nowhere,
            embedded: Class4::NONE,
        };
        Self { flow: Column::new(Flow::Native), start: Column::new(0), header: Column::new(blank) }
    }
}

/// Packets that end here, with their verdicts.
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
        self.verdicts.set(at, verdict);
    }
}

/// Reads every packet of the batch.
#[inline]
pub(crate) fn classify(
    batch: &Batch,
    origin: Origin,
    scene: &Scene<'_>,
    packets: &mut Packets,
    live: &mut List,
    refused: &mut Refused,
) {
    for at in batch.positions() {
        match read(batch, at, origin, scene, packets) {
            Ok(()) => live.push(at),
            Err(reason) => refused.push(at, verdict_of(reason, batch, at, scene, packets)),
        }
    }
}

/// The verdict of a refusal. Of a packet that is to be answered, the columns tell what to quote.
#[cold]
fn verdict_of(reason: Reason, batch: &Batch, at: u8, scene: &Scene<'_>, packets: &mut Packets) -> Verdict {
    let Some(error) = reason.answer() else { return Verdict::Drop(reason) };
    let start = batch.extent(at).0 + ethernet::HEADER_LEN as u16;
    let packet = batch.chunk(at, scene.umem).and_then(|chunk| chunk.get(usize::from(start)..));
    let Some(Ok((header, payload))) = packet.map(ipv6::parse) else { return Verdict::Drop(reason) };
    packets.flow.set(at, Flow::Native);
    packets.start.set(at, start);
    packets.header.set(
        at,
        Native {
            len: ipv6::HEADER_LEN + payload.len(),
            traffic_class: header.traffic_class(),
            hop_limit: header.hop_limit,
            source: header.source(),
            destination: header.destination(),
            embedded: Class4::NONE,
        },
    );
    Verdict::Reply(error, reason)
}

#[inline]
fn read(
    batch: &Batch,
    at: u8,
    origin: Origin,
    scene: &Scene<'_>,
    packets: &mut Packets,
) -> Result<(), Reason> {
    let (start, len) = batch.extent(at);
    let frame = batch
        .chunk(at, scene.umem)
        .and_then(|chunk| chunk.get(usize::from(start)..usize::from(start) + usize::from(len)))
        .ok_or(Reason::MalformedFrame)?;
    let (link, packet) = ethernet::parse(frame).map_err(|_| Reason::MalformedFrame)?;
    let packet_start = start + ethernet::HEADER_LEN as u16;
    match link.ethertype.get() {
        ethernet::IPV6 => {
            let header = check_native(packet, scene.view)?;
            if header.source == scene.router && origin == Origin::Wire {
                return Err(Reason::OwnSource);
            }
            packets.flow.set(at, Flow::Native);
            packets.start.set(at, packet_start);
            packets.header.set(at, header);
            Ok(())
        }
        ethernet::IPV4 => relay::leave_tunnel(packet, packet_start, at, scene, packets),
        _ => Err(Reason::MalformedFrame),
    }
}
