//! What holds for any bytes and any addresses.

use super::*;
use crate::teredo::authentication::NoSecrets;
use crate::teredo::outer::{HEADERS_LEN, OuterTemplate};
use crate::teredo::receive::Kind;
use crate::teredo::relay::{Arrival, entering, leaving};
use crate::teredo::server::{Task, judge};
use crate::{Class4, Classes};
use proptest::prelude::*;
use sixlane_wire::offload;

fn endpoints() -> impl Strategy<Value = Endpoint> {
    (any::<u32>(), any::<u16>()).prop_map(|(address, port)| Endpoint { address, port })
}

/// Payloads that get past the front often enough: indicators, lengths and addresses that nearly fit.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    const FRONTS: [&[u8]; 4] = [&[], &[0, 0, 1, 2, 3, 4, 5, 6], &[0, 1, 0, 0], &[0, 1, 2, 3]];
    let front = (0..FRONTS.len()).prop_map(|at| FRONTS[at]);
    let address = prop::sample::select(
        &[CLIENT6, NATIVE, "fe80::1", "ff02::2", "2001:0:801:a:0:63bf:f6ff:fffc", "2001:600:0:c::1"][..],
    );
    let next = prop::sample::select(&[ipv6::NO_NEXT_HEADER, ipv6::ICMPV6, ipv6::UDP, 43, 60, 0][..]);
    let body = proptest::collection::vec(any::<u8>(), 0..40);
    (front, address.clone(), address, next, body, any::<[u8; 3]>()).prop_map(
        |(front, source, destination, next, body, spoil)| {
            let mut packet = packet6(v6(source), v6(destination), next, &body);
            if spoil[0] & 3 == 0 {
                packet[5] = packet[5].wrapping_add(spoil[1] & 7).wrapping_sub(3);
            }
            if spoil[0] & 12 == 0 {
                packet[7] = spoil[2];
            }
            let mut bytes = [front, &packet].concat();
            if spoil[0] & 48 == 0 {
                bytes.truncate(usize::from(spoil[2]));
            }
            bytes
        },
    )
}

fn judge_all(packet: &[u8]) {
    let services = Services { relay: Some(RELAY_AT), server: Some([SERVER, SECOND]) };
    let classes = classes();
    let Ok(received) = receive(packet, &services, &classes) else { return };
    for known in [false, true] {
        match leaving(&received, &the_relay(), known, MINUTE, |_| true, &classes) {
            Ok(Arrival::Forward(decapped)) => {
                assert!(known, "a stranger's packet is never forwarded");
                assert!(decapped.inner_len <= packet.len() - HEADERS_LEN);
            }
            Ok(Arrival::Heard) => assert!(known),
            Ok(Arrival::Proof) => assert!(!known),
            Err(refusal) => assert!(!refusal.name().is_empty()),
        }
    }
    if let Ok(Task::ToClient { to, .. }) = judge(&received, &the_server(), &NoSecrets, &classes) {
        let refused = Class4::EMBEDDED_BOGON.union(Class4::BROADCAST).union(Class4::OWN);
        assert!(!classes.class4(to.address).intersects(refused) && to.port != 0);
    }
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        judge_all(&bytes);
        judge_all(&datagram(CLIENT, RELAY_AT, &bytes));
    }

    #[test]
    fn near_misses_never_panic(payload in payloads(), to_server: bool, cut: usize) {
        let to = if to_server { Endpoint::server(SERVER) } else { RELAY_AT };
        let packet = datagram(CLIENT, to, &payload);
        judge_all(&packet);
        judge_all(&packet[..cut % packet.len()]);
    }

    /// A truncated datagram is refused, wherever it is cut.
    #[test]
    fn short_buffers_are_refused(cut in 0..HEADERS_LEN + 40) {
        let packet = datagram(CLIENT, RELAY_AT, &bubble::bubble(v6(CLIENT6), v6(NATIVE)));
        prop_assert!(receive(&packet[..cut], &relay_services(), &classes()).is_err());
        // And one whose lengths were set to fit what is left of the packet.
        let payload = &packet[HEADERS_LEN..][..cut.saturating_sub(HEADERS_LEN)];
        prop_assert!(receive(&datagram(CLIENT, RELAY_AT, payload), &relay_services(), &classes()).is_err());
    }

    /// The headers that are made are those that are understood, with either kind of sum.
    #[test]
    fn what_is_sent_is_received(
        from in endpoints(), to in endpoints(), ttl in 1..=255_u8, id: u16,
        body in proptest::collection::vec(any::<u8>(), 0..1240),
    ) {
        prop_assume!(crate::bogon::class4(from.address, false) == Class4::NONE);
        prop_assume!(from.address != to.address);
        let carried = packet6(v6(CLIENT6), v6(NATIVE), 253, &body);
        let (header, payload) = ipv6::parse(&carried).unwrap();
        let sum = offload::packet(header, payload);
        let headers = OuterTemplate::new(from, ttl, 0).headers(to, carried.len() as u16, sum, id, 0xff);
        let packet = [&headers[..], &carried].concat();
        let services = Services { relay: Some(to), server: None };
        let received = receive(&packet, &services, &TestClasses::default()).unwrap();
        prop_assert_eq!((received.source, received.destination, received.kind), (from, to, Kind::Data));
        prop_assert_eq!(received.message.packet, &carried[..]);
        prop_assert_eq!((received.outer.ttl, received.outer.tos, received.outer.id.get()), (ttl, 0, id));
        let checksum = udp::parse(&packet[20..]).unwrap().0.checksum.get();
        prop_assert_ne!(checksum, 0);
    }

    /// ATK-33: of all places only the one that the address embeds may use it.
    #[test]
    fn only_the_mapped_place_speaks_for_a_client(
        mapped in endpoints(), from in endpoints(), flags: u16, near: bool,
    ) {
        let from = if near { Endpoint { port: from.port, ..mapped } } else { from };
        prop_assume!(crate::bogon::class4(from.address, false) == Class4::NONE);
        prop_assume!(!classes().class4(from.address).contains(Class4::OWN));
        let source = Teredo { server: SERVER, flags, port: mapped.port, client: mapped.address }.address();
        let packet = datagram(from, RELAY_AT, &bubble::bubble(source, v6(NATIVE)));
        let received = receive(&packet, &relay_services(), &classes()).unwrap();
        let found = leaving(&received, &the_relay(), true, MINUTE, |_| true, &classes());
        let expected = if mapped == from { Ok(Arrival::Heard) } else { Err(Refusal::MapMismatch) };
        prop_assert_eq!(found, expected);
    }

    /// ATK-29: whatever address is asked for, what may be sent to is global and not ours.
    #[test]
    fn nothing_enters_for_a_bogon_or_for_us(server: u32, client: u32, port: u16, flags: u16) {
        let address = Teredo { server, flags, port, client }.address();
        let refused = Class4::EMBEDDED_BOGON.union(Class4::BROADCAST).union(Class4::OWN);
        let bad = [server, client].iter().any(|v4| classes().class4(*v4).intersects(refused)) || port == 0;
        let found = entering(v6(NATIVE), address, &the_relay(), None, &classes());
        prop_assert_eq!(found.is_err(), bad);
    }
}
