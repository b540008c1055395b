//! The golden packets of a 6to4 relay, through the real worker.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{checksum, framed};
use common::{Rig, WAN4, WAN6};
use sixlane_tunnel::Reason;
use std::collections::BTreeMap;

struct Vector {
    verdict: String,
    layer: String,
    packet: Vec<u8>,
}

fn vectors() -> BTreeMap<String, Vector> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.json"));
    let list: serde_json::Value = serde_json::from_str(&text.expect("golden.json")).expect("JSON");
    let field = |entry: &serde_json::Value, name: &str| entry[name].as_str().expect(name).to_owned();
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|entry| {
            let packet = unhex(&field(entry, "hex"));
            let vector = Vector { verdict: field(entry, "verdict"), layer: field(entry, "layer"), packet };
            (field(entry, "id"), vector)
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
}

/// The port at which a packet of this layer arrives or leaves.
fn port(layer: &str) -> u8 {
    if layer == "ip4" { WAN4 } else { WAN6 }
}

/// The IPv4 identification is free, and with it the checksum: both are set to zero, once the checksum
/// has been found right.
fn masked(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] == 0x45 {
        assert_eq!(checksum(&packet[..20]), 0, "the outer header's checksum");
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

fn emits(input: &str, output: &str) {
    let vectors = vectors();
    let (given, wanted) = (&vectors[input], &vectors[output]);
    let mut rig = Rig::new();
    let outcome = rig.one(port(&given.layer), &given.packet);
    let (egress, frame) = outcome.only();
    assert_eq!(egress, port(&wanted.layer), "{input} → {output}");
    assert_eq!(masked(&frame[14..]), masked(&wanted.packet), "{input} → {output}");
    let ethertype = if wanted.layer == "ip4" { [0x08, 0x00] } else { [0x86, 0xdd] };
    assert_eq!(frame[12..14], ethertype);
    assert_eq!(outcome.counters.dropped_total(), 0);
    rig.close();
}

#[test]
fn g01_decapsulated_is_g02() {
    emits("G01", "G02");
}

#[test]
fn g03_encapsulated_is_g04() {
    emits("G03", "G04");
}

#[test]
fn g07_padding_is_cut_and_gives_g02() {
    emits("G07", "G02");
}

#[test]
fn g34_takes_over_the_congestion_mark() {
    let vectors = vectors();
    let outcome = Rig::new().one(WAN4, &vectors["G34"].packet);
    let (egress, frame) = outcome.only();
    assert_eq!(egress, WAN6);
    let mut wanted = vectors["G02"].packet.clone();
    wanted[1] |= 0x30;
    assert_eq!(frame[14..], wanted, "traffic class 0x03 and nothing else");
}

#[test]
fn g64_answers_an_exhausted_hop_limit() {
    let vectors = vectors();
    let wanted = &vectors["G64"].packet;
    // The invoking packet is the quote itself.
    let outcome = Rig::new().one(WAN6, &wanted[48..]);
    outcome.dropped(Reason::HopLimit);
    let (egress, frame) = outcome.only();
    assert_eq!((egress, &frame[14..]), (WAN6, &wanted[..]));
    assert_eq!(outcome.counters.generated, 1);
}

#[test]
fn refused_packets_are_counted_once_and_answered_never() {
    let vectors = vectors();
    let refused =
        ["G35", "X01", "X02", "X03", "X04", "X05", "X06", "X07", "X08", "X09", "X10", "X15", "X16", "X22"];
    for id in refused {
        let vector = &vectors[id];
        let name = vector.verdict.strip_prefix("drop:").expect(id);
        let reason = Reason::from_name(name).expect(name);
        let mut rig = Rig::new();
        let outcome = rig.one(port(&vector.layer), &vector.packet);
        outcome.silent(reason);
        rig.close();
    }
}

#[test]
fn one_batch_carries_them_all() {
    let vectors = vectors();
    let mut rig = Rig::new();
    for _ in 0..10 {
        for id in ["G01", "X01", "G03", "X22", "G07", "X16", "G34", "X03"] {
            let port = port(&vectors[id].layer);
            rig.offer(port, framed(port, &vectors[id].packet));
        }
    }
    let outcome = rig.run();
    assert_eq!(outcome.counters.received, 80);
    assert_eq!(outcome.counters.transmitted, 40);
    for reason in [Reason::Sixto4SrcMismatch, Reason::RoutingHeaderType0, Reason::V4EmbeddedBogon] {
        assert_eq!(outcome.counters.dropped_for(reason), 10);
    }
    rig.close();
}
