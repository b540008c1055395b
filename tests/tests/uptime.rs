//! The relay on a machine that has been up for a hundred and thirty-six years: seconds in 32 bits wrap
//! while packets flow (ATK-62).

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Relay, World};

/// The uptime at which a u32 of seconds wraps.
const WRAP_SECONDS: u64 = 1 << 32;

#[test]
fn seconds_that_wrap_stop_nothing() {
    let world = World::first_light(FarEnd::RawSocket).expect("the laboratory");
    let uptime = std::fs::read_to_string("/proc/uptime").expect("uptime");
    let now: u64 = uptime.split('.').next().and_then(|whole| whole.parse().ok()).expect("seconds");
    let offset = (WRAP_SECONDS - now - 3).to_string();
    let through = ["unshare", "--time", "--monotonic", &offset, "--"];
    let relay = world.host("relay").expect("relay");
    let config = &world.topology.relay.config;
    let relay = Relay::start_through(&through, &world.lab, relay, config).expect("a running relay");

    let pace = Pace { rate: 5_000, ..Pace::default() };
    let streams = [Way::Encap, Way::Decap].map(|way| Stream::start(&world, way, pace).expect("sockets"));
    for (stream, packets) in streams.iter().zip([20_000, 100]) {
        let flows = stream.progress(packets, Deadline::seconds(60));
        flows.unwrap_or_else(|error| panic!("{error}; {}", relay.log()));
    }
    for stream in streams {
        let tally = stream.finish().expect("stream");
        assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    }
    let status = relay.ask("status").expect("status");
    assert_eq!(status["dataplane"], "forwarding", "{status:#}");
    assert_eq!(status["dataplane_deaths"], 0, "{status:#}");
}
