//! `explain` says what the worker does, because it is the worker.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, V6, framed};
use common::{Rig, WAN4, WAN6, topology};
use sixlane_dataplane::explain::{ExplainError, Fate, explain, framed as framed_for};
use sixlane_tunnel::Reason;

#[test]
fn a_forwarded_packet_is_shown_as_it_leaves() {
    let tables = topology::tables();
    let packet = V6::outbound().bytes();
    let explanation = explain(&tables, WAN6, &framed(WAN6, &packet)).expect("an explanation");
    assert_eq!(explanation.fate, Fate::Forwarded);
    assert_eq!(explanation.reply(), None);
    let departure = explanation.forwarded().expect("a departure");
    let mut rig = Rig::new();
    let worker = rig.one(WAN6, &packet);
    let (port, frame) = worker.only();
    let mut shown = departure.frame.clone();
    // Another worker has other identifications.
    shown[18..20].copy_from_slice(&frame[18..20]);
    shown[24..26].copy_from_slice(&frame[24..26]);
    assert_eq!((departure.port, &shown[..]), (port, frame));
    assert_eq!(explanation.counters, [("received", 1), ("transmitted", 1)]);
}

#[test]
fn a_dropped_packet_has_its_reason_and_its_answer() {
    let tables = topology::tables();
    let spoofed = V6::new("2002:c001:204::1", NATIVE_HOST).in_tunnel().bytes();
    let frame = framed_for(&tables, WAN4, &spoofed).expect("sound tables");
    let explanation = explain(&tables, WAN4, &frame).expect("an explanation");
    assert_eq!(explanation.fate, Fate::Dropped(Reason::Sixto4SrcMismatch));
    assert_eq!(explanation.departures, []);
    assert_eq!(explanation.counters, [("received", 1), ("sixto4_src_mismatch", 1)]);

    let exhausted = V6::outbound().hop_limit(1).bytes();
    let explanation = explain(&tables, WAN6, &framed(WAN6, &exhausted)).expect("an explanation");
    assert_eq!(explanation.fate, Fate::Dropped(Reason::HopLimit));
    assert_eq!(explanation.forwarded(), None);
    let reply = explanation.reply().expect("an answer");
    assert_eq!((reply.port, reply.frame[14 + 40]), (WAN6, 3));
    let counted = [("received", 1), ("generated", 1), ("transmitted", 1), ("hop_limit", 1)];
    assert_eq!(explanation.counters, counted);
}

#[test]
fn what_no_frame_holds_is_refused() {
    let tables = topology::tables();
    let result = explain(&tables, WAN6, &[0; 1793]);
    assert!(matches!(result, Err(ExplainError::TooLong)));
    // The longest that fits, and nothing at all, are packets like any other.
    for len in [0, 1792] {
        let explanation = explain(&tables, WAN6, &vec![0; len]).expect("an explanation");
        assert_eq!(explanation.fate, Fate::Dropped(Reason::MalformedFrame));
    }
}
