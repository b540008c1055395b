//! The UDP header (RFC 768).

use crate::Malformed;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// The UDP header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// Length of header and payload in bytes.
    pub len: U16,
    /// Checksum with pseudo-header; zero means none (IPv4 only).
    pub checksum: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

/// Splits a datagram into its header and its payload, cut to the length field.
///
/// # Errors
/// [`Malformed::Truncated`] below 8 bytes, [`Malformed::TotalLength`] when the length field is below 8 or
/// beyond the bytes present.
#[inline]
pub fn parse(datagram: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    let (header, rest) = Header::ref_from_prefix(datagram).map_err(|_| Malformed::Truncated)?;
    let payload_len = usize::from(header.len.get()).wrapping_sub(HEADER_LEN);
    Ok((header, rest.get(..payload_len).ok_or(Malformed::TotalLength)?))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::checksum::{Sum, updated};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A Teredo relay's datagram to a server (RFC 4380 §2.7), with four bytes of payload.
    const DATAGRAM: [u8; 12] = [0x0d, 0xd9, 0x0d, 0xd8, 0, 12, 0x12, 0x34, 0xa5, 0xa5, 0xa5, 0xa5];

    #[test]
    fn an_example() {
        let (header, payload) = parse(&DATAGRAM).unwrap();
        assert_eq!((header.source_port.get(), header.destination_port.get()), (3545, 3544));
        assert_eq!(header.checksum.get(), 0x1234);
        assert_eq!(payload, [0xa5; 4]);
    }

    #[test]
    fn lengths() {
        let with = |len: u8| {
            let mut bytes = DATAGRAM;
            bytes[5] = len;
            parse(&bytes).map(|(_, payload)| payload.len())
        };
        assert_eq!(with(7), Err(Malformed::TotalLength));
        assert_eq!(with(8), Ok(0));
        assert_eq!(with(13), Err(Malformed::TotalLength));
        assert_eq!(parse(&DATAGRAM[..7]), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn round_trip(fields: (u16, u16, u16), payload: Vec<u8>, tail: Vec<u8>) {
            let header = Header {
                source_port: fields.0.into(),
                destination_port: fields.1.into(),
                len: ((HEADER_LEN + payload.len()) as u16).into(),
                checksum: fields.2.into(),
            };
            let bytes = [header.as_bytes(), &payload, &tail].concat();
            prop_assert_eq!(parse(&bytes), Ok((&header, &payload[..])));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok((header, payload)) = parse(&bytes) {
                prop_assert_eq!(usize::from(header.len.get()), HEADER_LEN + payload.len());
            }
        }

        #[test]
        fn short_buffers_are_refused(cut in 0..DATAGRAM.len()) {
            prop_assert!(parse(&DATAGRAM[..cut]).is_err());
        }

        #[test]
        fn incremental_is_full(port: u16) {
            let mut header = *parse(&DATAGRAM).unwrap().0;
            header.checksum = 0.into();
            let before = Sum::ZERO.bytes(header.as_bytes()).field().get();
            let old = header.source_port.get();
            header.source_port = port.into();
            prop_assert_eq!(updated(before, old, port), Sum::ZERO.bytes(header.as_bytes()).field().get());
        }
    }
}
