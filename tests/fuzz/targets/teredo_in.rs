//! Any bytes as a Teredo datagram (ATK-29, 30, 31, 33, 36), through the rules of relay and server.
//!
//! The first byte says how the rest is taken: bit 0 an IPv4 packet, else what stands behind the UDP header;
//! bit 1 a payload for the server, else for the relay; bit 2 whether the checksums of an IPv4 packet are set
//! right (else hardly any input would get past them); bit 3 whether clients have keys. Nothing that is sent
//! goes to a bogon or to us, and a server sends hardly more than it gets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sixlane_tunnel::embed;
use sixlane_tunnel::teredo::advertisement::ANSWER_LEN_MAX;
use sixlane_tunnel::teredo::authentication::Secrets;
use sixlane_tunnel::teredo::cookie::Cookies;
use sixlane_tunnel::teredo::outer::{HEADERS_LEN, OuterTemplate};
use sixlane_tunnel::teredo::receive::{Received, receive};
use sixlane_tunnel::teredo::relay::{Arrival, Relay, entering, leaving};
use sixlane_tunnel::teredo::server::{ICMPV6_LEN_MAX, Server, Task, judge};
use sixlane_tunnel::teredo::{Endpoint, Services};
use sixlane_tunnel::{Class4, Classes, bogon};
use sixlane_wire::checksum::Sum;
use sixlane_wire::ipv6::Address;
use sixlane_wire::teredo::{AUTHENTICATION_LEN_MIN, ORIGIN_LEN};
use sixlane_wire::{ipv4, teredo, teredo_trailer, udp};

const RELAY: Endpoint = Endpoint { address: u32::from_be_bytes([9, 254, 253, 252]), port: 3545 };
const SERVER: u32 = u32::from_be_bytes([8, 0, 0, 10]);
const CLIENT: Endpoint = Endpoint { address: u32::from_be_bytes([9, 0, 0, 2]), port: 40000 };
const SERVICES: Services = Services { relay: Some(RELAY), server: Some([SERVER, SERVER + 1]) };
/// An origin indication is all that a server adds to what it hands on.
const HANDED_ON_MORE_MAX: usize = ORIGIN_LEN;
const DATAGRAM_MAX: usize = 1500;

struct Table;

impl Classes for Table {
    fn class4(&self, address: u32) -> Class4 {
        let own = if SERVICES.has(address) { Class4::OWN } else { Class4::NONE };
        bogon::class4(address, false).union(own)
    }

    fn lab(&self) -> bool {
        false
    }
}

struct Keys(bool);

impl Secrets for Keys {
    fn key(&self, identifier: &[u8]) -> Option<&[u8]> {
        (self.0 && identifier.first() == Some(&b'l')).then_some(b"lab-secret-1")
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let rest = &rest[..rest.len().min(DATAGRAM_MAX)];
    if let Some((ends, _)) = rest.split_first_chunk::<32>() {
        enter(ends);
    }
    let _ = teredo::parse(rest);
    assert!(teredo_trailer::Walk::new(rest).count() <= rest.len() / 2);
    let packet = if how & 1 == 0 {
        let to = if how & 2 == 0 { RELAY } else { Endpoint::server(SERVER) };
        let headers =
            OuterTemplate::new(CLIENT, 64, 0).headers(to, rest.len() as u16, Sum::ZERO.bytes(rest), 1, 0);
        [&headers[..], rest].concat()
    } else {
        let mut packet = rest.to_vec();
        if how & 4 != 0 {
            set_checksums(&mut packet);
        }
        packet
    };
    if let Ok(received) = receive(&packet, &SERVICES, &Table) {
        assert!(is_sane(received.source.address), "nobody speaks from a bogon, or for us");
        at_relay(&received);
        at_server(&received, &Keys(how & 8 != 0), packet.len());
    }
});

fn is_sane(address: u32) -> bool {
    let refused = Class4::EMBEDDED_BOGON.union(Class4::BROADCAST).union(Class4::OWN);
    !Table.class4(address).intersects(refused)
}

fn relay() -> Relay {
    Relay {
        endpoint: RELAY,
        cookie_prefix: 0x2001_0600_0000_000c,
        cookies: Cookies::new([1, 2]),
        honour_cone_bit: false,
        native_source_check: true,
    }
}

/// Two addresses, as of a packet that is about to enter.
fn enter(ends: &[u8; 32]) {
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source.copy_from_slice(&ends[..16]);
    destination.copy_from_slice(&ends[16..]);
    destination[..4].copy_from_slice(&[0x20, 1, 0, 0]);
    let destination = Address::from_octets(destination);
    assert_eq!(embed::teredo(destination).map(embed::Teredo::address), Some(destination));
    if let Ok(client) = entering(Address::from_octets(source), destination, &relay(), None, &Table) {
        assert!(is_sane(client.client) && is_sane(client.server) && client.port != 0);
    }
}

fn at_relay(received: &Received<'_>) {
    let source = received.message.header.source();
    for known in [false, true] {
        let Ok(arrival) = leaving(received, &relay(), known, 7, |_| true, &Table) else { continue };
        let fields = embed::teredo(source).expect("a Teredo source");
        assert_eq!(fields.mapped(), received.source, "it speaks for itself");
        match arrival {
            Arrival::Forward(decapped) => {
                assert!(known);
                assert_eq!(decapped.inner_len, received.message.packet.len());
                assert!(embed::teredo(decapped.destination).is_none());
            }
            Arrival::Heard => assert!(known),
            Arrival::Proof => assert!(!known),
        }
    }
}

fn at_server(received: &Received<'_>, keys: &Keys, len: usize) {
    for secure in [false, true] {
        let server = Server { addresses: [SERVER, SERVER + 1], secure, icmpv6_len_max: ICMPV6_LEN_MAX };
        match judge(received, &server, keys, &Table) {
            Ok(Task::Advertise(answer)) => {
                assert_eq!(answer.to, received.source, "answers go back");
                assert!(answer.signature.is_some() || !secure);
                let mut out = [0xa5; ANSWER_LEN_MAX];
                let written = answer.write(&mut out).expect("it fits");
                let message = teredo::parse(&out[..written]).expect("it can be read");
                assert_eq!(message.authentication.is_some(), received.message.authentication.is_some());
                assert_eq!(
                    message.authentication.map_or(0, |it| it.len()) >= AUTHENTICATION_LEN_MIN,
                    answer.signature.is_some()
                );
                assert!(message.origin.is_some() && message.trailers.is_empty());
            }
            Ok(Task::ToClient { to, origin }) => {
                assert!(is_sane(to.address) && to.port != 0);
                let extra = if origin.is_some() { ORIGIN_LEN } else { 0 };
                let sent =
                    HEADERS_LEN + extra + received.message.packet.len() + received.message.trailers.len();
                assert!(sent <= len + HANDED_ON_MORE_MAX);
            }
            Ok(Task::ToNative(destination)) => assert!(!bogon::refused6(destination, false)),
            Ok(Task::Echo) | Err(_) => {}
        }
    }
}

/// Sets the checksums of the IPv4 and the UDP header.
fn set_checksums(packet: &mut [u8]) {
    let Some(first) = packet.first() else { return };
    let len = usize::from(first & 15) * 4;
    let Some((header, datagram)) = packet.split_at_mut_checked(len) else { return };
    if header.len() < ipv4::HEADER_LEN {
        return;
    }
    header[10..12].fill(0);
    let field = Sum::ZERO.bytes(header).field().to_bytes();
    header[10..12].copy_from_slice(&field);
    let Ok((head, payload)) = udp::parse(datagram).map(|(head, payload)| (*head, payload.len())) else {
        return;
    };
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    datagram[6..8].fill(0);
    let sum = udp::pseudo_header4(word(12), word(16), head.len.get());
    let field = udp::field(sum.bytes(&datagram[..udp::HEADER_LEN + payload])).to_bytes();
    datagram[6..8].copy_from_slice(&field);
}
