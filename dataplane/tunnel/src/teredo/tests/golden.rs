//! The golden packets of Teredo, from bytes to bytes.

use super::*;
use crate::teredo::advertisement::ANSWER_LEN_MAX;
use crate::teredo::authentication::{NoSecrets, Secrets};
use crate::teredo::bubble;
use crate::teredo::outer::{HEADERS_LEN, OuterTemplate};
use crate::teredo::receive::Kind;
use crate::teredo::relay::{Arrival, Relay, Way, entering, is_trusted, leaving, way};
use crate::teredo::server::{Server, Task, judge};
use sixlane_wire::offload;
use std::vec;

/// The client of the golden packets and its secret.
struct Lab;

impl Secrets for Lab {
    fn key(&self, identifier: &[u8]) -> Option<&[u8]> {
        (identifier == b"lab-client").then_some(b"lab-secret-1")
    }
}

/// What leaves, with the identification and the TTL of the golden packets.
fn sent(from: Endpoint, to: Endpoint, carried: &[u8]) -> Vec<u8> {
    let template = OuterTemplate::new(from, 64, 0);
    let sum = Sum::ZERO.bytes(carried);
    [&template.headers(to, carried.len() as u16, sum, 0x1234, 0)[..], carried].concat()
}

/// The answer to a golden solicitation, as it leaves.
fn answer(id: &str, server: &Server, secrets: &impl Secrets) -> Result<Vec<u8>, Refusal> {
    let packet = golden(id);
    let received = receive(&packet, &server_services(), &classes())?;
    assert_eq!(received.kind, Kind::RouterSolicitation);
    match judge(&received, server, secrets, &classes())? {
        Task::Advertise(advertisement) => {
            let mut out = [0xa5; ANSWER_LEN_MAX];
            let len = advertisement.write(&mut out).unwrap();
            Ok(sent(Endpoint::server(advertisement.from), advertisement.to, &out[..len]))
        }
        other => panic!("{other:?}"),
    }
}

/// G40: the cone bit is answered from the other address. G42: a nonce comes back. G44: so does a MAC.
#[test]
fn solicitations_are_answered_byte_by_byte() {
    for (solicitation, advertisement) in [("G40", "G41"), ("G42", "G43")] {
        assert_eq!(answer(solicitation, &the_server(), &NoSecrets), Ok(golden(advertisement)));
        assert_eq!(answer(solicitation, &the_server(), &Lab), Ok(golden(advertisement)));
    }
    assert_eq!(answer("G44", &the_server(), &Lab), Ok(golden("G45")));
    let secure = Server { secure: true, ..the_server() };
    assert_eq!(answer("G44", &secure, &Lab), Ok(golden("G45")));
    for id in ["G40", "G42"] {
        assert_eq!(answer(id, &secure, &Lab), Err(Refusal::ServerAuth), "{id}");
    }
}

#[test]
fn what_the_server_hands_on() {
    // The relay of these packets is another box's.
    let classes = TestClasses::default().with("8.0.0.10", crate::Class4::OWN);
    let judge = |packet: &[u8], expected: Result<Task<'_>, Refusal>| {
        let received = receive(packet, &server_services(), &classes).unwrap();
        assert_eq!(judge(&received, &the_server(), &NoSecrets, &classes), expected);
        received.message.packet.to_vec()
    };
    let to_client = Task::ToClient { to: CLIENT, origin: Some(RELAY_AT) };
    let bubble = judge(&golden("G47"), Ok(to_client));
    let origin = sixlane_wire::teredo::Origin::new(RELAY_AT.address, RELAY_AT.port);
    let carried = [origin.as_bytes(), &bubble].concat();
    assert_eq!(sent(Endpoint::server(SERVER), CLIENT, &carried), golden("G48"));
    judge(&golden("G52"), Ok(Task::ToNative(v6(NATIVE))));
    judge(&golden("X21"), Err(Refusal::ServerNotIcmpOrBubble));
}

/// G46 to G51 as one sequence: the client answers to the address that the bubble came from.
#[test]
fn the_handshake_of_the_relay() {
    let (the_relay, classes) = (the_relay(), TestClasses::relay());
    let native = golden("G46");
    let (header, _) = ipv6::parse(&native).unwrap();
    let client = entering(header.source(), header.destination(), &the_relay, None, &classes).unwrap();
    assert_eq!(way(&client, None, 0, false), Way::SetUp);

    // G47, but for the cookie in the bubble's source.
    let (to, bubble) =
        bubble::of_relay(client, bubble::Path::Indirect, &the_relay.cookies, COOKIE_PREFIX, MINUTE);
    assert_eq!(to, Endpoint::server(SERVER));
    let cookie = Address::from_octets(bubble[8..24].try_into().unwrap());
    assert_eq!(cookie.hi, COOKIE_PREFIX);
    let fixed = bubble::bubble(v6("2001:600::fe"), client.address());
    assert_eq!(sent(RELAY_AT, to, &fixed), golden("G47"));
    assert_eq!((&bubble[..8], &bubble[24..]), (&fixed[..8], &fixed[24..]));

    // G49 to the cookie: it makes the client a peer. As it stands it proves nothing.
    let judge = |packet: &[u8], known, minute| {
        let received = receive(packet, &relay_services(), &classes)?;
        leaving(&received, &the_relay, known, minute, |_| true, &classes)
    };
    let answered = |id: &str| {
        let bytes = golden(id);
        let carried = edited_destination(&bytes[HEADERS_LEN..], cookie);
        datagram(CLIENT, RELAY_AT, &carried)
    };
    for id in ["G49", "G53"] {
        assert_eq!(judge(&golden(id), false, MINUTE), Err(Refusal::UnknownPeer), "{id}");
        assert_eq!(judge(&golden(id), true, MINUTE), Ok(Arrival::Heard), "{id}");
        assert_eq!(judge(&answered(id), false, MINUTE), Ok(Arrival::Proof), "{id}");
        assert_eq!(judge(&answered(id), false, MINUTE + 1), Ok(Arrival::Proof), "{id}");
        assert_eq!(judge(&answered(id), false, MINUTE + 2), Err(Refusal::UnknownPeer), "{id}");
        assert_eq!(judge(&answered(id), true, MINUTE + 2), Ok(Arrival::Heard), "{id}");
    }

    // G50: the packet that waited.
    assert_eq!(way(&client, Some(1), 2, false), Way::Direct(CLIENT));
    let mut released = native.clone();
    released[7] -= 1;
    let (header, payload) = ipv6::parse(&released).unwrap();
    assert_eq!(sent(RELAY_AT, CLIENT, &released), golden("G50"));
    let offloaded = OuterTemplate::new(RELAY_AT, 64, 0).headers(
        CLIENT,
        released.len() as u16,
        offload::carried(header, payload).unwrap(),
        0x1234,
        header.traffic_class(),
    );
    assert_eq!(offloaded[..], golden("G50")[..HEADERS_LEN]);

    // G51: the client's answer.
    let Ok(Arrival::Forward(decapped)) = judge(&golden("G51"), true, MINUTE) else { panic!("not forwarded") };
    assert_eq!((decapped.inner_len, decapped.traffic_class, decapped.hop_limit), (64, 0, 64));
    assert_eq!(decapped.destination, v6(NATIVE));
    assert_eq!(judge(&golden("G51"), false, MINUTE), Err(Refusal::UnknownPeer));
    assert!(is_trusted(0, relay::TRUST_NS - 1) && !is_trusted(0, relay::TRUST_NS));
}

/// A carried packet to another destination.
fn edited_destination(carried: &[u8], destination: Address) -> Vec<u8> {
    let mut carried = carried.to_vec();
    carried[24..40].copy_from_slice(&destination.octets());
    carried
}

#[test]
fn golden_packets_that_are_refused() {
    let relay_says = |id: &str| {
        let (packet, classes) = (golden(id), TestClasses::relay());
        receive(&packet, &relay_services(), &classes)
            .and_then(|received| leaving(&received, &the_relay(), true, MINUTE, |_| true, &classes).map(drop))
    };
    for (id, refusal, name) in [
        ("X17", Refusal::MapMismatch, "teredo_map_mismatch"),
        ("X19", Refusal::SrcNotTeredo, "teredo_src_not_teredo"),
        ("X24", Refusal::TrailerDiscard, "teredo_trailer_discard"),
    ] {
        assert_eq!(relay_says(id), Err(refusal), "{id}");
        assert_eq!(refusal.name(), name);
    }
    let packet = golden("X20");
    assert_eq!(receive(&packet, &server_services(), &classes()), Err(Refusal::ServerLoop));
    assert_eq!(Refusal::ServerLoop.name(), "teredo_server_loop");
    let packet = golden("X18");
    let (header, _) = ipv6::parse(&packet).unwrap();
    let enter =
        |relay: &Relay| entering(header.source(), header.destination(), relay, None, &TestClasses::relay());
    assert_eq!(enter(&the_relay()), Err(Reason::V4EmbeddedBogon));
}

/// G54 is for clients of a laboratory alone: to a relay or server it is for nobody.
#[test]
fn local_discovery_is_not_for_relays() {
    for services in [relay_services(), server_services()] {
        let packet = golden("G54");
        assert_eq!(receive(&packet, &services, &classes()), Err(Reason::NotForUs.into()));
    }
}

/// The direct bubble with a nonce behind it (G53) is whole, with its trailer apart.
#[test]
fn kinds_of_the_golden_packets() {
    let server = ["G40", "G42", "G44", "G47", "G52", "X21"].map(|id| (id, server_services()));
    let relay = ["G49", "G51", "G53", "X17", "X19", "X24"].map(|id| (id, relay_services()));
    let mut kinds = vec![];
    for (id, services) in server.into_iter().chain(relay) {
        let packet = golden(id);
        let received = receive(&packet, &services, &TestClasses::default()).unwrap();
        kinds.push((id, received.kind, received.message.trailers.len()));
    }
    use Kind::{Bubble, Data, Icmpv6, RouterSolicitation};
    assert_eq!(
        kinds,
        [
            ("G40", RouterSolicitation, 0),
            ("G42", RouterSolicitation, 0),
            ("G44", RouterSolicitation, 0),
            ("G47", Bubble, 0),
            ("G52", Icmpv6, 0),
            ("X21", Data, 0),
            ("G49", Bubble, 0),
            ("G51", Icmpv6, 0),
            ("G53", Bubble, 6),
            ("X17", Icmpv6, 0),
            ("X19", Icmpv6, 0),
            ("X24", Bubble, 4),
        ]
    );
    // What clients are sent.
    let client = Services { relay: Some(CLIENT), server: None };
    for (id, kind) in [
        ("G41", Kind::RouterAdvertisement),
        ("G43", Kind::RouterAdvertisement),
        ("G45", Kind::RouterAdvertisement),
        ("G48", Kind::IndirectBubble),
        ("G50", Kind::Icmpv6),
    ] {
        let packet = golden(id);
        let received = receive(&packet, &client, &TestClasses::default()).unwrap();
        assert_eq!(received.kind, kind, "{id}");
    }
}
