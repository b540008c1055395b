//! Packets built by hand, for what no kernel would send. Written here from the RFCs and apart from
//! the product, so that one does not judge itself.

use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv6 next header and IPv4 protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IPv4 (RFC 4213).
    pub const IPV6: u8 = 41;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// The Internet checksum of some parts (RFC 1071), each of even length but the last.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// An IPv6 packet (RFC 8200 §3).
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, hop_limit: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[next, hop_limit]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet.extend_from_slice(body);
    packet
}

/// A UDP datagram in IPv6 with hop limit 64 (RFC 768, 8200 §8.1).
pub fn udp6(source: (Ipv6Addr, u16), destination: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut body = Vec::with_capacity(payload.len() + 8);
    body.extend_from_slice(&source.1.to_be_bytes());
    body.extend_from_slice(&destination.1.to_be_bytes());
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(payload);
    finish_checksum(source.0, destination.0, protocol::UDP, &mut body, 6);
    ipv6(source.0, destination.0, protocol::UDP, 64, &body)
}

/// An ICMPv6 message (its checksum field is written here) in IPv6.
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut body = message.to_vec();
    finish_checksum(source, destination, protocol::ICMPV6, &mut body, 2);
    ipv6(source, destination, protocol::ICMPV6, hop_limit, &body)
}

/// An ICMPv6 echo request with 56 bytes of data (RFC 4443 §4.1).
pub fn echo_request(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let mut message = vec![128, 0, 0, 0, 0x51, 0x4C, 0, 1];
    message.extend(0..56_u8);
    icmpv6(source, destination, hop_limit, &message)
}

fn finish_checksum(source: Ipv6Addr, destination: Ipv6Addr, next: u8, body: &mut [u8], at: usize) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let sum = checksum(&[&source.octets(), &destination.octets(), &length, &[0, 0, 0, next], body]);
    let sum = if sum == 0 { 0xFFFF } else { sum };
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// An IPv4 packet without options (RFC 791 §3.1), TTL 64.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 20).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

/// An IPv6 packet in IPv4 (RFC 4213 §3.5).
pub fn protocol41(source: Ipv4Addr, destination: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    ipv4(source, destination, protocol::IPV6, inner)
}

/// Bytes as hexadecimal digits, as `sixlane explain` takes them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{checksum, echo_request, hex, protocol41};
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn checksums_verify_to_zero() {
        let (a, b) = (Ipv4Addr::new(192, 1, 2, 3), Ipv4Addr::new(9, 254, 253, 252));
        let inner = echo_request(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 64);
        let packet = protocol41(a, b, &inner);
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let length = u32::try_from(inner.len() - 40).expect("short").to_be_bytes();
        let pseudo: &[&[u8]] = &[&inner[8..40], &length, &[0, 0, 0, 58], &inner[40..]];
        assert_eq!(checksum(pseudo), 0);
        assert_eq!(hex(&packet[..4]), "4500007c");
    }
}
