//! Rig V itself, numbered and closed-loop (at most 64 packets under way): what is sent arrives once, through
//! the bare forwarder and through the relay, and the sink tells when it is not so. No figure is judged here.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use sixlane_benches::rig::Case;
use sixlane_benches::wire::bench::arrived;
use sixlane_benches::wire::{Bench, Generator, Ground, Pace, Pass, Sink, Stream, Tally, Traffic};
use sixlane_lab::{Deadline, Host};

/// Packets at once.
const BURST: u32 = 64;
/// Bursts of a case.
const BURSTS: u32 = 60;

fn numbered(ground: &Ground, traffic: &Traffic) -> Sink {
    let mut wish = traffic.wish();
    wish.numbered = true;
    Sink::attach(&ground.target, "g1", wish).expect("a sink")
}

fn generator(ground: &Ground, traffic: &Traffic) -> Generator {
    Generator::new(&ground.source, "g0", traffic).expect("a generator")
}

fn send(source: &Host, generator: &mut Generator, frames: u32) {
    source.within(|| generator.send(frames)).expect("the namespace").expect("sent");
}

/// Turns until so many packets have arrived, or for ten seconds.
fn turn_until(bench: &mut Bench, pass: Pass, sink: &Sink, packets: u64) -> Tally {
    let deadline = Deadline::seconds(10);
    loop {
        bench.turn(pass);
        bench.hear().expect("control");
        let tally = sink.tally().expect("a tally");
        if tally.plain + tally.tunnelled + tally.damaged >= packets || deadline.passed() {
            return tally;
        }
    }
}

#[test]
fn what_is_sent_arrives_once_by_either_pass() {
    let mut ground = Ground::build().expect("a rig");
    let mut bench = Bench::new(&mut ground).unwrap_or_else(|error| panic!("{error}; {}", ground.relay.log()));
    let total = u64::from(BURST * BURSTS);
    for (case, pass) in Case::ALL.into_iter().flat_map(|case| [(case, Pass::L2fwd), (case, Pass::Relay)]) {
        let traffic = Traffic { case, destinations: 2_000 };
        let (sink, mut generator) = (numbered(&ground, &traffic), generator(&ground, &traffic));
        let mut tally = Tally::default();
        for burst in 1..=BURSTS {
            send(&ground.source, &mut generator, BURST);
            tally = turn_until(&mut bench, pass, &sink, (burst * BURST).into());
        }
        let seen = (arrived(&tally, case, pass), tally.numbers, tally.doubled);
        assert_eq!(seen, ((total, 0), total, 0), "{case:?} by {pass:?}: {tally:?}; {:?}", bench.counters());
    }
    let counters = bench.counters();
    assert_eq!((counters.transmitted, counters.dropped_total()), (3 * total, 0), "{counters:?}");
    counters.identity().expect("the identity");
    the_sink_tells(&ground, &mut bench);
}

/// Numbers that come again, and those that do not come.
fn the_sink_tells(ground: &Ground, bench: &mut Bench) {
    let traffic = Traffic { case: Case::Native, destinations: 1 };
    let sink = numbered(ground, &traffic);
    for _ in 0..2 {
        send(&ground.source, &mut generator(ground, &traffic), BURST);
    }
    let twice = turn_until(bench, Pass::L2fwd, &sink, 2 * u64::from(BURST));
    assert_eq!((twice.numbers, twice.doubled), (BURST.into(), BURST.into()), "{twice:?}");

    // Nobody turns while this stream runs: the rings fill, and all else is lost.
    let sink = numbered(ground, &traffic);
    let pace = Pace::Paced(BURST, Duration::from_micros(100));
    let stream = Stream::start(&ground.source, "g0", &traffic, pace, None).expect("a stream");
    let deadline = Deadline::seconds(20);
    while stream.sent() < 8_192 && !deadline.passed() {
        std::thread::yield_now();
    }
    let sent = stream.stop().expect("the stream's end");
    bench.drain();
    let tally = sink.tally().expect("a tally");
    assert!(tally.numbers > 0 && tally.numbers < sent, "{tally:?} of {sent}");
    assert_eq!((tally.plain, tally.doubled, tally.damaged), (tally.numbers, 0, 0), "{tally:?}");
}
