//! Routes learned by BGP: BIRD announces them, FRR beside the relay learns them and tells the kernel, or the
//! relay itself by FPM.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Bird, Deadline, FarEnd, Frr, Host, eventually};
use sixlane_tests::{Running, long};
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// Prefixes that are announced all the time, and those that come and go.
const STABLE: u16 = 0x2a00;
const STORMY: u16 = 0x2600;

fn host<'a>(lab: &'a Running, name: &str) -> &'a Host {
    lab.world.host(name).expect("a host")
}

fn prefix(first: u16, n: u32) -> String {
    let base = u128::from(Ipv6Addr::new(first, 1, 0, 0, 0, 0, 0, 0));
    format!("{}/48", Ipv6Addr::from(base + (u128::from(n) << 80)))
}

/// BIRD on the native host: `stable` prefixes and `stormy` ones, announced with itself as next hop.
fn bird(stable: u32, stormy: u32) -> String {
    let mut routes = String::new();
    for (first, count) in [(STABLE, stable), (STORMY, stormy)] {
        for n in 0..count {
            writeln!(routes, "  route {} blackhole;", prefix(first, n)).expect("text");
        }
    }
    format!(
        "router id 1.1.1.1;\nprotocol device {{ }}\nprotocol static {{\n  ipv6;\n{routes}}}\n\
         protocol bgp relay {{\n  local 2001:600::1 as 64602;\n  neighbor 2001:600::fe as 64601;\n  \
         connect delay time 1;\n  connect retry time 1;\n  error wait time 1, 2;\n  \
         ipv6 {{ import none; export where source = RTS_STATIC; next hop self; }};\n}}\n"
    )
}

const FRR: &str = "router bgp 64601\n bgp router-id 9.254.253.252\n no bgp ebgp-requires-policy\n \
     neighbor 2001:600::1 remote-as 64602\n neighbor 2001:600::1 timers connect 1\n \
     address-family ipv6 unicast\n  neighbor 2001:600::1 activate\n exit-address-family\n";

fn status(lab: &Running) -> serde_json::Value {
    lab.relay.show_json(&["show", "status"]).expect("status")
}

/// A figure of `sources`, such as of `kernel`.
fn told(lab: &Running, source: &str) -> Option<u64> {
    lab.relay.ask("status").ok()?["sources"][source]["routes6"].as_u64()
}

/// Waits until the tables have as many IPv6 routes.
fn holds(lab: &Running, expected: u64) -> Duration {
    let began = Instant::now();
    let seconds = if long() { 600 } else { 120 };
    let found = eventually("the routes", Deadline::seconds(seconds), || {
        // Gateways and hosts on the link may have routes of their own.
        let routes = lab.relay.ask("status").ok()?["routes6"].as_u64()?;
        (expected..=expected + 4).contains(&routes).then_some(())
    });
    found.unwrap_or_else(|_| panic!("{expected}: {:#}; {}", status(lab), lab.relay.log()));
    began.elapsed()
}

/// Samples of what the relay shows lead where `oracle` says: gateway and interface.
fn agrees(lab: &Running, oracle: impl Fn(&str) -> String) {
    let shown = lab.relay.show_json(&["show", "routes"]).expect("routes");
    let rows = shown["routes"].as_array().expect("a list");
    let (mut samples, mut n) = (0, 0);
    while let Some(row) = rows.iter().find(|row| row["prefix"] == prefix(STABLE, n).as_str()) {
        let word = |name: &str| row[name].as_str().unwrap_or("nothing").to_owned();
        let expected = format!("via {} dev {}", word("next_hop"), word("port"));
        let found = oracle(&prefix(STABLE, n));
        assert!(found.contains(&expected), "{expected}: {found}");
        (samples, n) = (samples + 1, n + 397);
    }
    assert!(samples > 5, "{samples} of {} rows", rows.len());
}

fn by_kernel(host: &Host, prefix: &str) -> String {
    host.ip(&format!("-6 route get {}", prefix.replace("/48", ""))).expect("a route")
}

/// 100,000 routes (400,000 in the long form) by the kernel; the session breaks and comes back.
#[test]
fn a_hundred_thousand_routes_by_the_kernel_agree_and_go_with_their_session() {
    let count: u32 = if long() { 400_000 } else { 100_000 };
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let (relay, native) = (host(&lab, "relay"), host(&lab, "host6"));
    let before = status(&lab)["routes6"].as_u64().expect("a number");
    let frr = Frr::start(&lab.world.lab, relay, FRR).expect("FRR beside the relay");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    let bird_runs = Bird::start(&lab.world.lab, native, &bird(count, 0)).expect("BIRD");
    frr.established("2001:600::1").expect("the session");
    let took = holds(&lab, before + u64::from(count));
    println!("{count} routes of BGP were in the tables {took:?} after the session was up");
    assert!(told(&lab, "kernel") >= Some(u64::from(count)), "{:#}", status(&lab)["sources"]);
    agrees(&lab, |prefix| by_kernel(relay, prefix));
    drop(bird_runs);
    println!("all were gone {:?} after the session", holds(&lab, before));
    assert!(relay.ip("-6 route show proto bgp").expect("routes").is_empty());
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    lab.assert_identity();
}

/// By FPM: FRR's own table is the oracle. The session flaps, and a storm of changes passes beside a stream on
/// a stable route (FAIL-14).
#[test]
fn routes_by_fpm_agree_flap_and_storm() {
    const STABLE_ROUTES: u32 = 10_000;
    const STORMY_ROUTES: u32 = 5_000;
    let fpm = "[fpm]\n\n[router]";
    let lab = Running::with(FarEnd::RawSocket, |config| config.replace("[router]", fpm));
    let lab = lab.expect("a running relay");
    let (relay, native) = (host(&lab, "relay"), host(&lab, "host6"));
    let before = status(&lab)["routes6"].as_u64().expect("a number");
    let config = format!("fpm address 127.0.0.1 port 2620\n{FRR}");
    let frr = Frr::start_with(&lab.world.lab, relay, &config, &["-M", "dplane_fpm_nl"]).expect("FRR");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    let router = Bird::start(&lab.world.lab, native, &bird(STABLE_ROUTES, 0)).expect("BIRD");
    let fpm = |expected: u32| {
        let found = eventually("routes by FPM", Deadline::seconds(120), || {
            (told(&lab, "fpm")? == u64::from(expected)).then_some(())
        });
        found.unwrap_or_else(|_| panic!("{expected}: {:#}; {}", status(&lab)["sources"], lab.relay.log()));
    };
    fpm(STABLE_ROUTES);
    holds(&lab, before + u64::from(STABLE_ROUTES));
    agrees(&lab, |prefix| {
        let shown = frr.json(&format!("show ipv6 route {prefix} json")).expect("FRR's table");
        let hop = &shown[prefix][0]["nexthops"][0];
        let word = |name: &str| hop[name].as_str().unwrap_or_default().to_owned();
        format!("via {} dev {}", word("ip"), word("interfaceName"))
    });
    // A session that flaps leaves nothing behind, and brings everything back.
    router.ask("disable relay").expect("down");
    fpm(0);
    holds(&lab, before);
    router.ask("enable relay").expect("up");
    fpm(STABLE_ROUTES);
    let changes = |lab: &Running| status(lab)["sources"]["fpm"]["changes"].as_u64().expect("a number");
    let (first, began) = (changes(&lab), Instant::now());
    let mut least = u64::MAX;
    let rounds = if long() { 200 } else { 8 };
    for round in 0..rounds {
        let stormy = STORMY_ROUTES * (1 - round % 2);
        router.configure(&bird(STABLE_ROUTES, stormy)).expect("reconfigured");
        let passed = eventually("the round", Deadline::seconds(60), || {
            let routes = told(&lab, "fpm")?;
            least = least.min(routes);
            (routes == u64::from(STABLE_ROUTES + stormy)).then_some(())
        });
        passed.unwrap_or_else(|_| panic!("{:#}; {}", status(&lab)["sources"], lab.relay.log()));
    }
    let (passed, took) = (changes(&lab) - first, began.elapsed());
    println!("{passed} changes in {took:?}");
    assert!(passed >= u64::from(rounds * STORMY_ROUTES), "{passed} changes");
    assert!(least >= u64::from(STABLE_ROUTES), "stable routes were missing: {least}");
    holds(&lab, before + u64::from(STABLE_ROUTES));
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    assert_eq!(status(&lab)["sources"]["fpm"]["malformed"], 0);
    lab.assert_identity();
}
