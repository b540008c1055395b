//! Numbered streams through the relay between bare sockets, both ways, without loss.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Tally, Way};
use sixlane_lab::{Deadline, FarEnd};
use sixlane_tests::Running;

const PACKETS: u64 = 20_000;

fn flow(lab: &Running, way: Way) -> Tally {
    let pace = Pace { rate: 50_000, ..Pace::default() };
    let stream = Stream::start(&lab.world, way, pace).expect("sockets");
    stream
        .progress(PACKETS, Deadline::seconds(20))
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
