//! The rules of the relay, one by one.

use super::*;
use crate::teredo::relay::{Arrival, Relay, TRUST_NS, Way, entering, is_trusted, leaving, way};
use proptest::prelude::*;

fn leave(carried: &[u8], known: bool) -> Result<Arrival, Refusal> {
    leave_from(CLIENT, carried, known)
}

fn leave_from(from: Endpoint, carried: &[u8], known: bool) -> Result<Arrival, Refusal> {
    let packet = datagram(from, RELAY_AT, carried);
    let received = receive(&packet, &relay_services(), &classes())?;
    let served = |destination: Address| destination != v6("2001:600:dead::1");
    leaving(&received, &the_relay(), known, MINUTE, served, &classes())
}

fn data(source: &str, destination: &str) -> Result<(), Refusal> {
    leave(&packet6(v6(source), v6(destination), ipv6::UDP, &[0; 8]), true).map(drop)
}

#[test]
fn addresses_that_leave_the_tunnel() {
    let common = |reason: Reason| Err(Refusal::Common(reason));
    for (source, destination, expected) in [
        (CLIENT6, NATIVE, Ok(())),
        // TRX-02, T-33: no flag is validated.
        ("2001:0:800:a:ffff:63bf:f6ff:fffd", NATIVE, Ok(())),
        ("2001:0:800:a:0:63bf:f6ff:fffd", NATIVE, Ok(())),
        (CLIENT6, "2002:c001:203::1", Ok(())),
        ("fe80::1", NATIVE, common(Reason::V6SrcBogon)),
        ("::", NATIVE, common(Reason::V6SrcBogon)),
        (CLIENT6, "ff0e::1", common(Reason::V6DstBogon)),
        (CLIENT6, "fe80::1", common(Reason::V6DstBogon)),
        (CLIENT6, "fc00::1", common(Reason::V6DstBogon)),
        (CLIENT6, "2002:a00:1::1", common(Reason::V4EmbeddedBogon)),
        ("2001:600::77", NATIVE, Err(Refusal::SrcNotTeredo)),
        ("2002:900:2::1", NATIVE, Err(Refusal::SrcNotTeredo)),
        ("2001:0:a00:1:2c5b:63bf:f6ff:fffd", NATIVE, common(Reason::V4EmbeddedBogon)),
        ("2001:0:800:a:2c5b:63be:f6ff:fffd", NATIVE, Err(Refusal::MapMismatch)),
        ("2001:0:800:a:2c5b:63bf:f6ff:fffc", NATIVE, Err(Refusal::MapMismatch)),
        (CLIENT6, "2001:600:9:9:200:5efe:9.254.253.252", common(Reason::LoopLocalV4InDst)),
        (CLIENT6, "2002:9fe:fdfc::1", common(Reason::LoopLocalV4InDst)),
        (CLIENT6, "2001:0:9fe:fdfc:0:63bf:f6ff:fffd", common(Reason::LoopLocalV4InDst)),
        (CLIENT6, "2001:0:801:a:0:63bf:f6ff:fffc", Err(Refusal::DstNotServed)),
        (CLIENT6, "2001:600:0:c::1", Err(Refusal::DstNotServed)),
        (CLIENT6, "2001:600:dead::1", Err(Refusal::DstNotServed)),
    ] {
        assert_eq!(data(source, destination), expected, "{source} to {destination}");
    }
}

#[test]
fn a_stranger_is_heard_by_his_cookie_alone() {
    let relay = the_relay();
    let cookie = relay.cookies.of(v6(CLIENT6), MINUTE);
    let bubble = |prefix, lo| bubble::bubble(v6(CLIENT6), Address { hi: prefix, lo });
    assert_eq!(leave(&bubble(COOKIE_PREFIX, cookie), false), Ok(Arrival::Proof));
    assert_eq!(leave(&bubble(COOKIE_PREFIX, cookie ^ 1), false), Err(Refusal::UnknownPeer));
    assert_eq!(leave(&bubble(COOKIE_PREFIX ^ 1, cookie), false), Err(Refusal::UnknownPeer));
    assert_eq!(leave(&bubble(COOKIE_PREFIX, cookie ^ 1), true), Ok(Arrival::Heard));
    // ATK-33: right cookie, wrong place.
    let elsewhere = Endpoint { port: 40001, ..CLIENT };
    assert_eq!(leave_from(elsewhere, &bubble(COOKIE_PREFIX, cookie), false), Err(Refusal::MapMismatch));
    assert_eq!(leave_from(elsewhere, &bubble(COOKIE_PREFIX, cookie), true), Err(Refusal::MapMismatch));
    // Data to the cookie proves nothing: it is not what was asked for.
    let data = echo(v6(CLIENT6), Address { hi: COOKIE_PREFIX, lo: cookie });
    assert_eq!(leave(&data, false), Err(Refusal::UnknownPeer));
    assert_eq!(leave(&data, true), Err(Refusal::DstNotServed));
}

/// TRR-09, T-31: what stands in front means nothing, nor does a bubble's hop limit.
#[test]
fn what_means_nothing_to_a_relay() {
    let carried = bubble::bubble(v6(CLIENT6), v6("2001:600::fe"));
    let nonce = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let origin = sixlane_wire::teredo::Origin::new(v4("10.0.0.1"), 1);
    for packet in [
        [&nonce[..], &carried].concat(),
        [origin.as_bytes(), &carried].concat(),
        [&nonce[..], origin.as_bytes(), &carried].concat(),
        edited(carried.to_vec(), &[(7, 0)]),
        edited(carried.to_vec(), &[(7, 1)]),
        [&carried[..], &[0x81, 0]].concat(),
        [&carried[..], &[0x41]].concat(),
    ] {
        assert_eq!(leave(&packet, true), Ok(Arrival::Heard));
        assert_eq!(leave(&packet, false), Err(Refusal::UnknownPeer));
    }
}

#[test]
fn what_is_carried_is_judged_too() {
    let forward = |tos: u8, class: u8, trailers: &[u8]| {
        let mut carried = packet6(v6(CLIENT6), v6(NATIVE), ipv6::UDP, &[0; 8]);
        carried[0] |= class >> 4;
        carried[1] |= class << 4;
        carried.extend(trailers);
        let packet = datagram(CLIENT, RELAY_AT, &carried);
        let packet = packet4(CLIENT.address, RELAY, &packet[20..], |header| {
            (header.protocol, header.tos) = (ipv4::UDP, tos);
        });
        let received = receive(&packet, &relay_services(), &classes())?;
        leaving(&received, &the_relay(), true, MINUTE, |_| true, &classes())
    };
    // Trailers are cut off; outer ECN is combined (RFC 6040 §4.2), outer DSCP is not taken.
    for (tos, class, expected) in [(0, 0xb8, 0xb8), (0xfc, 0xb8, 0xb8), (3, 0xba, 0xbb), (0, 3, 3)] {
        let Ok(Arrival::Forward(decapped)) = forward(tos, class, &[1, 4, 0, 0, 0, 0]) else {
            panic!("refused")
        };
        assert_eq!((decapped.inner_len, decapped.traffic_class), (48, expected), "{tos:x} {class:x}");
    }
    assert_eq!(forward(3, 0xb8, &[]), Err(Reason::EcnNotEctCe.into()));
    assert_eq!(forward(0, 0, &[0x41, 0]), Err(Refusal::TrailerDiscard));
    let advertisement = packet6(v6(CLIENT6), v6(NATIVE), ipv6::ICMPV6, &[134, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(leave(&advertisement, true), Err(Reason::NdTransit.into()));
    let route = packet6(v6(CLIENT6), v6(NATIVE), 43, &[17, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(leave(&route, true), Err(Reason::RoutingHeaderType0.into()));
}

#[test]
fn addresses_that_enter_the_tunnel() {
    let enter = |relay: &Relay, source: &str, destination: &str, own_server| {
        entering(v6(source), v6(destination), relay, own_server, &classes())
    };
    let open = Relay { native_source_check: false, ..the_relay() };
    for (source, destination, expected) in [
        (NATIVE, "2001:0:801:a:0:63bf:f6ff:fffd", Ok(())),
        (NATIVE, "2001:0:801:a:0:63bf:3f57:fffe", Err(Reason::V4EmbeddedBogon)),
        (NATIVE, "2001:0:801:a:0:ffff:f6ff:fffd", Err(Reason::V4EmbeddedBogon)),
        (NATIVE, "2001:0:a00:1:0:63bf:f6ff:fffd", Err(Reason::V4EmbeddedBogon)),
        (NATIVE, "2001:0:7f00:1:0:63bf:f601:203", Err(Reason::V4EmbeddedBogon)),
        (NATIVE, "2001:0:801:a:0:63bf:f601:203", Err(Reason::V4LocalAddress)),
        (NATIVE, "2001:0:800:a:0:63bf:f6ff:fffd", Err(Reason::V4LocalAddress)),
        (NATIVE, "2001:600::2", Err(Reason::NoTunnel)),
        (NATIVE, "ff0e::1", Err(Reason::V6DstBogon)),
        ("fc00::1", "2001:0:801:a:0:63bf:f6ff:fffd", Err(Reason::V6SrcBogon)),
        ("fe80::1", "2001:0:801:a:0:63bf:f6ff:fffd", Err(Reason::V6SrcBogon)),
        ("2001:0:801:a:0:63bf:f6ff:fffc", "2001:0:801:a:0:63bf:f6ff:fffd", Err(Reason::V6SrcBogon)),
        ("2002:a00:1::1", "2001:0:801:a:0:63bf:f6ff:fffd", Err(Reason::V4EmbeddedBogon)),
        ("2002:9fe:fdfc::1", "2001:0:801:a:0:63bf:f6ff:fffd", Err(Reason::LoopLocalV4InSrc)),
        (
            "2001:600:9:9:200:5efe:9.254.253.252",
            "2001:0:801:a:0:63bf:f6ff:fffd",
            Err(Reason::LoopLocalV4InSrc),
        ),
    ] {
        let found = enter(&the_relay(), source, destination, None).map(drop);
        assert_eq!(found, expected, "{source} to {destination}");
    }
    let teredo = "2001:0:801:a:0:63bf:f6ff:fffc";
    assert!(enter(&open, teredo, "2001:0:801:a:0:63bf:f6ff:fffd", None).is_ok());
    // TRR-02: a client of this box's own server is as good as any.
    let own = enter(&the_relay(), NATIVE, CLIENT6, Some(SERVER)).unwrap();
    assert_eq!((own.server, own.mapped()), (SERVER, CLIENT));
    assert_eq!(enter(&the_relay(), NATIVE, CLIENT6, Some(SECOND)), Err(Reason::V4LocalAddress));
}

/// TRR-03, TRR-04, T-34.
#[test]
fn trust_lasts_thirty_seconds_and_is_not_said_by_a_bit() {
    let plain = Teredo { server: SERVER, flags: 0, port: CLIENT.port, client: CLIENT.address };
    let cone = Teredo { flags: 0x8000, ..plain };
    let now = 100 * TRUST_NS;
    for client in [plain, cone] {
        assert_eq!(way(&client, None, now, false), Way::SetUp);
        assert_eq!(way(&client, Some(now - TRUST_NS), now, false), Way::SetUp);
        assert_eq!(way(&client, Some(now - TRUST_NS + 1), now, false), Way::Direct(CLIENT));
        assert_eq!(way(&client, Some(now + 5), now, false), Way::Direct(CLIENT));
    }
    assert_eq!(way(&cone, None, now, true), Way::Direct(CLIENT));
    assert_eq!(way(&plain, None, now, true), Way::SetUp);
}

#[test]
fn bubbles_go_to_the_server_or_to_the_client() {
    let client = Teredo { server: SERVER, flags: 0x2c5b, port: CLIENT.port, client: CLIENT.address };
    for (path, to) in [(bubble::Path::Indirect, Endpoint::server(SERVER)), (bubble::Path::Direct, CLIENT)] {
        let cookies = the_relay().cookies;
        let (found, bytes) = bubble::of_relay(client, path, &cookies, COOKIE_PREFIX, MINUTE);
        assert_eq!(found, to);
        let (header, payload) = ipv6::parse(&bytes).unwrap();
        assert_eq!((header.next_header, payload), (ipv6::NO_NEXT_HEADER, &[][..]));
        assert_eq!(header.destination(), v6(CLIENT6));
        assert!(cookies.are(header.source().lo, v6(CLIENT6), MINUTE));
    }
}

proptest! {
    #[test]
    fn trust_for_any_clock(heard: u64, now: u64) {
        prop_assert_eq!(is_trusted(heard, now), now < heard || now - heard < 30_000_000_000);
    }
}
