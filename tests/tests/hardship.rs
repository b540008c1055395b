//! Tables that are full, and a worker that hangs: both are seen, said, and survived (FAIL-06, FAIL-16).

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use rustix::process::Signal;
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Part, Topology, eventually};
use sixlane_tests::Running;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};

/// The sentence of an alarm, if it stands.
fn alarm(lab: &Running, name: &str) -> Option<String> {
    let status = lab.relay.show_json(&["show", "status"]).ok()?;
    let found = status["alarms"].as_array()?.iter().find(|alarm| alarm["name"] == name)?.clone();
    found["text"].as_str().map(str::to_owned)
}

fn flows(lab: &Running, stream: &Stream) {
    stream
        .progress(500, Deadline::seconds(20))
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
}

fn routes6(lab: &Running) -> Option<u64> {
    lab.relay.ask("status").ok()?["routes6"].as_u64()
}

/// Adds or deletes routes to 2001:7NN::/32.
fn change(lab: &Running, verb: &str, count: u32) {
    let mut batch = String::new();
    for n in 0..count {
        writeln!(batch, "route {verb} 2a00:{n:x}::/32 via 2001:600::1 dev wan6").expect("text");
    }
    let file = lab.world.lab.directory().join("routes.batch");
    std::fs::write(&file, batch).expect("written");
    let relay = lab.world.host("relay").expect("a host");
    relay.run(&format!("ip -6 -batch {}", file.display())).expect("changed");
}

/// FAIL-16: more routes than the limit. What was there goes on, the refusal is counted and said, and is
/// over when there is room again.
#[test]
fn full_tables_keep_what_they_have_until_there_is_room() {
    let lab = Running::with(FarEnd::RawSocket, |config| format!("{config}\n[limits]\nroutes6 = 40\n"))
        .expect("a running relay");
    let before = routes6(&lab).expect("a number");
    assert!(before < 40, "{before}");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab, &stream);
    change(&lab, "add", 100);
    // A neighbour's own route may take the place of one more.
    let at_least = before + 100 - 40;
    eventually("the alarm", Deadline::seconds(10), || {
        let text = alarm(&lab, "tables_full")?;
        let missing: u64 = text.rsplit_once('(')?.1.split_whitespace().next()?.parse().ok()?;
        (at_least..at_least + 5).contains(&missing).then_some(())
    })
    .unwrap_or_else(|_| panic!("{:?}, not {at_least}; {}", alarm(&lab, "tables_full"), lab.relay.log()));
    assert_eq!(routes6(&lab), Some(40));
    flows(&lab, &stream);
    change(&lab, "del", 100);
    eventually("the end of the alarm", Deadline::seconds(20), || {
        (alarm(&lab, "tables_full").is_none() && routes6(&lab)? <= before + 1).then_some(())
    })
    .unwrap_or_else(|_| panic!("{:?}; {}", alarm(&lab, "tables_full"), lab.relay.log()));
    flows(&lab, &stream);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    lab.assert_identity();
    lab.assert_census(None);
}

/// A thread that a tracer holds at its next system call of sending; it does not turn again.
struct Held(Child);

impl Held {
    fn thread(pid: i32, name: &str) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
        let named = |path: &std::path::Path| {
            std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let mut found = tasks.filter_map(|task| Some(task.ok()?.path())).filter(|path| named(path));
        let path = found.next().unwrap_or_else(|| panic!("no thread {name}"));
        let thread = path.file_name().and_then(|name| name.to_str()).expect("a number").to_owned();
        let child = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-p", &thread, "-e", "trace=sendto,getsockopt"])
            .args(["-e", "inject=sendto,getsockopt:delay_enter=600000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("strace, which `make deps` installs"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// FAIL-06: one of two workers hangs. It is seen, routes are published meanwhile, and the data plane is
/// replaced.
#[test]
fn a_hung_worker_is_seen_and_replaced_and_publication_goes_on() {
    let mut topology = Topology::first_light().expect("a topology");
    for wire in &mut topology.wires {
        wire.queues = 2;
    }
    topology.relay.config.push_str("\n[dataplane]\nworkers = [0, 1]\nstuck_seconds = 2\n");
    let lab = Running::build(topology, FarEnd::RawSocket).expect("a running relay");
    let frames = lab.assert_census(None);
    let before = routes6(&lab).expect("a number");
    let pid = lab.relay.part(Part::DataPlane).expect("a data plane").pid();
    let held = Held::thread(pid, "worker-1");
    eventually("the alarm", Deadline::seconds(10), || alarm(&lab, "worker_stuck"))
        .unwrap_or_else(|_| panic!("no alarm; {}", lab.relay.log()));
    change(&lab, "add", 1000);
    eventually("the routes", Deadline::seconds(10), || (routes6(&lab)? >= before + 1000).then_some(()))
        .unwrap_or_else(|_| panic!("{:?}; {}", routes6(&lab), lab.relay.log()));
    change(&lab, "del", 1000);
    eventually("the order to replace it", Deadline::seconds(20), || {
        lab.relay.log().contains("the data plane is restarted: worker 1 has not ended a turn").then_some(())
    })
    .unwrap_or_else(|_| panic!("{}", lab.relay.log()));
    // A process is not gone before its tracer has looked at every thread of it.
    drop(held);
    lab.relay.restarted(Part::DataPlane, pid).expect("replaced");
    for way in [Way::Encap, Way::Decap] {
        let stream = Stream::start(&lab.world, way, Pace::default()).expect("sockets");
        flows(&lab, &stream);
    }
    eventually("the end of the alarm", Deadline::seconds(10), || {
        alarm(&lab, "worker_stuck").is_none().then_some(())
    })
    .expect("over");
    lab.assert_census(Some(frames));
}

/// FAIL-06: all workers are parked in `poll`, as they are most of the time on a quiet machine, and the whole
/// data plane is stopped there. It is seen and replaced as one that hangs in a turn is.
#[test]
fn workers_that_hang_in_their_sleep_are_replaced_too() {
    let lab = Running::with(FarEnd::RawSocket, |config| format!("{config}\n[dataplane]\nidle = \"sleep\"\n"))
        .expect("a running relay");
    let parked = || {
        let shown = lab.relay.show_json(&["show", "workers"]).ok()?;
        let all = shown["workers"].as_array()?;
        all.iter().all(|worker| worker["parked"] == true).then_some(())
    };
    let data_plane = lab.relay.part(Part::DataPlane).expect("a data plane");
    // A parked worker turns now and then; it must be caught asleep.
    eventually("workers that are stopped in their sleep", Deadline::seconds(20), || {
        data_plane.signal(Signal::STOP);
        let caught = parked();
        if caught.is_none() {
            data_plane.signal(Signal::CONT);
        }
        caught
    })
    .unwrap_or_else(|_| panic!("{}", lab.relay.log()));
    lab.relay.restarted(Part::DataPlane, data_plane.pid()).expect("replaced");
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    flows(&lab, &stream);
}
