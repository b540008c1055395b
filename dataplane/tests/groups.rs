//! Several next hops: flows are spread by weight, each keeps its way, and only those of a next hop that has
//! gone take another. And each encapsulated packet goes the way of its own outer destination.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE, V6, framed, sixtofour, v6};
use common::topology::{self, OUR_MAC4, attach, neighbour, route4};
use common::{Rig, Sizes, WAN4, WAN6};
use sixlane_tables::adjacency::kind;
use sixlane_tables::group::distribute;
use sixlane_tables::{Adjacency, NextHopId, TableWriter};
use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;

const FLOWS: u16 = 2000;
/// Bytes of a frame behind which an outer header stands.
const OUTER: usize = 14;

/// The next hop by which a frame leaves: the last byte of its destination MAC address.
fn next_hop(frame: &[u8]) -> u8 {
    frame[5]
}

fn member(port: u8, number: u8) -> Adjacency {
    Adjacency { dst_mac: [2, 0, 0, 0, 9, number], ..neighbour(port, 1500) }
}

/// A group of next hops of a port with their weights, under `prefix`.
struct Group {
    writer: TableWriter,
    id: NextHopId,
    members: Vec<(NextHopId, u32)>,
}

impl Group {
    fn new(port: u8, prefix: &str, weights: &[u32]) -> Self {
        let mut writer = topology::writer(&topology::settings());
        let add = |(number, &weight): (usize, &u32)| {
            (writer.add_adjacency(&member(port, number as u8)).expect("room"), weight)
        };
        let members: Vec<_> = weights.iter().enumerate().map(add).collect();
        let slots = distribute(None, &members).expect("members");
        let id = writer.add_group(&slots).expect("room");
        match prefix.parse() {
            Ok(net) => writer.set_route6(net, id).expect("room"),
            Err(_) => writer.set_route4(prefix.parse().expect("a prefix"), id).expect("room"),
        }
        Self { writer, id, members }
    }

    /// Leaves the members of `places` in the group.
    fn keep(&mut self, places: &[usize]) {
        let members: Vec<_> = places.iter().map(|&at| self.members[at]).collect();
        let slots = distribute(self.writer.group(self.id), &members).expect("members");
        self.writer.replace_group(self.id, &slots).expect("room");
    }

    fn rig(&self) -> Rig {
        Rig::over(attach(&self.writer), Sizes::default())
    }
}

/// Which next hop each of many flows takes, told by `packet` of the flow's number.
fn ways(rig: &mut Rig, port: u8, packet: impl Fn(u16) -> Vec<u8>) -> Vec<u8> {
    let way = |flow| {
        let outcome = rig.one(port, &packet(flow));
        next_hop(outcome.only().1)
    };
    (0..FLOWS).map(way).collect()
}

fn counts(ways: &[u8]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    ways.iter().for_each(|way| *counts.entry(*way).or_default() += 1);
    counts
}

/// UDP of a flow that its source port alone tells from others.
fn udp(flow: u16) -> V6 {
    let payload = [&flow.to_be_bytes()[..], &[0, 9, 0, 24, 0xbe, 0xef], &[7; 16]].concat();
    V6::new("2001:700::1", "2001:900::1").payload(17, &payload)
}

#[test]
fn flows_are_spread_by_weight_and_each_keeps_its_way() {
    let group = Group::new(WAN6, "2001:900::/32", &[1, 2, 1]);
    let mut rig = group.rig();
    let first = ways(&mut rig, WAN6, |flow| udp(flow).bytes());
    // Longer, with fewer hops left and marked: still the same flow.
    let again = ways(&mut rig, WAN6, |flow| udp(flow).hop_limit(9).class(0xb9).len(900).bytes());
    assert_eq!(first, again);
    let shares = counts(&first);
    for (number, expected) in [(0, 500), (1, 1000), (2, 500)] {
        let got = shares[&number];
        assert!(got.abs_diff(expected) < 130, "next hop {number}: {got} of {expected}");
    }
    for (at, (id, _)) in group.members.iter().enumerate() {
        let counted = rig.segment.adjacency(*id).expect("a counter").get();
        assert_eq!(counted, 2 * shares[&(at as u8)] as u64, "packets are counted for their next hop");
    }
}

#[test]
fn addresses_and_labels_tell_flows_apart_and_fragments_are_one_flow() {
    let mut rig = Group::new(WAN6, "2001:900::/32", &[1, 1]).rig();
    let ping = |source: u16| {
        let mut packet = V6::new("2001:700::1", "2001:900::1").payload(58, &[128, 0, 0, 0, 0, 0, 0, 0]);
        packet.source[14..].copy_from_slice(&source.to_be_bytes());
        packet
    };
    let by_address = counts(&ways(&mut rig, WAN6, |flow| ping(flow).bytes()));
    assert!(by_address.values().all(|count| *count > 800), "{by_address:?}");
    let by_label = ways(&mut rig, WAN6, |flow| {
        let mut bytes = ping(1).bytes();
        bytes[2..4].copy_from_slice(&flow.to_be_bytes());
        bytes
    });
    assert!(counts(&by_label).values().all(|count| *count > 800), "{by_label:?}");
    // A fragment header, and behind it whatever the packet has there: the first one's ports and others.
    let fragments = ways(&mut rig, WAN6, |flow| {
        let rest = [&[17, 0, 0, 1, 0, 0, 0, 1][..], &flow.to_be_bytes(), &[0; 14]].concat();
        V6::new("2001:700::1", "2001:900::1").payload(44, &rest).bytes()
    });
    assert_eq!(counts(&fragments).len(), 1);
}

#[test]
fn what_a_next_hop_had_moves_when_it_goes_and_nothing_else() {
    let mut group = Group::new(WAN6, "2001:900::/32", &[1, 1, 1]);
    let mut rig = group.rig();
    let mut look = || ways(&mut rig, WAN6, |flow| udp(flow).bytes());
    let all = look();
    group.keep(&[0, 2]);
    let without = look();
    for (before, after) in all.iter().zip(&without) {
        assert!(*after != 1 && (before == after || *before == 1));
    }
    assert!(counts(&without).values().all(|count| *count > 800));
    group.keep(&[0, 1, 2]);
    for (before, after) in without.iter().zip(&look()) {
        assert!(before == after || *after == 1, "who comes back takes from the others, who swap nothing");
    }
}

/// From a native host into the tunnel to one site: all have the same outer addresses.
#[test]
fn encapsulated_packets_are_spread_by_their_own_flow() {
    let group = Group::new(WAN4, "192.0.0.0/8", &[1, 1]);
    let mut rig = group.rig();
    let packet = |flow: u16| {
        let mut packet = udp(flow);
        (packet.source, packet.destination) = (v6(NATIVE_HOST), sixtofour(SITE, 1));
        packet
    };
    let first = ways(&mut rig, WAN6, |flow| packet(flow).bytes());
    assert!(counts(&first).values().all(|count| *count > 800), "{:?}", counts(&first));
    assert_eq!(first, ways(&mut rig, WAN6, |flow| packet(flow).len(1000).bytes()));
}

/// And those that come out of it, too.
#[test]
fn decapsulated_packets_are_spread_by_their_own_flow() {
    let mut rig = Group::new(WAN6, "2001:600::/48", &[1, 1]).rig();
    let ways = ways(&mut rig, WAN4, |flow| {
        let mut packet = udp(flow);
        (packet.source, packet.destination) = (sixtofour(SITE, 1), v6("2001:600:0:9::1"));
        packet.in_tunnel().bytes()
    });
    assert!(counts(&ways).values().all(|count| *count > 800), "{:?}", counts(&ways));
}

#[test]
fn a_member_that_carries_nothing_has_the_fate_of_its_kind() {
    let mut writer = topology::writer(&topology::settings());
    let hole = writer.add_adjacency(&Adjacency::of_kind(kind::BLACKHOLE)).expect("room");
    let group = writer.add_group(&distribute(None, &[(hole, 1)]).expect("a member")).expect("room");
    writer.set_route6("2001:900::/32".parse().expect("a prefix"), group).expect("room");
    let mut rig = Rig::over(attach(&writer), Sizes::default());
    rig.one(WAN6, &udp(1).bytes()).dropped(sixlane_tunnel::Reason::Blackhole);
    // A group in a group would be a loop: the writer has none.
    assert!(writer.add_group(&distribute(None, &[(group, 1)]).expect("a member")).is_err());
    assert!(writer.remove_adjacency(hole).is_err(), "the group uses it");
}

/// Two uplinks, and subscribers behind both whose packets come in turns: a relay that remembers the way of
/// the last outer destination, or of the tunnel, sends some by the wrong one.
#[test]
fn every_encapsulated_packet_goes_the_way_of_its_own_outer_destination() {
    const SUBSCRIBERS: u32 = 4096;
    let mut writer = topology::writer(&topology::settings());
    // A quarter of the subscribers is behind the other uplink, in no order of addresses.
    let other = |number: u32| number.wrapping_mul(0x9e37_79b9) >> 30 == 0;
    let base = u32::from_be_bytes([192, 1, 0, 0]);
    route4(&mut writer, "192.1.0.0/16", &member(WAN4, 1));
    let detour = writer.add_adjacency(&member(WAN4, 2)).expect("room");
    let nets = (0..SUBSCRIBERS).filter(|number| other(*number));
    let net = |number| ipnet::Ipv4Net::new(Ipv4Addr::from_bits(base + number), 32).expect("a host");
    for number in nets {
        writer.set_route4(net(number), detour).expect("room");
    }
    let mut rig = Rig::over(attach(&writer), Sizes::default());
    let mut seen = HashSet::new();
    for batch in 0..SUBSCRIBERS / 32 {
        for number in batch * 32..(batch + 1) * 32 {
            let mut packet = udp(number as u16);
            (packet.source, packet.destination) =
                (v6(NATIVE_HOST), sixtofour(Ipv4Addr::from_bits(base + number), 1));
            rig.offer(WAN6, framed(WAN6, &packet.bytes()));
        }
        for (port, sent) in rig.run().sent {
            let frame = &sent.bytes;
            assert_eq!((port, &frame[6..12]), (WAN4, &OUR_MAC4[..]));
            let to = u32::from_be_bytes(frame[OUTER + 16..OUTER + 20].try_into().expect("an address"));
            let number = to - base;
            assert_eq!(next_hop(frame), if other(number) { 2 } else { 1 }, "subscriber {number}");
            assert!(seen.insert(number), "once");
        }
    }
    assert!(seen.len() > SUBSCRIBERS as usize * 9 / 10, "{} of {SUBSCRIBERS} arrived", seen.len());
}
