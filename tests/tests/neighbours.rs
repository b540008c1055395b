//! Neighbours are the kernel's and are followed live.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::socket::{Port, address};
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, eventually, packet};
use sixlane_tests::Running;

/// FAIL-24: a gateway's Ethernet address moves; the new one is used.
#[test]
fn a_gateway_that_moves_is_followed() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let isp = lab.world.host("isp").expect("isp");
    isp.sysctl("net.ipv4.conf.north.arp_notify", "1").expect("sysctl");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(10)).expect("flows");
    isp.ip("link set dev north address 02:51:4c:00:00:07").expect("moved");
    let resumed = stream.progress(2_000, Deadline::seconds(10));
    resumed.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    let tally = stream.finish().expect("stream");
    // The promise is one second on a machine that is not otherwise busy; the deadline catches a hang.
    println!("the longest silence was {:?}", tally.longest_gap);
}

/// The same on the native side, by an unsolicited neighbour advertisement (RFC 4861 §7.2.6).
#[test]
fn a_native_gateway_that_moves_is_followed() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let native = lab.world.host("host6").expect("host6");
    lab.world
        .host("relay")
        .expect("relay")
        .ip("-6 route add 2001:700::/32 via 2001:600::1")
        .expect("a route");
    native.sysctl("net.ipv6.conf.eth0.ndisc_notify", "1").expect("sysctl");
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(10)).expect("flows");
    native.ip("link set dev eth0 address 02:51:4c:00:00:08").expect("moved");
    let resumed = stream.progress(2_000, Deadline::seconds(10));
    resumed.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    let tally = stream.finish().expect("stream");
    println!("the longest silence was {:?}", tally.longest_gap);
}

/// A host on the relay's own link is nobody's gateway: it is asked for when a packet needs it, and the packet
/// waits (ND-05).
#[test]
fn a_host_on_the_link_is_resolved_when_a_packet_needs_it() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let (relay, native) = (lab.world.host("relay").expect("relay"), lab.world.host("host6").expect("host6"));
    let site = lab.world.host("site").expect("site");
    native.ip("addr add 2001:600::77/64 dev eth0 nodad").expect("a second address");
    let known = relay.ip("-6 neigh show 2001:600::77 dev wan6").expect("neighbours");
    assert_eq!(known.trim(), "", "it is known before the first packet");

    let tunnel = Port::raw4(site, packet::protocol::IPV6).expect("raw socket");
    let icmp = Port::raw6(native, packet::protocol::ICMPV6).expect("raw socket");
    let target = "2001:600::77".parse().expect("address");
    let echo = packet::echo_request(address::SITE6, target, 64);
    let arrived = |message: &[u8]| (message.first() == Some(&128)).then_some(());
    tunnel.send4(&echo, address::RELAY4).expect("sent");
    // This packet itself, which has waited: no other is sent.
    icmp.wait_for("the echo request", Deadline::seconds(10), arrived)
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    lab.assert_identity();
    lab.assert_census(None);
}

/// The wire to the gateway is unplugged, which costs the kernel its neighbours, and plugged in again.
#[test]
fn a_wire_that_was_unplugged_works_again() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let wire = lab.world.wire("relay", "wan4").expect("a wire");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(10)).expect("flows");
    wire.unplug("isp").expect("unplugged");
    let gone = || {
        let shown = lab.relay.show_json(&["show", "neighbours"]).ok()?;
        let all = shown["neighbours"].as_array()?;
        let usable = |row: &&serde_json::Value| row["address"] == "9.254.253.1" && row["mac"].is_string();
        all.iter().find(usable).is_none().then_some(())
    };
    eventually("the gateway's loss", Deadline::seconds(10), gone).expect("noticed");
    wire.plug("isp").expect("plugged in");
    let resumed = stream.progress(500, Deadline::seconds(15));
    resumed.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    drop(stream);
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["dataplane_deaths"], 0, "{status:#}");
    lab.assert_identity();
    lab.assert_census(None);
}
