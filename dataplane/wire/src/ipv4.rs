//! The IPv4 header (RFC 791 §3.1).

use crate::{Malformed, checksum::Sum};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header without options, in bytes.
pub const HEADER_LEN: usize = 20;
/// [`Header::version_ihl`] of a header without options.
const VERSION_IHL: u8 = 0x45;
/// Protocol number of ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// Protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;
/// Protocol number of IPv6 carried in IPv4 (RFC 4213 §3.5).
pub const IPV6: u8 = 41;

/// "Do not fragment" in [`Header::fragment`] (RFC 791 §3.1).
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in [`Header::fragment`] (RFC 791 §3.1).
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset in [`Header::fragment`], in units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// Option "end of list" (RFC 791 §3.1).
const END_OF_OPTIONS: u8 = 0;
/// Option "no operation" (RFC 791 §3.1).
const NO_OPERATION: u8 = 1;
/// Option "loose source and record route" (RFC 791 §3.1).
const LOOSE_SOURCE_ROUTE: u8 = 131;
/// Option "strict source and record route" (RFC 791 §3.1).
const STRICT_SOURCE_ROUTE: u8 = 137;

/// The IPv4 header without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Version (4) and header length in 32-bit words.
    pub version_ihl: u8,
    /// DSCP (6 bits) and ECN (2 bits).
    pub tos: u8,
    /// Length of header and payload in bytes.
    pub total_len: U16,
    /// Identification, for reassembly.
    pub id: U16,
    /// Flags and fragment offset.
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header with options.
    pub checksum: U16,
    /// Source address.
    pub source: U32,
    /// Destination address.
    pub destination: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

impl Header {
    /// Length of the header with options in bytes, 20..=60 once parsed.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0x0f) * 4
    }

    /// Whether the packet is one of several fragments: more follow, or an offset is set.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }
}

/// Splits a packet into its header and its payload (behind the options, cut to the total length).
///
/// # Errors
/// In the order of the checks: [`Malformed::Truncated`], [`Malformed::Version`],
/// [`Malformed::HeaderLength`], [`Malformed::TotalLength`]. The checksum is [`checksum_is_correct`]'s.
#[inline]
pub fn parse(packet: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    let (header, _) = Header::ref_from_prefix(packet).map_err(|_| Malformed::Truncated)?;
    if header.version_ihl >> 4 != 4 {
        return Err(Malformed::Version);
    }
    if header.header_len() < HEADER_LEN || header.header_len() > packet.len() {
        return Err(Malformed::HeaderLength);
    }
    let payload =
        packet.get(header.header_len()..usize::from(header.total_len.get())).ok_or(Malformed::TotalLength)?;
    Ok((header, payload))
}

/// Splits an ordinary packet: without options, not a fragment, with a right checksum. That is a shorter way
/// than [`parse`] for nearly all packets; `None` says only that this one is not ordinary.
#[inline]
#[must_use]
pub fn parse_ordinary(packet: &[u8]) -> Option<(&Header, &[u8])> {
    let (header, rest) = Header::ref_from_prefix(packet).ok()?;
    let payload_len = usize::from(header.total_len.get()).wrapping_sub(HEADER_LEN);
    let ordinary = header.version_ihl == VERSION_IHL
        && !header.is_fragment()
        && Sum::ZERO.bytes(header.as_bytes()).is_correct();
    if ordinary { Some((header, rest.get(..payload_len)?)) } else { None }
}

/// Whether the header checksum (RFC 791 §3.1, over the options too) is right.
#[inline]
#[must_use]
pub fn checksum_is_correct(packet: &[u8], header: &Header) -> bool {
    packet.get(..header.header_len()).is_some_and(|bytes| Sum::ZERO.bytes(bytes).is_correct())
}

/// The options of a parsed packet: empty, or up to 40 bytes.
#[inline]
#[must_use]
pub fn options<'a>(packet: &'a [u8], header: &Header) -> &'a [u8] {
    packet.get(HEADER_LEN..header.header_len()).unwrap_or_default()
}

/// Whether an option list asks for source routing, or cannot be read to its end (RFC 1122 §3.2.1.8).
#[must_use]
pub fn has_source_route(mut options: &[u8]) -> bool {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            END_OF_OPTIONS => return false,
            NO_OPERATION => options = rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return true,
            _ => {
                let Some(&len @ 2..) = rest.first() else { return true };
                let Some(next) = options.get(usize::from(len)..) else { return true };
                options = next;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The outer header of a 6to4 packet, site 192.1.2.3 to relay 9.254.253.252 (RFC 3056 §2).
    const PACKET: [u8; 24] = [
        0x45, 0, 0, 24, 0x12, 0x34, 0, 0, 64, 41, 0x9e, 0x8a, 192, 1, 2, 3, 9, 254, 253, 252, 0xa5, 0xa5,
        0xa5, 0xa5,
    ];

    /// A correct packet with these options (padded to a multiple of four) and this payload.
    fn packet(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let options_len = options.len().next_multiple_of(4);
        let header_len = HEADER_LEN + options_len;
        let mut header = *Header::ref_from_prefix(&PACKET).unwrap().0;
        header.version_ihl = 0x40 | (header_len / 4) as u8;
        header.total_len = ((header_len + payload.len()) as u16).into();
        header.checksum = 0.into();
        let mut padded = options.to_vec();
        padded.resize(options_len, 0);
        header.checksum = Sum::ZERO.bytes(header.as_bytes()).bytes(&padded).field();
        [header.as_bytes(), &padded, payload].concat()
    }

    #[test]
    fn an_example() {
        let (header, payload) = parse(&PACKET).unwrap();
        assert_eq!(header.source.get(), u32::from_be_bytes([192, 1, 2, 3]));
        assert_eq!(header.destination.get(), u32::from_be_bytes([9, 254, 253, 252]));
        assert_eq!((header.ttl, header.protocol, header.id.get()), (64, IPV6, 0x1234));
        assert_eq!(payload, [0xa5; 4]);
        assert!(checksum_is_correct(&PACKET, header));
        assert!(!header.is_fragment());
        assert_eq!(options(&PACKET, header), []);
    }

    #[test]
    fn each_field_that_can_be_wrong() {
        let with = |at: usize, byte: u8| {
            let mut bytes = PACKET;
            bytes[at] = byte;
            parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0, 0x65), Err(Malformed::Version));
        assert_eq!(with(0, 0x44), Err(Malformed::HeaderLength));
        assert_eq!(with(0, 0x47), Err(Malformed::HeaderLength));
        assert_eq!(with(0, 0x46), Ok(()));
        assert_eq!(with(3, 19), Err(Malformed::TotalLength));
        assert_eq!(with(3, 20), Ok(()));
        assert_eq!(with(3, 25), Err(Malformed::TotalLength));
        assert_eq!(parse(&PACKET[..19]), Err(Malformed::Truncated));
    }

    #[test]
    fn fragments() {
        for (field, is) in [(0x0000, false), (0x4000, false), (0x8000, false), (0x2000, true), (1, true)] {
            let mut header = *parse(&PACKET).unwrap().0;
            header.fragment = field.into();
            assert_eq!(header.is_fragment(), is, "{field:#x}");
            header.total_len = 20.into();
            header.checksum = 0.into();
            header.checksum = Sum::ZERO.bytes(header.as_bytes()).field();
            assert_eq!(parse_ordinary(header.as_bytes()).is_none(), is, "{field:#x}");
        }
    }

    #[test]
    fn source_routes_and_option_lists() {
        let record_route = [7, 7, 4, 0, 0, 0, 0];
        let router_alert = [148, 4, 0, 0];
        for (list, refused) in [
            (&[][..], false),
            (&[0, 131], false),
            (&[1, 1, 1, 1], false),
            (&record_route, false),
            (&router_alert, false),
            (&[131, 3, 4], true),
            (&[1, 137, 7, 4, 0, 0, 0, 0], true),
            (&[148, 4, 0, 0, 131, 3, 4], true),
            (&[148], true),
            (&[148, 0], true),
            (&[148, 1], true),
            (&[148, 5, 0, 0], true),
        ] {
            assert_eq!(has_source_route(list), refused, "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(options_in in proptest::collection::vec(any::<u8>(), 0..40), payload: Vec<u8>, tail: Vec<u8>) {
            let mut bytes = packet(&options_in, &payload);
            bytes.extend(&tail);
            let (header, rest) = parse(&bytes).unwrap();
            prop_assert_eq!(rest, &payload[..]);
            prop_assert!(options(&bytes, header).starts_with(&options_in));
            prop_assert!(checksum_is_correct(&bytes, header));
            let ordinary = parse_ordinary(&bytes);
            prop_assert_eq!(ordinary.is_some(), options_in.is_empty());
            prop_assert!(ordinary.is_none_or(|split| split == (header, rest)));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128), first in 0x44_u8..=0x50) {
            let mut bytes = bytes;
            for round in 0..2 {
                if let Ok((header, payload)) = parse(&bytes) {
                    let _ = (checksum_is_correct(&bytes, header), has_source_route(options(&bytes, header)));
                    prop_assert!(header.header_len() + payload.len() <= bytes.len());
                }
                if let (0, Some(byte)) = (round, bytes.first_mut()) {
                    *byte = first;
                }
            }
        }

        #[test]
        fn short_buffers_are_refused(options_in in proptest::collection::vec(any::<u8>(), 0..40), payload: Vec<u8>, cut: usize) {
            let bytes = packet(&options_in, &payload);
            prop_assert!(parse(&bytes[..cut % bytes.len()]).is_err());
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0_usize..20, flip in 1_u8..) {
            let mut bytes = PACKET;
            bytes[at] ^= flip;
            let noticed = parse(&bytes).map_or(true, |(header, _)| !checksum_is_correct(&bytes, header));
            prop_assert!(noticed);
            prop_assert!(parse_ordinary(&bytes).is_none());
        }
    }
}
