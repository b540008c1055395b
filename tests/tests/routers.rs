//! Two routers on the relay's IPv4 link: one dies with its link up, one takes the other's address over.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::socket::kernel_counter;
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{
    Deadline, FarEnd, Host, HostSettings, LabError, Topology, WireSettings, World, eventually,
};
use sixlane_tests::Running;
use std::time::Duration;

/// First light with a switch between the relay and two providers, `isp` (9.254.253.1) and `isp2`
/// (9.254.253.2), who both reach the site.
fn topology() -> Topology {
    let mut topology = Topology::first_light().expect("a topology");
    let host = |name: &str, about: &str| HostSettings {
        name: name.to_owned(),
        about: about.to_owned(),
        addresses: Vec::new(),
        routes: Vec::new(),
        sysctl: [].into(),
    };
    topology.hosts.push(host("switch", "a switch"));
    topology.hosts.push(HostSettings {
        addresses: vec!["north 9.254.253.2/24".to_owned(), "south 192.1.3.1/24".to_owned()],
        routes: vec!["192.1.2.3/32 dev south".to_owned()],
        sysctl: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        ..host("isp2", "another provider's router")
    });
    topology.wires.retain(|wire| !wire.ends.iter().any(|end| end == "relay wan4"));
    for ends in [
        ["relay wan4", "switch p1"],
        ["isp north", "switch p2"],
        ["isp2 north", "switch p3"],
        ["isp2 south", "site u2"],
    ] {
        topology.wires.push(WireSettings { ends: ends.map(str::to_owned), queues: 1 });
    }
    // The kernel finds a dead router in seconds.
    let relay = topology.hosts.iter_mut().find(|host| host.name == "relay").expect("the relay");
    for (name, value) in [
        ("base_reachable_time_ms", "500"),
        ("delay_first_probe_time", "1"),
        ("interval_probe_time_ms", "500"),
    ] {
        relay.sysctl.insert(format!("net.ipv4.neigh.wan4.{name}"), value.to_owned());
    }
    topology
}

fn connect(world: &World) -> Result<(), LabError> {
    let switch = world.host("switch")?;
    switch.ip("link add br0 type bridge mcast_snooping 0")?;
    for port in ["p1", "p2", "p3"] {
        switch.ip(&format!("link set dev {port} master br0"))?;
    }
    switch.ip("link set dev br0 up").map(drop)
}

fn forwarded(router: &Host) -> u64 {
    kernel_counter(router, "Ip", "ForwDatagrams").expect("a figure")
}

/// Waits until a router has forwarded 300 packets more.
fn carries(lab: &Running, router: &Host) {
    let goal = forwarded(router) + 300;
    eventually("the traffic on its new way", Deadline::seconds(40), || {
        (forwarded(router) >= goal).then_some(())
    })
    .unwrap_or_else(|error| panic!("{}: {error}; {}", router.name(), lab.relay.log()));
}

/// The first router is killed under load, and its link stays up. When the kernel says that it has failed
/// the traffic moves to the second, and when it is back to the first; nobody is asked.
#[test]
fn a_dead_router_is_left_for_the_other_and_taken_again() {
    let lab = Running::prepared(topology(), FarEnd::RawSocket, |world| {
        connect(world)?;
        world.host("relay")?.ip("route add default via 9.254.253.2 metric 100").map(drop)
    });
    let lab = lab.expect("a running relay");
    let host = |name: &str| lab.world.host(name).expect("a host").clone();
    let (first, second) = (host("isp"), host("isp2"));
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    carries(&lab, &first);
    assert_eq!(forwarded(&second), 0, "the better route is used");
    first.ip("link set dev north down").expect("killed");
    carries(&lab, &second);
    first.ip("link set dev north up").expect("back");
    carries(&lab, &first);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.doubled, tally.damaged), (0, 0), "{tally:?}");
    println!("the longest silence was {:?}", tally.longest_gap);
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["dataplane_deaths"], 0, "{status:#}");
    lab.assert_identity();
}

/// FAIL-24: the second router takes the address of the first over and says so by gratuitous ARP; the first
/// still forwards what comes. No packet is lost.
#[test]
fn a_gateway_that_moves_to_another_machine_costs_nothing() {
    let lab = Running::prepared(topology(), FarEnd::RawSocket, connect).expect("a running relay");
    let host = |name: &str| lab.world.host(name).expect("a host").clone();
    let (first, second, relay) = (host("isp"), host("isp2"), host("relay"));
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    carries(&lab, &first);
    second.sysctl("net.ipv4.conf.north.arp_notify", "1").expect("sysctl");
    // The site answers by its own router, so no echo comes back; but the second router knows it then.
    second.try_run("ping -n -c 1 -W 1 192.1.2.3", Deadline::seconds(10)).expect("sent");
    assert!(second.ip("neigh show 192.1.2.3").expect("neighbours").contains("lladdr"));
    first.ip("addr del 9.254.253.1/24 dev north").expect("given up");
    second.ip("addr add 9.254.253.1/24 dev north").expect("taken over");
    // A new Ethernet address is told to the link. The kernel does not believe it within a second of
    // another change of this neighbour: then it is told again.
    let moved = (1..=9).any(|number| {
        let mac = format!("02:51:4c:00:00:0{number}");
        second.ip(&format!("link set dev north address {mac}")).expect("told");
        let heard = || relay.ip("neigh show 9.254.253.1").ok()?.contains(&mac).then_some(());
        eventually("the new address", Deadline::after(Duration::from_millis(1_500)), heard).is_ok()
    });
    assert!(moved, "{:?}", relay.ip("neigh show"));
    carries(&lab, &second);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    lab.assert_identity();
    lab.assert_census(None);
}
