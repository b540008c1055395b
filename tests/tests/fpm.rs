//! Routes by FPM, from a hand that sends what no zebra would: `bgp.rs` has the real one.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Host, Part, eventually};
use sixlane_tests::Running;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, TcpStream};

const PORT: u16 = 2620;

fn running() -> Running {
    let fpm = "[fpm]\nkeep_seconds = 2\n\n[router]";
    Running::with(FarEnd::RawSocket, |config| config.replace("[router]", fpm)).expect("a running relay")
}

fn relay(lab: &Running) -> &Host {
    lab.world.host("relay").expect("the relay")
}

fn status(lab: &Running) -> serde_json::Value {
    lab.relay.show_json(&["show", "status"]).expect("status")
}

fn alarmed(lab: &Running, name: &str) -> bool {
    status(lab)["alarms"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["name"] == name))
}

/// Waits for a figure of `sources.fpm`.
fn figure(lab: &Running, name: &str, suits: impl Fn(u64) -> bool) {
    let found = eventually("a figure", Deadline::seconds(20), || {
        lab.relay.ask("status").ok()?["sources"]["fpm"][name].as_u64().filter(|figure| suits(*figure))
    });
    found.unwrap_or_else(|_| panic!("{name}: {:#}; {}", status(lab)["sources"], lab.relay.log()));
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The frame of a new route as zebra's module sends it: BGP's, metric 20, in the main table.
fn told(net: IpAddr, len: u8, gateway: IpAddr, interface: u32) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).expect("short");
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    let family = if net.is_ipv4() { 2 } else { 10 };
    let body = [
        vec![family, len, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0],
        attribute(1, &octets(net)),
        attribute(6, &20_u32.to_ne_bytes()),
        attribute(5, &octets(gateway)),
        attribute(4, &interface.to_ne_bytes()),
    ]
    .concat();
    let length = u32::try_from(16 + body.len()).expect("short");
    let header =
        [&length.to_ne_bytes()[..], &24_u16.to_ne_bytes(), &0x501_u16.to_ne_bytes(), &[0; 8]].concat();
    let whole = u16::try_from(4 + header.len() + body.len()).expect("short");
    [&[1, 1][..], &whole.to_be_bytes(), &header, &body].concat()
}

/// 2a00:1:N::/48 by the native host.
fn numbered(lab: &Running, n: u32) -> Vec<u8> {
    let base = u128::from(Ipv6Addr::new(0x2a00, 1, 0, 0, 0, 0, 0, 0));
    let net = Ipv6Addr::from(base + (u128::from(n) << 80));
    told(net.into(), 48, "2001:600::1".parse().expect("an address"), relay(lab).index("wan6").expect("wan6"))
}

fn connect(host: &Host) -> TcpStream {
    let connected = eventually("a listener", Deadline::seconds(20), || {
        host.within(|| TcpStream::connect(("127.0.0.1", PORT))).ok()?.ok()
    });
    connected.expect("connected as root")
}

/// ATK-60, D8: a local user tells a route and closes in haste, so that the kernel calls his socket root's.
#[test]
fn strangers_tell_no_routes() {
    let lab = running();
    let frame = told("2a00:1::".parse().expect("an address"), 48, "2001:600::1".parse().expect("one"), 1);
    let mut bytes = String::new();
    for byte in frame {
        write!(bytes, "\\x{byte:02x}").expect("text");
    }
    for hasty in [true, false].repeat(5) {
        let wait = if hasty { "" } else { "; read -t 0.05 <&3" };
        let script =
            format!("trap '' PIPE; exec 3<>/dev/tcp/127.0.0.1/{PORT} && printf '{bytes}' >&3{wait}; true");
        let mut command = relay(&lab).command("setpriv");
        command.args(["--reuid", "65534", "--clear-groups", "bash", "-c", &script]);
        sixlane_lab::run(&mut command).expect("a stranger");
    }
    figure(&lab, "strangers", |count| count == 10);
    assert!(alarmed(&lab, "fpm_stranger"), "{:#}", status(&lab)["alarms"]);
    let fpm = &status(&lab)["sources"]["fpm"];
    assert_eq!((&fpm["connections"], &fpm["changes"], &fpm["routes6"]), (&0.into(), &0.into(), &0.into()));
}

/// FAIL-15, and a route that FPM alone tells under a stream: resets and the death of control lose nothing.
#[test]
fn a_connection_cut_in_a_message_costs_nothing() {
    let lab = running();
    let interface = relay(&lab).index("wan4").expect("wan4");
    let address = |text: &str| text.parse().expect("an address");
    let way = told(address("192.1.2.0"), 24, address("9.254.253.1"), interface);
    let all: Vec<u8> = (0..1000).flat_map(|n| numbered(&lab, n)).collect();
    let half: Vec<u8> = (0..500).flat_map(|n| numbered(&lab, n)).collect();
    let mut zebra = connect(relay(&lab));
    zebra.write_all(&[way.as_slice(), &all].concat()).expect("told");
    figure(&lab, "routes6", |count| count == 1000);
    relay(&lab).ip("route del default").expect("the kernel's own way");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    let flows = || {
        let progress = stream.progress(500, Deadline::seconds(20));
        progress.unwrap_or_else(|error| panic!("{error}; {}", lab.relay.log()));
    };
    flows();
    let cut = numbered(&lab, 2000);
    zebra.write_all(&cut[..cut.len() - 1]).expect("told");
    drop(zebra);
    eventually("the alarm", Deadline::seconds(20), || alarmed(&lab, "fpm_lost").then_some(())).expect("lost");
    let mut zebra = connect(relay(&lab));
    zebra.write_all(&[way.as_slice(), &half].concat()).expect("told again");
    figure(&lab, "swept", |count| count == 500);
    figure(&lab, "routes6", |count| count == 500);
    flows();
    let killed = lab.relay.kill(Part::Control).expect("killed");
    drop(zebra);
    let mut zebra = connect(relay(&lab));
    zebra.write_all(&[way.as_slice(), &half].concat()).expect("told again");
    lab.relay.restarted(Part::Control, killed).expect("restarted");
    figure(&lab, "routes6", |count| count == 500);
    flows();
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}; {}", lab.relay.log());
    lab.assert_identity();
}
