//! The IPv6 header (RFC 8200 §3) and addresses as two 64-bit numbers.

use crate::malformed::{Malformed, unlikely};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 40;
/// The smallest MTU that an IPv6 link may have, in bytes (RFC 8200 §5).
pub const MTU_MIN: u32 = 1280;

/// Next header: hop-by-hop options (RFC 8200 §4.3).
pub const HOP_BY_HOP: u8 = 0;
/// Next header: TCP (RFC 9293).
pub const TCP: u8 = 6;
/// Next header: UDP (RFC 768).
pub const UDP: u8 = 17;
/// Next header: encrypted payload, behind which nothing can be read (RFC 4303).
pub const ESP: u8 = 50;
/// Next header: ICMPv6 (RFC 4443 §1).
pub const ICMPV6: u8 = 58;
/// Next header: nothing follows (RFC 8200 §4.7).
pub const NO_NEXT_HEADER: u8 = 59;

/// An IPv6 address as two numbers in host order: `hi` is bits 0..=63, `lo` bits 64..=127.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The first eight bytes.
    pub hi: u64,
    /// The last eight bytes.
    pub lo: u64,
}

impl Address {
    /// The address from its bytes in network order.
    #[inline]
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Address {
        let value = u128::from_be_bytes(octets);
        Address { hi: (value >> 64) as u64, lo: value as u64 }
    }

    /// The address as bytes in network order.
    #[inline]
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        (((self.hi as u128) << 64) | self.lo as u128).to_be_bytes()
    }

    /// Whether the address is a multicast one (ff00::/8, RFC 4291 §2.7).
    #[inline]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.hi >> 56 == 0xff
    }

    /// Whether the address is link-local unicast (fe80::/10, RFC 4291 §2.5.6).
    #[inline]
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        self.hi >> 54 == 0xfe80 >> 6
    }

    /// Whether the address is of the old site-local prefix (fec0::/10, RFC 3879).
    #[inline]
    #[must_use]
    pub const fn is_site_local(self) -> bool {
        self.hi >> 54 == 0xfec0 >> 6
    }

    /// Whether the address is `::` (RFC 4291 §2.5.2).
    #[inline]
    #[must_use]
    pub const fn is_unspecified(self) -> bool {
        self.hi | self.lo == 0
    }
}

/// The IPv6 header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Version (4 bits, 6), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32,
    /// Length in bytes of what follows the header.
    pub payload_len: U16,
    /// What the payload starts with.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address, high and low half.
    pub source: [U64; 2],
    /// Destination address, high and low half.
    pub destination: [U64; 2],
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN);

impl Header {
    /// Traffic class: DSCP (6 bits) and ECN (2 bits) (RFC 8200 §7).
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// The source address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Address {
        Address { hi: self.source[0].get(), lo: self.source[1].get() }
    }

    /// The destination address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Address {
        Address { hi: self.destination[0].get(), lo: self.destination[1].get() }
    }

    /// Writes a traffic class; version and flow label stay.
    #[inline]
    pub fn set_traffic_class(&mut self, class: u8) {
        let rest = self.version_class_flow.get() & 0xf00f_ffff;
        self.version_class_flow.set(rest | u32::from(class) << 20);
    }
}

/// Splits a packet into its header and its payload, cut to the payload length (RFC 8200 §3).
///
/// # Errors
/// In the order of the checks: [`Malformed::Truncated`] on an empty packet, [`Malformed::Version`], then
/// [`Malformed::Truncated`] below 40 bytes and [`Malformed::TotalLength`] when the announced payload is
/// not all there. (The version is judged first: it is in the first byte.)
#[inline]
pub fn parse(packet: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    let Ok((header, rest)) = Header::ref_from_prefix(packet) else {
        return Err(short(packet));
    };
    if header.version_class_flow.get() >> 28 != 6 {
        return Err(unlikely(Malformed::Version));
    }
    match rest.get(..usize::from(header.payload_len.get())) {
        Some(payload) => Ok((header, payload)),
        None => Err(unlikely(Malformed::TotalLength)),
    }
}

#[cold]
#[inline(never)]
fn short(packet: &[u8]) -> Malformed {
    match packet.first() {
        Some(first) if first >> 4 != 6 => Malformed::Version,
        _ => Malformed::Truncated,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;
    use std::vec::Vec;

    /// An echo request from a 6to4 site to a native host, without its body.
    const PACKET: [u8; 40] = [
        0x6b, 0x90, 0, 0, 0, 0, 59, 64, 0x20, 0x02, 0xc0, 0x01, 0x02, 0x03, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x0a,
        0x20, 0x01, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ];

    fn address(text: &str) -> Address {
        Address::from_octets(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    #[test]
    fn an_example() {
        let (header, payload) = parse(&PACKET).unwrap();
        assert_eq!(header.source(), address("2002:c001:203:1::a"));
        assert_eq!(header.destination(), address("2001:600::1"));
        assert_eq!((header.next_header, header.hop_limit), (NO_NEXT_HEADER, 64));
        assert_eq!(header.traffic_class(), 0xb9);
        assert!(payload.is_empty());
    }

    #[test]
    fn each_field_that_can_be_wrong() {
        let with = |at: usize, byte: u8| {
            let mut bytes = PACKET;
            bytes[at] = byte;
            parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0, 0x45), Err(Malformed::Version));
        assert_eq!(with(5, 1), Err(Malformed::TotalLength));
        assert_eq!(with(4, 1), Err(Malformed::TotalLength));
        assert_eq!(parse(&PACKET[..39]), Err(Malformed::Truncated));
        assert_eq!(parse(&[0x45; 39]), Err(Malformed::Version));
        assert_eq!(parse(&[]), Err(Malformed::Truncated));
    }

    #[test]
    fn the_kinds_of_addresses() {
        assert!(address("::").is_unspecified() && !address("::1").is_unspecified());
        assert!(address("ff02::1").is_multicast() && !address("feff::1").is_multicast());
        assert!(address("fe80::1").is_link_local() && address("febf::1").is_link_local());
        assert!(!address("fec0::1").is_link_local() && !address("fe7f::1").is_link_local());
        assert!(address("fec0::1").is_site_local() && address("feff::1").is_site_local());
        assert!(!address("febf::1").is_site_local() && !address("ff00::1").is_site_local());
    }

    proptest! {
        #[test]
        fn addresses_round_trip(octets: [u8; 16]) {
            prop_assert_eq!(Address::from_octets(octets).octets(), octets);
        }

        #[test]
        fn addresses_sort_like_their_octets(a: [u8; 16], b: [u8; 16]) {
            prop_assert_eq!(Address::from_octets(a).cmp(&Address::from_octets(b)), a.cmp(&b));
        }

        #[test]
        fn round_trip(class: u8, flow in 0_u32..1 << 20, rest: (u8, u8), ends: [[u8; 16]; 2], payload: Vec<u8>, tail: Vec<u8>) {
            let [source, destination] = ends.map(Address::from_octets);
            let header = Header {
                version_class_flow: (6 << 28 | u32::from(class) << 20 | flow).into(),
                payload_len: (payload.len() as u16).into(),
                next_header: rest.0,
                hop_limit: rest.1,
                source: [source.hi.into(), source.lo.into()],
                destination: [destination.hi.into(), destination.lo.into()],
            };
            let bytes = [header.as_bytes(), &payload, &tail].concat();
            let (parsed, parsed_payload) = parse(&bytes).unwrap();
            prop_assert_eq!((parsed, parsed_payload), (&header, &payload[..]));
            prop_assert_eq!((parsed.source(), parsed.destination()), (source, destination));
            prop_assert_eq!(parsed.traffic_class(), class);
        }

        #[test]
        fn a_new_traffic_class_changes_nothing_else(word: u32, class: u8) {
            let mut header = *parse(&PACKET).unwrap().0;
            header.version_class_flow = word.into();
            header.set_traffic_class(class);
            prop_assert_eq!(header.traffic_class(), class);
            header.set_traffic_class((word >> 20) as u8);
            prop_assert_eq!(header.version_class_flow.get(), word);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Ok((_, payload)) = parse(&bytes) {
                prop_assert!(HEADER_LEN + payload.len() <= bytes.len());
            }
        }

        #[test]
        fn short_buffers_are_refused(payload: Vec<u8>, cut: usize) {
            let mut bytes = [&PACKET[..], &payload].concat();
            bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
            prop_assert!(parse(&bytes).is_ok());
            prop_assert!(parse(&bytes[..cut % bytes.len()]).is_err());
        }
    }
}
