//! Teredo by the golden packets, by each check's failure, and by properties.

extern crate std;

mod golden;
mod parts;
mod properties;
mod relaying;
mod serving;

use super::*;
use crate::Reason;
use crate::embed::Teredo;
use crate::testing::{RELAY, TestClasses, golden, packet4, packet6, v4, v6};
use cookie::Cookies;
use receive::receive;
use sixlane_wire::checksum::Sum;
use sixlane_wire::ipv6::{self, Address};
use sixlane_wire::{ipv4, udp};
use std::vec::Vec;
use zerocopy::IntoBytes;

const SERVER: u32 = u32::from_be_bytes([8, 0, 0, 10]);
const SECOND: u32 = SERVER + 1;
const CLIENT: Endpoint = Endpoint { address: u32::from_be_bytes([9, 0, 0, 2]), port: 40000 };
const RELAY_AT: Endpoint = Endpoint { address: RELAY, port: 3545 };
const COOKIE_PREFIX: u64 = 0x2001_0600_0000_000c;
const MINUTE: u64 = 1000;
const NATIVE: &str = "2001:600::1";
const CLIENT6: &str = "2001:0:800:a:2c5b:63bf:f6ff:fffd";

fn the_relay() -> relay::Relay {
    relay::Relay {
        endpoint: RELAY_AT,
        cookie_prefix: COOKIE_PREFIX,
        cookies: Cookies::new([1, 2]),
        honour_cone_bit: false,
        native_source_check: true,
    }
}

fn the_server() -> server::Server {
    server::Server { addresses: [SERVER, SECOND], secure: false, icmpv6_len_max: server::ICMPV6_LEN_MAX }
}

fn relay_services() -> Services {
    Services { relay: Some(RELAY_AT), server: None }
}

fn server_services() -> Services {
    Services { relay: None, server: Some([SERVER, SECOND]) }
}

/// The addresses of a box with both services are its own.
fn classes() -> TestClasses {
    TestClasses::relay().with("8.0.0.10", crate::Class4::OWN).with("8.0.0.11", crate::Class4::OWN)
}

/// An IPv4 packet with a datagram, with right checksums.
fn datagram(from: Endpoint, to: Endpoint, payload: &[u8]) -> Vec<u8> {
    let mut header = udp::Header {
        source: from.port.into(),
        destination: to.port.into(),
        len: ((udp::HEADER_LEN + payload.len()) as u16).into(),
        checksum: 0.into(),
    };
    // The pseudo-header, as RFC 768 draws it.
    let [a, b] = header.len.to_bytes();
    let pseudo = [&from.address.to_be_bytes()[..], &to.address.to_be_bytes(), &[0, ipv4::UDP, a, b]].concat();
    header.checksum = udp::field(Sum::ZERO.bytes(&pseudo).bytes(header.as_bytes()).bytes(payload));
    let bytes = [header.as_bytes(), payload].concat();
    packet4(from.address, to.address, &bytes, |header| header.protocol = ipv4::UDP)
}

/// A packet with another next header than it had, or anything else changed by position.
fn edited(mut packet: Vec<u8>, edits: &[(usize, u8)]) -> Vec<u8> {
    for &(at, byte) in edits {
        packet[at] = byte;
    }
    packet
}

fn echo(source: Address, destination: Address) -> Vec<u8> {
    packet6(source, destination, ipv6::ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1])
}
