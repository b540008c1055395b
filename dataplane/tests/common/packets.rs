//! Packets as bytes: built here without the code under test, so that both cannot share a mistake.

use super::WAN4;
use super::topology::{GATEWAY_MAC, HOST_MAC, OUR_MAC4, OUR_MAC6};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A 6to4 site, its host, and the native host of the golden packets.
pub const SITE: Ipv4Addr = Ipv4Addr::new(192, 1, 2, 3);
pub const SITE_HOST: &str = "2002:c001:203:1::a";
pub const NATIVE_HOST: &str = "2001:600::1";

/// Frames an IP packet for a port; the EtherType is that of the version.
pub fn framed(port: u8, packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet.first().is_some_and(|first| first >> 4 == 4) { 0x0800 } else { 0x86dd };
    framed_as(port, ethertype, packet)
}

/// Frames anything for a port.
pub fn framed_as(port: u8, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let (ours, theirs) = if port == WAN4 { (OUR_MAC4, GATEWAY_MAC) } else { (OUR_MAC6, HOST_MAC) };
    [&ours[..], &theirs, &ethertype.to_be_bytes(), packet].concat()
}

/// An IPv6 address from text.
pub fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().expect("an IPv6 address").octets()
}

/// The 6to4 address of a site's host.
pub fn sixtofour(site: Ipv4Addr, host: u64) -> [u8; 16] {
    let address = 0x2002u128 << 112 | u128::from(site.to_bits()) << 80 | u128::from(host);
    address.to_be_bytes()
}

/// An IPv6 packet.
pub struct V6 {
    pub source: [u8; 16],
    pub destination: [u8; 16],
    pub hop_limit: u8,
    pub class: u8,
    pub next_header: u8,
    pub payload: Vec<u8>,
}

impl V6 {
    /// 24 bytes of UDP from one address to another.
    pub fn new(source: &str, destination: &str) -> Self {
        Self::between(v6(source), v6(destination))
    }

    /// The same, from addresses in bytes.
    pub fn between(source: [u8; 16], destination: [u8; 16]) -> Self {
        let payload =
            vec![0x12, 0x34, 0, 9, 0, 24, 0xbe, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        Self { source, destination, hop_limit: 64, class: 0, next_header: 17, payload }
    }

    /// From the native host to the 6to4 site.
    pub fn outbound() -> Self {
        Self::new(NATIVE_HOST, SITE_HOST)
    }

    /// From the 6to4 site to the native host.
    pub fn inbound() -> Self {
        Self::new(SITE_HOST, NATIVE_HOST)
    }

    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    pub fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    pub fn payload(mut self, next_header: u8, payload: &[u8]) -> Self {
        self.next_header = next_header;
        self.payload = payload.to_vec();
        self
    }

    /// Fills the payload up so that the packet has `len` bytes.
    pub fn len(mut self, len: usize) -> Self {
        self.payload.resize(len - 40, 0x5a);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.class) << 20;
        let len = self.payload.len() as u16;
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend(len.to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.source);
        packet.extend(self.destination);
        packet.extend(&self.payload);
        packet
    }

    /// In protocol 41, from the site's IPv4 address to the relay's.
    pub fn in_tunnel(&self) -> V4 {
        V4 { payload: self.bytes(), ..V4::new(SITE, super::topology::RELAY) }
    }
}

/// An IPv4 packet.
pub struct V4 {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub tos: u8,
    pub id: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl V4 {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            tos: 0,
            id: 0x1234,
            fragment: 0,
            ttl: 64,
            protocol: 41,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let total = (words * 4 + self.payload.len()) as u16;
        let mut header = vec![0x40 | words as u8, self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [header, self.payload.clone()].concat()
    }
}

/// The Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum as u16
}

/// The checksum over pseudo-header and payload of an ICMPv6 packet; 0 when the one inside is right.
pub fn icmpv6_checksum(packet: &[u8]) -> u16 {
    let mut covered = packet[8..40].to_vec();
    covered.extend(((packet.len() - 40) as u32).to_be_bytes());
    covered.extend([0, 0, 0, 58]);
    covered.extend(&packet[40..]);
    checksum(&covered)
}
