//! The bytes that change: link header, hop limit, traffic class, outer header. The payload is never
//! moved; headers are written in front of it, over headroom or over what was cut off.

use crate::batch::{Extent, Slot};
use crate::classify::{Flow, Packet};
use crate::scene::Origin;
use sixlane_tables::Adjacency;
use sixlane_tunnel::field_copy::{CE, ECN_MASK, ECT_1};
use sixlane_tunnel::sixinfour::OuterTemplate;
use sixlane_wire::{ethernet, ipv4, ipv6};
use sixlane_xsk::{FRAME_BYTES, Umem};

/// Bytes of the IPv6 header up to and with the hop limit (RFC 8200 §3).
const HOP_LIMIT_END: usize = 8;
/// A link header and those bytes.
const NATIVE: usize = ethernet::HEADER_LEN + HOP_LIMIT_END;
/// A link header, an outer header and those bytes.
const TUNNEL: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + HOP_LIMIT_END;

/// Where a packet goes.
pub(crate) struct Way<'a> {
    /// The next hop.
    pub(crate) adjacency: &'a Adjacency,
    /// Whether the packet came from somewhere: then its hop limit falls.
    pub(crate) origin: Origin,
    /// The memory of the frame.
    pub(crate) umem: &'a Umem,
}

/// The outer header of a packet.
pub(crate) struct Outer<'a> {
    /// Its constant part.
    pub(crate) template: &'a OuterTemplate,
    /// The outer destination, a number in host order.
    pub(crate) far_end: u32,
    /// Its identification.
    pub(crate) id: u16,
}

/// Sends an IPv6 packet to a link: writes the link header in front of it, takes the hop limit down and
/// marks congestion. `None` when there is no room.
#[inline]
pub(crate) fn to_link(slot: &mut Slot, packet: &Packet, way: &Way<'_>) -> Option<()> {
    let start = packet.start.checked_sub(ethernet::HEADER_LEN as u16)?;
    let chunk = slot.frame.as_mut().map(|frame| way.umem.bytes_mut(frame))?;
    if packet.flow > Flow::Decapsulated {
        mark(chunk, packet);
    }
    let bytes: &mut [u8; NATIVE] = chunk.get_mut(usize::from(start)..)?.first_chunk_mut()?;
    let (link, start_of_packet) = bytes.split_first_chunk_mut()?;
    write_link(link, way.adjacency, ethernet::IPV6);
    start_of_packet[HOP_LIMIT_END - 1] = hop_limit(packet, way.origin);
    let len = ethernet::HEADER_LEN as u16 + packet.len;
    slot.extent = Extent { start, len, egress: way.adjacency.port, ..slot.extent };
    if way.adjacency.vlan == 0 { Some(()) } else { tag(slot, way.adjacency.vlan, way.umem) }
}

/// Sends an IPv6 packet into the tunnel: writes the link header and the outer header in front of it and
/// takes the hop limit down. `None` when there is no room.
#[inline]
pub(crate) fn to_tunnel(slot: &mut Slot, packet: &Packet, way: &Way<'_>, outer: &Outer<'_>) -> Option<()> {
    let start = packet.start.checked_sub((ethernet::HEADER_LEN + ipv4::HEADER_LEN) as u16)?;
    let chunk = slot.frame.as_mut().map(|frame| way.umem.bytes_mut(frame))?;
    let bytes: &mut [u8; TUNNEL] = chunk.get_mut(usize::from(start)..)?.first_chunk_mut()?;
    let (link, rest) = bytes.split_first_chunk_mut()?;
    let (header, start_of_packet) = rest.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    let start_of_packet: &mut [u8; HOP_LIMIT_END] = start_of_packet.first_chunk_mut()?;
    write_link(link, way.adjacency, ethernet::IPV4);
    // Version, traffic class and flow label (RFC 8200 §3).
    let [a, b, ..] = *start_of_packet;
    let traffic_class = (u16::from_be_bytes([a, b]) >> 4) as u8;
    *header = outer.template.outer_header(outer.far_end, packet.len, outer.id, traffic_class);
    start_of_packet[HOP_LIMIT_END - 1] = hop_limit(packet, way.origin);
    let len = (ethernet::HEADER_LEN + ipv4::HEADER_LEN) as u16 + packet.len;
    slot.extent = Extent { start, len, egress: way.adjacency.port, ..slot.extent };
    if way.adjacency.vlan == 0 { Some(()) } else { tag(slot, way.adjacency.vlan, way.umem) }
}

/// Puts a VLAN tag (IEEE 802.1Q §9.6) with priority 0 into the link header of a frame without one. `None`
/// when there is no room in front of it.
#[inline(never)] // so that frames without tags pay for one comparison
pub(crate) fn tag(slot: &mut Slot, vlan: u16, umem: &Umem) -> Option<()> {
    let start = slot.extent.start.checked_sub(ethernet::TAG_LEN as u16)?;
    let chunk = slot.frame.as_mut().map(|frame| umem.bytes_mut(frame))?;
    let bytes: &mut [u8; ethernet::ADDRESSES_LEN + 2 * ethernet::TAG_LEN] =
        chunk.get_mut(usize::from(start)..)?.first_chunk_mut()?;
    bytes.copy_within(ethernet::TAG_LEN..ethernet::TAG_LEN + ethernet::ADDRESSES_LEN, 0);
    let (_, rest) = bytes.split_first_chunk_mut::<{ ethernet::ADDRESSES_LEN }>()?;
    let [high, low] = ethernet::VLAN.to_be_bytes();
    let [id_high, id_low] = vlan.to_be_bytes();
    *rest.first_chunk_mut()? = [high, low, id_high, id_low];
    slot.extent = Extent { start, len: slot.extent.len + ethernet::TAG_LEN as u16, ..slot.extent };
    Some(())
}

/// Takes the one VLAN tag out of a frame's link header and gives its id; what follows it does not move.
/// `None` when there is none, or another one behind it.
#[inline(never)] // so that frames without tags pay for nothing
pub(crate) fn untag(slot: &mut Slot, umem: &Umem) -> Option<u16> {
    let link = ethernet::link(slot.bytes(umem)?).ok()?;
    let [Some(vlan), None] = link.vlans else { return None };
    let first = usize::from(slot.extent.start);
    let chunk = slot.frame.as_mut().map(|frame| umem.bytes_mut(frame))?;
    let header = chunk.get_mut(first..first + link.packet_offset)?;
    header.copy_within(..ethernet::ADDRESSES_LEN, ethernet::TAG_LEN);
    slot.extent.start += ethernet::TAG_LEN as u16;
    slot.extent.len -= ethernet::TAG_LEN as u16;
    Some(vlan)
}

/// The hop limit with which a packet leaves: one less, once for the whole relay (RFC 4213 §3.3).
#[inline]
fn hop_limit(packet: &Packet, origin: Origin) -> u8 {
    packet.hop_limit - origin.hops()
}

/// Writes the ECN field (RFC 6040 §4.2).
#[cold]
pub(crate) fn mark(chunk: &mut [u8; FRAME_BYTES], packet: &Packet) {
    let bytes = chunk.get_mut(usize::from(packet.start)..).unwrap_or_default();
    if let Ok((header, _)) = <ipv6::Header as zerocopy::FromBytes>::mut_from_prefix(bytes) {
        let ecn = if packet.flow == Flow::Congested { CE } else { ECT_1 };
        header.set_traffic_class(header.traffic_class() & !ECN_MASK | ecn);
    }
}

#[inline]
fn write_link(link: &mut [u8; ethernet::HEADER_LEN], adjacency: &Adjacency, ethertype: u16) {
    let [d0, d1, d2, d3, d4, d5] = adjacency.dst_mac;
    let [s0, s1, s2, s3, s4, s5] = adjacency.src_mac;
    let [high, low] = ethertype.to_be_bytes();
    *link = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low];
}
