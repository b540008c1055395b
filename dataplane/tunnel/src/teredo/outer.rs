//! The headers around what is sent: IPv4 and UDP.

use super::Endpoint;
use crate::field_copy::{ECN_COMPATIBILITY, TosRule};
use sixlane_wire::checksum::{Sum, of_numbers};
use sixlane_wire::{ipv4, udp};

/// Length of both headers in bytes.
pub const HEADERS_LEN: usize = ipv4::HEADER_LEN + udp::HEADER_LEN;
/// The MTU of Teredo links in bytes, and the length of the longest packet that is sent (RFC 4380 §5.1.2).
pub const MTU: u32 = 1280;

/// The constant part of the headers of a service, with partial checksums: made once per generation of the
/// tables.
///
/// "Do not fragment" is clear always (RFC 4380 §5.1.2), and so is the outer ECN field (RFC 9601 §6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterTemplate {
    from: Endpoint,
    ttl: u8,
    tos: TosRule,
    /// Sum of the constant 16-bit numbers of the IPv4 header.
    ipv4: u32,
    /// Sum of the constant part of the pseudo-header and of the source port.
    udp: Sum,
}

impl OuterTemplate {
    /// The template of a service, with the TTL and the DSCP (0..=63, or
    /// [`crate::field_copy::DSCP_COPY`]) of its outer headers.
    #[must_use]
    pub const fn new(from: Endpoint, ttl: u8, dscp: u8) -> OuterTemplate {
        let protocol = (ttl as u32) << 8 | ipv4::UDP as u32;
        OuterTemplate {
            from,
            ttl,
            tos: TosRule::new(dscp, ECN_COMPATIBILITY),
            ipv4: 0x4500 + protocol + (from.address >> 16) + (from.address & 0xffff),
            udp: udp::pseudo_header4(from.address, 0, 0).number16(from.port),
        }
    }

    /// The headers for what is carried to an endpoint: of at most 65,507 bytes, the first of which follows
    /// the UDP header, with their sum ([`sixlane_wire::offload`]). `traffic_class` is that of the inner
    /// header.
    #[inline]
    #[must_use]
    pub fn headers(
        &self,
        to: Endpoint,
        carried_len: u16,
        carried: Sum,
        id: u16,
        traffic_class: u8,
    ) -> [u8; HEADERS_LEN] {
        let tos = self.tos.outer(traffic_class);
        let udp_len = carried_len.wrapping_add(udp::HEADER_LEN as u16);
        let total_len = udp_len.wrapping_add(ipv4::HEADER_LEN as u16);
        let numbers = self.ipv4 + u32::from(tos) + u32::from(total_len) + u32::from(id);
        let checksum = of_numbers(numbers, to.address);
        // The UDP length stands in the pseudo-header and in the header.
        let sum = self.udp.number32(to.address).number16(to.port).number16(udp_len).number16(udp_len);
        let udp_checksum = udp::field(sum.plus(carried)).get();
        let head = 0x4500 << 48 | u64::from(tos) << 48 | u64::from(total_len) << 32 | u64::from(id) << 16;
        let middle = u64::from(self.ttl) << 56
            | u64::from(ipv4::UDP) << 48
            | u64::from(checksum) << 32
            | u64::from(self.from.address);
        let tail = u64::from(self.from.port) << 48
            | u64::from(to.port) << 32
            | u64::from(udp_len) << 16
            | u64::from(udp_checksum);
        let [a, b, c, d, e, f, g, h] = head.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = middle.to_be_bytes();
        let [q, r, s, t] = to.address.to_be_bytes();
        let [u, v, w, x, y, z, aa, bb] = tail.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb]
    }
}
