//! What the tests of this crate share: classes by the bogon table, and packets.

extern crate std;

use crate::{Class4, Classes, bogon};
use sixlane_wire::checksum::Sum;
use sixlane_wire::ipv6::Address;
use sixlane_wire::{ipv4, ipv6};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;
use zerocopy::{FromZeros, IntoBytes};

/// The relay of the golden packets.
pub(crate) const RELAY: u32 = u32::from_be_bytes([9, 254, 253, 252]);
/// The 6to4 site of the golden packets.
pub(crate) const SITE: u32 = u32::from_be_bytes([192, 1, 2, 3]);

/// Classes as the tables would give them: the bogon table, and a list of further properties.
#[derive(Debug, Default)]
pub(crate) struct TestClasses {
    pub(crate) lab: bool,
    pub(crate) more: Vec<(u32, Class4)>,
}

impl TestClasses {
    /// The relay's own address, and nothing else.
    pub(crate) fn relay() -> TestClasses {
        TestClasses { lab: false, more: [(RELAY, Class4::OWN)].to_vec() }
    }

    pub(crate) fn with(mut self, address: &str, class: Class4) -> TestClasses {
        self.more.push((v4(address), class));
        self
    }
}

impl Classes for TestClasses {
    fn class4(&self, address: u32) -> Class4 {
        let more = self.more.iter().filter(|(at, _)| *at == address);
        more.fold(bogon::class4(address, self.lab), |class, (_, more)| class.union(*more))
    }

    fn lab(&self) -> bool {
        self.lab
    }
}

pub(crate) fn v4(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().to_bits()
}

pub(crate) fn v6(text: &str) -> Address {
    Address::from_octets(text.parse::<Ipv6Addr>().unwrap().octets())
}

/// An IPv6 packet with hop limit 64.
pub(crate) fn packet6(source: Address, destination: Address, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header {
        version_class_flow: (6 << 28).into(),
        payload_len: (payload.len() as u16).into(),
        next_header,
        hop_limit: 64,
        source: [source.hi.into(), source.lo.into()],
        destination: [destination.hi.into(), destination.lo.into()],
    };
    [header.as_bytes(), payload].concat()
}

/// An IPv4 packet of protocol 41 with a correct checksum; `edit` may change the header before that.
pub(crate) fn packet4(
    source: u32,
    destination: u32,
    carried: &[u8],
    edit: impl FnOnce(&mut ipv4::Header),
) -> Vec<u8> {
    let mut header = ipv4::Header::new_zeroed();
    header.version_ihl = 0x45;
    header.total_len = ((ipv4::HEADER_LEN + carried.len()) as u16).into();
    header.ttl = 64;
    header.protocol = ipv4::IPV6;
    header.source = source.into();
    header.destination = destination.into();
    edit(&mut header);
    let mut packet = [header.as_bytes(), carried].concat();
    correct(&mut packet);
    packet
}

/// Writes the right header checksum into an IPv4 packet.
pub(crate) fn correct(packet: &mut [u8]) {
    let header_len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let field = Sum::ZERO.bytes(&packet[..header_len]).field();
    packet[10..12].copy_from_slice(field.as_bytes());
}

/// The bytes of a golden packet.
pub(crate) fn golden(id: &str) -> Vec<u8> {
    let file = include_str!("../../tests/golden.json");
    let entry = file.split("\"id\"").find(|entry| entry.contains(&std::format!(": \"{id}\",")));
    let hex = entry.unwrap().split("\"hex\": \"").nth(1).unwrap().split('"').next().unwrap();
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}
