//! The ICMPv6 header (RFC 4443 §2.1).

use crate::{Malformed, checksum::Sum, ipv6};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes: type, code, checksum and the four bytes that every message has.
pub const HEADER_LEN: usize = 8;

/// Destination unreachable (RFC 4443 §3.1).
pub const UNREACHABLE: u8 = 1;
/// Packet too big (RFC 4443 §3.2).
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded (RFC 4443 §3.3).
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem (RFC 4443 §3.4).
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request (RFC 4443 §4.1).
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply (RFC 4443 §4.2).
pub const ECHO_REPLY: u8 = 129;
/// Redirect (RFC 4861 §4.5).
pub const REDIRECT: u8 = 137;

/// The ICMPv6 header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Type: errors are 0..=127, informational messages 128..=255.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum of pseudo-header and message.
    pub checksum: U16,
    /// Unused, MTU, pointer, or identifier and sequence number, by type.
    pub word: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

/// Splits a message into its header and its body.
///
/// # Errors
/// [`Malformed::Truncated`] below 8 bytes.
#[inline]
pub fn parse(message: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    Header::ref_from_prefix(message).map_err(|_| Malformed::Truncated)
}

/// The sum of the pseudo-header (RFC 8200 §8.1) for a message of `len` bytes.
#[inline]
#[must_use]
pub fn pseudo_header(header: &ipv6::Header, len: u32) -> Sum {
    Sum::ZERO
        .bytes(header.source.as_bytes())
        .bytes(header.destination.as_bytes())
        .number32(len)
        .number32(u32::from(ipv6::ICMPV6))
}
