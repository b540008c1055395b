//! Protocol 41: IPv6 in IPv4 (RFC 4213), as the 6to4 relay of RFC 3056 and RFC 3964 does it.

use crate::field_copy::{self, TosRule};
use crate::reason::unlikely;
use crate::{Class4, Classes, Reason, guard, outer_header};
use sixlane_wire::checksum::of_numbers;
use sixlane_wire::ipv6::Address;
use sixlane_wire::{Malformed, ipv4, ipv6};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`RelayParams::df`]: as the RFCs say, clear on a tunnel with a static MTU (RFC 4213 §3.2.1).
pub const DF_RFC: u8 = 0;
/// [`RelayParams::df`]: always set.
pub const DF_ALWAYS: u8 = 1;

/// [`RelayParams::deliver`]: to this box itself ICMPv6 alone.
pub const DELIVER_ICMP: u8 = 0;
/// [`RelayParams::deliver`]: everything.
pub const DELIVER_ALL: u8 = 1;

/// The settings of a 6to4 relay, as they lie in shared memory: any bytes are valid.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RelayParams {
    /// The relay's IPv4 address, a number in host order.
    pub address: u32,
    /// MTU of the tunnel in bytes.
    pub mtu: u32,
    /// TTL of outer headers (RFC 4213 §3.3).
    pub ttl: u8,
    /// [`DF_RFC`] or [`DF_ALWAYS`].
    pub df: u8,
    /// DSCP of outer headers: 0..=63, or [`crate::field_copy::DSCP_COPY`].
    pub dscp: u8,
    /// [`crate::field_copy::ECN_NORMAL`] or [`crate::field_copy::ECN_COMPATIBILITY`].
    pub ecn: u8,
    /// [`DELIVER_ICMP`] or [`DELIVER_ALL`].
    pub deliver: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<RelayParams>() == 16);

/// A packet that may leave the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decapped {
    /// Offset of the inner header from the outer one, in bytes (20..=60).
    pub inner_offset: usize,
    /// Length of the inner packet in bytes, header included; what lies behind it is padding.
    pub inner_len: usize,
    /// Traffic class to write into the inner header (RFC 6040 §4.2).
    pub traffic_class: u8,
    /// Whether `traffic_class` differs from what the inner header has.
    pub remark: bool,
    /// Hop limit as received.
    pub hop_limit: u8,
    /// Inner destination.
    pub destination: Address,
}

/// An IPv6 packet from a port that may be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Native {
    /// Length of the packet in bytes, header included; what lies behind it is padding.
    pub len: usize,
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit as received.
    pub hop_limit: u8,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Properties of the IPv4 address that the destination embeds, if it is in 2002::/16.
    pub embedded: Class4,
}

/// Judges an IPv4 packet that arrived on the tunnel side, from the outer header to the inner header chain
/// (CHK-00). What remains is the inner destination's route, hop limit and MTU.
///
/// `l3` starts with the outer header and may be longer than the packet.
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn decap<C: Classes>(l3: &[u8], relay: &RelayParams, classes: &C) -> Result<Decapped, Reason> {
    match ipv4::parse_ordinary(l3) {
        Some((outer, carried)) if outer.destination.get() == relay.address => {
            decap_carried(outer, ipv4::HEADER_LEN, carried, classes)
        }
        _ => decap_uncommon(l3, relay, classes),
    }
}

/// The same for packets with options, and for those that the outer header condemns.
#[cold]
#[inline(never)]
fn decap_uncommon<C: Classes>(l3: &[u8], relay: &RelayParams, classes: &C) -> Result<Decapped, Reason> {
    let (outer, carried) = outer_header::uncommon(l3)?;
    if outer.destination.get() != relay.address {
        return Err(Reason::NotForUs);
    }
    decap_carried(outer, outer.header_len(), carried, classes)
}

/// From the outer source on, behind a sound outer header to the relay. Inlined into both callers, so that
/// the ordinary way has `inner_offset` as a constant.
#[inline(always)]
fn decap_carried<C: Classes>(
    outer: &ipv4::Header,
    inner_offset: usize,
    carried: &[u8],
    classes: &C,
) -> Result<Decapped, Reason> {
    let class = classes.class4(outer.source.get());
    guard::outer_source(class, outer.protocol)?;

    let (inner, payload) = inner(carried)?;
    guard::leaving(inner, outer, class, classes)?;

    let received = inner.traffic_class();
    let traffic_class = match outer.tos & field_copy::ECN_MASK {
        field_copy::NOT_ECT => received,
        mark => field_copy::decapsulated(received, mark).ok_or(Reason::EcnNotEctCe)?,
    };
    guard::header_chain(inner.next_header, payload)?;
    Ok(Decapped {
        inner_offset,
        inner_len: ipv6::HEADER_LEN + payload.len(),
        traffic_class,
        remark: traffic_class != received,
        hop_limit: inner.hop_limit,
        destination: inner.destination(),
    })
}

/// The inner header and its payload; the length counts that the inner header announces (TUN-16).
#[inline]
fn inner(carried: &[u8]) -> Result<(&ipv6::Header, &[u8]), Reason> {
    match ipv6::parse(carried) {
        Ok((header, payload)) if !is_jumbogram(header) => Ok((header, payload)),
        Err(Malformed::Version) => Err(unlikely(Reason::InnerVersion)),
        _ => Err(unlikely(Reason::InnerLength)),
    }
}

/// A length of zero in front of hop-by-hop options: the length is said to be in an option (RFC 2675 §3).
#[inline]
fn is_jumbogram(header: &ipv6::Header) -> bool {
    header.payload_len.get() == 0 && header.next_header == ipv6::HOP_BY_HOP
}

/// Judges an IPv6 packet that arrived on a port: lengths, addresses, header chain.
///
/// `l3` starts with the IPv6 header and may be longer than the packet. `ours` is a source that nobody else
/// may have (`::`, which is refused anyway, for none).
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn check_native<C: Classes>(l3: &[u8], ours: Address, classes: &C) -> Result<Native, Reason> {
    let (header, payload) = whole(l3)?;
    let embedded = guard::native(header, classes)?;
    if header.source() == ours {
        return Err(unlikely(Reason::OwnSource));
    }
    guard::header_chain(header.next_header, payload)?;
    Ok(native(header, payload, embedded))
}

/// Judges an IPv6 packet from the kernel of this box as [`check_native`] does one from a port, but that an
/// address of this box may be its source ([`guard::from_host`]). `relay` is the tunnel's own IPv4 address.
///
/// # Errors
/// The reason of the first check that fails.
pub fn check_from_host<C: Classes>(l3: &[u8], relay: u32, classes: &C) -> Result<Native, Reason> {
    let (header, payload) = whole(l3)?;
    let embedded = guard::from_host(header, relay, classes)?;
    guard::header_chain(header.next_header, payload)?;
    Ok(native(header, payload, embedded))
}

/// Header and payload of a packet on the IPv6 side.
#[inline(always)] // a part of each caller, as before it was shared
fn whole(l3: &[u8]) -> Result<(&ipv6::Header, &[u8]), Reason> {
    match ipv6::parse(l3) {
        Ok((header, payload)) if !is_jumbogram(header) => Ok((header, payload)),
        Err(Malformed::Version) => Err(unlikely(Reason::V6Version)),
        _ => Err(unlikely(Reason::V6Length)),
    }
}

#[inline(always)] // as above
fn native(header: &ipv6::Header, payload: &[u8], embedded: Class4) -> Native {
    Native {
        len: ipv6::HEADER_LEN + payload.len(),
        traffic_class: header.traffic_class(),
        hop_limit: header.hop_limit,
        source: header.source(),
        destination: header.destination(),
        embedded,
    }
}

/// Judges a packet that is about to enter the 6to4 tunnel (RFC 3964 §5.1, RFC 6324 §3.3) and gives the
/// outer destination, a number in host order.
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn encap_checks<C: Classes>(native: &Native, classes: &C) -> Result<u32, Reason> {
    guard::entering(native.source, native.destination, native.embedded, classes)?;
    Ok((native.destination.hi >> 16) as u32)
}

/// The constant part of the outer headers of a tunnel, with its partial checksum: made once per
/// generation of the tables.
///
/// The header is kept as three big-endian numbers of 64, 64 and 32 bits, so that a packet costs a few
/// shifts and adds and no byte is written twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterTemplate {
    /// Version, header length, flags; ToS, total length and identification are zero.
    head: u64,
    /// TTL, protocol, source; the checksum is zero.
    tail: u64,
    /// Sum of the 16-bit numbers of both.
    sum: u32,
    tos: TosRule,
}

impl OuterTemplate {
    /// The template of a relay.
    #[must_use]
    pub const fn new(relay: &RelayParams) -> OuterTemplate {
        let fragment = if relay.df == DF_ALWAYS { ipv4::DONT_FRAGMENT } else { 0 };
        let head = 0x4500 << 48 | fragment as u64;
        let tail = (relay.ttl as u64) << 56 | (ipv4::IPV6 as u64) << 48 | relay.address as u64;
        let sum =
            0x4500 + fragment as u32 + (tail >> 48) as u32 + (relay.address >> 16) + (relay.address & 0xffff);
        OuterTemplate { head, tail, sum, tos: TosRule::new(relay.dscp, relay.ecn) }
    }

    /// The outer header (RFC 4213 §3.5) for an inner packet of `inner_len` bytes (at most 65,515) with
    /// this traffic class. `destination` is a number in host order.
    #[inline]
    #[must_use]
    pub const fn outer_header(
        &self,
        destination: u32,
        inner_len: u16,
        id: u16,
        traffic_class: u8,
    ) -> [u8; ipv4::HEADER_LEN] {
        let tos = self.tos.outer(traffic_class) as u32;
        let total_len = inner_len.wrapping_add(ipv4::HEADER_LEN as u16) as u32;
        let checksum = of_numbers(self.sum + tos + total_len + id as u32, destination);
        let head = self.head | ((tos << 16 | total_len) as u64) << 32 | (id as u64) << 16;
        let tail = self.tail | (checksum as u64) << 32;
        let [a, b, c, d, e, f, g, h] = head.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = tail.to_be_bytes();
        let [q, r, s, t] = destination.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]
    }
}

#[cfg(test)]
mod tests;
