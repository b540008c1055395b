//! Ethernet II frames and their VLAN tags (IEEE 802.3 §3.2, IEEE 802.1Q §9.6; RFC 894, RFC 2464).

use crate::Malformed;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U16};

/// EtherType of IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6 (RFC 2464 §3).
pub const IPV6: u16 = 0x86dd;
/// Tag protocol identifier of a customer VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// Tag protocol identifier of a service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;

/// Length of [`Header`] in bytes.
pub const HEADER_LEN: usize = 14;
/// Length of the two addresses in bytes: what stands in front of a tag.
pub const ADDRESSES_LEN: usize = 12;
/// Length of one [`Tag`] in bytes.
pub const TAG_LEN: usize = 4;

/// The Ethernet header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// What follows: an EtherType, or the identifier of a tag.
    pub ethertype: U16,
}

/// A VLAN tag, as it follows the addresses and its own identifier.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Tag {
    /// Priority (3 bits), drop eligible (1 bit), VLAN id (12 bits).
    pub control: U16,
    /// What follows the tag.
    pub ethertype: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_LEN && size_of::<Tag>() == TAG_LEN);

impl Header {
    /// Whether the destination is a group address (multicast or broadcast).
    #[inline]
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

impl Tag {
    /// The VLAN id, 0..=4095.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u16 {
        self.control.get() & 0x0fff
    }
}

/// The layer-2 part of a frame: where the packet starts and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// EtherType of the packet, behind all tags.
    pub ethertype: u16,
    /// Offset of the packet from the start of the frame, in bytes: 14, 18 or 22.
    pub packet_offset: usize,
    /// VLAN ids, outer first; `None` where there is no tag.
    pub vlans: [Option<u16>; 2],
}

/// Splits a frame into its Ethernet header and what follows.
///
/// # Errors
/// [`Malformed::Truncated`] with fewer than 14 bytes.
#[inline]
pub fn parse(frame: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    Header::ref_from_prefix(frame).map_err(|_| Malformed::Truncated)
}

/// Reads the Ethernet header and at most two VLAN tags.
///
/// A third tag is not looked into: it stays the `ethertype`.
///
/// # Errors
/// [`Malformed::Truncated`] when the header or an announced tag is not there.
#[inline]
pub fn link(frame: &[u8]) -> Result<Link, Malformed> {
    let (header, rest) = parse(frame)?;
    let ethertype = header.ethertype.get();
    if is_tag(ethertype) {
        return tagged(rest);
    }
    Ok(Link { ethertype, packet_offset: HEADER_LEN, vlans: [None; 2] })
}

const fn is_tag(ethertype: u16) -> bool {
    ethertype == VLAN || ethertype == SERVICE_VLAN
}

fn tagged(rest: &[u8]) -> Result<Link, Malformed> {
    let (outer, rest) = Tag::ref_from_prefix(rest).map_err(|_| Malformed::Truncated)?;
    let ethertype = outer.ethertype.get();
    if !is_tag(ethertype) {
        return Ok(Link { ethertype, packet_offset: HEADER_LEN + TAG_LEN, vlans: [Some(outer.id()), None] });
    }
    let (inner, _) = Tag::ref_from_prefix(rest).map_err(|_| Malformed::Truncated)?;
    Ok(Link {
        ethertype: inner.ethertype.get(),
        packet_offset: HEADER_LEN + 2 * TAG_LEN,
        vlans: [Some(outer.id()), Some(inner.id())],
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A neighbour solicitation to a solicited-node group (RFC 2464 §7).
    const FRAME: [u8; 18] = [0x33, 0x33, 0xff, 0, 0, 0xfe, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0];

    #[test]
    fn a_plain_frame() {
        let (header, rest) = parse(&FRAME).unwrap();
        assert_eq!(header.ethertype.get(), IPV6);
        assert!(header.is_group());
        assert_eq!(rest, [0x60, 0, 0, 0]);
        let link = link(&FRAME).unwrap();
        assert_eq!(link, Link { ethertype: IPV6, packet_offset: 14, vlans: [None, None] });
    }

    #[test]
    fn one_and_two_tags() {
        let mut frame = FRAME[..12].to_vec();
        frame.extend([0x81, 0x00, 0xe2, 0x58, 0x08, 0x00]);
        let one = Link { ethertype: IPV4, packet_offset: 18, vlans: [Some(600), None] };
        assert_eq!(link(&frame), Ok(one));

        frame.splice(12..12, [0x88, 0xa8, 0x00, 0x07]);
        let two = Link { ethertype: IPV4, packet_offset: 22, vlans: [Some(7), Some(600)] };
        assert_eq!(link(&frame), Ok(two));
        for len in 0..22 {
            assert_eq!(link(&frame[..len]), Err(Malformed::Truncated), "{len} bytes");
        }

        frame.splice(12..12, [0x81, 0x00, 0x00, 0x01]);
        assert_eq!(link(&frame).unwrap().ethertype, VLAN);
    }

    proptest! {
        #[test]
        fn round_trip(destination: [u8; 6], source: [u8; 6], ethertype: u16, rest: Vec<u8>) {
            let header = Header { destination, source, ethertype: ethertype.into() };
            let frame = [header.as_bytes(), &rest].concat();
            prop_assert_eq!(parse(&frame), Ok((&header, &rest[..])));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(parse(&bytes).is_ok(), bytes.len() >= HEADER_LEN);
            if let Ok(link) = link(&bytes) {
                prop_assert!(link.packet_offset <= bytes.len());
            }
        }
    }
}
