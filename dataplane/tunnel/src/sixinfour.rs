//! Protocol 41: IPv6 in IPv4 (RFC 4213), as the 6to4 relay of RFC 3056 and RFC 3964 does it.

use crate::field_copy::TosRule;
use crate::{Class4, Classes, Reason};
use sixlane_wire::checksum::Sum;
use sixlane_wire::ipv6::Address;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`RelayParams::df`]: as the RFCs say, clear on a tunnel with a static MTU (RFC 4213 §3.2.1).
pub const DF_RFC: u8 = 0;
/// [`RelayParams::df`]: always set.
pub const DF_ALWAYS: u8 = 1;

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
    /// Zero.
    pub reserved: u32,
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
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn decap<C: Classes>(l3: &[u8], relay: &RelayParams, classes: &C) -> Result<Decapped, Reason> {
    let _ = (l3, relay, classes);
    Err(Reason::NotForUs)
}

/// Judges an IPv6 packet that arrived on a port: lengths, addresses, header chain.
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn check_native<C: Classes>(l3: &[u8], classes: &C) -> Result<Native, Reason> {
    let _ = (l3, classes);
    Err(Reason::V6Version)
}

/// Judges a packet that is about to enter the 6to4 tunnel (RFC 3964 §5.1, RFC 6324 §3.3) and gives the
/// outer destination, a number in host order.
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn encap_checks<C: Classes>(native: &Native, relay: &RelayParams, classes: &C) -> Result<u32, Reason> {
    let _ = (native, relay, classes);
    Err(Reason::V4LocalAddress)
}

/// The constant part of the outer headers of a tunnel, with its partial checksum: made once per
/// generation of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterTemplate {
    header: [u8; 20],
    sum: Sum,
    tos: TosRule,
}

impl OuterTemplate {
    /// The template of a relay.
    #[must_use]
    pub const fn new(relay: &RelayParams) -> OuterTemplate {
        OuterTemplate { header: [0; 20], sum: Sum::ZERO, tos: TosRule::new(relay.dscp, relay.ecn) }
    }

    /// The outer header (RFC 4213 §3.5) for an inner packet of `inner_len` bytes with this traffic class.
    #[inline]
    #[must_use]
    pub fn outer_header(&self, destination: u32, inner_len: u16, id: u16, traffic_class: u8) -> [u8; 20] {
        let _ = (destination, inner_len, id, self.tos.outer(traffic_class), self.sum);
        self.header
    }
}
