//! The IPv4 header (RFC 791 §3.1).

use crate::{Malformed, checksum::Sum};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the header without options, in bytes.
pub const HEADER_LEN: usize = 20;
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
    let (header, rest) = Header::ref_from_prefix(packet).map_err(|_| Malformed::Truncated)?;
    if header.version_ihl == 0x45 {
        let payload_len = usize::from(header.total_len.get()).wrapping_sub(HEADER_LEN);
        return Ok((header, rest.get(..payload_len).ok_or(Malformed::TotalLength)?));
    }
    parse_uncommon(packet, header)
}

#[cold]
fn parse_uncommon<'a>(packet: &'a [u8], header: &'a Header) -> Result<(&'a Header, &'a [u8]), Malformed> {
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

/// Whether the header checksum (RFC 791 §3.1, over the options too) is right.
#[inline]
#[must_use]
pub fn checksum_is_correct(packet: &[u8], header: &Header) -> bool {
    if header.version_ihl == 0x45 {
        return Sum::ZERO.bytes(header.as_bytes()).is_correct();
    }
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
            _ => match rest.first().and_then(|&len| options.get(usize::from(len.max(2))..).zip(Some(len))) {
                Some((next, 2..)) => options = next,
                _ => return true,
            },
        }
    }
    false
}
