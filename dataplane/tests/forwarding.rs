//! What the relay does with packets that it carries: lengths, hop limits, MTU, fields that cross, and
//! the payload that stays where it is.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE, SITE_HOST, V6, checksum, framed, icmpv6_checksum, sixtofour, v6};
use common::topology::{self, GATEWAY_MAC, HOST_MAC, OUR_MAC4, OUR_MAC6, RELAY};
use common::{Rig, Sizes, WAN4, WAN6};
use sixlane_tables::Settings;
use sixlane_tunnel::Reason;
use sixlane_tunnel::field_copy::{DSCP_COPY, ECN_NORMAL};
use sixlane_tunnel::sixinfour::DF_ALWAYS;
use std::collections::HashSet;
use std::net::Ipv4Addr;

fn rig_with(change: impl FnOnce(&mut Settings)) -> Rig {
    let (writer, tables) = topology::tables_with(change);
    // The writer owns the memory that the tables lie in.
    std::mem::forget(writer);
    Rig::over(tables, Sizes::default())
}

/// The outer header of a packet that the relay encapsulates.
fn outer_of(rig: &mut Rig, packet: &[u8]) -> [u8; 20] {
    let outcome = rig.one(WAN6, packet);
    let (port, frame) = outcome.only();
    assert_eq!(port, WAN4);
    frame[14..34].try_into().expect("an outer header")
}

#[test]
fn the_payload_is_never_moved() {
    let mut rig = Rig::new();
    // Received at byte 256: the packets begin at 270, the inner one in the tunnel at 290.
    for (port, packet, sent_start, payload_in_sent) in [
        (WAN6, V6::outbound().bytes(), 256 - 20, 14 + 20 + 40),
        (WAN4, V6::inbound().in_tunnel().bytes(), 256 + 20, 14 + 40),
        (WAN6, V6::new("2001:700::1", NATIVE_HOST).bytes(), 256, 14 + 40),
    ] {
        let payload_at = 256 + 14 + packet.len() - 24;
        let outcome = rig.one(port, &packet);
        let (_, sent) = &outcome.sent[0];
        assert_eq!(usize::from(sent.start), sent_start);
        assert_eq!(usize::from(sent.start) + payload_in_sent, payload_at, "the payload's address");
        assert_eq!(sent.bytes[payload_in_sent..], packet[packet.len() - 24..]);
    }
    rig.close();
}

#[test]
fn link_headers_are_those_of_the_adjacency() {
    let mut rig = Rig::new();
    let outcome = rig.one(WAN6, &V6::outbound().bytes());
    assert_eq!(outcome.only().1[..14], [&GATEWAY_MAC[..], &OUR_MAC4, &[0x08, 0x00]].concat());
    let outcome = rig.one(WAN4, &V6::inbound().in_tunnel().bytes());
    assert_eq!(outcome.only().1[..14], [&HOST_MAC[..], &OUR_MAC6, &[0x86, 0xdd]].concat());
}

#[test]
fn the_hop_limit_falls_once_and_ends_at_one() {
    let mut rig = Rig::new();
    for (port, hop_limit_at) in [(WAN6, 14 + 20 + 7), (WAN4, 14 + 7)] {
        for hop_limit in [2u8, 3, 64, 255] {
            let packet = if port == WAN6 { V6::outbound() } else { V6::inbound() }.hop_limit(hop_limit);
            let packet = if port == WAN6 { packet.bytes() } else { packet.in_tunnel().bytes() };
            let outcome = rig.one(port, &packet);
            assert_eq!(outcome.only().1[hop_limit_at], hop_limit - 1);
        }
        for hop_limit in [0u8, 1] {
            let packet = if port == WAN6 { V6::outbound() } else { V6::inbound() }.hop_limit(hop_limit);
            let packet = if port == WAN6 { packet.bytes() } else { packet.in_tunnel().bytes() };
            let outcome = rig.one(port, &packet);
            outcome.dropped(Reason::HopLimit);
            assert_eq!(outcome.counters.generated, 1);
        }
    }
    rig.close();
}

#[test]
fn the_outer_header_is_as_the_rfc_says() {
    let mut rig = Rig::new();
    let outer = outer_of(&mut rig, &V6::outbound().class(0xb9).bytes());
    assert_eq!(outer[..2], [0x45, 0], "no options; ToS 0: DSCP pipe, ECN compatibility (ECN-04)");
    assert_eq!(outer[2..4], (20u16 + 64).to_be_bytes());
    assert_eq!(outer[6..10], [0, 0, 64, 41], "DF clear on a static MTU, TTL 64, protocol 41");
    assert_eq!(outer[12..16], RELAY.octets());
    assert_eq!(outer[16..20], SITE.octets());
    assert_eq!(checksum(&outer), 0);
}

#[test]
fn the_outer_header_follows_the_settings() {
    let mut rig = rig_with(|settings| {
        settings.sixtofour.df = DF_ALWAYS;
        settings.sixtofour.ttl = 7;
        settings.sixtofour.dscp = DSCP_COPY;
        settings.sixtofour.ecn = ECN_NORMAL;
    });
    for class in 0..=255 {
        let outer = outer_of(&mut rig, &V6::outbound().class(class).bytes());
        assert_eq!((outer[1], &outer[6..10]), (class, &[0x40, 0, 7, 41][..]));
        assert_eq!(checksum(&outer), 0);
    }
    let mut rig = rig_with(|settings| settings.sixtofour.dscp = 46);
    assert_eq!(outer_of(&mut rig, &V6::outbound().class(3).bytes())[1], 46 << 2);
}

/// ECN-02, all sixteen cases: inner, outer, result (`None`: dropped).
#[test]
fn congestion_marks_cross_as_rfc_6040_says() {
    const NOT: u8 = 0;
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    let mut rig = Rig::new();
    for (inner, results) in [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
        (ECT0, [Some(ECT0), Some(ECT1), Some(ECT0), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ] {
        for (outer, result) in results.into_iter().enumerate() {
            let mut packet = V6::inbound().class(0xb8 | inner).in_tunnel();
            packet.tos = 0x50 | outer as u8;
            let outcome = rig.one(WAN4, &packet.bytes());
            match result {
                None => outcome.silent(Reason::EcnNotEctCe),
                Some(mark) => {
                    let wanted = V6::inbound().class(0xb8 | mark).hop_limit(63).bytes();
                    assert_eq!(outcome.only().1[14..], wanted, "inner {inner} outer {outer}");
                }
            }
        }
    }
    rig.close();
}

#[test]
fn pmtu_03_a_packet_of_1280_passes_and_one_of_1281_is_answered() {
    let mut rig = Rig::new();
    let outcome = rig.one(WAN6, &V6::outbound().len(1280).bytes());
    assert_eq!(outcome.only().1.len(), 14 + 20 + 1280);
    for len in [1281, 1500] {
        let invoking = V6::outbound().len(len).bytes();
        let outcome = rig.one(WAN6, &invoking);
        outcome.dropped(Reason::TooBig);
        let (port, frame) = outcome.only();
        let error = &frame[14..];
        assert_eq!(port, WAN6, "nothing on the IPv4 side");
        assert_eq!((error[40], error[41]), (2, 0));
        assert_eq!(error[44..48], 1280u32.to_be_bytes());
        assert_eq!(error.len(), 1280, "as much as fits in the minimum MTU (ICMP-01)");
        assert_eq!(error[48..], invoking[..1232]);
        assert_eq!(icmpv6_checksum(error), 0);
    }
    rig.close();
}

#[test]
fn the_mtu_of_the_native_link_counts_too() {
    let mut rig = Rig::new();
    let to = "2001:600:1::9";
    let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, to).len(1280).bytes());
    assert_eq!(outcome.only().1.len(), 14 + 1280);
    let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, to).len(1281).bytes());
    outcome.dropped(Reason::TooBig);
    assert_eq!(outcome.only().1[14 + 44..14 + 48], 1280u32.to_be_bytes());
    // Out of the tunnel: the error goes back into it, through all checks.
    let outcome = rig.one(WAN4, &V6::new(SITE_HOST, to).len(1300).in_tunnel().bytes());
    outcome.dropped(Reason::TooBig);
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[30..34]), (WAN4, &SITE.octets()[..]));
    assert_eq!(frame.len(), 14 + 20 + 1280);
    rig.close();
}

#[test]
fn a_link_too_small_for_the_outer_packet_is_named_or_kept_silent_about() {
    let mut rig = rig_with(|settings| settings.sixtofour.mtu = 1480);
    // 8.1.0.0/16 lies behind a link of 1200 bytes; its tunnel packets have 1180.
    let far = Ipv4Addr::new(8, 1, 0, 1);
    let packet = |len| V6::between(v6(NATIVE_HOST), sixtofour(far, 1)).len(len).bytes();
    assert_eq!(rig.one(WAN6, &packet(1180)).counters.transmitted, 1);
    rig.one(WAN6, &packet(1181)).silent(Reason::TooBig);
    rig.one(WAN6, &packet(1280)).silent(Reason::TooBig);
    let outcome = rig.one(WAN6, &packet(1281));
    outcome.dropped(Reason::TooBig);
    assert_eq!(outcome.only().1[14 + 44..14 + 48], 1280u32.to_be_bytes(), "never below 1280 (ICMP-08)");
    rig.close();
}

#[test]
fn options_are_skipped_and_padding_is_cut() {
    let mut rig = Rig::new();
    let wanted = V6::inbound().hop_limit(63).bytes();
    for words in 0..=10 {
        let mut packet = V6::inbound().in_tunnel();
        packet.options = vec![1; words * 4];
        packet.payload.extend([0xee; 7]);
        let outcome = rig.one(WAN4, &packet.bytes());
        assert_eq!(outcome.only().1[14..], wanted, "{words} words of options");
    }
    // Padding of the Ethernet frame, on both sides.
    let mut native = V6::outbound().bytes();
    native.extend([0xee; 9]);
    assert_eq!(rig.one(WAN6, &native).only().1.len(), 14 + 20 + 64);
    rig.close();
}

#[test]
fn tun_10_a_full_round_of_identifications_is_distinct() {
    let mut rig = Rig::new();
    let frame = framed(WAN6, &V6::outbound().bytes());
    let mut seen = HashSet::new();
    for _ in 0..1024 {
        for _ in 0..64 {
            rig.offer(WAN6, frame.clone());
        }
        for (_, sent) in rig.run().sent {
            let id = u16::from_be_bytes([sent.bytes[18], sent.bytes[19]]);
            assert!(seen.insert(id), "identification {id} came twice");
        }
    }
    assert_eq!(seen.len(), 65_536);
    rig.close();
}

#[test]
fn sixto4_29_two_workers_do_the_same_to_every_packet() {
    let (writer, tables) = topology::tables_with(|settings| settings.worker_count = 2);
    let sizes = |worker| Sizes { worker, ..Sizes::default() };
    let mut rigs = [0, 1].map(|worker| Rig::over(tables.clone(), sizes(worker)));
    for len in 40..400 {
        let packets = [
            (WAN6, V6::outbound().len(len).bytes()),
            (WAN4, V6::inbound().len(len).in_tunnel().bytes()),
            (WAN6, V6::outbound().len(len).hop_limit(1).bytes()),
        ];
        for (port, packet) in packets {
            let [one, other] = rigs.each_mut().map(|rig| rig.one(port, &packet));
            let bare = |outcome: &common::Outcome, parity: u8| {
                let (port, frame) = outcome.only();
                let mut frame = frame.to_vec();
                if port == WAN4 {
                    assert_eq!(frame[19] % 2, parity, "a worker's own identifications");
                    frame[18..20].fill(0);
                    frame[24..26].fill(0);
                }
                (port, frame)
            };
            assert_eq!(bare(&one, 0), bare(&other, 1));
            assert_eq!(one.counters, other.counters);
        }
    }
    drop(writer);
}

#[test]
fn the_headers_of_transit_packets_stay_as_they_are() {
    let mut rig = Rig::new();
    // Routing header type 2, fragment, destination options, ESP, no next header, experiments, and a
    // tunnelled IPv4 and IPv6 packet, which is payload (FWD-17).
    for next_header in [44, 60, 50, 59, 253, 4, 41, 6, 132] {
        let payload = [17, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let packet = V6::inbound().payload(next_header, &payload);
        let outcome = rig.one(WAN4, &packet.in_tunnel().bytes());
        assert_eq!(outcome.only().1[14..], packet.hop_limit(63).bytes(), "next header {next_header}");
    }
    rig.close();
}

#[test]
fn traffic_is_counted_by_port_and_adjacency() {
    let mut rig = Rig::new();
    let packet = V6::outbound().bytes();
    let len = framed(WAN6, &packet).len() as u64;
    for _ in 0..3 {
        rig.one(WAN6, &packet);
    }
    let ports: Vec<_> = rig.segment.ports().iter().map(sixlane_tables::PortCounters::snapshot).collect();
    assert_eq!((ports[0].rx_packets, ports[0].rx_bytes), (3, 3 * len));
    assert_eq!((ports[1].tx_packets, ports[1].tx_bytes), (3, 3 * (len + 20)));
    assert_eq!((ports[0].tx_packets, ports[1].rx_packets), (0, 0));
    let counted: Vec<u64> = (1..200)
        .filter_map(|id| rig.segment.adjacency(sixlane_tables::NextHopId(id)))
        .map(sixlane_tables::counters::Counter::get)
        .filter(|count| *count != 0)
        .collect();
    assert_eq!(counted, [3, 3], "the tunnel and the gateway");
}
