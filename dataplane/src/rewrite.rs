//! The bytes that change: link header, hop limit, traffic class, outer header. The payload is never
//! moved; headers are written in front of it, over headroom or over what was cut off.

use sixlane_tables::Adjacency;
use sixlane_wire::{ethernet, ipv4, ipv6};
use sixlane_xsk::FRAME_BYTES;

/// Bytes of the IPv6 header up to and with the hop limit (RFC 8200 §3).
const HOP_LIMIT_END: usize = 8;
/// A link header and those bytes.
const NATIVE: usize = ethernet::HEADER_LEN + HOP_LIMIT_END;
/// A link header, an outer header and those bytes.
const TUNNEL: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + HOP_LIMIT_END;

/// A frame's bytes.
type Chunk = [u8; FRAME_BYTES];

/// Writes the link header in front of the IPv6 packet at `packet_start` and sets its hop limit. Gives
/// where the frame begins; `None` when there is no room.
#[inline]
pub(crate) fn to_link(
    chunk: &mut Chunk,
    packet_start: u16,
    hop_limit: u8,
    adjacency: &Adjacency,
) -> Option<u16> {
    let start = packet_start.checked_sub(ethernet::HEADER_LEN as u16)?;
    let bytes: &mut [u8; NATIVE] = chunk.get_mut(usize::from(start)..)?.first_chunk_mut()?;
    let (link, packet) = bytes.split_first_chunk_mut()?;
    write_link(link, adjacency, ethernet::IPV6);
    packet[HOP_LIMIT_END - 1] = hop_limit;
    Some(start)
}

/// Writes the link header and the outer header in front of the IPv6 packet at `packet_start` and sets
/// its hop limit. Gives where the frame begins; `None` when there is no room.
#[inline]
pub(crate) fn to_tunnel(
    chunk: &mut Chunk,
    packet_start: u16,
    hop_limit: u8,
    adjacency: &Adjacency,
    outer: &[u8; ipv4::HEADER_LEN],
) -> Option<u16> {
    let start = packet_start.checked_sub((ethernet::HEADER_LEN + ipv4::HEADER_LEN) as u16)?;
    let bytes: &mut [u8; TUNNEL] = chunk.get_mut(usize::from(start)..)?.first_chunk_mut()?;
    let (link, rest) = bytes.split_first_chunk_mut()?;
    let (header, packet) = rest.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    write_link(link, adjacency, ethernet::IPV4);
    *header = *outer;
    packet[HOP_LIMIT_END - 1] = hop_limit;
    Some(start)
}

/// Writes the traffic class of the IPv6 packet at `packet_start` (RFC 6040 §4.2).
#[cold]
pub(crate) fn mark(chunk: &mut Chunk, packet_start: u16, traffic_class: u8) {
    let packet = chunk.get_mut(usize::from(packet_start)..).unwrap_or_default();
    if let Ok((header, _)) = <ipv6::Header as zerocopy::FromBytes>::mut_from_prefix(packet) {
        header.set_traffic_class(traffic_class);
    }
}

#[inline]
fn write_link(link: &mut [u8; ethernet::HEADER_LEN], adjacency: &Adjacency, ethertype: u16) {
    let [d0, d1, d2, d3, d4, d5] = adjacency.dst_mac;
    let [s0, s1, s2, s3, s4, s5] = adjacency.src_mac;
    let [high, low] = ethertype.to_be_bytes();
    *link = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low];
}
