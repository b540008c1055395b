//! What an operator's relay must outlive: a keeper without descriptors, an address that has gone when control
//! is started again, garbage in the tables, and figures that never go backward whoever dies.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Part, Relay, eventually};
use sixlane_tests::Running;

fn alarmed(relay: &Relay, name: &str) -> bool {
    let status = relay.ask("status").unwrap_or_else(|error| panic!("{error}; {}", relay.log()));
    status["alarms"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["name"] == name))
}

fn flows(relay: &Relay, stream: &Stream) {
    stream.progress(300, Deadline::seconds(20)).unwrap_or_else(|error| panic!("{error}; {}", relay.log()));
}

/// Sets a soft limit of a process. Its own user may lower it and raise it again; that needs no capability.
fn limit(pid: i32, what: &str) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let id = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        line.split_whitespace().next().expect("a number").to_owned()
    };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id("Uid:"), "--regid", &id("Gid:"), "--clear-groups", "prlimit"]);
    let status = command.args(["--pid", &pid.to_string(), &format!("--{what}:")]).status();
    assert!(status.expect("prlimit").success());
}

fn control(relay: &Relay) -> i32 {
    relay.part(Part::Control).unwrap_or_else(|| panic!("no control; {}", relay.log())).pid()
}

/// FAIL-19: the keeper cannot execute anybody for want of a descriptor. Everything else goes on, and once there
/// are descriptors the missing process is back.
#[test]
fn a_keeper_without_descriptors_goes_on_and_recovers() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    let keeper = lab.relay.keeper().expect("a keeper");
    // The lowest free number is what the next descriptor gets.
    limit(keeper.pid(), "nofile=4");
    let dead = lab.relay.kill(Part::Control).expect("killed");
    eventually("a start that fails", Deadline::seconds(10), || {
        lab.relay.log().contains("control cannot be started").then_some(())
    })
    .unwrap_or_else(|_| panic!("{}", lab.relay.log()));
    flows(&lab.relay, &stream);
    limit(keeper.pid(), "nofile=1024");
    lab.relay.restarted(Part::Control, dead).expect("started in the end");
    flows(&lab.relay, &stream);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", lab.relay.log());
}

/// A control that has no descriptor for what the keeper sends it would not know its workers any more: another
/// one takes its place.
#[test]
fn a_control_that_cannot_take_a_message_is_replaced() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let before = control(&lab.relay);
    limit(before, "nofile=4");
    let dead = lab.relay.kill(Part::DataPlane).expect("killed");
    lab.relay.restarted(Part::Control, before).unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    lab.relay.restarted(Part::DataPlane, dead).expect("restarted");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    drop(stream);
    lab.assert_identity();
}

/// FAIL-03: control gets no memory for what the kernel tells it. It dies, and the next one, which gets some, has
/// all routes; no packet is lost.
#[test]
fn a_control_without_memory_is_replaced_without_loss() {
    const ROUTES: u32 = 20_000;
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let routes = || lab.relay.ask("status").ok()?["routes6"].as_u64();
    let already = routes().expect("a number");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    let before = control(&lab.relay);
    limit(before, "as=1");
    let batch: String =
        (0..ROUTES).map(|n| format!("route add 2a00:{n:x}::/32 via 2001:600::1 dev wan6\n")).collect();
    let file = lab.world.lab.directory().join("routes.batch");
    std::fs::write(&file, batch).expect("written");
    let host = lab.world.host("relay").expect("a host");
    host.run(&format!("ip -6 -batch {}", file.display())).expect("added");
    lab.relay.restarted(Part::Control, before).unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    eventually("the routes", Deadline::seconds(30), || {
        (routes()? >= already + u64::from(ROUTES)).then_some(())
    })
    .unwrap_or_else(|_| panic!("{:?}; {}", routes(), lab.relay.log()));
    flows(&lab.relay, &stream);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", lab.relay.log());
}

/// The relay's address has gone while control is started again: it comes up with an alarm, follows the kernel
/// on, and all is well when the address is back.
#[test]
fn a_control_that_is_started_again_does_not_refuse_what_has_gone() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let host = lab.world.host("relay").expect("a host");
    host.ip("address del 9.254.253.252/24 dev wan4").expect("deleted");
    let dead = lab.relay.kill(Part::Control).expect("killed");
    lab.relay.restarted(Part::Control, dead).unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    assert!(alarmed(&lab.relay, "relay_address"));
    host.ip("address add 9.254.253.252/24 dev wan4").expect("added");
    eventually("the end of the alarm", Deadline::seconds(10), || {
        (!alarmed(&lab.relay, "relay_address")).then_some(())
    })
    .unwrap_or_else(|_| panic!("{}", lab.relay.log()));
}

/// FAIL-23: the tables in control's memory are overwritten from outside. Packets are dropped as `table_corrupt`,
/// nothing crashes, and a fresh set brings them back without anybody's help.
#[test]
fn damaged_tables_are_replaced_by_fresh_ones() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    flows(&lab.relay, &stream);
    let control = control(&lab.relay);
    let data_plane = lab.relay.part(Part::DataPlane).expect("a data plane").pid();
    damage(control);
    eventually("the alarm", Deadline::seconds(20), || alarmed(&lab.relay, "table_corrupt").then_some(()))
        .unwrap_or_else(|_| panic!("no alarm; {}", lab.relay.log()));
    drop(stream);
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default())
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    flows(&lab.relay, &stream);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", lab.relay.log());
    let now = [Part::Control, Part::DataPlane].map(|part| lab.relay.part(part).map(|process| process.pid()));
    assert_eq!(now, [Some(control), Some(data_plane)], "nobody died; {}", lab.relay.log());
    lab.assert_identity();
}

/// Where the offset of the record in force stands in the first segment, in granules of 32 bytes; and where in
/// that record the offsets of the roots of both forwarding tables do (`dataplane/tables/src/layout.rs`).
const ROOT: u64 = 80;
const FORWARDING: u64 = 8;

/// Makes the offsets of the forwarding tables point nowhere, in control's memory.
fn damage(control: i32) {
    let maps = std::fs::read_to_string(format!("/proc/{control}/maps")).expect("maps");
    let line = maps.lines().find(|line| line.contains("sixlane-tables") && line.contains("rw-s"));
    let start = line.and_then(|line| line.split('-').next()).expect("tables");
    let start = u64::from_str_radix(start, 16).expect("a number");
    let memory = std::fs::OpenOptions::new().read(true).write(true).open(format!("/proc/{control}/mem"));
    let memory = memory.expect("memory");
    let mut root = [0; 4];
    memory.read_exact_at(&mut root, start + ROOT).expect("read");
    let record = start + u64::from(u32::from_ne_bytes(root)) * 32;
    memory.write_all_at(&[0xff; 8], record + FORWARDING).expect("written");
}

/// Everything that only counts up, by name.
fn figures(relay: &Relay) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let (counters, drops) = (relay.ask("counters"), relay.ask("drops"));
    let (counters, drops) = (counters.unwrap_or_default(), drops.unwrap_or_default());
    for (name, value) in counters["total"].as_object().into_iter().flatten() {
        if !["held", "unaccounted"].contains(&name.as_str()) {
            found.extend(value.as_u64().map(|value| (name.clone(), value)));
        }
    }
    for row in drops["drops"].as_array().into_iter().flatten() {
        found.extend(row["packets"].as_u64().map(|value| (format!("drop {}", row["reason"]), value)));
    }
    for port in counters["ports"].as_array().into_iter().flatten() {
        let mut all = port.as_object().cloned().unwrap_or_default();
        for group in ["xdp", "sockets"] {
            all.extend(port[group].as_object().cloned().unwrap_or_default());
        }
        let counts = all.iter().filter(|(name, _)| !["index", "name"].contains(&name.as_str()));
        found.extend(
            counts.filter_map(|(key, value)| Some((format!("{} {key}", port["name"]), value.as_u64()?))),
        );
    }
    found
}

/// The samples of the metrics that only count up.
fn metrics(lab: &Running) -> BTreeMap<String, u64> {
    let text = lab.world.host("relay").expect("a host").within(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9464").ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    });
    let text = text.ok().flatten().unwrap_or_default();
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let counts =
        samples.filter(|(name, _)| name.split('{').next().is_some_and(|name| name.ends_with("_total")));
    // Workers have figures of their own life.
    let counts = counts.filter(|(name, _)| !name.contains("worker"));
    counts.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn assert_no_step_back(what: &str, before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>, log: &str) {
    for (name, value) in after {
        let then = before.get(name).copied().unwrap_or(0);
        assert!(*value >= then, "{what}: {name} went back from {then} to {value}; {log}");
    }
}

/// Figures never go backward, in `show` and in the metrics, over the deaths of control, data plane and keeper.
#[test]
fn figures_never_go_backward_whoever_dies() {
    let section = "\n[metrics]\nlisten = \"127.0.0.1:9464\"\n";
    let mut lab = Running::with(FarEnd::RawSocket, |config| config + section).expect("a running relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    let (mut shown, mut measured) = (BTreeMap::new(), BTreeMap::new());
    let mut look = |lab: &Running, relay: &Relay| {
        let (now, scraped) = (figures(relay), metrics(lab));
        assert_no_step_back("show", &shown, &now, &relay.log());
        assert_no_step_back("metrics", &measured, &scraped, &relay.log());
        let enough = now.len() > 20 && scraped.len() > 20;
        // Whoever is away has no say.
        if !now.is_empty() {
            shown = now;
        }
        if !scraped.is_empty() {
            measured = scraped;
        }
        enough
    };
    let mut relay: Option<Relay> = None;
    for part in [Some(Part::DataPlane), Some(Part::Control), None, Some(Part::DataPlane), Some(Part::Control)]
    {
        let current = relay.as_ref().unwrap_or(&lab.relay);
        flows(current, &stream);
        assert!(eventually("figures", Deadline::seconds(20), || look(&lab, current).then_some(())).is_ok());
        match part {
            Some(part) => {
                let dead = current.kill(part).expect("killed");
                for _ in 0..5 {
                    look(&lab, current);
                }
                current.restarted(part, dead).expect("restarted");
            }
            None => {
                lab.relay.kill_keeper().expect("killed");
                let next = lab.world.relay().expect("another keeper");
                let done =
                    || (next.log().contains("is taken over") && !alarmed(&next, "keeper_gone")).then_some(());
                eventually("the take-over", Deadline::seconds(10), || {
                    look(&lab, &next);
                    done()
                })
                .unwrap_or_else(|_| panic!("not taken over; {}", next.log()));
                relay = Some(next);
            }
        }
    }
    let current = relay.as_ref().unwrap_or(&lab.relay);
    eventually("figures", Deadline::seconds(20), || look(&lab, current).then_some(())).expect("figures");
    drop(stream);
}
