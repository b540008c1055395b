//! Ports with a VLAN: frames with its tag come in, frames with its tag go out, and what happens in between
//! is what happens without.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE_HOST, V6, checksum, framed, v6};
use common::topology::{self, GATEWAY_MAC, HOST_MAC, OUR_MAC4, OUR_MAC6};
use common::{Outcome, Rig, Sizes, WAN4, WAN6};
use sixlane_dataplane::explain::{Fate, explain, framed as framed_for};
use sixlane_tables::Tables;
use sixlane_tunnel::Reason;
use std::sync::Arc;

const C_TAG: u16 = 0x8100;
const S_TAG: u16 = 0x88a8;

/// The VLANs of the two ports, 0 for none, and whether both are on one device.
#[derive(Debug, Clone, Copy)]
struct Setting {
    wan6: u16,
    wan4: u16,
    shared: bool,
}

/// With and without tags on either side, on two devices and on one.
const SETTINGS: [Setting; 7] = [
    Setting { wan6: 0, wan4: 0, shared: false },
    Setting { wan6: 600, wan4: 0, shared: false },
    Setting { wan6: 0, wan4: 40, shared: false },
    Setting { wan6: 600, wan4: 40, shared: false },
    Setting { wan6: 600, wan4: 0, shared: true },
    Setting { wan6: 0, wan4: 4094, shared: true },
    Setting { wan6: 1, wan4: 4094, shared: true },
];

impl Setting {
    fn tables(self) -> Arc<Tables> {
        let (writer, tables) = topology::tables_with(|settings| {
            for (port, vlan) in [(WAN6, self.wan6), (WAN4, self.wan4)] {
                let port = &mut settings.ports[usize::from(port)];
                port.vlan = vlan;
                port.device = if self.shared { 99 } else { 0 };
            }
        });
        // The writer owns the memory that the tables lie in.
        std::mem::forget(writer);
        tables
    }

    /// The ports that have sockets: of one device the untagged port, or the first.
    fn sockets(self) -> Vec<u8> {
        match (self.shared, self.wan4) {
            (false, _) => vec![WAN6, WAN4],
            (true, 0) => vec![WAN4],
            (true, _) => vec![WAN6],
        }
    }

    fn rig(self) -> Rig {
        Rig::with_sockets(self.tables(), Sizes::default(), &self.sockets())
    }

    fn vlan(self, port: u8) -> u16 {
        if port == WAN4 { self.wan4 } else { self.wan6 }
    }

    /// The place of a port's sockets.
    fn place(self, port: u8) -> u8 {
        if self.shared { 0 } else { port }
    }

    fn offer(self, rig: &mut Rig, port: u8, packet: &[u8]) {
        let frame = framed(port, packet);
        let frame = if self.vlan(port) == 0 { frame } else { tagged(frame, &[(C_TAG, self.vlan(port))]) };
        rig.offer(self.place(port), frame);
    }

    fn one(self, rig: &mut Rig, port: u8, packet: &[u8]) -> Outcome {
        self.offer(rig, port, packet);
        rig.run()
    }

    /// The IP packet of the one frame that left, which left by `port` with its tag and link header.
    fn left(self, outcome: &Outcome, port: u8) -> Vec<u8> {
        let (place, frame) = outcome.only();
        assert_eq!(place, self.place(port), "{self:?}");
        let (to, from) = if port == WAN4 { (GATEWAY_MAC, OUR_MAC4) } else { (HOST_MAC, OUR_MAC6) };
        assert_eq!(frame[..12], [to, from].concat(), "{self:?}");
        let rest = if self.vlan(port) == 0 {
            &frame[12..]
        } else {
            assert_eq!(frame[12..14], C_TAG.to_be_bytes(), "{self:?}");
            assert_eq!(frame[14..16], self.vlan(port).to_be_bytes(), "{self:?}: priority 0 and the id");
            &frame[16..]
        };
        assert_eq!(rest[..2], if rest[2] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        rest[2..].to_vec()
    }
}

/// Puts tags (TPID and control) into a frame, the outer first.
fn tagged(mut frame: Vec<u8>, tags: &[(u16, u16)]) -> Vec<u8> {
    let tags: Vec<u8> =
        tags.iter().flat_map(|&(tpid, control)| [tpid, control]).flat_map(u16::to_be_bytes).collect();
    frame.splice(12..12, tags);
    frame
}

fn golden(id: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.json"));
    let list: serde_json::Value = serde_json::from_str(&text.expect("golden.json")).expect("JSON");
    let entry = list.as_array().expect("a list").iter().find(|entry| entry["id"] == id).expect(id);
    let digits = entry["hex"].as_str().expect("hex").as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")).collect()
}

/// Without the identification of an outer header, once its checksum has been found right.
fn masked(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x45 {
        assert_eq!(checksum(&packet[..20]), 0, "the outer header's checksum");
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// The golden packets give the golden packets, whatever tags they come and go with.
#[test]
fn golden_packets_are_the_same_with_and_without_tags() {
    for setting in SETTINGS {
        let mut rig = setting.rig();
        for (given, from, wanted, to) in
            [("G01", WAN4, "G02", WAN6), ("G03", WAN6, "G04", WAN4), ("G07", WAN4, "G02", WAN6)]
        {
            let outcome = setting.one(&mut rig, from, &golden(given));
            let left = setting.left(&outcome, to);
            assert_eq!(masked(left), masked(golden(wanted)), "{setting:?}: {given} → {wanted}");
            assert_eq!(outcome.counters.dropped_total(), 0);
        }
        // What is answered is answered the way it came.
        let wanted = golden("G64");
        let outcome = setting.one(&mut rig, WAN6, &wanted[48..]);
        outcome.dropped(Reason::HopLimit);
        assert_eq!(setting.left(&outcome, WAN6), wanted, "{setting:?}");
        // And native stays native, by the port it came by.
        let outcome = setting.one(&mut rig, WAN6, &V6::new("2001:700::1", NATIVE_HOST).bytes());
        assert_eq!(setting.left(&outcome, WAN6)[7], 63);
        rig.close();
    }
}

#[test]
fn a_batch_of_all_kinds_keeps_the_identity_and_each_ports_figures() {
    for setting in SETTINGS {
        let mut rig = setting.rig();
        for _ in 0..50 {
            setting.offer(&mut rig, WAN4, &golden("G01"));
            setting.offer(&mut rig, WAN6, &golden("G03"));
            setting.offer(&mut rig, WAN4, &golden("X01"));
            setting.offer(&mut rig, WAN4, &golden("G07"));
        }
        let outcome = rig.run();
        assert_eq!((outcome.counters.received, outcome.counters.transmitted), (200, 150), "{setting:?}");
        assert_eq!(outcome.counters.dropped_total(), 50);
        let figures: Vec<_> = rig.segment.ports().iter().map(|port| port.snapshot()).collect();
        let packets =
            |port: u8| (figures[usize::from(port)].rx_packets, figures[usize::from(port)].tx_packets);
        assert_eq!((packets(WAN6), packets(WAN4)), ((50, 100), (150, 50)), "{setting:?}");
        let tag = if setting.wan6 == 0 { 0 } else { 4 };
        let bytes = 50 * (14 + tag + golden("G03").len() as u64);
        assert_eq!(figures[usize::from(WAN6)].rx_bytes, bytes, "{setting:?}");
        rig.close();
    }
}

/// A link-local source has no route: its answer goes back by the port and with the tag of the packet.
#[test]
fn an_answer_to_a_link_local_source_has_the_tag() {
    for setting in SETTINGS {
        let mut rig = setting.rig();
        let outcome = setting.one(&mut rig, WAN6, &V6::new("fe80::1234", SITE_HOST).bytes());
        assert_eq!(outcome.counters.generated, 1, "{setting:?}");
        let left = setting.left(&outcome, WAN6);
        assert_eq!(left[24..40], v6("fe80::1234"));
        rig.close();
    }
}

/// What control learns of a device late, or of one that was made again, holds from the next batch on.
#[test]
fn a_port_leaves_by_the_sockets_of_its_device_once_that_is_known() {
    let setting = Setting { wan6: 600, wan4: 0, shared: true };
    let (mut writer, tables) = topology::tables_with(|settings| {
        settings.ports[usize::from(WAN6)].vlan = 600;
    });
    let mut rig = Rig::with_sockets(tables, Sizes::default(), &setting.sockets());
    rig.offer(0, framed(WAN4, &golden("G01")));
    rig.run().dropped(Reason::PortDown);
    let mut settings = topology::settings();
    settings.ports[usize::from(WAN6)].vlan = 600;
    settings.ports.iter_mut().take(2).for_each(|port| port.device = 99);
    writer.publish(Some(&settings), None).expect("room for settings");
    rig.offer(0, framed(WAN4, &golden("G01")));
    assert_eq!(rig.run().only().0, 0);
    rig.close();
}

/// The program lets none of these through; whatever comes all the same is no packet of any port.
#[test]
fn other_tags_belong_to_no_port() {
    let packet = V6::outbound().bytes();
    for setting in SETTINGS {
        let mut rig = setting.rig();
        let vlan = setting.wan6.max(1);
        let mut no_port = |tags: &[(u16, u16)]| {
            rig.offer(setting.place(WAN6), tagged(framed(WAN6, &packet), tags));
            rig.run().silent(Reason::MalformedFrame);
        };
        no_port(&[(C_TAG, 77)]);
        no_port(&[(C_TAG, vlan), (C_TAG, vlan)]);
        no_port(&[(S_TAG, 7), (C_TAG, vlan)]);
        no_port(&[(C_TAG, 0), (C_TAG, vlan)]);
        no_port(&[(C_TAG, vlan), (C_TAG, 1), (C_TAG, 2)]);
        rig.close();
    }
}

#[test]
fn the_priority_in_a_tag_does_not_matter_and_a_priority_alone_is_no_vlan() {
    let packet = V6::outbound().bytes();
    for setting in SETTINGS {
        let mut rig = setting.rig();
        rig.offer(setting.place(WAN6), tagged(framed(WAN6, &packet), &[(C_TAG, 0xe000 | setting.wan6)]));
        let outcome = rig.run();
        let left = setting.left(&outcome, WAN4);
        assert_eq!(left[20..27], packet[..7], "{setting:?}");
        assert_eq!(left[28..], packet[8..], "{setting:?}");
        rig.close();
    }
}

/// The headroom holds a tag and an outer header in front of the longest packets.
#[test]
fn the_longest_packets_fit_with_their_tags() {
    let setting = Setting { wan6: 0, wan4: 40, shared: false };
    let (writer, tables) = topology::tables_with(|settings| {
        settings.sixtofour.mtu = 1480;
        settings.ports[usize::from(WAN4)].vlan = 40;
    });
    let mut rig = Rig::over(tables, Sizes::default());
    let packet = V6::outbound().len(1480).bytes();
    let outcome = setting.one(&mut rig, WAN6, &packet);
    let (_, sent) = &outcome.sent[0];
    assert_eq!((usize::from(sent.start), sent.bytes.len()), (256 - 20 - 4, 18 + 20 + 1480));
    assert_eq!(setting.left(&outcome, WAN4)[28..], packet[8..]);
    rig.close();
    drop(writer);
}

/// Cut at every length and with every byte of its tag changed, a frame ends in one verdict.
#[test]
fn damaged_tags_end_in_one_verdict() {
    for setting in SETTINGS {
        let mut rig = setting.rig();
        let whole = tagged(framed(WAN6, &V6::outbound().bytes()), &[(C_TAG, setting.wan6)]);
        for length in 0..whole.len() {
            rig.offer(setting.place(WAN6), whole[..length].to_vec());
        }
        for place in 12..18 {
            for byte in 0..=255 {
                let mut frame = whole.clone();
                frame[place] = byte;
                rig.offer(setting.place(WAN6), frame);
            }
        }
        let outcome = rig.run();
        assert_eq!(outcome.counters.received as usize, whole.len() + 6 * 256);
        assert_eq!(
            outcome.counters.dropped_total() + outcome.counters.transmitted,
            outcome.counters.received
        );
        rig.close();
    }
}

/// `explain` is the worker, and knows the ports by their tags.
#[test]
fn a_frame_with_a_tag_is_explained() {
    for setting in SETTINGS {
        let tables = setting.tables();
        for (packet, from, to) in [(golden("G03"), WAN6, WAN4), (golden("G01"), WAN4, WAN6)] {
            let frame = framed_for(&tables, from, &packet).expect("sound tables");
            let tag = if setting.vlan(from) == 0 { 0 } else { 4 };
            assert_eq!(frame.len(), 14 + tag + packet.len(), "{setting:?}");
            let explanation = explain(&tables, from, &frame).expect("an explanation");
            assert_eq!(explanation.fate, Fate::Forwarded, "{setting:?}");
            let departure = explanation.forwarded().expect("a departure");
            assert_eq!(departure.port, to, "{setting:?}");
            let tagged = departure.frame[12..14] == C_TAG.to_be_bytes();
            assert_eq!(tagged, setting.vlan(to) != 0, "{setting:?}");
        }
    }
}
