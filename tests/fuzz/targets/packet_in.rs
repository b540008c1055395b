//! Any bytes on either port, through the whole worker on in-memory ports.
//!
//! The first byte says how the rest is taken: bit 0 the port, bit 1 whether an Ethernet header to us
//! goes in front, bit 2 whether the checksum of an outer header is set right (else hardly any input
//! would get past it), bit 3 that the kernel sends it, by the inject ring. After every packet the identity of the counters and the census of the frames
//! hold (the rig checks both), and whatever leaves by IPv4 is well formed and goes to one host.

#![no_main]

#[path = "../../../dataplane/tests/common/mod.rs"]
mod common;

use std::cell::RefCell;

use common::door::Door;
use common::packets::{checksum, framed};
use common::{Outcome, WAN4};
use libfuzzer_sys::fuzz_target;
use sixlane_tables::PacketKind;

/// Nothing longer arrives in one frame.
const BYTES_MAX: usize = 1514;
/// Between two inputs, so that the budgets of ICMPv6 errors recover.
const PAUSE_NS: u64 = 10_000_000;

thread_local! {
    static DOOR: RefCell<Door> = RefCell::new(Door::new());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, packet)) = bytes.split_first() else { return };
    let mut packet = packet.to_vec();
    if how & 4 != 0 {
        set_checksum(&mut packet);
    }
    packet.truncate(BYTES_MAX);
    DOOR.with_borrow_mut(|door| {
        door.rig.now += PAUSE_NS;
        if how & 8 == 0 {
            let port = how & 1;
            let mut frame = if how & 2 != 0 { framed(port, &packet) } else { packet };
            frame.truncate(BYTES_MAX);
            door.rig.offer(port, frame);
        } else if !packet.is_empty() {
            door.inject(&packet);
        }
        judge(&door.rig.run());
        for (kind, _, packet) in door.punted() {
            assert_eq!(packet[0] >> 4, if kind == PacketKind::Local { 6 } else { 4 });
        }
    });
});

fn set_checksum(packet: &mut [u8]) {
    let Some(first) = packet.first() else { return };
    let len = usize::from(first & 15) * 4;
    if let Some(header) = packet.get_mut(..len).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

fn judge(outcome: &Outcome) {
    for (port, sent) in &outcome.sent {
        let packet = &sent.bytes[14..];
        if *port != WAN4 || packet[0] >> 4 != 4 {
            assert_eq!(packet[0] >> 4, 6, "only IPv6 leaves natively");
            assert_eq!(packet.len(), 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])));
            continue;
        }
        assert_eq!(packet[..2], [0x45, 0], "no options, ToS 0");
        assert_eq!(packet.len(), usize::from(u16::from_be_bytes([packet[2], packet[3]])));
        assert_eq!(packet[9], 41);
        assert_eq!(checksum(&packet[..20]), 0, "the outer checksum");
        assert_eq!(packet[16..20], packet[20 + 24 + 2..20 + 24 + 6], "the outer destination is the embedded one");
        let destination = packet[16];
        assert!(!matches!(destination, 0 | 10 | 127 | 224..=255), "one host of the Internet");
    }
}
