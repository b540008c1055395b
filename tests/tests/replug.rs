//! FAIL-10: interfaces of ports are deleted and made again under traffic. Each comes back by itself; the
//! others are unhurt; no frame is lost, whoever is started again meanwhile.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, HostSettings, Part, Topology, WireSettings, eventually};
use sixlane_tests::Running;
use std::net::Ipv6Addr;
use std::time::Instant;

/// The promise is two seconds; a test waits ten times as long.
const BACK: u64 = 20;

/// First light with a second provider on a port of its own, whose 6to4 site is its router.
fn with_bystander() -> (Topology, Ipv6Addr) {
    let mut topology = Topology::first_light().expect("a topology");
    topology.hosts.push(HostSettings {
        name: "other".into(),
        about: "a second provider's router, which is a 6to4 site".into(),
        addresses: vec!["east 11.1.1.1/24".into()],
        routes: vec!["default via 11.1.1.252".into()],
        sysctl: Default::default(),
    });
    topology.wires.push(WireSettings { ends: ["relay wan5".into(), "other east".into()], queues: 1 });
    let relay = topology.hosts.iter_mut().find(|host| host.name == "relay").expect("the relay");
    relay.addresses.push("wan5 11.1.1.252/24".into());
    topology.relay.config.push_str("\n[[port]]\nname = \"wan5\"\n");
    (topology, Ipv6Addr::new(0x2002, 0x0b01, 0x0101, 0, 0, 0, 0, 1))
}

fn flows(lab: &Running, stream: &Stream) {
    stream
        .progress(200, Deadline::seconds(BACK))
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
}

fn alarmed(lab: &Running, name: &str) -> bool {
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    status["alarms"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["name"] == name))
}

fn expect_alarm(lab: &Running, name: &str, stands: bool) {
    eventually("an alarm", Deadline::seconds(10), || (alarmed(lab, name) == stands).then_some(()))
        .unwrap_or_else(|_| panic!("{name} should be {stands}; {}", lab.relay.log()));
}

/// How many frames the relay has, all of them accounted for.
fn frames(lab: &Running) -> u64 {
    lab.assert_identity();
    lab.assert_census(None)
}

/// The first port of the worker's memory, three times, under a stream over it and one beside it.
#[test]
fn an_interface_made_again_is_a_port_again_and_the_others_are_unhurt() {
    let (topology, far) = with_bystander();
    let mut lab = Running::build(topology, FarEnd::RawSocket).expect("a running relay");
    let all = lab.assert_census(None);
    let other = lab.world.host("other").expect("a host").clone();
    let bystander =
        Stream::start_at(&lab.world, (&other, far), Way::Decap, Pace::default()).expect("sockets");
    for _ in 0..3 {
        let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
        flows(&lab, &stream);
        lab.world.cut("relay", "wan4").expect("deleted");
        expect_alarm(&lab, "port_unfit", true);
        flows(&lab, &bystander);
        drop(stream);
        lab.world.lay_again("relay", "wan4", 1).expect("made again");
        let began = Instant::now();
        let stream = Stream::start(&lab.world, Way::Encap, Pace::default());
        let stream = stream.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
        println!("a first packet {:?} after the interface", began.elapsed());
        flows(&lab, &stream);
        expect_alarm(&lab, "port_unfit", false);
    }
    let tally = bystander.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", lab.relay.log());
    assert_eq!(frames(&lab), all);
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["dataplane_deaths"], 0);
}

/// Both ports go, so that no socket is left to share the memory with; control and data plane are killed
/// while they are away. One comes back with fewer queues, then with more.
#[test]
fn all_interfaces_go_and_come_back_and_processes_die_meanwhile() {
    let mut lab = two_queues("[0]");
    let all = lab.assert_census(None);
    let opened = descriptors(&lab);
    for (queues, part) in [(1, Part::DataPlane), (3, Part::Control), (2, Part::DataPlane)] {
        lab.world.cut("relay", "wan4").expect("deleted");
        lab.world.cut("relay", "wan6").expect("deleted");
        expect_alarm(&lab, "port_unfit", true);
        let dead = lab.relay.kill(part).expect("killed");
        lab.world.lay_again("relay", "wan6", 2).expect("made again");
        lab.relay.restarted(part, dead).expect("restarted");
        lab.world.lay_again("relay", "wan4", queues).expect("made again");
        expect_alarm(&lab, "port_unfit", false);
        expect_alarm(&lab, "queue_without_socket", queues == 3);
        for way in [Way::Encap, Way::Decap] {
            let stream = Stream::start(&lab.world, way, Pace::default())
                .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
            flows(&lab, &stream);
        }
        assert_eq!(frames(&lab), all, "{}", lab.relay.log());
    }
    // Nothing piles up: two ports of two queues have come three times.
    let (before, after) = (opened, descriptors(&lab));
    assert!(before.iter().zip(&after).all(|(before, after)| *after < before + 8), "{before:?}, {after:?}");
}

/// The first-light laboratory with two queues on every wire, and a relay with these workers.
fn two_queues(workers: &str) -> Running {
    let mut topology = Topology::first_light().expect("a topology");
    for wire in &mut topology.wires {
        wire.queues = 2;
    }
    topology.relay.config.push_str(&format!("\n[dataplane]\nworkers = {workers}\n"));
    Running::build(topology, FarEnd::RawSocket).expect("a running relay")
}

/// How many descriptors keeper, control and data plane have.
fn descriptors(lab: &Running) -> [usize; 3] {
    [lab.relay.keeper(), lab.relay.part(Part::Control), lab.relay.part(Part::DataPlane)].map(|process| {
        let pid = process.expect("a process").pid();
        std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
    })
}

/// An interface of the name that cannot be the port is refused in words; another that can is taken.
#[test]
fn an_interface_that_cannot_be_the_port_is_refused() {
    let mut lab = two_queues("[0, 1]");
    let all = lab.assert_census(None);
    let relay = lab.world.host("relay").expect("a host").clone();
    lab.world.cut("relay", "wan4").expect("deleted");
    // A loopback takes no native XDP: the mode of the port cannot be had.
    relay.ip("link set lo down").expect("down");
    relay.ip("link set lo name wan4").expect("another interface");
    expect_alarm(&lab, "port_refused", true);
    relay.ip("link set wan4 name lo").expect("its own name");
    expect_alarm(&lab, "port_refused", false);
    // The second worker could not send by it.
    lab.world.lay_again("relay", "wan4", 1).expect("made again");
    expect_alarm(&lab, "port_refused", true);
    lab.world.cut("relay", "wan4").expect("deleted");
    lab.world.lay_again("relay", "wan4", 2).expect("made again");
    expect_alarm(&lab, "port_unfit", false);
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab, &stream);
    drop(stream);
    assert_eq!(frames(&lab), all);
    expect_alarm(&lab, "port_refused", false);
}

/// The keeper dies while a port is away, and the next one at each moment of its way back: the port comes back to
/// the keeper after them, and the other port is unhurt all the time.
#[test]
fn a_port_comes_back_to_another_keeper() {
    let (topology, far) = with_bystander();
    let mut lab = Running::build(topology, FarEnd::RawSocket).expect("a running relay");
    let all = lab.assert_census(None);
    let other = lab.world.host("other").expect("a host").clone();
    let bystander =
        Stream::start_at(&lab.world, (&other, far), Way::Decap, Pace::default()).expect("sockets");
    for pause in [0, 5, 20, 60] {
        lab.world.cut("relay", "wan4").expect("deleted");
        expect_alarm(&lab, "port_unfit", true);
        next_keeper(&mut lab);
        lab.world.lay_again("relay", "wan4", 1).expect("made again");
        // Not a wait for something: each pause meets the way back at another place.
        std::thread::sleep(std::time::Duration::from_millis(pause));
        next_keeper(&mut lab);
        expect_alarm(&lab, "port_unfit", false);
        let stream = Stream::start(&lab.world, Way::Encap, Pace::default());
        let stream = stream.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
        flows(&lab, &stream);
    }
    let tally = bystander.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", lab.relay.log());
    assert_eq!(frames(&lab), all);
}

/// Kills the keeper; another one takes over.
fn next_keeper(lab: &mut Running) {
    lab.relay.kill_keeper().expect("killed");
    let next = lab.world.relay().expect("another keeper");
    eventually("the take-over", Deadline::seconds(10), || next.log().contains("is taken over").then_some(()))
        .unwrap_or_else(|_| panic!("not taken over; {}", next.log()));
    lab.relay = next;
}
