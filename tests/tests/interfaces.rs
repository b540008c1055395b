//! Interfaces that change under a running relay: up and down, and how many queues they have.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Topology, eventually};
use sixlane_tests::{Running, dropped, long};
use std::time::{Duration, Instant};

/// FAIL-09: a port goes down and up again, many times, under load. The same socket goes on each time, no
/// frame is lost, nothing is restarted. The time from `up` to the next packet is printed (the promise is a
/// second on a machine that is not otherwise busy).
#[test]
fn flaps_leak_no_frame_and_the_same_sockets_go_on() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = lab.world.host("relay").expect("the relay").clone();
    let frames = lab.assert_census(None);
    // Packets that find no way are lost: so many may be missing that the loop never stops for them.
    let pace = Pace { window: 200_000, rate: 2_000, ..Pace::default() };
    let stream = Stream::start(&lab.world, Way::Encap, pace).expect("sockets");
    let flaps = if long() { 300 } else { 20 };
    let mut worst = Duration::ZERO;
    for _ in 0..flaps {
        relay.ip("link set dev wan4 down").expect("down");
        relay.ip("link set dev wan4 up").expect("up");
        let up = Instant::now();
        relay.ip("route add default via 9.254.253.1").expect("the operator's route");
        let resumed = stream.progress(20, Deadline::seconds(15));
        resumed.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
        worst = worst.max(up.elapsed());
    }
    println!("{flaps} flaps; the longest time to twenty packets was {worst:?}");
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.doubled, tally.damaged), (0, 0), "{tally:?}");
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["dataplane_deaths"], 0, "{status:#}");
    let drops = lab.relay.show_json(&["show", "drops"]).expect("drops");
    assert_eq!(dropped(&drops, "table_corrupt"), 0, "{drops:#}");
    lab.assert_identity();
    lab.assert_census(Some(frames));
}

/// FAIL-11: a queue that appears while the relay runs has no socket. That is an alarm, which names the
/// command that mends it; the command does.
#[test]
fn a_new_queue_is_an_alarm_until_it_is_gone() {
    let mut topology = Topology::first_light().expect("a topology");
    for wire in topology.wires.iter_mut().filter(|wire| wire.ends.iter().any(|end| end == "relay wan4")) {
        wire.queues = 2;
    }
    let lab = Running::prepared(topology, FarEnd::RawSocket, |world| {
        world.host("isp")?.run("ethtool -L north tx 1")?;
        world.host("relay")?.run("ethtool -L wan4 rx 1").map(drop)
    });
    let lab = lab.expect("a running relay");
    let relay = lab.world.host("relay").expect("the relay").clone();
    let alarm = || {
        let status = lab.relay.show_json(&["show", "status"]).ok()?;
        let found = status["alarms"].as_array()?.iter().find(|one| one["name"] == "queue_without_socket");
        Some(found.map(|one| one["text"].as_str().unwrap_or_default().to_owned()))
    };
    assert_eq!(alarm(), Some(None), "one queue, one socket");
    relay.run("ethtool -L wan4 rx 2").expect("a second queue");
    let text = eventually("the alarm", Deadline::seconds(10), || alarm().flatten()).expect("raised");
    assert!(text.contains("wan4 has 2 receive queues and sockets for 1"), "{text}");
    let command = text.split('`').nth(1).expect("a command");
    relay.run(command).expect("the command of the alarm");
    eventually("the alarm's end", Deadline::seconds(10), || alarm()?.is_none().then_some(()))
        .expect("cleared");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(10)).expect("flows");
    assert_eq!(stream.finish().expect("stream").lost(), 0);
}
