//! The kernel's links, addresses and routes are followed live.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use rustix::process::Signal;
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Host, Part, eventually};
use sixlane_tests::{Running, dropped};
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

fn host<'a>(lab: &'a Running, name: &str) -> &'a Host {
    lab.world.host(name).expect("a host")
}

/// One row of `show routes`, if there is one for the prefix.
fn route(lab: &Running, prefix: &str) -> Option<serde_json::Value> {
    let shown = lab.relay.show_json(&["show", "routes"]).ok()?;
    shown["routes"].as_array()?.iter().find(|row| row["prefix"] == prefix).cloned()
}

/// Waits until a prefix leads where `suits` says.
fn leads(lab: &Running, prefix: &str, suits: impl Fn(Option<&serde_json::Value>) -> bool) {
    let found =
        eventually("a route", Deadline::seconds(10), || suits(route(lab, prefix).as_ref()).then_some(()));
    found.unwrap_or_else(|_| panic!("{prefix}: {:?}; {}", route(lab, prefix), lab.relay.log()));
}

fn via(lab: &Running, prefix: &str, gateway: &str) {
    leads(lab, prefix, |row| row.is_some_and(|row| row["next_hop"] == gateway));
}

fn status(lab: &Running) -> serde_json::Value {
    lab.relay.show_json(&["show", "status"]).expect("status")
}

fn alarmed(lab: &Running, name: &str) -> bool {
    status(lab)["alarms"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["name"] == name))
}

fn flows(lab: &Running, stream: &Stream) {
    stream
        .progress(500, Deadline::seconds(15))
        .unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
}

/// Routes come and go under a numbered stream that uses none of them: nothing is lost.
#[test]
fn routes_come_and_go_and_a_stream_beside_them_loses_nothing() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = host(&lab, "relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    for (prefix, gateway) in [("2001:700::/32", "2001:600::1"), ("11.0.0.0/8", "9.254.253.1")] {
        relay.ip(&format!("route add {prefix} via {gateway}")).expect("added");
        via(&lab, prefix, gateway);
        relay.ip(&format!("route replace blackhole {prefix}")).expect("replaced");
        leads(&lab, prefix, |row| row.is_some_and(|row| row["action"] == "blackhole"));
        relay.ip(&format!("route del blackhole {prefix}")).expect("deleted");
        leads(&lab, prefix, |row| row.is_none());
    }
    // 2001:600::1 is a host again, 9.254.253.1 still a gateway.
    let managed =
        |family: &str| relay.ip(&format!("{family} neigh show")).is_ok_and(|all| all.contains("managed"));
    eventually("the end of management", Deadline::seconds(5), || (!managed("-6")).then_some(()))
        .expect("let go");
    assert!(managed("-4"), "the default router is managed");
    flows(&lab, &stream);
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    lab.assert_identity();
    lab.assert_census(None);
}

/// G25 route-visible: from the start of `ip` to the answer of the relay that shows the route. The
/// figure is printed; what is asserted is that it comes.
#[test]
fn a_new_route_is_in_the_tables_soon() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = host(&lab, "relay");
    let before = status(&lab)["routes6"].as_u64().expect("a number");
    let mut times: Vec<Duration> = (0..20_u64)
        .map(|n| {
            let began = Instant::now();
            relay.ip(&format!("-6 route add 2001:{:x}::/32 via 2001:600::1", 0x700 + n)).expect("added");
            let there = || (lab.relay.ask("status").ok()?["routes6"].as_u64()? > before + n).then_some(());
            eventually("the route", Deadline::seconds(5), there).expect("in the tables");
            began.elapsed()
        })
        .collect();
    times.sort();
    let (median, worst) = (times.get(times.len() / 2), times.last());
    if let (Some(median), Some(worst)) = (median, worst) {
        println!("route-visible: median {median:?}, worst {worst:?} of {}", times.len());
    }
}

/// The relay gets a second address and loses it again.
#[test]
fn own_addresses_are_local_while_they_are_there() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = host(&lab, "relay");
    let local = |row: Option<&serde_json::Value>| row.is_some_and(|row| row["action"] == "local");
    let broadcast = |row: Option<&serde_json::Value>| row.is_some_and(|row| row["action"] == "broadcast");
    relay.ip("addr add 2001:600:0:1::5/64 dev wan6 nodad").expect("added");
    relay.ip("addr add 11.1.1.1/24 dev wan4").expect("added");
    leads(&lab, "2001:600:0:1::5/128", local);
    leads(&lab, "11.1.1.1/32", local);
    leads(&lab, "11.1.1.255/32", broadcast);
    leads(&lab, "11.1.1.0/24", |row| row.is_some_and(|row| row["action"] == "on_link"));
    relay.ip("addr del 2001:600:0:1::5/64 dev wan6").expect("removed");
    relay.ip("addr del 11.1.1.1/24 dev wan4").expect("removed");
    for prefix in ["2001:600:0:1::5/128", "11.1.1.1/32", "11.1.1.255/32", "11.1.1.0/24"] {
        leads(&lab, prefix, |row| row.is_none());
    }
}

/// FAIL-09, FAIL-11: a rename and an MTU change are harmless; an interface that was down works again.
#[test]
fn an_interface_is_renamed_resized_and_flapped() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = host(&lab, "relay");
    let stream = Stream::start(&lab.world, Way::Decap, Pace::default()).expect("sockets");
    relay.ip("link set dev wan6 mtu 1400").expect("resized");
    let mtu = || (status(&lab)["ports"][1]["mtu"] == 1400).then_some(());
    eventually("the MTU", Deadline::seconds(5), mtu).expect("followed");
    relay.ip("link set dev wan6 name other6").expect("renamed");
    flows(&lab, &stream);
    let renamed = || (status(&lab)["ports"][1]["name"] == "other6").then_some(());
    eventually("the new name", Deadline::seconds(5), renamed).expect("shown");
    assert_eq!(route(&lab, "2001:600::/64").map(|row| row["port"].clone()), Some("other6".into()));
    assert_eq!(lab.counters()["ports"][1]["name"], "other6");
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled), (0, 0), "{tally:?}");

    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    for _ in 0..3 {
        relay.ip("link set dev wan4 down").expect("down");
        leads(&lab, "0.0.0.0/0", |row| row.is_none());
        relay.ip("link set dev wan4 up").expect("up");
        relay.ip("route add default via 9.254.253.1").expect("the operator's route");
        via(&lab, "0.0.0.0/0", "9.254.253.1");
        flows(&lab, &stream);
    }
    drop(stream);
    let drops = lab.relay.show_json(&["show", "drops"]).expect("drops");
    assert!(dropped(&drops, "outer_no_route") > 0, "what had no way is counted: {drops:#}");
    assert_eq!(status(&lab)["dataplane_deaths"], 0);
    lab.assert_identity();
    lab.assert_census(None);
}

/// FAIL-10, as far as control goes: what leads to a deleted interface is gone, and is said; the other
/// port's routes stay.
#[test]
fn a_deleted_interface_takes_its_routes_and_no_others() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    host(&lab, "relay").ip("link del dev wan6").expect("deleted");
    leads(&lab, "2001:600::/64", |row| row.is_none());
    via(&lab, "0.0.0.0/0", "9.254.253.1");
    assert!(alarmed(&lab, "port_unfit"), "{:#}", status(&lab));
}

/// FAIL-08: control sleeps while more changes than its socket holds happen; it notices and ends where the
/// kernel is.
#[test]
fn lost_notices_are_noticed_and_made_good() {
    const ROUTES: u32 = 120_000;
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = host(&lab, "relay");
    let before = status(&lab)["routes6"].as_u64().expect("a number");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    let control = lab.relay.part(Part::Control).expect("control");
    control.signal(Signal::STOP);
    let base = u128::from(Ipv6Addr::new(0x2a00, 1, 0, 0, 0, 0, 0, 0));
    let prefix = |n: u32| format!("{}/48", Ipv6Addr::from(base + (u128::from(n) << 80)));
    let mut batch = String::new();
    for n in 0..ROUTES {
        writeln!(batch, "route add {} via 2001:600::1 dev wan6", prefix(n)).expect("text");
    }
    let file = lab.world.lab.directory().join("routes.batch");
    std::fs::write(&file, batch).expect("written");
    relay.run(&format!("ip -6 -batch {}", file.display())).expect("added");
    control.signal(Signal::CONT);
    let began = Instant::now();
    let all = eventually("all routes", Deadline::seconds(60), || {
        (lab.relay.ask("status").ok()?["routes6"].as_u64()? >= before + u64::from(ROUTES)).then_some(())
    });
    all.unwrap_or_else(|error| panic!("{error}; {:#}; {}", status(&lab)["routes6"], lab.relay.log()));
    println!("{ROUTES} routes were made good in {:?}", began.elapsed());
    assert!(lab.relay.log().contains("reading all again"), "nothing was lost: more routes are needed");
    // The kernel agrees, by samples of what the answer holds.
    let shown = lab.relay.show_json(&["show", "routes"]).expect("routes");
    let rows = shown["routes"].as_array().expect("a list");
    let (mut samples, mut n) = (0, 0);
    while let Some(row) = rows.iter().find(|row| row["prefix"] == prefix(n).as_str()) {
        let address = prefix(n).replace("/48", "");
        let kernel = relay.ip(&format!("-6 route get {address}")).expect("a route");
        assert!(kernel.contains("via 2001:600::1 dev wan6"), "{kernel}");
        assert_eq!((&row["next_hop"], &row["port"]), (&"2001:600::1".into(), &"wan6".into()), "{row}");
        (samples, n) = (samples + 1, n + 997);
    }
    assert!(samples > 5, "{samples} of {} rows", rows.len());
    let tally = stream.finish().expect("stream");
    assert_eq!(tally.lost(), 0, "the old tables served meanwhile: {tally:?}");
}

/// FAIL-14: everything is read again in the middle of a storm of routes. (A dump of IPv6 routes passes
/// over as many as go meanwhile.) Those that stay are in the tables all the time; at the end all is right.
#[test]
fn a_storm_of_routes_takes_none_of_the_others_away() {
    const STABLE: u32 = 30_000;
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = host(&lab, "relay");
    let batch = |name: &str, text: String| {
        let file = lab.world.lab.directory().join(name);
        std::fs::write(&file, text).expect("written");
        format!("ip -6 -batch {}", file.display())
    };
    let line = |verb: &str, first: u16, n: u32| {
        let base = u128::from(Ipv6Addr::new(first, 1, 0, 0, 0, 0, 0, 0));
        format!("route {verb} blackhole {}/48\n", Ipv6Addr::from(base + (u128::from(n) << 80)))
    };
    let routes6 = || lab.relay.ask("status").ok()?["routes6"].as_u64();
    let expected = routes6().expect("a number") + u64::from(STABLE);
    let stable = batch("stable.batch", (0..STABLE).map(|n| line("add", 0x2a00, n)).collect());
    relay.run(&stable).expect("added");
    eventually("the routes", Deadline::seconds(20), || (routes6()? == expected).then_some(())).expect("all");
    let round = || ["add", "del"].iter().flat_map(|verb| (0..1000).map(|n| line(verb, 0x2600, n)));
    let storm = batch("storm.batch", (0..150).flat_map(|_| round()).collect());
    let least = std::thread::scope(|scope| {
        let storm = scope.spawn(|| relay.run(&storm));
        let mut least = u64::MAX;
        while !storm.is_finished() {
            // An IPv4 address that goes takes routes with it in silence.
            relay.ip("addr add 12.0.0.1/32 dev lo").expect("added");
            relay.ip("addr del 12.0.0.1/32 dev lo").expect("removed");
            least = least.min(routes6().expect("an answer"));
        }
        storm.join().expect("no panic").expect("a storm");
        least
    });
    assert!(least >= expected, "{least} of {expected}; {}", lab.relay.log());
    eventually("the end", Deadline::seconds(20), || (routes6()? == expected).then_some(()))
        .unwrap_or_else(|_| panic!("{:?} of {expected}; {}", routes6(), lab.relay.log()));
}
