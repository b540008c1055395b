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
