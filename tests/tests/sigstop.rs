//! Processes that stand still: a change of the tables reaches a data plane that was stopped, without
//! any message to it, and a stopped control costs nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use rustix::process::Signal;
use sixlane_lab::socket::{Port, address};
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Part, eventually, packet};
use sixlane_tests::Running;

const MOVED: [u8; 6] = [0x02, 0x51, 0x4C, 0, 0, 0x42];

#[test]
fn a_neighbour_changed_while_the_data_plane_stood_still_is_used_afterwards() {
    let lab =
        Running::with(FarEnd::RawSocket, |config| format!("{config}\n[dataplane]\nstuck_seconds = 0\n"))
            .expect("a running relay");
    let (relay, isp) = (lab.world.host("relay").expect("relay"), lab.world.host("isp").expect("isp"));
    let process = lab.relay.part(Part::DataPlane).expect("a data plane");

    process.signal(Signal::STOP);
    let mac = "02:51:4c:00:00:42";
    relay.ip(&format!("neigh replace 9.254.253.1 lladdr {mac} dev wan4 nud permanent")).expect("neighbour");
    eventually("control's knowledge of the neighbour", Deadline::seconds(5), || {
        lab.relay.show(&["show", "neighbours"]).ok()?.contains(mac).then_some(())
    })
    .expect("followed live");
    let frames = Port::frames(isp).expect("packet socket");
    process.signal(Signal::CONT);

    let native = lab.world.host("host6").expect("host6");
    let echo = packet::echo_request(address::HOST6, address::SITE6, 64);
    Port::forger6(native).expect("raw socket").send6(&echo, address::SITE6, 0).expect("sent");
    let destination = frames
        .wait_for("a tunnelled frame", Deadline::seconds(5), |frame| {
            let tunnelled = frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&41);
            if tunnelled { frame.first_chunk::<6>().copied() } else { None }
        })
        .expect("forwarded");
    assert_eq!(destination, MOVED, "the old neighbour is still in use");
    let same = lab.relay.part(Part::DataPlane).expect("a data plane").pid();
    assert_eq!(same, process.pid(), "the data plane was replaced");
}

/// What comes while the data plane stands still and its ring is full is lost in the kernel, and seen.
#[test]
fn loss_in_front_of_a_stopped_data_plane_is_shown() {
    let small = "\n[dataplane]\nstuck_seconds = 0\nrx_ring = 64\n";
    let lab = Running::with(FarEnd::RawSocket, |config| format!("{config}{small}")).expect("a running relay");
    let process = lab.relay.part(Part::DataPlane).expect("a data plane");
    process.signal(Signal::STOP);
    let native = Port::forger6(lab.world.host("host6").expect("host6")).expect("raw socket");
    let echo = packet::echo_request(address::HOST6, address::SITE6, 64);
    for _ in 0..200 {
        native.send6(&echo, address::SITE6, 0).expect("sent");
    }
    process.signal(Signal::CONT);
    let lost = eventually("the kernel's figure", Deadline::seconds(20), || {
        let counters = lab.counters();
        let wan6 = counters["ports"].as_array()?.iter().find(|port| port["name"] == "wan6")?.clone();
        wan6["sockets"]["rx_ring_full"].as_u64().filter(|&lost| lost >= 100)
    });
    let lost = lost.expect("shown");
    assert!(lost <= 200 - 64, "{lost}: more than there was no room for");
}

/// FAIL-02: a control that stands still costs nothing; it works again when it goes on.
#[test]
fn a_stopped_control_costs_no_packet() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let control = lab.relay.part(Part::Control).expect("control");
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(10)).expect("flows");
    control.signal(Signal::STOP);
    stream.progress(20_000, Deadline::seconds(60)).expect("goes on without control");
    control.signal(Signal::CONT);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    lab.assert_identity();
    assert_eq!(lab.relay.part(Part::Control).expect("control").pid(), control.pid());
}
