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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::checksum::{Sum, updated};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// "Fragmentation needed", next-hop MTU 1400 (RFC 1191 §4).
    const MESSAGE: [u8; 12] = [3, 4, 0xf7, 0x83, 0, 0, 0x05, 0x78, 0x45, 0, 0, 0x54];

    #[test]
    fn an_example() {
        let (header, quote) = parse(&MESSAGE).unwrap();
        assert_eq!((header.kind, header.code, header.word.get()), (UNREACHABLE, 4, 1400));
        assert!(header.is_error());
        assert_eq!(quote, &MESSAGE[8..]);
    }

    #[test]
    fn errors_are_five_types() {
        let is_error = |kind: u8| Header { kind, ..*parse(&MESSAGE).unwrap().0 }.is_error();
        let errors: Vec<u8> = (0..=255).filter(|&kind| is_error(kind)).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
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

        #[test]
        fn incremental_is_full(code: u8) {
            let mut header = *parse(&MESSAGE).unwrap().0;
            header.checksum = 0.into();
            let before = Sum::ZERO.bytes(header.as_bytes()).field().get();
            let old = u16::from_be_bytes([header.kind, header.code]);
            header.code = code;
            let new = u16::from_be_bytes([header.kind, header.code]);
            prop_assert_eq!(updated(before, old, new), Sum::ZERO.bytes(header.as_bytes()).field().get());
        }
    }
}
