//! The UDP header (RFC 768) and its checksum over IPv4.

use crate::{Malformed, checksum::Sum, ipv4};
use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// The UDP header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Source port.
    pub source: U16,
    /// Destination port.
    pub destination: U16,
    /// Length of header and payload in bytes.
    pub len: U16,
    /// Checksum of pseudo-header, header and payload; zero where the sender made none.
    pub checksum: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

/// Splits a datagram into its header and its payload, cut to the announced length.
///
/// # Errors
/// In the order of the checks: [`Malformed::Truncated`] below 8 bytes, [`Malformed::TotalLength`] for a
/// length below 8 or beyond the bytes present. The checksum is [`checksum_is_correct`]'s.
#[inline]
pub fn parse(datagram: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    let (header, _) = Header::ref_from_prefix(datagram).map_err(|_| Malformed::Truncated)?;
    let payload = datagram.get(HEADER_LEN..usize::from(header.len.get())).ok_or(Malformed::TotalLength)?;
    Ok((header, payload))
}

/// The sum of the pseudo-header over IPv4 (RFC 768). The addresses are numbers in host order, `len` is that
/// of header and payload in bytes.
#[inline]
#[must_use]
pub const fn pseudo_header4(source: u32, destination: u32, len: u16) -> Sum {
    Sum::ZERO.number32(source).number32(destination).number16(ipv4::UDP as u16).number16(len)
}

/// Whether the checksum of a parsed datagram is right. Over IPv4 one of zero says that there is none, and is
/// right (RFC 768).
#[inline]
#[must_use]
pub fn checksum_is_correct(outer: &ipv4::Header, header: &Header, payload: &[u8]) -> bool {
    let pseudo = pseudo_header4(outer.source.get(), outer.destination.get(), header.len.get());
    header.checksum.get() == 0 || pseudo.bytes(header.as_bytes()).bytes(payload).is_correct()
}

/// The checksum field for what has been summed up: one that is computed as zero is sent as all ones (RFC
/// 768), because zero would say that there is none.
#[inline]
#[must_use]
pub fn field(sum: Sum) -> U16 {
    match sum.field() {
        U16::ZERO => U16::MAX_VALUE,
        field => field,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn outer(source: u32, destination: u32) -> ipv4::Header {
        let mut header = ipv4::Header::read_from_bytes(&[0; ipv4::HEADER_LEN]).unwrap();
        header.source = source.into();
        header.destination = destination.into();
        header
    }

    /// From 9.0.0.2:40000 to 8.0.0.10:3544, worked by hand: pseudo-header 0x0900 + 2 + 0x0800 + 10 + 17 + 10,
    /// header 0x9c40 + 0x0dd8 + 10, payload 0x6000.
    #[test]
    fn an_example_by_hand() {
        let source = u32::from_be_bytes([9, 0, 0, 2]);
        let destination = u32::from_be_bytes([8, 0, 0, 10]);
        let mut header =
            Header { source: 40000.into(), destination: 3544.into(), len: 10.into(), checksum: 0.into() };
        let sum = pseudo_header4(source, destination, 10).bytes(header.as_bytes()).bytes(&[0x60, 0]);
        let by_hand: u32 = 0x0900 + 2 + 0x0800 + 10 + 17 + 10 + 0x9c40 + 0x0dd8 + 10 + 0x6000;
        let folded = (by_hand & 0xffff) + (by_hand >> 16);
        header.checksum = field(sum);
        assert_eq!(u32::from(header.checksum.get()), 0xffff - folded);
        assert!(checksum_is_correct(&outer(source, destination), &header, &[0x60, 0]));
        assert!(!checksum_is_correct(&outer(source, destination), &header, &[0x60, 1]));
        header.checksum = 0.into();
        assert!(checksum_is_correct(&outer(source, destination), &header, &[0x60, 1]), "there is none");
    }

    #[test]
    fn zero_is_sent_as_all_ones() {
        assert_eq!(field(Sum::ZERO.number16(0xffff)).get(), 0xffff);
        assert_eq!(field(Sum::ZERO.number16(0xfffe)).get(), 1);
    }

    #[test]
    fn lengths_that_lie() {
        for (len, payload) in
            [(7, Err(Malformed::TotalLength)), (8, Ok(0)), (12, Ok(4)), (13, Err(Malformed::TotalLength))]
        {
            let bytes = [0, 1, 0, 2, 0, len, 0, 0, 0xa5, 0xa5, 0xa5, 0xa5];
            assert_eq!(parse(&bytes).map(|(_, payload)| payload.len()), payload, "{len}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(ports: (u16, u16), checksum: u16, payload: Vec<u8>, tail: Vec<u8>) {
            let header = Header {
                source: ports.0.into(),
                destination: ports.1.into(),
                len: ((HEADER_LEN + payload.len()) as u16).into(),
                checksum: checksum.into(),
            };
            let bytes = [header.as_bytes(), &payload, &tail].concat();
            prop_assert_eq!(parse(&bytes), Ok((&header, &payload[..])));
            prop_assert!(parse(&bytes[..HEADER_LEN + payload.len()]).is_ok());
            if let Some(short) = (HEADER_LEN + payload.len()).checked_sub(1) {
                prop_assert!(parse(&bytes[..short]).is_err());
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok((header, payload)) = parse(&bytes) {
                prop_assert!(HEADER_LEN + payload.len() <= bytes.len());
                let _ = checksum_is_correct(&outer(1, 2), header, payload);
            }
        }

        #[test]
        fn a_checksum_that_was_made_is_never_zero_and_correct(
            ends: (u32, u32), ports: (u16, u16), payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let len = (HEADER_LEN + payload.len()) as u16;
            let mut header =
                Header { source: ports.0.into(), destination: ports.1.into(), len: len.into(), checksum: 0.into() };
            header.checksum =
                field(pseudo_header4(ends.0, ends.1, len).bytes(header.as_bytes()).bytes(&payload));
            prop_assert_ne!(header.checksum.get(), 0);
            prop_assert!(checksum_is_correct(&outer(ends.0, ends.1), &header, &payload));
        }
    }
}
