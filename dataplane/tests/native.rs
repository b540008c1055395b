//! Native to native, as a port with `forward = "all"` offers it: what any IPv6 router does.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE_HOST, V6};
use common::topology::{self, GATEWAY_MAC, HOST_MAC, OUR_MAC4, OUR_MAC6, ROUTER};
use common::{Outcome, Rig, Sizes, WAN4, WAN6};
use sixlane_tables::adjacency::kind;
use sixlane_tables::{Adjacency, PortSettings};
use sixlane_tunnel::Reason;

const FAR: &str = "2001:7aa::1";

/// Both ports forward all. Behind the second one lies 2001:7aa::/32, and by a narrow link 2001:7bb::/32.
fn rig(tunnel: bool) -> Rig {
    let (mut writer, tables) = topology::tables_with(|settings| {
        settings.sixtofour_enabled = u32::from(tunnel);
        for port in settings.ports.iter_mut().take(2) {
            port.flags = PortSettings::FORWARD_ALL;
        }
    });
    topology::route6(&mut writer, "2001:7aa::/32", &topology::neighbour(WAN4, 1500));
    topology::route6(&mut writer, "2001:7bb::/32", &topology::neighbour(WAN4, 1280));
    topology::route6(&mut writer, "fd00:7::/32", &topology::neighbour(WAN4, 1500));
    let link = Adjacency { port: WAN4, mtu: 1500, ifindex: 4, ..Adjacency::of_kind(kind::GLEAN) };
    topology::route6(&mut writer, "2001:7cc::/64", &link);
    // The writer owns the memory that the tables lie in.
    std::mem::forget(writer);
    Rig::over(tables, Sizes::default())
}

/// Type, code and the word behind the checksum of the ICMPv6 error that went back to the native host.
fn error(outcome: &Outcome) -> (u8, u8, u32) {
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[..6]), (WAN6, &HOST_MAC[..]));
    assert_eq!(frame[22..38], ROUTER);
    (frame[54], frame[55], u32::from_be_bytes([frame[58], frame[59], frame[60], frame[61]]))
}

/// FWD-01, FWD-05, FWD-18: nothing but the link header and the hop limit is another one, with a tunnel
/// beside it and without.
#[test]
fn a_packet_crosses_from_port_to_port() {
    for tunnel in [false, true] {
        let mut rig = rig(tunnel);
        for packet in [
            V6::new(NATIVE_HOST, FAR),
            V6::new(NATIVE_HOST, FAR).class(0xff).len(1500),
            V6::new(SITE_HOST, FAR), // somebody else's 6to4 site, by a native way (SEC-07)
            V6::new("fd00:8::1", "fd00:7::1"), // the operator's own (RFC 4193)
        ] {
            let mut expected = packet.bytes();
            let outcome = rig.one(WAN6, &expected);
            expected[7] -= 1;
            let (port, frame) = outcome.only();
            assert_eq!(port, WAN4);
            assert_eq!(frame, [&GATEWAY_MAC[..], &OUR_MAC4, &[0x86, 0xdd], &expected].concat());
        }
        rig.close();
    }
}

/// Out by the port that it came by: the packet is forwarded. (No Redirect is sent: RED-01.)
#[test]
fn a_packet_may_leave_by_the_port_it_came_by() {
    let mut rig = rig(true);
    let outcome = rig.one(WAN6, &V6::new("2001:600::5", NATIVE_HOST).bytes());
    let (port, frame) = outcome.only();
    assert_eq!((port, &frame[..12]), (WAN6, &[&HOST_MAC[..], &OUR_MAC6].concat()[..]));
    assert_eq!(outcome.counters.generated, 0);
    rig.close();
}

/// FWD-01, FWD-02, FWD-12, each with its ICMPv6 error.
#[test]
fn what_cannot_be_forwarded_is_answered() {
    let mut rig = rig(true);
    for hop_limit in [0, 1] {
        let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, FAR).hop_limit(hop_limit).bytes());
        outcome.dropped(Reason::HopLimit);
        assert_eq!(error(&outcome), (3, 0, 0));
    }
    let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, "2001:7bb::1").len(1281).bytes());
    outcome.dropped(Reason::TooBig);
    assert_eq!(error(&outcome), (2, 0, 1280));
    let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, "2001:7bb::1").len(1280).bytes());
    assert_eq!(outcome.only().0, WAN4);
    let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, "2001:700::1").bytes());
    outcome.dropped(Reason::NoRoute);
    assert_eq!(error(&outcome), (1, 0, 0));
    rig.close();
}

/// MLD-07, FWD-07: hop-by-hop options are not ours to read, Router Alert among them. What never leaves
/// its link is not forwarded (FLT-01).
#[test]
fn options_pass_and_messages_of_the_link_do_not() {
    let mut rig = rig(true);
    for value in [0, 1, 2, 255] {
        let mut payload = vec![17, 0, 5, 2, 0, value, 1, 0];
        payload.extend(V6::new(NATIVE_HOST, FAR).payload);
        let packet = V6::new(NATIVE_HOST, FAR).payload(0, &payload);
        assert_eq!(rig.one(WAN6, &packet.bytes()).only().0, WAN4, "Router Alert {value}");
    }
    for kind in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
        let message = [&[kind, 0, 0, 0][..], &[0; 20]].concat();
        let packet = V6::new(NATIVE_HOST, FAR).hop_limit(255).payload(58, &message);
        rig.one(WAN6, &packet.bytes()).silent(Reason::NdTransit);
    }
    rig.close();
}

/// A scan of a connected prefix: each destination is asked for, nothing is sent, and traffic to who is
/// known goes on (ND-10).
#[test]
fn hosts_on_the_link_are_asked_for() {
    let mut rig = rig(true);
    let outcome = rig.one(WAN6, &V6::new(NATIVE_HOST, "2001:7cc::77").bytes());
    outcome.waits();
    assert_eq!(outcome.counters.neighbour_requests, 1);
    rig.close();
}
