//! Numbered streams through the relay between bare sockets, both ways, without loss.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Tally, Way};
use sixlane_lab::{Deadline, FarEnd, Topology};
use sixlane_tests::Running;

const PACKETS: u64 = 20_000;

fn flow(lab: &Running, way: Way) -> Tally {
    let pace = Pace { rate: 50_000, ..Pace::default() };
    let stream = Stream::start(&lab.world, way, pace).expect("sockets");
    stream
        .progress(PACKETS, Deadline::seconds(60))
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    stream.finish().expect("stream")
}

#[test]
fn native_and_isp_both_ways_lose_nothing() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    for way in [Way::Encap, Way::Decap] {
        let tally = flow(&lab, way);
        assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{way:?}: {tally:?}");
    }
    lab.assert_identity();
}

/// Two queues on each port, two workers: every queue has its socket, and packets cross from the worker
/// that receives them to any port.
#[test]
fn two_queues_and_two_workers_lose_nothing() {
    let mut topology = Topology::first_light().expect("topology");
    for wire in &mut topology.wires {
        wire.queues = 2;
    }
    topology.relay.config.push_str("\n[dataplane]\nworkers = [0, 1]\n");
    let lab = Running::build(topology, FarEnd::RawSocket).expect("a running relay");
    let pace = Pace { rate: 20_000, ..Pace::default() };
    let streams = [Way::Encap, Way::Decap].map(|way| Stream::start(&lab.world, way, pace).expect("sockets"));
    for stream in &streams {
        stream
            .progress(PACKETS / 4, Deadline::seconds(60))
            .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    }
    for stream in streams {
        let tally = stream.finish().expect("stream");
        assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    }
    lab.assert_identity();
    let counters = lab.counters();
    assert_eq!(counters["workers"].as_array().map(Vec::len), Some(2), "{counters:#}");
    for port in counters["ports"].as_array().into_iter().flatten() {
        assert_eq!(port["xdp"]["no_socket"], 0, "a queue has no socket: {port:#}");
        for loss in ["rx_dropped", "rx_ring_full", "rx_invalid", "tx_invalid"] {
            assert_eq!(port["sockets"][loss], 0, "the kernel dropped: {port:#}");
        }
    }
}

/// Two queues on one port and one on the other: `auto` makes one worker, which has them all, for a worker
/// sends by a port through its own socket there. Two cores are refused with the command.
#[test]
fn unequal_queues_lose_nothing() {
    let topology = |workers: &str| {
        let mut topology = Topology::first_light().expect("topology");
        for wire in &mut topology.wires {
            wire.queues = if wire.ends.iter().any(|end| end == "relay wan4") { 2 } else { 1 };
        }
        topology.relay.config.push_str(&format!("\n[dataplane]\nworkers = {workers}\n"));
        topology
    };
    let refused = Running::build(topology("[0, 1]"), FarEnd::RawSocket).err().map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("ethtool -L")), "{refused:?}");
    let lab = Running::build(topology("\"auto\""), FarEnd::RawSocket).expect("a running relay");
    let workers = lab.relay.show_json(&["show", "workers"]).expect("workers");
    let queues = workers["workers"][0]["queues"].as_array().into_iter().flatten();
    let queues: Vec<_> = queues.map(|queue| (queue["device"].clone(), queue["queue"].clone())).collect();
    let wanted = [("wan4", 0), ("wan4", 1), ("wan6", 0)];
    assert_eq!(queues, wanted.map(|(device, queue)| (device.into(), queue.into())), "{workers:#}");
    assert_eq!(workers["workers"].as_array().map(Vec::len), Some(1));
    for way in [Way::Encap, Way::Decap] {
        let tally = flow(&lab, way);
        assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{way:?}: {tally:?}");
    }
    lab.assert_identity();
}

/// A sleeping worker is parked and holds no publication up; a spinning one never parks.
#[test]
fn idle_workers_park_or_spin_as_configured() {
    for (idle, parks) in [("sleep", true), ("spin", false)] {
        let lab = Running::with(FarEnd::RawSocket, |config| {
            format!("{config}\n[dataplane]\nworkers = [0]\nidle = \"{idle}\"\n")
        })
        .expect("a running relay");
        let worker = || lab.relay.show_json(&["show", "workers"]).expect("workers")["workers"][0].clone();
        assert_eq!(worker()["idle"], idle);
        let parked =
            sixlane_lab::eventually("a parked worker", Deadline::seconds(if parks { 20 } else { 1 }), || {
                (worker()["parked"] == true).then_some(())
            });
        assert_eq!(parked.is_ok(), parks, "{idle}: {:#}", worker());
        // A route is published, and its memory comes back, whether the worker sleeps or not.
        let host = lab.world.host("relay").expect("the relay's host");
        host.ip("-6 route add 2001:7ff::/32 dev wan6").expect("a route");
        host.ip("-6 route del 2001:7ff::/32 dev wan6").expect("a route");
        let settled = sixlane_lab::eventually("memory that comes back", Deadline::seconds(20), || {
            let status = lab.relay.show_json(&["show", "status"]).expect("status");
            (status["memory"]["waiting"] == 0).then_some(())
        });
        assert!(settled.is_ok(), "{idle}");
    }
}
