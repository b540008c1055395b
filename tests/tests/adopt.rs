//! The keeper itself dies (FAIL-07): forwarding goes on, and the next keeper takes everything over; what it
//! cannot take over it ends, and starts afresh behind the fence. And there is one instance per namespace.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use std::time::{Duration, Instant};

use sixlane_lab::socket::{Port, address, kernel_counter};
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Part, Relay, eventually, packet};
use sixlane_tests::{Running, long, note_long_run};

fn status(relay: &Relay) -> serde_json::Value {
    relay.ask("status").unwrap_or_else(|error| panic!("{error}; {}", relay.log()))
}

fn alarmed(relay: &Relay, name: &str) -> bool {
    status(relay)["alarms"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["name"] == name))
}

/// Kills the keeper and waits until control has noticed.
fn kill_keeper(relay: &mut Relay) {
    relay.kill_keeper().expect("killed");
    eventually("the alarm", Deadline::seconds(10), || alarmed(relay, "keeper_gone").then_some(()))
        .unwrap_or_else(|_| panic!("nobody noticed; {}", relay.log()));
}

/// Starts another keeper and waits until it has taken over.
fn adopt(lab: &Running) -> Relay {
    let relay = lab.world.relay().expect("another keeper");
    let done = || (relay.log().contains("is taken over") && !alarmed(&relay, "keeper_gone")).then_some(());
    eventually("the take-over", Deadline::seconds(10), done)
        .unwrap_or_else(|_| panic!("not taken over; {}", relay.log()));
    relay
}

fn pid(relay: &Relay, part: Part) -> i32 {
    relay.part(part).map(|process| process.pid()).unwrap_or_else(|| panic!("no process; {}", relay.log()))
}

fn flows(relay: &Relay, stream: &Stream) {
    stream.progress(500, Deadline::seconds(20)).unwrap_or_else(|error| panic!("{error}; {}", relay.log()));
}

fn received(lab: &Running) -> u64 {
    lab.counters()["total"]["received"].as_u64().expect("a number")
}

/// Nothing of the relay is left in its host.
fn assert_clean(lab: &Running, relay: &Relay) {
    let host = lab.world.host("relay").expect("the relay's host");
    assert_eq!(host.processes(), Vec::<i32>::new(), "processes are left; {}", relay.log());
    assert!(!host.ip("-d link show").expect("links").contains("xdp"), "a program is attached");
    assert_eq!(host.run("nft list tables").expect("tables").trim(), "", "a fence is left");
    let left: Vec<_> = std::fs::read_dir(relay.runtime()).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "files are left: {left:?}");
}

#[test]
fn a_new_keeper_takes_over_without_loss_and_cares_for_all() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    let parts = [Part::Control, Part::DataPlane].map(|part| pid(&lab.relay, part));
    let frames_before = received(&lab);
    kill_keeper(&mut lab.relay);
    flows(&lab.relay, &stream);
    let mut again = adopt(&lab);
    flows(&again, &stream);
    assert_eq!([Part::Control, Part::DataPlane].map(|part| pid(&again, part)), parts, "{}", again.log());
    assert!(received(&lab) > frames_before);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", again.log());

    // It starts again what dies, out of what it has taken over; control's death loses nothing.
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    flows(&again, &stream);
    let before = again.kill(Part::Control).expect("killed");
    again.restarted(Part::Control, before).expect("started again");
    flows(&again, &stream);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled), (0, 0), "{tally:?}; {}", again.log());
    let frames = lab.assert_census(None);
    let counted = received(&lab);
    let before = again.kill(Part::DataPlane).expect("killed");
    again.restarted(Part::DataPlane, before).expect("started again");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&again, &stream);
    assert_eq!(stream.finish().expect("stream").damaged, 0);
    lab.assert_census(Some(frames));
    assert!(received(&lab) > counted, "totals never go backward");
    assert!(again.stop().expect("an orderly end").success(), "{}", again.log());
    assert_clean(&lab, &again);
}

/// The data plane dies while there is no keeper: the next one notices and starts another.
#[test]
fn a_data_plane_that_died_without_a_keeper_is_started_by_the_next() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    let counted = received(&lab);
    kill_keeper(&mut lab.relay);
    let before = lab.relay.kill(Part::DataPlane).expect("killed");
    let mut again = adopt(&lab);
    again.restarted(Part::DataPlane, before).expect("started again");
    flows(&again, &stream);
    assert_eq!(stream.finish().expect("stream").doubled, 0);
    assert!(received(&lab) > counted, "totals never go backward");
    assert!(again.stop().expect("an orderly end").success(), "{}", again.log());
    assert_clean(&lab, &again);
}

/// One keeper after the other is killed, each where it has just taken over.
#[test]
fn keepers_are_killed_one_after_the_other() {
    let rounds = if long() { 20 } else { 2 };
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    kill_keeper(&mut lab.relay);
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let began = Instant::now();
        let mut again = adopt(&lab);
        longest = longest.max(began.elapsed());
        flows(&again, &stream);
        if round + 1 < rounds {
            kill_keeper(&mut again);
        } else {
            let tally = stream.finish().expect("stream");
            assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
            assert!(again.stop().expect("an orderly end").success(), "{}", again.log());
            assert_clean(&lab, &again);
            break;
        }
    }
    println!("{rounds} keepers killed: 0 lost, longest take-over {longest:?}");
    if long() {
        note_long_run(&format!("kill_keeper: {rounds} kills, 0 lost, longest take-over {longest:?}"))
            .expect("long-runs.md");
    }
}

/// Keeper and control are dead: the next keeper starts afresh, and the kernel answers no tunnel packet
/// meanwhile.
#[test]
fn without_control_the_next_keeper_starts_afresh_behind_the_fence() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let site = lab.world.host("site").expect("site").clone();
    let icmp = Port::raw4(&site, packet::protocol::ICMP).expect("raw socket");
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    lab.relay.kill_keeper().expect("killed");
    lab.relay.kill(Part::Control).expect("killed");
    flows(&lab.relay, &stream);
    let orphan = pid(&lab.relay, Part::DataPlane);
    let tunnel = Port::raw4(&site, packet::protocol::IPV6).expect("raw socket");
    let inner = packet::echo_request(address::SITE6, address::HOST6, 64);
    let began = Instant::now();
    let mut again = lab.world.relay().expect("a fresh start");
    println!("a full start over the remains of the old one: {:?} (FAIL-07 promises 3 s)", began.elapsed());
    assert_ne!(pid(&again, Part::DataPlane), orphan);
    tunnel.send4(&inner, address::RELAY4).expect("sent");
    drop(stream);
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    flows(&again, &stream);
    drop(stream);
    assert_eq!(icmp.count(|_| true).expect("raw socket"), 0, "ICMP about tunnel packets");
    let relay = lab.world.host("relay").expect("relay");
    assert_eq!(kernel_counter(relay, "Icmp", "OutMsgs").expect("counter"), 0);
    assert!(again.stop().expect("an orderly end").success(), "{}", again.log());
    assert_clean(&lab, &again);
}

/// Another number of rings in the file: nothing that runs fits it, so there is a fresh start, which says why.
#[test]
fn another_configuration_is_a_fresh_start() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    kill_keeper(&mut lab.relay);
    let before = pid(&lab.relay, Part::DataPlane);
    let config = &lab.world.topology.relay.config;
    let config = format!("{config}\n[dataplane]\nrx_ring = 512\n");
    let host = lab.world.host("relay").expect("the relay's host");
    let mut again = Relay::start(&lab.world.lab, host, &config).expect("a fresh start");
    eventually("the new data plane", Deadline::seconds(10), || {
        (again.part(Part::DataPlane)?.pid() != before && status(&again)["dataplane"] == "forwarding")
            .then_some(())
    })
    .unwrap_or_else(|_| panic!("no fresh start; {}", again.log()));
    assert!(again.log().contains("have been changed in the configuration"), "{}", again.log());
    assert!(again.stop().expect("an orderly end").success(), "{}", again.log());
    assert_clean(&lab, &again);
}

/// A start that fails over a killed keeper leaves neither its processes nor its fence.
#[test]
fn a_failed_start_over_a_killed_keeper_leaves_nothing() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    kill_keeper(&mut lab.relay);
    let host = lab.world.host("relay").expect("the relay's host");
    let config = "version = 1\n[[port]]\nname = \"nowhere\"\n";
    let error = Relay::start(&lab.world.lab, host, config).expect_err("no such interface").to_string();
    assert!(error.contains("nowhere") && error.contains("does not exist"), "{error}");
    assert_clean(&lab, &lab.relay);
}
