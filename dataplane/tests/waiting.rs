//! Packets that wait for their next hop (RFC 4861 §7.2.2, ND-05): how many, how long, and what becomes of them.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, V6, framed, sixtofour, v6};
use common::topology::{self, GATEWAY_MAC, HOST_MAC};
use common::{Rig, SECOND, Sizes, WAN4, WAN6};
use sixlane_tables::TableWriter;
use sixlane_tunnel::Reason;
use std::net::Ipv4Addr;

const RETRY: u64 = SECOND / 100;

fn rig() -> (TableWriter, Rig) {
    let (writer, tables) = topology::tables_with(|_| ());
    (writer, Rig::over(tables, Sizes::default()))
}

/// The first three wait; each further one replaces the oldest. They leave once, as they came but for the hop
/// limit, when the neighbour is known.
#[test]
fn three_wait_for_a_next_hop_and_leave_when_it_is_known() {
    let (mut writer, mut rig) = rig();
    let packet = |class| V6::new(NATIVE_HOST, "2001:600::77").class(class);
    for class in 0..5 {
        rig.offer(WAN6, framed(WAN6, &packet(class).bytes()));
    }
    let outcome = rig.run();
    assert_eq!((outcome.counters.held, outcome.counters.dropped_for(Reason::NeighQueue)), (3, 2));
    for _ in 0..3 {
        rig.now += RETRY;
        let outcome = rig.run();
        assert_eq!((outcome.counters.held, outcome.sent.len()), (0, 0), "they wait on");
    }
    topology::route6(&mut writer, "2001:600::77/128", &topology::neighbour(WAN6, 1500));
    rig.now += RETRY;
    let outcome = rig.run();
    assert_eq!((outcome.counters.transmitted, outcome.counters.held.wrapping_add(3)), (3, 0));
    let mut classes = Vec::new();
    for (port, sent) in &outcome.sent {
        assert_eq!((*port, &sent.bytes[..6], sent.bytes[14 + 7]), (WAN6, &HOST_MAC[..], 63));
        classes.push(sent.bytes[14] << 4 | sent.bytes[15] >> 4);
    }
    classes.sort_unstable();
    assert_eq!(classes, [2, 3, 4], "the newest");
    rig.close();
}

#[test]
fn a_packet_for_the_tunnel_waits_for_the_next_hop_of_its_outer_header() {
    let (mut writer, mut rig) = rig();
    let site = sixtofour(Ipv4Addr::new(9, 254, 253, 7), 1);
    rig.one(WAN6, &V6::between(v6(NATIVE_HOST), site).bytes()).waits();
    topology::route4(&mut writer, "9.254.253.7/32", &topology::neighbour(WAN4, 1500));
    rig.now += RETRY;
    let outcome = rig.run();
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[..6], frame[23]), (WAN4, &GATEWAY_MAC[..], 41));
    rig.close();
}

/// Nobody waits for ever, and a scan holds few frames.
#[test]
fn all_that_wait_are_few_and_give_up() {
    let (_writer, mut rig) = rig();
    for host in 0..200u16 {
        let destination = format!("2001:600::5:{host:x}");
        rig.offer(WAN6, framed(WAN6, &V6::new(NATIVE_HOST, &destination).bytes()));
    }
    let outcome = rig.run();
    assert_eq!(outcome.counters.held, 16);
    rig.now += SECOND;
    let outcome = rig.run();
    assert_eq!((outcome.counters.dropped_for(Reason::NeighQueue), outcome.sent.len()), (16, 0));
    assert_eq!(outcome.counters.neighbour_requests, 0, "who has waited does not ask again");
    assert_eq!(rig.segment.counters().snapshot().held, 0);
    rig.close();
}
