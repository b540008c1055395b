//! The configuration changes under traffic (TGT-04, FAIL-20): every packet meets one configuration as a
//! whole, none is lost, and what is refused changes nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use rustix::process::Signal;
use sixlane_lab::socket::address;
use sixlane_lab::stream::{Mark, Pace, Stream, Tally, Way};
use sixlane_lab::{Deadline, FarEnd, Part, Topology, eventually, program};
use sixlane_tests::{Running, long, note_long_run};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// The relay's two IPv4 addresses.
const FIRST: Ipv4Addr = address::RELAY4;
const SECOND: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 251);

/// What the two configurations differ in: address, time to live and code point, always together.
const PAIRS: [(Ipv4Addr, u8, u8); 2] = [(FIRST, 64, 10), (SECOND, 99, 46)];

/// The laboratory's configuration with one of the pairs.
fn text(pair: usize) -> String {
    let (address, ttl, dscp) = PAIRS[pair % 2];
    let base = Topology::first_light().expect("a topology").relay.config;
    let new = format!("address = \"{address}\"\nttl = {ttl}\ndscp = {dscp}");
    base.replace("address = \"9.254.253.252\"", &new)
}

/// What arrives at the site, one router further on.
fn marks() -> Vec<Mark> {
    let mark =
        |(source, ttl, dscp): (Ipv4Addr, u8, u8)| Mark { source, tos: Some(dscp << 2), ttl: Some(ttl - 1) };
    PAIRS.map(mark).to_vec()
}

/// A relay with both addresses, under the first pair.
fn running() -> Running {
    let mut topology = Topology::first_light().expect("a topology");
    let relay = topology.hosts.iter_mut().find(|host| host.name == "relay").expect("the relay");
    relay.addresses.push(format!("wan4 {SECOND}/24"));
    topology.relay.config = text(0);
    Running::build(topology, FarEnd::RawSocket).expect("a running relay")
}

fn marked_stream(lab: &Running, pace: Pace) -> Stream {
    let site = lab.world.host("site").expect("the site");
    let far = (site, address::SITE6);
    Stream::start_marked(&lab.world, far, Way::Encap, pace, marks()).expect("sockets")
}

fn flows(lab: &Running, stream: &Stream, packets: u64) {
    stream
        .progress(packets, Deadline::seconds(15))
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
}

fn unharmed(lab: &Running, tally: &Tally) {
    let drops = lab.relay.show(&["show", "drops"]).unwrap_or_default();
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {drops}");
}

fn status(lab: &Running) -> serde_json::Value {
    lab.relay.ask("status").expect("status")
}

fn reload(lab: &Running) -> serde_json::Value {
    lab.relay.order("reload").unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()))
}

fn reloaded(lab: &Running, text: &str) {
    lab.relay.configure(text).expect("written");
    let answer = reload(lab);
    assert_eq!(answer["done"], true, "{answer:#}; {}", lab.relay.log());
}

fn alarmed(lab: &Running) -> Option<String> {
    let status = status(lab);
    let refused =
        status["alarms"].as_array()?.iter().find(|alarm| alarm["name"] == "reload_refused")?.clone();
    refused["text"].as_str().map(str::to_owned)
}

/// What a bad file says in the place of something good, the exit code, and what the refusal has to name.
struct Bad(&'static str, &'static str, i32, &'static [&'static str]);

const BAD: [Bad; 5] = [
    Bad("role = \"relay\"", "rolle = \"relay\"", 2, &["rolle", "role", ":13"]),
    Bad("ttl = 64", "ttl = 640", 2, &["ttl", ":15"]),
    Bad("version = 1", "version = 1\n[", 2, &[":2"]),
    Bad("address = \"9.254.253.252\"", "address = \"10.1.2.3\"", 2, &["10.1.2.3", "global unicast"]),
    Bad("address = \"9.254.253.252\"", "address = \"9.9.9.9\"", 1, &["9.9.9.9", "not on an interface"]),
];

impl Bad {
    fn text(&self) -> String {
        let text = text(0);
        assert!(text.contains(self.0), "{} in {text}", self.0);
        text.replace(self.0, self.1)
    }
}

/// TGT-04: the outer source, the time to live and the code point of every packet are of one
/// configuration, and no number is missing or twice. The long form reloads 100 times a second for a
/// minute.
#[test]
fn every_packet_is_of_one_configuration_and_none_is_lost() {
    let lab = running();
    let (rounds, every) =
        if long() { (6_000, Duration::from_millis(10)) } else { (200, Duration::from_millis(5)) };
    let stream = marked_stream(&lab, Pace::default());
    let generation = status(&lab)["generation"].as_u64().expect("a number");
    let (began, mut worst) = (Instant::now(), Duration::ZERO);
    for round in 1..=rounds {
        if round % 20 == 0 {
            lab.relay.configure(&BAD[round / 20 % BAD.len()].text()).expect("written");
            let answer = reload(&lab);
            assert!(answer["error"].is_string(), "{answer:#}");
        }
        let one = Instant::now();
        reloaded(&lab, &text(round));
        worst = worst.max(one.elapsed());
        let due = every * u32::try_from(round).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let took = began.elapsed();
    flows(&lab, &stream, 500);
    let tally = stream.finish().expect("stream");
    unharmed(&lab, &tally);
    assert!(tally.marked.iter().all(|count| *count > 100), "both were in force: {tally:?}");
    let line = format!("{rounds} reloads in {took:?} (slowest {worst:?}), {} packets, none lost", tally.sent);
    println!("{line}");
    if long() {
        note_long_run(&line).expect("a note");
    }
    let now = status(&lab);
    assert_eq!(now["generation"].as_u64(), Some(generation + u64::try_from(rounds).unwrap_or(0)));
    assert_eq!(now["configuration"]["reloads"].as_u64(), u64::try_from(rounds).ok());
    assert!(now["memory"]["segments"] == 1, "old generations are reclaimed: {now:#}");
    lab.assert_identity();
    lab.assert_census(None);
}

/// Inbound packets to an address that both configurations serve are never lost, whatever else changes.
#[test]
fn what_both_configurations_serve_is_served_throughout() {
    let lab = running();
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    let other = |round: u32| {
        let text = text(0).replace("dscp = 10", &format!("dscp = \"copy\"\nmtu = {}", 1280 + round % 100));
        format!("known_relays = [\"11.{round}.0.0/16\"]\naliases = [\"12.0.0.{round}\"]\n{text}")
    };
    for round in 0..100 {
        reloaded(&lab, &if round % 2 == 0 { other(round) } else { text(0) });
    }
    flows(&lab, &stream, 500);
    unharmed(&lab, &stream.finish().expect("stream"));
    lab.assert_identity();
    lab.assert_census(None);
}

/// FAIL-20: a bad file changes nothing, by signal and by command, and is an alarm until a good one.
#[test]
fn a_bad_file_changes_nothing() {
    let lab = running();
    let stream = marked_stream(&lab, Pace { rate: 2_000, ..Pace::default() });
    let hangup = || lab.relay.keeper().expect("the keeper").signal(Signal::HUP);
    let before = status(&lab);
    for bad in &BAD {
        let Bad(.., code, words) = bad;
        lab.relay.configure(&bad.text()).expect("written");
        let output = lab.relay.sixlane(&["reload"]).output().expect("a command");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
        if *code == 2 {
            let file = lab.relay.config().to_string_lossy().into_owned();
            let checked =
                std::process::Command::new(program().expect("sixlane")).args(["check", &file]).output();
            assert_eq!(
                String::from_utf8_lossy(&checked.expect("a check").stderr),
                said,
                "one report for both"
            );
        }
        let refused = alarmed(&lab).expect("an alarm");
        assert!(
            refused.contains("sixlane.toml") && words.iter().all(|word| refused.contains(word)),
            "{refused}"
        );
        let logged = |lab: &Running| lab.relay.log().matches("reload refused").count();
        let count = logged(&lab);
        hangup();
        eventually("a refusal", Deadline::seconds(5), || (logged(&lab) > count).then_some(())).expect("said");
    }
    std::fs::remove_file(lab.relay.config()).expect("removed");
    let output = lab.relay.sixlane(&["reload"]).output().expect("a command");
    assert_eq!(output.status.code(), Some(2), "no file: {output:?}");
    let nowhere = ["reload", "--runtime", "/run/nobody-runs-here"];
    let output = std::process::Command::new(program().expect("sixlane")).args(nowhere).output();
    assert_eq!(output.expect("a command").status.code(), Some(3));
    let after = status(&lab);
    for key in ["generation", "sixtofour", "routes4", "routes6", "pid"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(before["configuration"]["sha256"], after["configuration"]["sha256"]);
    // The next control hears of it too.
    let pid = lab.relay.kill(Part::Control).expect("killed");
    lab.relay.restarted(Part::Control, pid).expect("restarted");
    assert!(alarmed(&lab).is_some_and(|text| text.contains("sixlane.toml")));
    assert_eq!(status(&lab)["sixtofour"], before["sixtofour"], "and has the old configuration");
    lab.relay.configure(&text(1)).expect("written");
    hangup();
    let done = || (status(&lab)["sixtofour"]["address"] == SECOND.to_string()).then_some(());
    eventually("the reload", Deadline::seconds(5), done)
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    assert_eq!(alarmed(&lab), None);
    flows(&lab, &stream, 500);
    unharmed(&lab, &stream.finish().expect("stream"));
}

/// What sockets, memory and processes were made of is fixed; the sentence names the key and the remedy.
#[test]
fn what_is_fixed_at_the_start_is_refused_by_name() {
    let lab = running();
    let before = status(&lab);
    let port = "[[port]]\nname = \"wan6\"";
    let moved = text(1).replace("wan4", "wan5").replace("wan6", "wan4").replace("wan5", "wan6");
    for (text, key) in [
        (text(1).replace(port, ""), "[[port]]"),
        (moved, "[[port]]"),
        (format!("{}\n[dataplane]\nworkers = [0, 1]\n", text(1)), "dataplane.workers"),
        (format!("{}\n[dataplane]\nrx_ring = 512\n", text(1)), "dataplane.rx_ring"),
        (format!("{}\n[limits]\nroutes6 = 1000\n", text(1)), "limits.routes6"),
        (format!("{}\n[process]\ncontrol_user = \"nobody\"\n", text(1)), "process.control_user"),
    ] {
        lab.relay.configure(&text).expect("written");
        let output = lab.relay.sixlane(&["reload"]).output().expect("a command");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(key) && said.contains("restart sixlane"), "{key} in {said}");
    }
    let after = status(&lab);
    assert_eq!((&before["generation"], &before["sixtofour"]), (&after["generation"], &after["sixtofour"]));
    let text = format!("{}\n[dataplane]\nstuck_seconds = 7\n", text(1));
    lab.relay.configure(&text).expect("written");
    let answer = lab.relay.show_json(&["reload"]).expect("a reload");
    assert_eq!((&answer["v"], &answer["done"]), (&1.into(), &true.into()));
    assert_eq!(answer["generation"], status(&lab)["generation"]);
}

/// A control that dies is followed by one with the configuration that was accepted last, or, when it
/// died in the middle of a reload, with one of the two.
#[test]
fn a_new_control_has_one_configuration() {
    let lab = running();
    let stream = marked_stream(&lab, Pace { rate: 2_000, ..Pace::default() });
    let sha = |lab: &Running| status(lab)["configuration"]["sha256"].clone();
    let mut known = vec![sha(&lab)];
    reloaded(&lab, &text(1));
    known.push(sha(&lab));
    let pid = lab.relay.kill(Part::Control).expect("killed");
    lab.relay.restarted(Part::Control, pid).expect("restarted");
    assert_eq!(status(&lab)["sixtofour"]["address"], SECOND.to_string());
    assert_eq!(sha(&lab), known[1], "the new text is what the keeper kept");
    for round in 0..4 {
        lab.relay.configure(&text(round)).expect("written");
        lab.relay.keeper().expect("the keeper").signal(Signal::HUP);
        // Some die before they have read it, some in the middle, some afterwards.
        std::thread::sleep(Duration::from_millis(u64::try_from(round).unwrap_or(0)));
        let pid = lab.relay.kill(Part::Control).expect("killed");
        lab.relay.restarted(Part::Control, pid).expect("restarted");
        let now = status(&lab);
        let at =
            known.iter().position(|known| *known == now["configuration"]["sha256"]).expect("one of both");
        assert_eq!(now["sixtofour"]["address"], PAIRS[at].0.to_string(), "and no mixture");
        flows(&lab, &stream, 200);
    }
    // A signal while there is no control is heard by the next one.
    reloaded(&lab, &text(0));
    lab.relay.configure(&text(1)).expect("written");
    let pid = lab.relay.kill(Part::Control).expect("killed");
    lab.relay.keeper().expect("the keeper").signal(Signal::HUP);
    lab.relay.restarted(Part::Control, pid).expect("restarted");
    let second = || (status(&lab)["sixtofour"]["address"] == SECOND.to_string()).then_some(());
    eventually("the reload", Deadline::seconds(5), second)
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    flows(&lab, &stream, 200);
    unharmed(&lab, &stream.finish().expect("stream"));
    lab.assert_identity();
}

/// A keeper that takes over knows what was loaded last, whatever the file says by now.
#[test]
fn a_new_keeper_has_the_configuration_in_force() {
    let mut lab = running();
    reloaded(&lab, &format!("{}\n[dataplane]\nstuck_seconds = 7\n", text(1)));
    lab.relay.kill_keeper().expect("killed");
    let refused = || lab.relay.order("reload").ok()?["error"].as_str().map(str::to_owned);
    let refused = eventually("a refusal", Deadline::seconds(10), refused).expect("an answer");
    assert!(refused.contains("sixlane run"), "{refused}");
    // The file has the first pair again: what is in force is asked of control.
    let again = lab.world.relay().expect("another keeper");
    let taken = || again.log().contains("data plane (pid").then_some(());
    eventually("the take-over", Deadline::seconds(10), taken).unwrap_or_else(|_| panic!("{}", again.log()));
    let address = || again.ask("status").expect("status")["sixtofour"]["address"].clone();
    assert_eq!(address(), SECOND.to_string());
    let pid = again.kill(Part::Control).expect("killed");
    again.restarted(Part::Control, pid).expect("restarted");
    assert_eq!(address(), SECOND.to_string(), "{}", again.log());
    let answer = again.order("reload").expect("an answer");
    assert_eq!(answer["done"], true, "{answer}; {}", again.log());
    assert_eq!(address(), FIRST.to_string());
}

/// A mechanism goes and comes back: routes, the program's sets and the fence follow.
#[test]
fn a_mechanism_is_removed_and_comes_back() {
    let lab = running();
    let fenced = |relays: &[Ipv4Addr]| {
        let relay = lab.world.host("relay").expect("the relay");
        let same = || {
            let table = relay.run("nft list table inet sixlane").unwrap_or_default();
            let holds = |address: &Ipv4Addr| table.contains(&address.to_string());
            [FIRST, SECOND].iter().all(|address| holds(address) == relays.contains(address)).then_some(())
        };
        eventually("the fence", Deadline::seconds(20), same).expect("as it should be");
    };
    let served = || {
        let routes = lab.relay.show_json(&["show", "routes"]).expect("routes");
        routes["routes"].as_array().is_some_and(|rows| rows.iter().any(|row| row["prefix"] == "2002::/16"))
    };
    let stream = marked_stream(&lab, Pace::default());
    flows(&lab, &stream, 100);
    unharmed(&lab, &stream.finish().expect("stream"));
    let whole = text(0);
    let without = whole.split("[sixtofour]").next().expect("a beginning");
    reloaded(&lab, &format!("{without}[admin]\ngroup = \"root\"\n"));
    assert!(status(&lab)["sixtofour"].is_null() && !served());
    fenced(&[]);
    reloaded(&lab, &text(1));
    assert!(served());
    fenced(&[SECOND]);
    let stream = marked_stream(&lab, Pace::default());
    flows(&lab, &stream, 500);
    let tally = stream.finish().expect("stream");
    unharmed(&lab, &tally);
    assert_eq!(tally.marked[0], 0, "{tally:?}");
    lab.assert_identity();
    lab.assert_census(None);
}
