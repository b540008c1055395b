//! Metrics over HTTP (design §2, §7; ATK-54, ATK-56): what Prometheus gets is what `show` says, from a
//! process that nobody needs and that needs nobody.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

mod exposition;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use exposition::Key;
use rustix::process::Signal;
use serde_json::Value;
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Part, Process, eventually};
use sixlane_tests::Running;

const ADDRESS: &str = "127.0.0.1:9464";

fn measured() -> Running {
    let section = format!("\n[metrics]\nlisten = \"{ADDRESS}\"\n");
    Running::with(FarEnd::RawSocket, |config| config + &section).expect("a running relay")
}

fn connect(lab: &Running) -> Option<TcpStream> {
    let stream = lab.world.host("relay").expect("relay").within(|| TcpStream::connect(ADDRESS)).ok()?.ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    Some(stream)
}

/// One answer of the server: its head and its body.
fn get(lab: &Running, path: &str) -> Option<(String, String)> {
    let mut stream = connect(lab)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// A scrape that must succeed.
fn scrape(lab: &Running) -> BTreeMap<Key, f64> {
    let answer = eventually("metrics", Deadline::seconds(10), || {
        get(lab, "/metrics").filter(|(head, _)| head.starts_with("HTTP/1.1 200 "))
    });
    let (head, body) = answer.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.to_lowercase().contains(kind), "{head}");
    exposition::parse(&body).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

/// A sample without labels, or with one.
fn value(samples: &BTreeMap<Key, f64>, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let labels = label.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    samples.get(&(format!("sixlane_{name}"), labels)).copied()
}

/// Every figure of `show counters` and `show drops` with the metric that says the same.
fn differences(lab: &Running) -> Vec<String> {
    let samples = scrape(lab);
    let (counters, drops) = (lab.counters(), lab.relay.show_json(&["show", "drops"]).expect("drops"));
    let mut wrong = Vec::new();
    let mut same = |shown: &Value, name: &str, label: Option<(&str, &str)>| {
        let measured = value(&samples, name, label);
        if measured != shown.as_f64() || measured.is_none() {
            wrong.push(format!("{name} {label:?}: shown {shown}, measured {measured:?}"));
        }
    };
    for (key, shown) in counters["total"].as_object().expect("total") {
        match key.as_str() {
            // The sum over the reasons, which are below.
            "dropped" => {}
            "held" | "unaccounted" => same(shown, key, None),
            _ => same(shown, &format!("{key}_total"), None),
        }
    }
    for row in drops["drops"].as_array().expect("drops") {
        let reason = row["reason"].as_str().expect("a name");
        same(&row["packets"], "dropped_total", Some(("reason", reason)));
    }
    for port in counters["ports"].as_array().expect("ports") {
        let label = Some(("port", port["name"].as_str().expect("a name")));
        for key in ["rx_packets", "rx_bytes", "tx_packets", "tx_bytes"] {
            same(&port[key], &format!("port_{key}_total"), label);
        }
        for group in ["xdp", "sockets"] {
            for (key, shown) in port[group].as_object().expect("figures") {
                same(shown, &format!("port_{group}_{key}_total"), label);
            }
        }
    }
    for worker in counters["workers"].as_array().expect("workers") {
        let number = worker["worker"].to_string();
        same(&worker["received"], "worker_received_total", Some(("worker", &number)));
    }
    wrong
}

fn assert_same(lab: &Running) {
    let mut last = Vec::new();
    // The machine's own chatter (neighbour discovery) may fall between the two looks.
    let same = eventually("metrics that equal show", Deadline::seconds(20), || {
        last = differences(lab);
        last.is_empty().then_some(())
    });
    assert!(same.is_ok(), "{last:#?}");
}

fn traffic(lab: &Running) {
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(20)).expect("flows");
    stream.finish().expect("stream");
    lab.assert_identity();
}

#[test]
fn metrics_are_what_show_says_also_after_deaths() {
    let lab = measured();
    traffic(&lab);
    assert_same(&lab);
    let before = value(&scrape(&lab), "received_total", None).expect("a figure");
    assert!(before >= 500.0, "{before}");

    for part in [Part::DataPlane, Part::Control, Part::Observer] {
        let pid = lab.relay.kill(part).expect("a process to kill");
        lab.relay.restarted(part, pid).expect("a successor");
        assert_same(&lab);
        let after = value(&scrape(&lab), "received_total", None).expect("a figure");
        assert!(after >= before, "{part:?}: {after} after {before}");
    }
    assert_eq!(value(&scrape(&lab), "dataplane_deaths_total", None), Some(1.0));
}

#[test]
fn metrics_come_back_with_the_next_keeper() {
    let mut lab = measured();
    traffic(&lab);
    let before = value(&scrape(&lab), "received_total", None).expect("a figure");
    let observer = lab.relay.part(Part::Observer).expect("an observer");
    lab.relay.kill_keeper().expect("killed");
    eventually("the end of its observer", Deadline::seconds(10), || {
        (!std::path::Path::new(&format!("/proc/{}", observer.pid())).exists()).then_some(())
    })
    .expect("it has nobody to work for");
    lab.relay = lab.world.relay().expect("another keeper");
    assert_same(&lab);
    assert!(value(&scrape(&lab), "received_total", None).is_some_and(|after| after >= before));
}

#[test]
fn metrics_go_on_while_control_stands_still() {
    let lab = measured();
    traffic(&lab);
    let before = scrape(&lab);
    assert_eq!(value(&before, "control_answers", None), Some(1.0));
    assert!(value(&before, "routes4", None).is_some());
    let control = lab.relay.part(Part::Control).expect("control");
    control.signal(Signal::STOP);
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(20)).expect("flows");
    let received = |samples: &BTreeMap<Key, f64>| value(samples, "received_total", None).expect("a figure");
    eventually("the new packets in the metrics", Deadline::seconds(20), || {
        let samples = scrape(&lab);
        let deaf = value(&samples, "control_answers", None) == Some(0.0);
        // What only control knows is absent, not stale.
        assert_eq!(deaf, value(&samples, "routes4", None).is_none());
        (deaf && received(&samples) >= received(&before) + 500.0).then_some(())
    })
    .expect("counted without control");
    control.signal(Signal::CONT);
    stream.finish().expect("stream");
    eventually("control's answer", Deadline::seconds(20), || value(&scrape(&lab), "routes4", None))
        .expect("control is asked again");
    assert_same(&lab);
}

#[test]
fn slow_and_wrong_clients_hold_nobody_up() {
    let lab = measured();
    scrape(&lab);
    let mut slow: Vec<TcpStream> = (0..12).map(|_| connect(&lab).expect("a connection")).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").expect("written");
    }
    scrape(&lab);
    let (head, _) = get(&lab, "/status").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    // The server loses patience with them, not they with it.
    for stream in &mut slow {
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest);
        assert!(!rest.contains("200 OK"), "{rest}");
    }
    assert!(lab.relay.part(Part::Observer).is_some(), "{}", lab.relay.log());
}

fn status(process: &Process, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("field");
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn the_observer_has_no_privilege_and_is_there_only_when_configured() {
    let lab = measured();
    scrape(&lab);
    let observer = lab.relay.part(Part::Observer).expect("an observer");
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status(&observer, field), 16), Ok(0), "{field}");
    }
    assert_eq!((status(&observer, "NoNewPrivs"), status(&observer, "Seccomp")), ("1".into(), "2".into()));
    assert_eq!(status(&observer, "Groups"), "", "the admin group is not its own");
    let others = [Part::Control, Part::DataPlane].map(|part| lab.relay.part(part).expect("a process"));
    assert!(others.iter().all(|other| status(other, "Uid") != status(&observer, "Uid")));
    assert!(!status(&observer, "Uid").split_whitespace().any(|uid| uid == "0"));
    let pid = observer.pid();
    drop(lab);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it outlived its relay");

    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    assert!(lab.relay.part(Part::Observer).is_none(), "nobody asked for metrics");
    assert!(connect(&lab).is_none(), "somebody listens");
}
