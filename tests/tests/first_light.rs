//! The relay between a native IPv6 host and a real Linux 6to4 host: the operator's first look.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::socket::{Port, address};
use sixlane_lab::{Deadline, FarEnd, LabError, packet, transfer};
use sixlane_tests::Running;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of each TCP transfer.
const TRANSFER_BYTES: usize = 2_000_000;

#[test]
fn linux_sit_and_a_native_host_reach_each_other() {
    let mut lab = Running::first_light(FarEnd::Linux).expect("a running relay");
    ping_both_ways(&mut lab).expect("ping");
    trace_both_ways(&mut lab).expect("traceroute");
    tcp_both_ways(&mut lab).expect("TCP");
    too_big_is_said(&mut lab).expect("Packet Too Big");
    lab.assert_identity();
}

fn ping_both_ways(lab: &mut Running) -> Result<(), LabError> {
    let native = lab.world.host("host6")?.clone();
    native.run("ping -6 -n -i 0.1 -c 5 -W 5 2002:c001:203::1")?;
    lab.world.guest()?.sh("ping6 -c 3 -W 5 2001:600::1").map(drop)
}

/// Hop one is the relay's own ICMPv6 "time exceeded", hop two the far end.
fn trace_both_ways(lab: &mut Running) -> Result<(), LabError> {
    let native = lab.world.host("host6")?.clone();
    let out = native.run("traceroute6 -n -q 1 -w 2 -m 4 2002:c001:203::1")?;
    assert_hops(&out, "2001:600::fe", "2002:c001:203::1");
    let back = lab.world.guest()?.sh("traceroute6 -n -q 1 -w 2 -m 4 2001:600::1")?;
    assert_hops(&back, "2001:600::fe", "2001:600::1");
    Ok(())
}

fn assert_hops(trace: &str, first: &str, second: &str) {
    let hops: Vec<&str> = trace
        .lines()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(hops, [first, second], "{trace}");
}

fn tcp_both_ways(lab: &mut Running) -> Result<(), LabError> {
    let to_guest = transfer::to_guest(&mut lab.world, TRANSFER_BYTES)?;
    let from_guest = transfer::from_guest(&mut lab.world, TRANSFER_BYTES)?;
    assert_eq!((to_guest.bytes, from_guest.bytes), (TRANSFER_BYTES, TRANSFER_BYTES));
    Ok(())
}

/// PMTU-03: a native 1,500-byte packet gives 2/0 with MTU 1280 and nothing on the IPv4 side; a
/// packet of 1,280 bytes passes.
fn too_big_is_said(lab: &mut Running) -> Result<(), LabError> {
    let native = lab.world.host("host6")?.clone();
    // A destination of the site that the kernel has learnt no path MTU for yet.
    let fresh = Ipv6Addr::new(0x2002, 0xc001, 0x203, 0, 0, 0, 0, 0x77);
    let icmp = Port::raw6(&native, packet::protocol::ICMPV6)?;
    let sink = Port::frames(lab.world.host("isp")?)?;
    let forger = Port::forger6(&native)?;
    let body = vec![0; 1460];
    forger.send6(&packet::ipv6(address::HOST6, fresh, 59, 64, &body), fresh, 0)?;
    let mtu = icmp.wait_for("Packet Too Big", Deadline::seconds(5), |message| {
        let (head, _) = message.split_first_chunk::<8>()?;
        (head[0] == 2 && head[1] == 0).then(|| u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
    })?;
    assert_eq!(mtu, 1280);
    let tunnelled = |frame: &[u8]| frame.get(23) == Some(&41) && frame.get(58..74) == Some(&fresh.octets());
    assert_eq!(sink.count(tunnelled)?, 0, "the large packet went into the tunnel");
    let small = packet::ipv6(address::HOST6, fresh, 59, 64, &body[..1240]);
    forger.send6(&small, fresh, 0)?;
    sink.wait_for("a packet of 1,280 bytes in the tunnel", Deadline::seconds(5), |frame| {
        (tunnelled(frame) && frame.get(16..18) == Some(&1300_u16.to_be_bytes())).then_some(())
    })
}

#[test]
fn a_spoofed_packet_is_counted_by_reason_and_explained() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let site = lab.world.host("site").expect("site").clone();
    let forger = Port::forger4(&site).expect("raw socket");
    let icmp = Port::raw4(&site, packet::protocol::ICMP).expect("raw socket");
    // Inner source embeds 8.8.8.8, outer source is 192.1.2.3: RFC 3964 §4.1.2.
    let liar = Ipv6Addr::new(0x2002, 0x808, 0x808, 0, 0, 0, 0, 1);
    let inner = packet::echo_request(liar, address::HOST6, 64);
    let spoofed = packet::protocol41(address::SITE4, address::RELAY4, &inner);
    let private = packet::protocol41(Ipv4Addr::new(10, 0, 0, 1), address::RELAY4, &inner);
    for bytes in [&spoofed, &spoofed, &spoofed, &private] {
        forger.send4(bytes, address::RELAY4).expect("sent");
    }
    sixlane_lab::eventually("the reasons", Deadline::seconds(5), || {
        let drops = lab.relay.show_json(&["show", "drops"]).ok()?;
        let of = |name| sixlane_tests::dropped(&drops, name);
        (of("sixto4_src_mismatch") == 3 && of("v4_src_bogon") == 1).then_some(())
    })
    .expect("three spoofed packets and one bogon");
    assert_eq!(icmp.count(|_| true).expect("raw socket"), 0, "a spoofed packet was answered");

    let text = lab.relay.show(&["show", "drops"]).expect("show drops");
    assert!(text.contains("sixto4_src_mismatch") && text.contains("3964"), "{text}");
    let explained = lab.relay.show(&["explain", &packet::hex(&spoofed)]).expect("explain");
    assert!(explained.contains("sixto4_src_mismatch"), "{explained}");
    lab.assert_identity();
}

#[test]
fn every_show_speaks_text_and_json() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    for what in ["status", "ports", "workers", "counters", "drops", "routes", "neighbours"] {
        let text = lab.relay.show(&["show", what]).expect("text");
        assert!(!text.trim().is_empty(), "show {what} says nothing");
        let json = lab.relay.show_json(&["show", what]).expect("JSON");
        assert_eq!(json["v"], 1, "show {what}: {json}");
    }
    let routes = lab.relay.show(&["show", "routes"]).expect("routes");
    assert!(routes.contains("2001:600::/64") && routes.contains("9.254.253.0/24"), "{routes}");
    let neighbours = lab.relay.show(&["show", "neighbours"]).expect("neighbours");
    assert!(neighbours.contains("9.254.253.1"), "the gateway is not kept resolved: {neighbours}");
}

/// `explain` runs the worker's own functions: the frame that it foretells is the frame that leaves, but
/// for the IPv4 identification (and the header checksum over it). And it moves no counter.
#[test]
fn explain_foretells_the_frame_that_leaves() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let (native, isp) = (lab.world.host("host6").expect("host6"), lab.world.host("isp").expect("isp"));
    let echo = packet::echo_request(address::HOST6, address::SITE6, 64);
    let explained = lab.relay.show_json(&["explain", &packet::hex(&echo)]).expect("explain");
    assert_eq!(explained["verdict"], "forwarded", "{explained:#}");
    let departure = &explained["departures"][0];
    assert_eq!(departure["port"], "wan4", "{explained:#}");
    assert_eq!(lab.counters()["total"]["received"], 0, "explaining is counted");

    let frames = Port::frames(isp).expect("packet socket");
    Port::forger6(native).expect("raw socket").send6(&echo, address::SITE6, 0).expect("sent");
    let left = frames
        .wait_for("the packet in the tunnel", Deadline::seconds(5), |frame| {
            (frame.get(23) == Some(&41)).then(|| frame.to_vec())
        })
        .expect("forwarded");
    let foretold = departure["frame"].as_str().expect("a frame").to_owned();
    // In hexadecimal digits: the identification is bytes 18 and 19 of the frame, the checksum 24 and 25.
    let masked = |hex: &str| format!("{}{}{}", &hex[..36], &hex[40..48], &hex[52..]);
    assert_eq!(masked(&packet::hex(&left)), masked(&foretold));
}
