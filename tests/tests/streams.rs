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
