//! The parts: flags, cookies, authentication, outer headers, and what a datagram must be.

use super::*;
use crate::field_copy::DSCP_COPY;
use crate::teredo::address::{CONE, RANDOM, flags, may_be_sent_to, server_link_local};
use crate::teredo::authentication::{is_correct, value};
use crate::teredo::outer::OuterTemplate;
use crate::{Class4, bogon};
use sixlane_wire::teredo::{Origin, parse};
use std::{format, vec};

/// TRD-02: `C z RRRR U G RRRRRRRR`.
#[test]
fn flags_are_random_but_for_four_bits() {
    assert_eq!((CONE | RANDOM) ^ 0xffff, 0x4300);
    for random in [0, 0x5a5a, 0xa5a5, 0xffff] {
        assert_eq!(flags(false, random) & 0xc300, 0);
        assert_eq!(flags(true, random) & 0xc300, 0x8000);
        assert_eq!(flags(true, random) & RANDOM, random & RANDOM);
    }
}

/// TRS-14.
#[test]
fn the_link_local_address_of_the_server() {
    assert_eq!(server_link_local(SERVER), v6("fe80::8000:f227:f7ff:fff5"));
}

/// TRD-11, BOG-03: every edge of every block, in the column of embedded addresses.
#[test]
fn nothing_is_sent_to_a_bogon_or_to_ourselves() {
    let classes = TestClasses::relay().with("8.1.1.255", Class4::BROADCAST);
    for block in bogon::BLOCKS4 {
        for edge in [block.first, block.last(), block.first.wrapping_sub(1), block.last().wrapping_add(1)] {
            let refused = bogon::class4(edge, false).contains(Class4::EMBEDDED_BOGON);
            let expected = if refused { Err(Reason::V4EmbeddedBogon) } else { Ok(()) };
            assert_eq!(may_be_sent_to(Endpoint { address: edge, port: 1 }, &classes), expected, "{edge:x}");
        }
    }
    for (address, port, expected) in [
        ("9.0.0.2", 40000, Ok(())),
        ("9.0.0.2", 0, Err(Reason::V4EmbeddedBogon)),
        ("192.88.99.1", 1, Err(Reason::V4EmbeddedBogon)),
        ("8.1.1.255", 1, Err(Reason::V4EmbeddedBogon)),
        ("9.254.253.252", 1, Err(Reason::V4LocalAddress)),
    ] {
        assert_eq!(may_be_sent_to(Endpoint { address: v4(address), port }, &classes), expected, "{address}");
    }
}

#[test]
fn a_cookie_is_one_clients_for_two_minutes() {
    let (cookies, client) = (Cookies::new([3, 4]), v6(CLIENT6));
    let cookie = cookies.of(client, MINUTE);
    for (minute, good) in [(MINUTE - 1, false), (MINUTE, true), (MINUTE + 1, true), (MINUTE + 2, false)] {
        assert_eq!(cookies.are(cookie, client, minute), good, "{minute}");
    }
    for bit in 0..64 {
        assert!(!cookies.are(cookie ^ 1 << bit, client, MINUTE));
        assert_ne!(cookies.of(Address { lo: client.lo ^ 1 << bit, ..client }, MINUTE), cookie, "the mapping");
        assert_ne!(cookies.of(Address { hi: client.hi ^ 1 << bit, ..client }, MINUTE), cookie, "the server");
        assert_ne!(Cookies::new([3 ^ 1 << bit, 4]).of(client, MINUTE), cookie);
        assert_ne!(Cookies::new([3, 4 ^ 1 << bit]).of(client, MINUTE), cookie);
    }
    assert!(cookies.are(cookies.of(client, 0), client, 0), "the first minute has none before it");
    assert_eq!(format!("{cookies:?}"), "Cookies { .. }", "the key is never shown");
}

/// `openssl mac … SIPHASH` over the bytes 00 to 17 under the key 00 to 0f.
#[test]
fn the_hash_is_siphash_2_4() {
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    let client = Address { hi: 0x0001_0203_0405_0607, lo: 0x0809_0a0b_0c0d_0e0f };
    assert_eq!(Cookies::new(key).of(client, 0x1716_1514_1312_1110), 0xb8ad_50c6_f649_af94);
}

/// RFC 2202 §3, test case 2, cut into the parts of a Teredo message.
#[test]
fn the_authentication_value_is_hmac_sha1() {
    let text = b"what do ya want for nothing?";
    let nonce: [u8; 8] = text[..8].try_into().unwrap();
    let mac = value(b"Jefe", &nonce, text[8], &text[9..17], &text[17..]).unwrap();
    let expected = [
        0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84, 0xdf, 0x9c, 0x25,
        0x9a, 0x7c, 0x79,
    ];
    assert_eq!(mac, expected);
}

/// Every bit of G45 that is authenticated: one that changes is noticed.
#[test]
fn every_authenticated_bit_counts() {
    let golden = golden("G45");
    let payload = &golden[outer::HEADERS_LEN..];
    let judge = |bytes: &[u8]| {
        let message = parse(bytes).ok()?;
        let authentication = message.authentication?;
        Some(is_correct(b"lab-secret-1", &authentication, &message))
    };
    assert_eq!(judge(payload), Some(true));
    let name = 4..4 + b"lab-client".len();
    for at in (0..payload.len()).filter(|at| *at >= 4 && !name.contains(at)) {
        for bit in 0..8 {
            let mut bytes = payload.to_vec();
            bytes[at] ^= 1 << bit;
            assert_ne!(judge(&bytes), Some(true), "byte {at}, bit {bit}");
        }
    }
    let message = parse(payload).unwrap();
    let authentication = message.authentication.unwrap();
    assert!(!is_correct(b"lab-secret-2", &authentication, &message));
    for cut in 0..authentication.value.len() {
        let short =
            sixlane_wire::teredo::Authentication { value: &authentication.value[..cut], ..authentication };
        assert!(!is_correct(b"lab-secret-1", &short, &message), "a part of the value is no value");
    }
}

/// TRD-10, TRD-13: DF clear, ECN zero, DSCP as it is set.
#[test]
fn outer_headers() {
    for (dscp, inner, tos) in [(0, 0xbb, 0), (46, 3, 0xb8), (DSCP_COPY, 0xbb, 0xb8)] {
        let carried = packet6(v6(NATIVE), v6(CLIENT6), ipv6::UDP, &[0; 9]);
        let bytes = OuterTemplate::new(RELAY_AT, 17, dscp).headers(
            CLIENT,
            carried.len() as u16,
            Sum::ZERO.bytes(&carried),
            0xfeff,
            inner,
        );
        let (header, _) =
            ipv4::parse(&[&bytes[..], &carried].concat()).map(|(header, _)| (*header, ())).unwrap();
        assert_eq!((header.tos, header.ttl, header.fragment.get(), header.id.get()), (tos, 17, 0, 0xfeff));
    }
}

#[test]
fn what_a_datagram_must_be() {
    let bubble = bubble::bubble(v6(CLIENT6), v6("2001:600::fe"));
    let services = Services { relay: Some(RELAY_AT), server: Some([SERVER, SECOND]) };
    let say = |packet: &[u8]| receive(packet, &services, &classes()).map(|received| received.destination);
    let good = datagram(CLIENT, RELAY_AT, &bubble);
    let to = |to: Endpoint| datagram(CLIENT, to, &bubble);
    let from = |from: &str, port| datagram(Endpoint { address: v4(from), port }, RELAY_AT, &bubble);
    let spoilt = |edit: &dyn Fn(&mut ipv4::Header)| {
        packet4(CLIENT.address, RELAY, &good[20..], |header| {
            header.protocol = ipv4::UDP;
            edit(header);
        })
    };
    let common = |reason: Reason| Err(Refusal::Common(reason));
    for (what, packet, expected) in [
        ("a bubble", good.clone(), Ok(RELAY_AT)),
        ("to the server", to(Endpoint::server(SERVER)), Ok(Endpoint::server(SERVER))),
        ("to its other address", to(Endpoint::server(SECOND)), Ok(Endpoint::server(SECOND))),
        ("to the relay at the server's port", to(Endpoint::server(RELAY)), common(Reason::NoTunnel)),
        (
            "to the server at the relay's port",
            to(Endpoint { address: SERVER, port: 3545 }),
            common(Reason::NoTunnel),
        ),
        ("to somebody else", to(Endpoint { address: 1 << 27, port: 3545 }), common(Reason::NotForUs)),
        ("padded", [&good[..], &[0xa5; 6]].concat(), Ok(RELAY_AT)),
        ("truncated", good[..67].to_vec(), common(Reason::OuterHeader)),
        ("a wrong header checksum", edited(good.clone(), &[(10, !good[10])]), common(Reason::OuterHeader)),
        ("a fragment", spoilt(&|header| header.fragment = 0x2000.into()), common(Reason::OuterFragDisabled)),
        ("DF", spoilt(&|header| header.fragment = 0x4000.into()), Ok(RELAY_AT)),
        ("ICMP", spoilt(&|header| header.protocol = ipv4::ICMP), common(Reason::IcmpQuoteUntrusted)),
        ("TCP", spoilt(&|header| header.protocol = 6), common(Reason::NoTunnel)),
        ("from a private address", from("10.0.0.1", 1), common(Reason::V4SrcBogon)),
        ("from the anycast prefix of 6to4", from("192.88.99.1", 1), common(Reason::V4SrcBogon)),
        ("from ourselves", from("9.254.253.252", 1), common(Reason::OwnSource)),
        ("from our relay", from("9.254.253.252", 3545), Err(Refusal::ServerLoop)),
        ("from our server", from("8.0.0.11", 3544), Err(Refusal::ServerLoop)),
        ("a wrong checksum", edited(good.clone(), &[(26, !good[26])]), Err(Refusal::OuterUdpCsum)),
        ("no checksum", edited(good.clone(), &[(26, 0), (27, 0)]), Ok(RELAY_AT)),
        ("a UDP length of 7", edited(good.clone(), &[(25, 7)]), Err(Refusal::Malformed(Malformation::Udp))),
        (
            "a UDP length too long",
            edited(good.clone(), &[(25, 49)]),
            Err(Refusal::Malformed(Malformation::Udp)),
        ),
        ("nothing", datagram(CLIENT, RELAY_AT, &[]), Err(Refusal::Malformed(Malformation::Packet))),
        (
            "IPv4 inside",
            datagram(CLIENT, RELAY_AT, &[0x45; 40]),
            Err(Refusal::Malformed(Malformation::Packet)),
        ),
        (
            "half a nonce",
            datagram(CLIENT, RELAY_AT, &[0, 1, 0, 0, 1]),
            Err(Refusal::Malformed(Malformation::Authentication)),
        ),
        (
            "a packet too long",
            datagram(CLIENT, RELAY_AT, &edited(bubble.to_vec(), &[(5, 1)])),
            common(Reason::InnerLength),
        ),
        (
            "a jumbogram",
            datagram(CLIENT, RELAY_AT, &edited(bubble.to_vec(), &[(6, 0)])),
            common(Reason::InnerLength),
        ),
        ("hop limit 0", datagram(CLIENT, RELAY_AT, &edited(bubble.to_vec(), &[(7, 0)])), Ok(RELAY_AT)),
        ("a trailer", datagram(CLIENT, RELAY_AT, &[&bubble[..], &[1, 4, 1, 2, 3, 4]].concat()), Ok(RELAY_AT)),
    ] {
        assert_eq!(say(&packet), expected, "{what}");
    }
}

/// TRD-04: authentication, then origin; nothing twice, nothing the other way round.
#[test]
fn the_order_of_what_stands_in_front() {
    let bubble = bubble::bubble(v6(CLIENT6), v6("2001:600::fe"));
    let (nonce, origin) = ([0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0], Origin::new(1, 2));
    let [nonce, origin, packet] = [&nonce[..], origin.as_bytes(), &bubble[..]];
    let malformed = Err(Refusal::Malformed(Malformation::Packet));
    for (parts, expected) in [
        (vec![nonce, origin, packet], Ok(receive::Kind::IndirectBubble)),
        (vec![origin, packet], Ok(receive::Kind::IndirectBubble)),
        (vec![nonce, packet], Ok(receive::Kind::Bubble)),
        (vec![origin, nonce, packet], malformed),
        (vec![nonce, nonce, packet], malformed),
        (vec![origin, origin, packet], malformed),
        (vec![nonce, origin], malformed),
    ] {
        let packet = datagram(CLIENT, RELAY_AT, &parts.concat());
        assert_eq!(receive(&packet, &relay_services(), &classes()).map(|received| received.kind), expected);
    }
}
