//! Every drop reason of the table, each by a packet that deserves it. A reason that no case here hits
//! fails the last test, so a new row needs a new case.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE, SITE_HOST, V4, V6, framed, framed_as, sixtofour, v6};
use common::topology::{self, RELAY};
use common::{Rig, Sizes, WAN4, WAN6};
use sixlane_tables::Adjacency;
use sixlane_tables::adjacency::kind;
use sixlane_tables::punt::NeighbourWanted;
use sixlane_tables::spsc::Consumer;
use sixlane_tunnel::Reason;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// A frame that ends with this reason, and the port at which it arrives.
type Case = (Reason, u8, Vec<u8>);

fn tunnel(reason: Reason, packet: &V4) -> Case {
    (reason, WAN4, framed_as(WAN4, 0x0800, &packet.bytes()))
}

fn native(reason: Reason, packet: &V6) -> Case {
    (reason, WAN6, framed(WAN6, &packet.bytes()))
}

fn inner(source: &str, destination: &str) -> V4 {
    V6::new(source, destination).in_tunnel()
}

fn from_outer(source: [u8; 4]) -> V4 {
    let site = Ipv4Addr::from(source);
    let packet = V6::between(sixtofour(site, 1), v6(NATIVE_HOST));
    V4 { source: site, ..packet.in_tunnel() }
}

fn frames() -> Vec<Case> {
    use Reason::MalformedFrame;
    vec![
        (MalformedFrame, WAN6, vec![0; 13]),
        (MalformedFrame, WAN6, vec![2]),
        (MalformedFrame, WAN6, framed_as(WAN6, 0x0806, &[0; 46])),
        (MalformedFrame, WAN6, framed_as(WAN6, 0x8100, &V6::outbound().bytes())),
    ]
}

fn outer_headers() -> Vec<Case> {
    let good = || V6::inbound().in_tunnel();
    let with_options = |options: &[u8]| V4 { options: options.to_vec(), ..good() };
    let mut wrong_sum = framed(WAN4, &good().bytes());
    wrong_sum[24] ^= 1;
    let mut short = framed(WAN4, &good().bytes());
    short.truncate(14 + 19);
    let mut cut = framed(WAN4, &good().bytes());
    cut.pop();
    vec![
        (Reason::OuterHeader, WAN4, wrong_sum),
        (Reason::OuterHeader, WAN4, short),
        (Reason::OuterHeader, WAN4, cut),
        (Reason::OuterHeader, WAN4, framed_as(WAN4, 0x0800, &V6::inbound().bytes())),
        tunnel(Reason::OuterOptions, &with_options(&[131, 3, 4, 0])),
        tunnel(Reason::OuterOptions, &with_options(&[137, 3, 4, 0])),
        tunnel(Reason::OuterFragDisabled, &V4 { fragment: 0x2000, ..good() }),
        tunnel(Reason::OuterFragDisabled, &V4 { fragment: 1, ..good() }),
        tunnel(Reason::NotForUs, &V4 { destination: Ipv4Addr::new(9, 254, 253, 251), ..good() }),
        tunnel(Reason::NotForUs, &V4 { destination: Ipv4Addr::new(9, 254, 253, 255), ..good() }),
        tunnel(Reason::V4SrcBogon, &from_outer([10, 0, 0, 5])),
        tunnel(Reason::V4SrcBogon, &from_outer([9, 254, 253, 255])),
        tunnel(Reason::OwnSource, &from_outer(RELAY.octets())),
        tunnel(Reason::NoTunnel, &V4 { protocol: 17, ..good() }),
        tunnel(Reason::IcmpQuoteUntrusted, &V4 { protocol: 1, ..good() }),
        tunnel(Reason::KnownRelay, &from_outer([8, 0, 0, 66])),
        tunnel(Reason::NotAllowed, &from_outer([8, 9, 1, 1])),
    ]
}

fn inner_headers() -> Vec<Case> {
    let cut = |len: usize| {
        let mut packet = V6::inbound().in_tunnel();
        packet.payload.truncate(len);
        packet
    };
    let mut version = V6::inbound().in_tunnel();
    version.payload[0] = 0x45;
    let mut jumbo = V6::inbound().payload(0, &[]).in_tunnel();
    jumbo.payload.extend([58, 0, 0xc2, 4, 0, 1, 0, 0]);
    vec![
        tunnel(Reason::InnerVersion, &version),
        tunnel(Reason::InnerLength, &cut(0)),
        tunnel(Reason::InnerLength, &cut(39)),
        tunnel(Reason::InnerLength, &cut(63)),
        tunnel(Reason::InnerLength, &jumbo),
        tunnel(Reason::V6LinklocalOn6to4, &inner("fe80::1", NATIVE_HOST)),
        tunnel(Reason::V6LinklocalOn6to4, &inner(SITE_HOST, "fe80::1")),
        tunnel(Reason::V6SrcBogon, &inner("fc00::1", NATIVE_HOST)),
        tunnel(Reason::V6DstBogon, &inner(SITE_HOST, "ff0e::1")),
        tunnel(Reason::V4EmbeddedBogon, &inner("2002:a00:1::1", NATIVE_HOST)),
        tunnel(Reason::V4EmbeddedBogon, &inner(SITE_HOST, "2002:7f00:1::1")),
        tunnel(Reason::V6NativeNative, &inner("2001:600::77", NATIVE_HOST)),
        tunnel(Reason::Sixto4RelayNativeSrc, &inner("2001:600::77", SITE_HOST)),
        tunnel(Reason::Sixto4SrcMismatch, &inner("2002:c001:204::1", NATIVE_HOST)),
        tunnel(Reason::Sixto4To6to4ViaRelay, &inner(SITE_HOST, "2002:801:1::1")),
        tunnel(Reason::V4LocalAddress, &inner(SITE_HOST, "2002:9fe:fdfc::1")),
        tunnel(Reason::LoopLocalV4InDst, &inner(SITE_HOST, "2001:700::5efe:9fe:fdfc")),
        tunnel(Reason::LoopLocalV4InDst, &inner(SITE_HOST, "2001:0:9fe:fdfc::1")),
        tunnel(Reason::MgmtProtected, &inner(SITE_HOST, "2001:600::fe")),
        tunnel(Reason::EcnNotEctCe, &V4 { tos: 3, ..V6::inbound().in_tunnel() }),
    ]
}

fn header_chains() -> Vec<Case> {
    let routing = |kind: u8| [58, 2, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut cases = Vec::new();
    for (kind, reason) in
        [(0, Reason::RoutingHeaderType0), (1, Reason::RoutingHeader), (3, Reason::RoutingHeader)]
    {
        cases.push(tunnel(reason, &V6::inbound().payload(43, &routing(kind)).in_tunnel()));
        cases.push(native(reason, &V6::outbound().payload(43, &routing(kind))));
    }
    for kind in [130, 131, 132, 133, 134, 135, 136, 137, 141, 142, 143, 148, 149, 151, 152, 153] {
        let message = [kind, 0, 0, 0, 0, 0, 0, 0];
        cases.push(tunnel(Reason::NdTransit, &V6::inbound().payload(58, &message).in_tunnel()));
        cases.push(native(Reason::NdTransit, &V6::outbound().payload(58, &message)));
    }
    let mut chain: Vec<u8> = [60, 0, 1, 4, 0, 0, 0, 0].repeat(20);
    chain.extend([59, 0, 1, 4, 0, 0, 0, 0]);
    cases.push(native(Reason::ExtChain, &V6::outbound().payload(60, &chain)));
    cases
}

fn native_side() -> Vec<Case> {
    let from = |source: &str| V6::new(source, SITE_HOST);
    let to = |destination: &str| V6::new(NATIVE_HOST, destination);
    let v4_to = |site: [u8; 4]| V6::between(v6(NATIVE_HOST), sixtofour(Ipv4Addr::from(site), 1));
    let mut cut = framed(WAN6, &V6::outbound().bytes());
    cut.pop();
    let mut jumbo = V6::outbound().payload(0, &[]).bytes();
    jumbo.extend([58, 0, 0xc2, 4, 0, 1, 0, 0]);
    vec![
        (Reason::V6Version, WAN6, framed_as(WAN6, 0x86dd, &V6::inbound().in_tunnel().bytes())),
        (Reason::V6Length, WAN6, framed(WAN6, &V6::outbound().bytes()[..39])),
        (Reason::V6Length, WAN6, cut),
        (Reason::V6Length, WAN6, framed(WAN6, &jumbo)),
        native(Reason::V6SrcBogon, &from("::1")),
        native(Reason::V6SrcBogon, &from("ff02::1")),
        native(Reason::V6DstBogon, &to("::1")),
        native(Reason::V6DstBogon, &to("fe80::1")),
        native(Reason::V4EmbeddedBogon, &v4_to([10, 0, 0, 1])),
        native(Reason::V4EmbeddedBogon, &v4_to([9, 254, 253, 255])),
        native(Reason::V4EmbeddedBogon, &v4_to([8, 3, 0, 1])),
        native(Reason::OwnSource, &from("2001:600::fe")),
        native(Reason::OwnSource, &from("2002:9fe:fdfc::1")),
        native(Reason::LocalUnavailable, &to("2001:600::fe")),
        native(Reason::LocalUnavailable, &to("2001:600::fe").hop_limit(1)),
        native(Reason::Blackhole, &to("2001:600:b1::1")),
        native(Reason::Blackhole, &v4_to([8, 4, 0, 1])),
        native(Reason::PortDown, &to("2001:600:b6::1")),
        native(Reason::TableCorrupt, &to("2001:600:b7::1")),
        native(Reason::TableCorrupt, &v4_to([8, 6, 0, 1])),
        native(Reason::Sixto4NativeSrc6to4, &from("2002:801:1::1")),
        native(Reason::V6NativeNative, &to("2001:600:b5::1")),
        native(Reason::V4LocalAddress, &v4_to(RELAY.octets())),
        native(Reason::V4LocalAddress, &v4_to([8, 2, 0, 1])),
        native(Reason::KnownRelay, &v4_to([8, 0, 0, 66])),
        native(Reason::NotAllowed, &v4_to([8, 9, 0, 1])),
        native(Reason::LoopLocalV4InSrc, &from("2001:700::5efe:9fe:fdfc")),
    ]
}

/// Cases that are dropped without an answer.
fn silent() -> Vec<Case> {
    [frames(), outer_headers(), inner_headers(), header_chains(), native_side()].concat()
}

/// Cases that are answered.
fn answered() -> Vec<Case> {
    let to = |destination: &str| V6::new(NATIVE_HOST, destination);
    let nowhere = sixtofour(Ipv4Addr::new(7, 7, 7, 7), 1);
    vec![
        native(Reason::HopLimit, &V6::outbound().hop_limit(1)),
        native(Reason::NoRoute, &to("2001:700::1")),
        native(Reason::Prohibited, &to("2001:600:b3::1")),
        native(Reason::RejectRoute, &to("2001:600:b2::1")),
        native(Reason::TooBig, &V6::outbound().len(1281)),
        native(Reason::OuterNoRoute, &V6::between(v6(NATIVE_HOST), nowhere)),
        native(Reason::BeyondScope, &V6::new("fe80::1", SITE_HOST)),
        tunnel(Reason::TunnelLoop, &inner(SITE_HOST, "2001:600:b5::1")),
    ]
}

#[test]
fn each_case_is_dropped_for_its_reason_and_in_silence() {
    let mut rig = Rig::new();
    for (number, (reason, port, frame)) in silent().into_iter().enumerate() {
        rig.offer(port, frame);
        let outcome = rig.run();
        assert_eq!(
            (common::reasons(&outcome.counters), outcome.sent.len()),
            (vec![(reason, 1)], 0),
            "case {number}: wanted {}",
            reason.name()
        );
    }
    rig.close();
}

#[test]
fn each_answered_case_is_dropped_for_its_reason() {
    let mut rig = Rig::new();
    for (reason, port, frame) in answered() {
        rig.offer(port, frame);
        let outcome = rig.run();
        outcome.dropped(reason);
        assert_eq!(outcome.counters.generated, 1);
        assert_eq!(outcome.sent.len(), 1, "{}", reason.name());
    }
    rig.close();
}

#[test]
fn a_full_ring_is_tx_full() {
    let mut rig = Rig::over(topology::tables(), Sizes { tx: 3, ..Sizes::default() });
    for _ in 0..5 {
        rig.offer(WAN6, framed(WAN6, &V6::outbound().bytes()));
    }
    let outcome = rig.run();
    assert_eq!(outcome.counters.transmitted, 3);
    assert_eq!(outcome.counters.dropped_for(Reason::TxFull), 2);
    rig.close();
}

#[test]
fn an_error_without_a_frame_is_no_frame() {
    // All frames wait for packets at the ports or are in hand: none is left for an error.
    let mut rig = Rig::over(topology::tables(), Sizes { frames: 32, fill: 16, ..Sizes::default() });
    rig.offer(WAN6, framed(WAN6, &V6::outbound().hop_limit(1).bytes()));
    let outcome = rig.run();
    assert_eq!(outcome.counters.dropped_for(Reason::HopLimit), 1);
    assert_eq!(outcome.counters.dropped_for(Reason::NoFrame), 1);
    assert_eq!((outcome.counters.generated, outcome.sent.len()), (1, 0));
    rig.close();
}

#[test]
fn without_the_6to4_function_nothing_is_accepted_or_sent() {
    let (_writer, tables) = topology::tables_with(|settings| settings.sixtofour_enabled = 0);
    let mut rig = Rig::over(tables, Sizes::default());
    rig.one(WAN4, &V6::inbound().in_tunnel().bytes()).silent(Reason::NotForUs);
    rig.one(WAN6, &V6::outbound().bytes()).silent(Reason::NoTunnel);
    assert_eq!(rig.one(WAN6, &V6::new("2001:700::1", NATIVE_HOST).bytes()).counters.transmitted, 1);
    rig.close();
}

#[test]
fn neighbours_are_asked_for_within_the_budget() {
    let (writer, tables) = topology::tables_with(|_| ());
    let mut rig = Rig::over(tables, Sizes::default());
    let partner = writer.partner(0).expect("the consumer's line");
    let ring = rig.segment.punt_ring().reader();
    let mut control = Consumer::attach(ring, partner, 1);

    for (destination, port, ifindex, wanted) in [
        (v6("2001:600::77"), WAN6, 6, v6("2001:600::77")),
        (v6("2001:600:b4::1"), WAN6, 6, *b"gateway-address!"),
        (sixtofour(Ipv4Addr::new(9, 254, 253, 9), 1), WAN4, 4, v6("::ffff:9.254.253.9")),
    ] {
        for _ in 0..3 {
            let outcome = rig.one(WAN6, &V6::between(v6(NATIVE_HOST), destination).bytes());
            outcome.waits();
        }
        let message = control.pop(ring, partner).expect("a request");
        let wanted = NeighbourWanted { port, ifindex, next_hop: wanted };
        assert_eq!(NeighbourWanted::decode(&message), Some(wanted));
        assert_eq!(control.pop(ring, partner), None, "one request, not one a packet");
    }

    // A scan of the on-link prefix: the budget holds, every packet is accounted for.
    let mut requests = 0;
    for host in 0..2000u32 {
        let destination = u128::from_be_bytes(v6("2001:600::1:0")) + u128::from(host);
        rig.offer(WAN6, framed(WAN6, &V6::between(v6(NATIVE_HOST), destination.to_be_bytes()).bytes()));
        let outcome = rig.run();
        let asked = outcome.counters.neighbour_requests == 1;
        if outcome.counters.held == 0 {
            outcome.silent(if asked { Reason::NeighQueue } else { Reason::NeighLimit });
        }
        assert_eq!(outcome.counters.neighbour_requests + outcome.counters.neighbour_limited, 1);
        while control.pop(ring, partner).is_some() {
            requests += 1;
        }
    }
    assert!(requests <= 64 + 1, "{requests} requests in a few milliseconds");
    assert!(requests >= 50, "{requests} requests: the budget can be used");
    rig.close();
}

/// ND-10: while one prefix is scanned, the hosts of another and the gateways are asked for as ever.
#[test]
fn a_scan_of_one_prefix_costs_the_others_nothing() {
    let (mut writer, tables) = topology::tables_with(|_| ());
    let link = Adjacency { port: WAN6, mtu: 1500, ifindex: 6, ..Adjacency::of_kind(kind::GLEAN) };
    topology::route6(&mut writer, "2001:600:0:5::/64", &link);
    let mut rig = Rig::over(tables, Sizes::default());
    let partner = writer.partner(0).expect("the consumer's line");
    let ring = rig.segment.punt_ring().reader();
    let mut control = Consumer::attach(ring, partner, 1);
    let mut limited = 0;
    for (number, destination, wanted) in [
        (0, v6("2001:600:0:5::77"), v6("2001:600:0:5::77")),
        (1, sixtofour(Ipv4Addr::new(9, 254, 253, 10), 1), v6("::ffff:9.254.253.10")),
        (2, v6("2001:600:b4::1"), *b"gateway-address!"),
    ] {
        for host in 0..300u32 {
            let scanned = u128::from_be_bytes(v6("2001:600::1:0")) + u128::from(number * 300 + host);
            let packet = V6::between(v6(NATIVE_HOST), scanned.to_be_bytes());
            limited += rig.one(WAN6, &packet.bytes()).counters.dropped_for(Reason::NeighLimit);
            while control.pop(ring, partner).is_some() {}
        }
        rig.one(WAN6, &V6::between(v6(NATIVE_HOST), destination).bytes()).silent(Reason::NeighQueue);
        let message = control.pop(ring, partner).expect("a request");
        assert_eq!(NeighbourWanted::decode(&message).map(|message| message.next_hop), Some(wanted));
    }
    assert!(limited > 3 * 300 - 70, "{limited}");
    rig.close();
}

#[test]
fn every_reason_of_the_table_is_hit() {
    // `punt_limit` has its cases in door.rs, `neigh_limit` above.
    let mut hit: BTreeSet<Reason> =
        [Reason::TxFull, Reason::NoFrame, Reason::PuntLimit, Reason::NeighQueue, Reason::NeighLimit].into();
    hit.extend(silent().into_iter().chain(answered()).map(|(reason, ..)| reason));
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !hit.contains(reason)).collect();
    assert_eq!(missing, Vec::<&Reason>::new(), "a reason without a case");
}

#[test]
fn bad_sites_cannot_speak_through_good_ones() {
    // SEC-12 in both directions of disagreement, for every host bit.
    let mut rig = Rig::new();
    for bit in 0..32 {
        let other = Ipv4Addr::from_bits(SITE.to_bits() ^ 1 << bit);
        let packet = V6::between(sixtofour(other, 1), v6(NATIVE_HOST)).in_tunnel();
        let outcome = rig.one(WAN4, &packet.bytes());
        let refused = [Reason::Sixto4SrcMismatch, Reason::V4EmbeddedBogon];
        assert!(refused.iter().any(|reason| outcome.counters.dropped_for(*reason) == 1), "bit {bit}");
        assert_eq!(outcome.sent, []);
    }
    rig.close();
}
