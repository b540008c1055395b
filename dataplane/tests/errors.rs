//! ICMPv6 errors (RFC 4443 §2.4, §3): which are sent, to whom, how many, and what they say.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE, SITE_HOST, V6, framed, icmpv6_checksum, sixtofour, v6};
use common::topology::{self, HOST_MAC, OUR_MAC6, ROUTER};
use common::{Outcome, Rig, SECOND, Sizes, WAN4, WAN6};
use sixlane_tables::{Settings, TableWriter, Tables};
use sixlane_tunnel::Reason;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The error in a frame, with its type, code and word; checks what all errors have in common.
fn error(outcome: &Outcome) -> (u8, u8, u32) {
    let (port, frame) = outcome.only();
    let packet = if port == WAN4 { &frame[34..] } else { &frame[14..] };
    assert_eq!(packet[..4], [0x60, 0, 0, 0]);
    assert_eq!(packet[6..8], [58, 64], "ICMPv6, hop limit 64 as sent by its source");
    assert_eq!(packet[8..24], ROUTER, "from our unicast address (ICMP-04)");
    assert_eq!(icmpv6_checksum(packet), 0, "ICMP-05");
    assert!(packet.len() <= 1280, "ICMP-01");
    let word = u32::from_be_bytes([packet[44], packet[45], packet[46], packet[47]]);
    (packet[40], packet[41], word)
}

#[test]
fn icmp_07_each_refusal_has_its_error() {
    let mut rig = Rig::new();
    for (destination, reason, answer) in [
        ("2001:700::1", Reason::NoRoute, (1, 0, 0)),
        ("2001:600:b3::1", Reason::Prohibited, (1, 1, 0)),
        ("2001:600:b2::1", Reason::RejectRoute, (1, 6, 0)),
    ] {
        for (port, packet) in [
            (WAN6, V6::new(NATIVE_HOST, destination).bytes()),
            (WAN4, V6::new(SITE_HOST, destination).in_tunnel().bytes()),
        ] {
            let outcome = rig.one(port, &packet);
            outcome.dropped(reason);
            assert_eq!(error(&outcome), answer, "{}", reason.name());
            assert_eq!(outcome.sent[0].0, port, "back where it came from");
        }
    }
    // No IPv4 route to the far end: address unreachable.
    let nowhere = sixtofour(Ipv4Addr::new(7, 7, 7, 7), 1);
    let outcome = rig.one(WAN6, &V6::between(v6(NATIVE_HOST), nowhere).bytes());
    outcome.dropped(Reason::OuterNoRoute);
    assert_eq!(error(&outcome), (1, 3, 0));
    // A native destination whose route leads back into the tunnel: the same, and not sent back (FWD-19).
    let outcome = rig.one(WAN4, &V6::new(SITE_HOST, "2001:600:b5::1").in_tunnel().bytes());
    outcome.dropped(Reason::TunnelLoop);
    assert_eq!(error(&outcome), (1, 3, 0));
    // The same when the route to the far end prohibits.
    let prohibited = sixtofour(Ipv4Addr::new(8, 5, 0, 1), 1);
    assert_eq!(error(&rig.one(WAN6, &V6::between(v6(NATIVE_HOST), prohibited).bytes())), (1, 3, 0));
    rig.close();
}

#[test]
fn fwd_04_a_link_local_source_is_told_that_it_is_beyond_scope() {
    let mut rig = Rig::new();
    let packet = V6::new("fe80::1234", SITE_HOST).bytes();
    let outcome = rig.one(WAN6, &packet);
    outcome.dropped(Reason::BeyondScope);
    assert_eq!(error(&outcome), (1, 2, 0));
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[..12]), (WAN6, &[HOST_MAC, OUR_MAC6].concat()[..]), "straight back");
    assert_eq!(frame[14 + 24..14 + 40], v6("fe80::1234"));
    assert_eq!(frame[14 + 48..], packet);
    rig.close();
}

#[test]
fn icmp_01_the_quote_is_the_packet_as_it_was_received() {
    let mut rig = Rig::new();
    let inner = V6::inbound().class(0x02).hop_limit(1);
    let mut packet = inner.in_tunnel();
    packet.tos = 3;
    let outcome = rig.one(WAN4, &packet.bytes());
    outcome.dropped(Reason::HopLimit);
    let (_, frame) = outcome.only();
    assert_eq!(frame[34 + 48..], inner.bytes(), "inner, unmarked, hop limit as it came");
    assert_eq!(frame[34 + 24..34 + 40], inner.source);
    rig.close();
}

#[test]
fn icmp_02_what_must_not_be_answered_is_not() {
    let mut rig = Rig::new();
    let refused = || V6::new(NATIVE_HOST, "2001:700::1");
    // Errors, known and unknown, also behind an extension header.
    for kind in [1u8, 2, 3, 4, 100, 127] {
        let outcome = rig.one(WAN6, &refused().payload(58, &[kind, 0, 0, 0, 0, 0, 0, 0]).bytes());
        outcome.silent(Reason::NoRoute);
        assert_eq!(outcome.counters.icmp_suppressed, 1);
        let hidden = [58, 0, 1, 4, 0, 0, 0, 0, kind, 0, 0, 0, 0, 0, 0, 0];
        rig.one(WAN6, &refused().payload(60, &hidden).bytes()).silent(Reason::NoRoute);
    }
    // Informational messages are answered.
    for kind in [128u8, 129, 200] {
        let outcome = rig.one(WAN6, &refused().payload(58, &[kind, 0, 0, 0, 0, 0, 0, 0]).bytes());
        assert_eq!(error(&outcome), (1, 0, 0));
    }
    // A link-layer multicast.
    let mut frame = framed(WAN6, &refused().bytes());
    frame[0] |= 1;
    rig.offer(WAN6, frame);
    let outcome = rig.run();
    outcome.silent(Reason::NoRoute);
    assert_eq!(outcome.counters.icmp_suppressed, 1);
    rig.close();
}

#[test]
fn icmp_10_spoofed_packets_are_never_answered() {
    let mut rig = Rig::new();
    // A 6to4 source from the native side, refused for every reason that would else be answered.
    let spoofed = |destination: &str| V6::new("2002:801:1::1", destination);
    for (packet, reason) in [
        (spoofed(SITE_HOST).hop_limit(1), Reason::HopLimit),
        (spoofed(SITE_HOST).len(1400), Reason::TooBig),
        (spoofed(NATIVE_HOST).hop_limit(1), Reason::HopLimit),
        (spoofed("2001:700::1"), Reason::NoRoute),
        (spoofed("2001:600:b3::1"), Reason::Prohibited),
        // A source that would loop (RFC 6324), on its way into the tunnel.
        (V6::new("2001:600:9:9:200:5efe:9fe:fdfc", SITE_HOST).hop_limit(1), Reason::HopLimit),
        (V6::new(NATIVE_HOST, "2002:9fe:fdfc::5").hop_limit(1), Reason::HopLimit),
    ] {
        let outcome = rig.one(WAN6, &packet.bytes());
        outcome.silent(reason);
        assert_eq!(outcome.counters.icmp_suppressed, 1);
    }
    rig.close();
}

#[test]
fn sec_08_an_error_into_the_tunnel_passes_the_tunnels_checks() {
    let mut rig = Rig::new();
    // The site is behind a route that has meanwhile become a broadcast address, or has gone.
    for (site, reason) in [
        (Ipv4Addr::new(8, 3, 0, 1), Reason::V4EmbeddedBogon),
        (Ipv4Addr::new(7, 7, 7, 7), Reason::OuterNoRoute),
        (Ipv4Addr::new(8, 4, 0, 1), Reason::Blackhole),
        // An anycast source may speak, and is never answered (ICMP-02).
        (Ipv4Addr::new(192, 88, 99, 1), Reason::V4EmbeddedBogon),
    ] {
        let mut packet = V6::between(sixtofour(site, 1), v6("2001:700::1")).in_tunnel();
        packet.source = site;
        let outcome = rig.one(WAN4, &packet.bytes());
        assert_eq!(outcome.sent, []);
        assert_eq!(outcome.counters.generated, 1);
        assert_eq!(outcome.counters.dropped_for(Reason::NoRoute), 1);
        assert_eq!(outcome.counters.dropped_for(reason), 1);
    }
    rig.close();
}

fn limited(change: impl FnOnce(&mut Settings)) -> (TableWriter, Arc<Tables>) {
    topology::tables_with(|settings| {
        (settings.errors_per_second, settings.errors_burst) = (100, 10);
        (settings.ptb_per_second, settings.ptb_burst) = (100, 10);
        change(settings);
    })
}

/// Offers a packet every millisecond for a second; gives how many errors were sent.
fn offered_for_a_second(rig: &mut Rig, packet: &V6) -> u64 {
    let frame = framed(WAN6, &packet.bytes());
    let start = rig.now;
    let mut sent = 0;
    for millisecond in 0..1000 {
        rig.now = start + millisecond * 1_000_000;
        rig.offer(WAN6, frame.clone());
        let outcome = rig.run();
        sent += outcome.counters.generated;
        assert_eq!(outcome.counters.generated + outcome.counters.icmp_rate_limited, 1);
    }
    sent
}

#[test]
fn icmp_03_a_thousand_offered_make_a_hundred_and_ten() {
    let (_writer, tables) = limited(|_| ());
    let mut rig = Rig::over(tables, Sizes::default());
    let sent = offered_for_a_second(&mut rig, &V6::outbound().hop_limit(1));
    assert!((108..=112).contains(&sent), "{sent} errors in the first second");
    rig.close();
}

#[test]
fn icmp_12_packet_too_big_has_its_own_budget() {
    let (_writer, tables) = limited(|_| ());
    let mut rig = Rig::over(tables, Sizes::default());
    for _ in 0..50 {
        rig.one(WAN6, &V6::outbound().hop_limit(1).bytes());
    }
    let exhausted = rig.one(WAN6, &V6::outbound().hop_limit(1).bytes());
    assert_eq!(exhausted.counters.icmp_rate_limited, 1);
    let big = rig.one(WAN6, &V6::outbound().len(1400).bytes());
    assert_eq!(error(&big), (2, 0, 1280));
    rig.close();
}

#[test]
fn budgets_are_divided_by_the_workers() {
    let (_writer, tables) = limited(|settings| settings.worker_count = 3);
    let mut total = 0;
    for worker in 0..3 {
        let mut rig = Rig::over(Arc::clone(&tables), Sizes { worker, ..Sizes::default() });
        total += offered_for_a_second(&mut rig, &V6::outbound().hop_limit(1));
    }
    // Each worker may be off by one at either end of the second.
    assert!((107..=116).contains(&total), "{total} errors of three workers");
}

/// A host whose packets always reach the same worker must hear of its path MTU.
#[test]
fn no_worker_is_without_a_budget() {
    let (_writer, tables) = limited(|settings| settings.worker_count = 64);
    let mut rig = Rig::over(tables, Sizes { worker: 63, ..Sizes::default() });
    assert_eq!(error(&rig.one(WAN6, &V6::outbound().len(1400).bytes())), (2, 0, 1280));
    assert_eq!(error(&rig.one(WAN6, &V6::outbound().hop_limit(1).bytes())), (3, 0, 0));
    rig.close();
}

#[test]
fn a_change_of_rate_is_followed_and_no_change_fills_the_buckets() {
    let (mut writer, tables) = limited(|_| ());
    let mut rig = Rig::over(tables, Sizes::default());
    let refused = V6::outbound().hop_limit(1).bytes();
    for _ in 0..20 {
        rig.one(WAN6, &refused);
    }
    let settings = *writer.settings();
    writer.set_settings(&settings).expect("room");
    assert_eq!(rig.one(WAN6, &refused).counters.icmp_rate_limited, 1, "the bucket is as empty as before");
    writer.set_settings(&Settings { errors_per_second: 200, ..settings }).expect("room");
    assert_eq!(rig.one(WAN6, &refused).counters.icmp_rate_limited, 1, "another rate fills it no more");
    rig.now += SECOND / 200;
    assert_eq!(rig.one(WAN6, &refused).counters.generated, 1, "but does so twice as fast");
    rig.now += SECOND;
    rig.close();
}

#[test]
fn a_flood_of_errors_fits_the_batch_and_the_pool() {
    let mut rig = Rig::new();
    let frame = framed(WAN6, &V6::outbound().hop_limit(1).bytes());
    for _ in 0..640 {
        rig.offer(WAN6, frame.clone());
    }
    let outcome = rig.run();
    assert_eq!(outcome.counters.dropped_for(Reason::HopLimit), 640);
    assert_eq!(outcome.counters.generated, 640);
    assert_eq!(outcome.counters.transmitted, 640);
    assert_eq!(outcome.sent.len(), 640);
    assert!(outcome.sent.iter().all(|(port, sent)| *port == WAN6 && sent.bytes.len() == 14 + 48 + 64));
    rig.close();
}

#[test]
fn answers_to_a_site_go_through_the_tunnel() {
    let mut rig = Rig::new();
    let outcome = rig.one(WAN4, &V6::inbound().hop_limit(1).in_tunnel().bytes());
    assert_eq!(error(&outcome), (3, 0, 0));
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[30..34]), (WAN4, &SITE.octets()[..]));
    rig.close();
}
