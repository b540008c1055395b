//! The ICMP header of IPv4 (RFC 792).

use crate::Malformed;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes: type, code, checksum and the four bytes that every message has.
pub const HEADER_LEN: usize = 8;

/// Destination unreachable (RFC 792, p. 4).
pub const UNREACHABLE: u8 = 3;
/// Echo request (RFC 792, p. 14).
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded (RFC 792, p. 6).
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem (RFC 792, p. 8).
pub const PARAMETER_PROBLEM: u8 = 12;

/// The ICMP header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum of the message.
    pub checksum: U16,
    /// Unused, next-hop MTU (RFC 1191 §4), pointer, or identifier and sequence number, by type.
    pub word: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

impl Header {
    /// Whether the message reports the fate of one packet, which it quotes behind its header.
    #[inline]
    #[must_use]
    pub const fn reports_an_error(&self) -> bool {
        matches!(self.kind, UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }
}

/// Splits a message into its header and its body.
///
/// # Errors
/// [`Malformed::Truncated`] below 8 bytes.
#[inline]
pub fn parse(message: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    Header::ref_from_prefix(message).map_err(|_| Malformed::Truncated)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::checksum::Sum;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// An echo request whose checksum is known to be 0x4d56 (identifier 1, sequence number 5).
    const ECHO: [u8; 12] = [8, 0, 0x4d, 0x56, 0, 1, 0, 5, 0x61, 0x62, 0x49, 0x41];

    #[test]
    fn an_example() {
        let (header, body) = parse(&ECHO).unwrap();
        assert_eq!((header.kind, header.code, header.word.get()), (ECHO_REQUEST, 0, 0x0001_0005));
        assert_eq!(body, &ECHO[8..]);
        assert!(!header.reports_an_error());
    }

    #[test]
    fn only_errors_report_errors() {
        let reports = |kind: &u8| Header { kind: *kind, ..*parse(&ECHO).unwrap().0 }.reports_an_error();
        let kinds: Vec<u8> = (0..=255).filter(reports).collect();
        assert_eq!(kinds, [3, 11, 12]);
    }

    proptest! {
        #[test]
        fn round_trip_and_checksum(kind: u8, code: u8, word: u32, body: Vec<u8>) {
            let mut header = Header { kind, code, checksum: 0.into(), word: word.into() };
            header.checksum = Sum::field(Sum::ZERO.bytes(header.as_bytes()).bytes(&body));
            let bytes = [header.as_bytes(), &body].concat();
            prop_assert_eq!(parse(&bytes), Ok((&header, &body[..])));
            prop_assert!(Sum::ZERO.bytes(&bytes).is_correct());
        }

        #[test]
        fn noise_never_panics_and_short_buffers_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            prop_assert_eq!(parse(&bytes).is_ok(), bytes.len() >= HEADER_LEN);
        }
    }
}
