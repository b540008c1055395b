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
/// Router solicitation (RFC 4861 §4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement (RFC 4861 §4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A router solicitation from `::` to ff02::2 whose checksum is known to be 0x7bb8.
    const SOLICITATION: [u8; 48] = [
        0x60, 0, 0, 0, 0, 8, 58, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 2, 133, 0, 0x7b, 0xb8, 0, 0, 0, 0,
    ];

    #[test]
    fn an_example() {
        let (header, payload) = ipv6::parse(&SOLICITATION).unwrap();
        let (message, body) = parse(payload).unwrap();
        assert_eq!((message.kind, message.code, message.word.get()), (133, 0, 0));
        assert!(body.is_empty());
        assert!(pseudo_header(header, 8).bytes(payload).is_correct());
    }

    proptest! {
        #[test]
        fn round_trip(kind: u8, code: u8, checksum: u16, word: u32, body: Vec<u8>) {
            let header = Header { kind, code, checksum: checksum.into(), word: word.into() };
            let bytes = [header.as_bytes(), &body].concat();
            prop_assert_eq!(parse(&bytes), Ok((&header, &body[..])));
        }

        #[test]
        fn noise_never_panics_and_short_buffers_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            prop_assert_eq!(parse(&bytes).is_ok(), bytes.len() >= HEADER_LEN);
        }
    }
}
