//! The rules of the server, one by one.

use super::*;
use crate::teredo::advertisement::{ANSWER_LEN_MAX, Advertisement, KEY_UNKNOWN, KEY_VALID, Signature};
use crate::teredo::authentication::{MAC_LEN, NoSecrets, Secrets, value};
use crate::teredo::server::{ICMPV6_LEN_MAX, Server, Task, judge};
use sixlane_wire::icmpv6::pseudo_header;
use sixlane_wire::teredo::AuthenticationFront;
use std::{format, vec};

#[derive(Debug)]
struct Keys;

impl Secrets for Keys {
    fn key(&self, identifier: &[u8]) -> Option<&[u8]> {
        (identifier == b"me").then_some(b"key")
    }
}

/// What becomes of a datagram: the task as text, because it borrows.
fn task(server: &Server, from: Endpoint, to: u32, carried: &[u8]) -> Result<std::string::String, Refusal> {
    let packet = datagram(from, Endpoint::server(to), carried);
    let received = receive(&packet, &server_services(), &classes())?;
    judge(&received, server, &Keys, &classes()).map(|task| match task {
        Task::Advertise(Advertisement { from, signature, .. }) => format!("advertise {from:x} {signature:?}"),
        Task::ToClient { to, origin } => format!("{to:?} {}", origin.is_some()),
        Task::ToNative(to) => format!("{to:?}"),
        Task::Echo => "echo".into(),
    })
}

fn plain(from: Endpoint, carried: &[u8]) -> Result<(), Refusal> {
    task(&the_server(), from, SERVER, carried).map(drop)
}

/// A solicitation, with its right checksum.
fn solicitation(source: &str, body: &[u8]) -> Vec<u8> {
    let mut packet = packet6(v6(source), v6("ff02::2"), ipv6::ICMPV6, body);
    packet[7] = 255;
    let (header, payload) = ipv6::parse(&packet).unwrap();
    let field = pseudo_header(header, payload.len() as u32).bytes(payload).field();
    packet[42..44].copy_from_slice(field.as_bytes());
    packet
}

const PLAIN: &str = "fe80::ffff:ffff:ffff";

#[test]
fn who_may_use_the_server() {
    let (foreign, other) = ("2001:0:801:a:0:63bf:f6ff:fffd", "2001:0:801:a:0:63bf:f6ff:fffc");
    let mismatch = "2001:0:800:a:2c5b:63be:f6ff:fffd";
    let common = |reason: Reason| Err(Refusal::Common(reason));
    for (source, destination, expected) in [
        // TRS-05: a client that is where it says, of whatever server, to anybody.
        (CLIENT6, NATIVE, Ok(())),
        (foreign, NATIVE, Ok(())),
        (CLIENT6, other, Ok(())),
        (mismatch, NATIVE, Err(Refusal::ServerPolicy)),
        (mismatch, CLIENT6, Err(Refusal::ServerPolicy)),
        // TRS-06: anybody else to our clients.
        (NATIVE, CLIENT6, Ok(())),
        (NATIVE, foreign, Err(Refusal::ServerPolicy)),
        (NATIVE, "2001:600::2", Err(Refusal::ServerPolicy)),
        ("fe80::1", CLIENT6, Err(Refusal::ServerPolicy)),
        ("fe80::1", "ff02::2", Err(Refusal::ServerPolicy)),
        ("::1", CLIENT6, common(Reason::V6SrcBogon)),
        ("2002:a00:1::1", CLIENT6, common(Reason::V4EmbeddedBogon)),
        // TRS-08.
        (CLIENT6, "fe80::1", common(Reason::V6DstBogon)),
        (CLIENT6, "ff02::1", common(Reason::V6DstBogon)),
        (CLIENT6, "ff0e::1", common(Reason::V6DstBogon)),
        (CLIENT6, "ff02::2", Err(Refusal::ServerPolicy)),
        // TRS-10.
        (CLIENT6, "2001:0:800:a:0:63bf:3f57:fffe", common(Reason::V4EmbeddedBogon)),
        (CLIENT6, "2001:0:800:a:0:ffff:f6ff:fffd", common(Reason::V4EmbeddedBogon)),
        (CLIENT6, "2001:0:800:a:0:f227:f7ff:fff5", common(Reason::V4LocalAddress)),
        (CLIENT6, "2001:600:9:9:200:5efe:9.254.253.252", common(Reason::LoopLocalV4InDst)),
        (CLIENT6, "2002:9fe:fdfc::1", common(Reason::LoopLocalV4InDst)),
    ] {
        let found = plain(CLIENT, &echo(v6(source), v6(destination)));
        assert_eq!(found, expected, "{source} to {destination}");
        if expected.is_ok() {
            assert_eq!(plain(CLIENT, &bubble::bubble(v6(source), v6(destination))), Ok(()));
        }
    }
}

/// TRS-11: the origin goes in front for our own clients alone, and is what was seen, not what was said.
#[test]
fn an_origin_for_our_own_clients() {
    let (ours, foreign) = (CLIENT6, "2001:0:801:a:0:63bf:f6ff:fffd");
    let from = Endpoint { address: v4("9.0.0.3"), port: 1234 };
    let sender = Teredo { server: SERVER, flags: 0, port: 1234, client: from.address }.address();
    for (destination, expected) in [(ours, Some(from)), (foreign, None)] {
        let said = sixlane_wire::teredo::Origin::new(1, 2);
        let carried = [said.as_bytes(), &bubble::bubble(sender, v6(destination)), &[0x41, 0]].concat();
        let packet = datagram(from, Endpoint::server(SERVER), &carried);
        let received = receive(&packet, &server_services(), &classes()).unwrap();
        let task = judge(&received, &the_server(), &NoSecrets, &classes());
        assert_eq!(task, Ok(Task::ToClient { to: CLIENT, origin: expected }));
        assert_eq!(received.message.trailers, [0x41, 0], "trailers go along, whatever they say (TRX-05)");
    }
}

/// TRS-02, TRS-18: no open relay.
#[test]
fn only_small_icmpv6_and_bubbles() {
    let message =
        |len: usize| packet6(v6(CLIENT6), v6(NATIVE), ipv6::ICMPV6, &[vec![128], vec![0; len - 1]].concat());
    assert_eq!(plain(CLIENT, &message(ICMPV6_LEN_MAX)), Ok(()));
    assert_eq!(plain(CLIENT, &message(ICMPV6_LEN_MAX + 1)), Err(Refusal::ServerPolicy));
    let wide = Server { icmpv6_len_max: 1000, ..the_server() };
    assert!(task(&wide, CLIENT, SERVER, &message(1000)).is_ok());
    for protocol in [ipv6::UDP, ipv6::TCP, ipv6::HOP_BY_HOP, 44, 60] {
        let packet = packet6(v6(CLIENT6), v6(NATIVE), protocol, &[0; 24]);
        assert_eq!(plain(CLIENT, &packet), Err(Refusal::ServerNotIcmpOrBubble), "{protocol}");
    }
    let heavy = packet6(v6(CLIENT6), v6(NATIVE), ipv6::NO_NEXT_HEADER, &[0]);
    assert_eq!(plain(CLIENT, &heavy), Err(Refusal::ServerNotIcmpOrBubble), "a bubble carries nothing");
    let advertisement = packet6(v6(CLIENT6), v6(NATIVE), ipv6::ICMPV6, &[134, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(plain(CLIENT, &advertisement), Err(Reason::NdTransit.into()));
}

#[test]
fn it_answers_to_its_own_name() {
    for server in [SERVER, SECOND] {
        let own = address::server_link_local(server);
        let ask = |source: Address, body: &[u8]| plain(CLIENT, &packet6(source, own, ipv6::ICMPV6, body));
        assert_eq!(task(&the_server(), CLIENT, SERVER, &echo(v6(CLIENT6), own)), Ok("echo".into()));
        assert_eq!(ask(v6(CLIENT6), &[129, 0, 0, 0, 0, 1, 0, 1]), Err(Refusal::ServerPolicy));
        assert_eq!(plain(CLIENT, &echo(v6(NATIVE), own)), Err(Refusal::ServerPolicy));
    }
}

/// TRS-04, RFC 4861 §6.1.1.
#[test]
fn what_a_solicitation_must_be() {
    let good = solicitation(PLAIN, &[133, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(plain(CLIENT, &good), Ok(()));
    let option = |option: &[u8]| solicitation(PLAIN, &[&[133, 0, 0, 0, 0, 0, 0, 0], option].concat());
    assert_eq!(plain(CLIENT, &option(&[1, 1, 0, 0, 0, 0, 0, 0])), Ok(()));
    let mut elsewhere = good.clone();
    elsewhere[39] = 1;
    for (what, packet) in [
        ("hop limit 254", edited(good.clone(), &[(7, 254)])),
        ("a wrong checksum", edited(good.clone(), &[(43, !good[43])])),
        ("code 1", solicitation(PLAIN, &[133, 1, 0, 0, 0, 0, 0, 0])),
        ("too short", solicitation(PLAIN, &[133, 0, 0, 0, 0, 0, 0])),
        ("an option of no length", option(&[1, 0, 0, 0, 0, 0, 0, 0])),
        ("half an option", option(&[1, 2, 0, 0, 0, 0, 0, 0])),
        ("a byte of an option", option(&[1])),
        ("not to all routers", elsewhere),
    ] {
        assert_eq!(plain(CLIENT, &packet), Err(Refusal::ServerPolicy), "{what}");
    }
    let unspecified = solicitation("::", &[133, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(plain(CLIENT, &unspecified), Err(Reason::V6SrcBogon.into()));
    let global = solicitation(CLIENT6, &[133, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(plain(CLIENT, &global), Err(Refusal::ServerPolicy));
}

/// TRS-13, T-27, T-28: the cone bit chooses the address, and the prefix stays the primary's.
#[test]
fn from_which_address_it_answers() {
    let cone = solicitation("fe80::8000:5445:5245:444f", &[133, 0, 0, 0, 0, 0, 0, 0]);
    let plain = solicitation(PLAIN, &[133, 0, 0, 0, 0, 0, 0, 0]);
    for (packet, asked, from) in
        [(&plain, SERVER, SERVER), (&plain, SECOND, SECOND), (&cone, SERVER, SECOND), (&cone, SECOND, SERVER)]
    {
        let packet = datagram(CLIENT, Endpoint::server(asked), packet);
        let received = receive(&packet, &server_services(), &classes()).unwrap();
        let Ok(Task::Advertise(answer)) = judge(&received, &the_server(), &NoSecrets, &classes()) else {
            panic!("no answer");
        };
        assert_eq!((answer.from, answer.to, answer.asked), (from, CLIENT, asked));
        let mut out = [0; ANSWER_LEN_MAX];
        let len = answer.write(&mut out).unwrap();
        let message = sixlane_wire::teredo::parse(&out[..len]).unwrap();
        assert_eq!(
            message.origin.map(|origin| (origin.address(), origin.port())),
            Some((CLIENT.address, CLIENT.port))
        );
        assert_eq!(message.header.source(), address::server_link_local(asked));
        assert_eq!(message.payload[32..40], [0x20, 1, 0, 0, 8, 0, 0, 10]);
        assert!(pseudo_header(message.header, 56).bytes(message.payload).is_correct());
        for short in 0..len {
            assert_eq!(answer.write(&mut out[..short]), None);
        }
    }
}

/// TRS-17, TRD-07, ATK-37.
#[test]
fn keys() {
    let packet = solicitation(PLAIN, &[133, 0, 0, 0, 0, 0, 0, 0]);
    let nonce = [1, 2, 3, 4, 5, 6, 7, 8];
    let mac = value(b"key", &nonce, 0, &[], &packet).unwrap();
    let signed = |identifier: &[u8], value: &[u8], nonce: [u8; 8]| {
        let front = AuthenticationFront::new(identifier.len() as u8, value.len() as u8);
        [front.as_bytes(), identifier, value, &nonce, &[0], &packet].concat()
    };
    let secure = Server { secure: true, ..the_server() };
    let answer = |server: &Server, carried: &[u8]| {
        let packet = datagram(CLIENT, Endpoint::server(SERVER), carried);
        let received = receive(&packet, &server_services(), &classes())?;
        let Task::Advertise(answer) = judge(&received, server, &Keys, &classes())? else {
            panic!("no answer")
        };
        let mut out = [0; ANSWER_LEN_MAX];
        let len = answer.write(&mut out).unwrap();
        let found = sixlane_wire::teredo::parse(&out[..len]).unwrap().authentication.unwrap();
        assert_eq!(*found.nonce, nonce);
        Ok((found.identifier.to_vec(), found.value.len(), found.confirmation))
    };
    let wrong = |mac: [u8; MAC_LEN]| mac.map(|byte| !byte);
    for (what, carried, open, closed) in [
        ("the key", signed(b"me", &mac, nonce), Ok((b"me".to_vec(), MAC_LEN, KEY_VALID)), true),
        ("a nonce", signed(b"", b"", nonce), Ok((vec![], 0, KEY_VALID)), false),
        ("another key", signed(b"you", &mac, nonce), Ok((b"you".to_vec(), 0, KEY_UNKNOWN)), false),
        ("a wrong value", signed(b"me", &wrong(mac), nonce), Err(Refusal::ServerAuth), false),
        ("half a value", signed(b"me", &mac[..10], nonce), Err(Refusal::ServerAuth), false),
        ("no value", signed(b"me", b"", nonce), Err(Refusal::ServerAuth), false),
        ("another nonce", signed(b"me", &mac, [9; 8]), Err(Refusal::ServerAuth), false),
    ] {
        assert_eq!(answer(&the_server(), &carried), open, "{what}");
        let expected = if closed { open } else { Err(Refusal::ServerAuth) };
        assert_eq!(answer(&secure, &carried), expected, "{what}, where keys are asked for");
    }
    assert_eq!(task(&secure, CLIENT, SERVER, &packet), Err(Refusal::ServerAuth));
    // The longest answer there can be.
    let longest = Advertisement {
        from: SERVER,
        to: CLIENT,
        asked: SERVER,
        primary: SERVER,
        client: v6(PLAIN),
        signature: Some(Signature::Signed { nonce, identifier: &[7; 255], key: b"key" }),
    };
    assert_eq!(longest.write(&mut [0; ANSWER_LEN_MAX]), Some(ANSWER_LEN_MAX));
    let too_long = Advertisement {
        signature: Some(Signature::Signed { nonce, identifier: &[7; 256], key: b"key" }),
        ..longest
    };
    assert_eq!(too_long.write(&mut [0; 2 * ANSWER_LEN_MAX]), None);
}
