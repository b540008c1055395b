//! `forward = "all"`: native IPv6 is forwarded by sixlane, and the box itself is still the kernel's.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Frr, Host, eventually};
use sixlane_tests::{Running, two_native_sides};
use std::io::{Read, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::time::Duration;

fn bgp(own: u16, other: u16, neighbour: &str, more: &str) -> String {
    format!(
        "router bgp 6500{own}\n bgp router-id 1.1.1.{own}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n neighbor {neighbour} remote-as 6500{other}\n \
         neighbor {neighbour} timers connect 1\n address-family ipv6 unicast\n  {more}\n  \
         neighbor {neighbour} activate\n exit-address-family\n"
    )
}

/// A figure of the kernel of a host from `/proc/net/snmp6`.
fn kernel6(host: &Host, name: &str) -> u64 {
    let text = host.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp6"));
    let text = text.expect("inside").expect("snmp6");
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1)).expect("a figure");
    value.parse().expect("a number")
}

fn received(lab: &Running) -> u64 {
    lab.counters()["total"]["received"].as_u64().expect("a number")
}

fn answers(host: &Host, address: &str) {
    host.run(&format!("ping -6 -n -c 2 -i 0.1 -W 5 {address}")).expect("an answer");
}

/// What crosses the box is sixlane's: a numbered stream loses nothing, and the kernel, which would
/// forward, has not forwarded one packet. A route learned by BGP, through the same port, is used.
#[test]
fn native_traffic_is_forwarded_and_routes_come_by_bgp() {
    let lab = Running::build(two_native_sides(), FarEnd::RawSocket).expect("a running relay");
    let host = |name: &str| lab.world.host(name).expect("a host").clone();
    let (native, relay, core) = (host("host6"), host("relay"), host("core"));
    core.ip("addr add 2001:7aa::1/128 dev lo nodad").expect("an address behind the router");
    let far = bgp(2, 1, "2001:601::fe", "network 2001:7aa::/32");
    let _beside = Frr::start(&lab.world.lab, &relay, &bgp(1, 2, "2001:601::1", "")).expect("FRR");
    let beyond = Frr::start(&lab.world.lab, &core, &far).expect("FRR");
    beyond.established("2001:601::fe").expect("the session");
    let learned = || {
        let shown = lab.relay.show_json(&["show", "routes"]).ok()?;
        let mut rows = shown["routes"].as_array()?.iter();
        rows.find(|row| row["prefix"] == "2001:7aa::/32" && row["mac"].is_string()).map(drop)
    };
    eventually("the learned route", Deadline::seconds(20), learned).unwrap_or_else(|error| {
        panic!("{error}; {:?}; {}", beyond.ask("show bgp ipv6 unicast"), lab.relay.log())
    });

    let before = received(&lab);
    let far = "2001:7aa::1".parse().expect("an address");
    let stream = Stream::start_at(&lab.world, (&core, far), Way::Native, Pace::default()).expect("sockets");
    stream.progress(2_000, Deadline::seconds(20)).expect("flows");
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    assert!(received(&lab) - before >= tally.sent, "the data plane saw them all");
    assert_eq!(kernel6(&relay, "Ip6OutForwDatagrams"), 0, "the kernel has forwarded none");

    // The relay is a hop like any other, by its own address, and says what does not go.
    let traced = native.run("traceroute -6 -n -q 1 -w 5 2001:7aa::1").expect("traceroute");
    let hops: Vec<_> = traced.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(hops, ["2001:600::fe", "2001:7aa::1"], "{traced}");
    let refused = native.try_run("ping -6 -n -c 1 -W 5 2001:900::1", Deadline::seconds(10)).expect("ping");
    assert!(refused.stdout.contains("From 2001:600::fe") && !refused.status.success(), "{refused:?}");

    // The session was up all the time, through the port that it shares with the traffic.
    beyond.established("2001:601::fe").expect("the session");
    lab.assert_identity();
    lab.assert_census(None);
}

/// What concerns the box itself is the kernel's: pings to each of its addresses from each side, its
/// subnet-router anycast addresses, TCP, duplicate addresses on either side, an address that is new.
#[test]
fn the_box_itself_is_the_kernels() {
    let lab = Running::build(two_native_sides(), FarEnd::RawSocket).expect("a running relay");
    let host = |name: &str| lab.world.host(name).expect("a host").clone();
    let (native, relay, core) = (host("host6"), host("relay"), host("core"));
    for address in ["2001:600::fe", "2001:601::fe", "2001:600::"] {
        answers(&native, address);
    }
    answers(&core, "2001:600::fe");
    tcp(&native, &relay);
    for (host, interface, taken) in [(&core, "eth0", "2001:601::fe"), (&relay, "core6", "2001:601::1")] {
        duplicate(host, interface, taken);
    }
    relay.ip("addr add 2001:601::5/64 dev core6").expect("a new address"); // with its DAD
    eventually("the end of DAD", Deadline::seconds(10), || {
        let shown = relay.ip("-6 addr show dev core6 to 2001:601::5").ok()?;
        (shown.contains("2001:601::5") && !shown.contains("tentative")).then_some(())
    })
    .expect("DAD");
    eventually("an answer of the new address", Deadline::seconds(10), || {
        native.run("ping -6 -n -c 1 -W 1 2001:601::5").ok()
    })
    .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    let before = received(&lab);
    answers(&native, "2001:601::5");
    answers(&core, "2001:601::5");
    assert_eq!(received(&lab), before, "the data plane has nothing to do with it");
    assert_eq!(kernel6(&relay, "Ip6OutForwDatagrams"), 0);
    // It goes again: what is sent there now is forwarded, to nobody.
    relay.ip("addr del 2001:601::5/64 dev core6").expect("removed");
    eventually("the address's end", Deadline::seconds(10), || {
        let _ = native.try_run("ping -6 -n -c 1 -W 1 2001:601::5", Deadline::seconds(5));
        (received(&lab) > before).then_some(())
    })
    .expect("the data plane has it");
}

/// A connection to the box that ends on it, as SSH does, by the address of its other side.
fn tcp(from: &Host, to: &Host) {
    let address = SocketAddrV6::new("2001:601::fe".parse().expect("an address"), 4190, 0, 0);
    let listener = to.within(|| TcpListener::bind(address)).expect("inside").expect("listening");
    let connect = || TcpStream::connect_timeout(&address.into(), Duration::from_secs(10));
    let mut client = from.within(connect).expect("inside").expect("connected");
    let (mut served, _) = listener.accept().expect("accepted");
    for stream in [&client, &served] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    }
    let sent = vec![7; 200_000];
    let arrived = std::thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&sent).expect("written");
            client.shutdown(std::net::Shutdown::Write).expect("ended");
        });
        let mut arrived = Vec::new();
        served.read_to_end(&mut arrived).expect("read");
        arrived
    });
    assert!(arrived == sent, "{} bytes came", arrived.len());
}

/// Duplicate address detection works through the program, whoever comes second.
fn duplicate(host: &Host, interface: &str, taken: &str) {
    for name in [interface, "all"] {
        host.sysctl(&format!("net.ipv6.conf.{name}.accept_dad"), "1").expect("sysctl");
    }
    host.ip(&format!("addr add {taken}/64 dev {interface}")).expect("added");
    eventually("the duplicate's discovery", Deadline::seconds(10), || {
        let shown = host.ip(&format!("-6 addr show dev {interface} to {taken}")).ok()?;
        shown.contains("dadfailed").then_some(())
    })
    .expect("discovered");
    host.ip(&format!("addr del {taken}/64 dev {interface}")).expect("removed");
}
