//! The ICMP header (RFC 792): what the relay must tell apart about its own tunnel packets.

use crate::Malformed;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (deprecated by RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// The ICMP header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum of the whole message.
    pub checksum: U16,
    /// Unused, next-hop MTU, pointer or gateway, by type.
    pub word: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

impl Header {
    /// Whether the message is an error that quotes the packet that caused it (RFC 1122 §3.2.2).
    #[inline]
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }
}

/// Splits a message into its header and its body: of an error, the quoted packet.
///
/// # Errors
/// [`Malformed::Truncated`] below 8 bytes.
#[inline]
pub fn parse(message: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    Header::ref_from_prefix(message).map_err(|_| Malformed::Truncated)
}
