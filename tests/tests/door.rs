//! The door `sixlane0`: packets of the box itself between the kernel and the tunnels, and the kernel's
//! routes that say where the tunnels are.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use rustix::process::Signal;
use sixlane_lab::socket::{Port, address};
use sixlane_lab::{Deadline, FarEnd, Frr, Host, Part, World, eventually, packet};
use sixlane_tests::{Running, dropped};
use std::io::Write;
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::time::Duration;

fn host<'a>(lab: &'a Running, name: &str) -> &'a Host {
    lab.world.host(name).expect("a host")
}

/// The kernel's routes of 2002::/16, one a line.
fn routes(host: &Host) -> String {
    host.ip("-6 route show 2002::/16").expect("routes")
}

fn serves(host: &Host) -> bool {
    routes(host).contains("dev sixlane0 proto 73")
}

/// Waits until the kernel's route to the door is there or not.
fn announced(lab: &Running, expected: bool) {
    let relay = host(lab, "relay");
    eventually("the route to the door", Deadline::seconds(30), || (serves(relay) == expected).then_some(()))
        .unwrap_or_else(|_| panic!("expected {expected}: {}; {}", routes(relay), lab.relay.log()));
}

fn alarmed(lab: &Running, name: &str) -> bool {
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    status["alarms"].as_array().is_some_and(|all| all.iter().any(|alarm| alarm["name"] == name))
}

#[test]
fn the_interface_is_plain_and_goes_with_the_relay() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay").clone();
    let link = relay.ip("-d link show dev sixlane0").expect("an interface");
    for word in ["tun type tun", "mtu 1280", "LOWER_UP", "addrgenmode none"] {
        assert!(link.contains(word), "no `{word}` in {link}");
    }
    let addresses = relay.ip("addr show dev sixlane0").expect("addresses");
    assert!(!addresses.contains("inet"), "an address of its own: {addresses}");
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["door"]["routes"][0], "2002::/16", "{status:#}");
    assert!(lab.relay.stop().expect("stopped").success());
    assert!(relay.ip("link show dev sixlane0").is_err(), "the interface is left behind");
    assert_eq!(routes(&relay), "");
}

/// 6TO4-21: what does not work is not announced.
#[test]
fn routes_stand_while_the_relay_works() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay");
    // The IPv4 side loses its only way out.
    relay.ip("link set wan4 down").expect("down");
    announced(&lab, false);
    relay.ip("link set wan4 up").expect("up");
    announced(&lab, true);
    // The operator takes the interface down: everything of it goes, and it is not fought over.
    relay.ip("link set sixlane0 down").expect("down");
    announced(&lab, false);
    eventually("the alarm", Deadline::seconds(10), || alarmed(&lab, "door_down").then_some(()))
        .expect("raised");
    relay.ip("link set sixlane0 up").expect("up");
    announced(&lab, true);
    eventually("its end", Deadline::seconds(10), || (!alarmed(&lab, "door_down")).then_some(()))
        .expect("cleared");
    // What somebody removes comes again.
    relay.ip("-6 route flush proto 73").expect("flushed");
    announced(&lab, true);
}

#[test]
fn a_stopped_data_plane_is_withdrawn_and_a_killed_one_is_not() {
    let lab = Running::with(FarEnd::RawSocket, |config| {
        config.replace("[router]", "[dataplane]\nstuck_seconds = 0\n\n[router]")
    })
    .expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay");
    let monitor = Monitor::start(&lab, relay);
    let killed = lab.relay.kill(Part::DataPlane).expect("killed");
    lab.relay.restarted(Part::DataPlane, killed).expect("restarted");
    let killed = lab.relay.kill(Part::Control).expect("killed");
    lab.relay.restarted(Part::Control, killed).expect("restarted");
    announced(&lab, true);
    assert!(monitor.end().is_empty(), "the route went while a process was replaced");
    let data_plane = lab.relay.part(Part::DataPlane).expect("a data plane");
    data_plane.signal(Signal::STOP);
    announced(&lab, false);
    data_plane.signal(Signal::CONT);
    announced(&lab, true);
}

/// A router that announces what the kernel routes, and knows its neighbour by address.
fn bgp(own: u16, id: &str, other: u16, neighbour: &str) -> String {
    format!(
        "router bgp {own}\n bgp router-id {id}\n no bgp ebgp-requires-policy\n \
         neighbor {neighbour} remote-as {other}\n neighbor {neighbour} timers connect 1\n \
         address-family ipv6 unicast\n  redistribute kernel\n  neighbor {neighbour} activate\n \
         exit-address-family\n"
    )
}

/// 6TO4-21 with FRR as it is installed: `redistribute kernel` announces 2002::/16 while the relay works.
#[test]
fn frr_announces_2002_while_the_relay_runs_and_withdraws_it_when_it_stops() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let (relay, native) = (host(&lab, "relay").clone(), host(&lab, "host6").clone());
    let own = Frr::start(&lab.world.lab, &relay, &bgp(64_601, "9.254.253.252", 64_602, "2001:600::1"));
    let own = own.expect("FRR beside the relay");
    let other = Frr::start(&lab.world.lab, &native, &bgp(64_602, "1.1.1.1", 64_601, "2001:600::fe"));
    let other = other.expect("a BGP neighbour");
    other.established("2001:600::fe").expect("the session");
    eventually("the announcement", Deadline::seconds(30), || other.knows("2002::/16").ok()?.then_some(()))
        .unwrap_or_else(|_| panic!("{:?}; {}", own.ask("show ipv6 route"), lab.relay.log()));
    // As a router takes it: by the relay.
    eventually("the route by BGP", Deadline::seconds(30), || {
        routes(&native).contains("proto bgp").then_some(())
    })
    .expect("installed");
    assert!(lab.relay.stop().expect("stopped").success());
    eventually("the withdrawal", Deadline::seconds(30), || (!other.knows("2002::/16").ok()?).then_some(()))
        .expect("withdrawn");
    drop(own);
}

/// A route that somebody else has put there is left alone, and said.
#[test]
fn a_foreign_route_is_not_overwritten() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay");
    relay.ip("link set sixlane0 down").expect("down");
    relay.ip("-6 route add unreachable 2002::/16").expect("a route of the operator");
    relay.ip("link set sixlane0 up").expect("up");
    eventually("the alarm", Deadline::seconds(10), || alarmed(&lab, "door_route").then_some(()))
        .expect("raised");
    assert!(!serves(relay) && routes(relay).contains("unreachable"), "{}", routes(relay));
    relay.ip("-6 route del unreachable 2002::/16").expect("removed");
    announced(&lab, true);
    eventually("its end", Deadline::seconds(10), || (!alarmed(&lab, "door_route")).then_some(()))
        .expect("cleared");
}

#[test]
fn a_name_that_is_taken_is_said_with_its_remedy() {
    let world = World::first_light(FarEnd::RawSocket).expect("a laboratory");
    let relay = world.host("relay").expect("a host");
    relay.ip("tuntap add dev sixlane0 mode tun").expect("an interface of somebody else");
    let refused = world.relay().expect_err("the name is taken").to_string();
    assert!(
        refused.contains("sixlane0 exists already") && refused.contains("ip link del sixlane0"),
        "{refused}"
    );
    relay.ip("link del sixlane0").expect("the remedy");
    drop(world.relay().expect("a running relay"));
}

/// The box is a host like any other, also for those behind a tunnel: ping and traceroute to it, and its own
/// to them. TCP is for the operator to allow.
#[test]
fn the_box_and_a_site_reach_each_other() {
    let mut lab = Running::first_light(FarEnd::Linux).expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay").clone();
    let guest = lab.world.guest().expect("a guest");
    guest.sh("ping6 -c 3 -W 5 2001:600::fe").expect("the box answers");
    guest.sh("ping6 -c 2 -s 3000 -W 5 2001:600::fe").expect("the box answers what came in fragments");
    // As traceroute by ICMPv6 does: one hop. (By UDP it would need `deliver`, as all UDP to the box does.)
    guest.sh("ping6 -c 1 -t 1 -W 5 2001:600::fe").expect("the box is one hop away");
    relay.run("ping -6 -n -i 0.1 -c 3 -W 5 2002:c001:203::1").expect("the site answers");
    relay.run("ping -6 -n -s 3000 -c 2 -W 5 2002:c001:203::1").expect("the site answers fragments");
    let trace = relay.run("traceroute6 -n -q 1 -w 2 -m 4 2002:c001:203::1").expect("traceroute");
    assert!(trace.contains(" 1  2002:c001:203::1"), "{trace}");
    assert!(!tcp_to_the_box(&mut lab, &relay), "TCP to the box came through unasked");
    let drops = lab.relay.show_json(&["show", "drops"]).expect("drops");
    assert!(dropped(&drops, "mgmt_protected") > 0, "{drops:#}");
    lab.assert_identity();
    lab.assert_census(None);
}

/// `deliver = "all"`: a service of the box, such as BGP or SSH, is there for the site too, and the answers
/// to the box's own connections come through.
#[test]
fn a_service_of_the_box_is_reached_when_all_is_delivered() {
    let mut lab = Running::with(FarEnd::Linux, |config| {
        config.replace("role = \"relay\"", "role = \"relay\"\ndeliver = \"all\"")
    })
    .expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay").clone();
    assert!(tcp_to_the_box(&mut lab, &relay), "{}", lab.relay.log());
    tcp_to_the_site(&mut lab);
    let guest = lab.world.guest().expect("a guest");
    let trace = guest.sh("traceroute6 -n -q 1 -w 2 -m 4 2001:600::fe").expect("traceroute");
    assert!(trace.contains(" 1  2001:600::fe") && !trace.contains(" 2  "), "{trace}");
    lab.assert_identity();
}

const PORT: u16 = 4190;

/// The box connects to the site and sends; the site counts.
fn tcp_to_the_site(lab: &mut Running) {
    let relay = host(lab, "relay").clone();
    let guest = lab.world.guest().expect("a guest");
    let count = guest.scratch().join("door").display().to_string();
    guest
        .sh(&format!(
            "(nc -l -p {PORT} </dev/null | wc -c >{count}.part; mv {count}.part {count}) >/dev/null 2>&1 & \
             until netstat -ltn | grep -q :{PORT}; do usleep 20000; done"
        ))
        .expect("a listener");
    let to = SocketAddrV6::new(address::SITE6, PORT, 0, 0).into();
    let stream = relay.within(|| TcpStream::connect_timeout(&to, Duration::from_secs(20)));
    let mut stream = stream.expect("inside").expect("connected");
    stream.write_all(&[7; 100_000]).expect("written");
    drop(stream);
    let counted = guest.sh(&format!("until [ -s {count} ]; do usleep 20000; done; cat {count}"));
    assert_eq!(counted.expect("a count").trim(), "100000");
}

/// The site connects to a service of the box: does it come?
fn tcp_to_the_box(lab: &mut Running, relay: &Host) -> bool {
    let own = SocketAddrV6::new(address::RELAY6, PORT, 0, 0);
    let listener = relay.within(|| TcpListener::bind(own)).expect("inside").expect("a listener");
    let said = std::thread::spawn(move || {
        listener.set_nonblocking(true).expect("set");
        eventually("a connection", Deadline::seconds(6), || {
            let (mut stream, _) = listener.accept().ok()?;
            stream.write_all(b"welcome\n").ok()
        })
        .is_ok()
    });
    let line = format!("nc -w 4 2001:600::fe {PORT} </dev/null");
    let answer = lab.world.guest().expect("a guest").shell(&line, Deadline::seconds(20)).expect("it ends");
    let accepted = said.join().expect("the service");
    assert_eq!(accepted, answer.text.contains("welcome"), "{}", answer.text);
    accepted
}

/// ICMPv4 errors are taken where they may be about tunnel packets. The box has other sockets: what is not
/// about ours reaches its kernel, by the door.
#[test]
fn an_icmp_error_about_another_packet_reaches_the_box() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let (relay, site) = (host(&lab, "relay"), host(&lab, "site"));
    let icmp = Port::raw4(relay, packet::protocol::ICMP).expect("a raw socket");
    let forger = Port::forger4(site).expect("a raw socket");
    // What no relay sends: an inner packet whose destination is not the site that it went to.
    let inner = packet::echo_request(address::HOST6, address::ISP6, 64);
    let quoted = packet::protocol41(address::RELAY4, address::SITE4, &inner);
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&quoted);
    let sum = packet::checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let error = packet::ipv4(address::SITE4, address::RELAY4, packet::protocol::ICMP, &message);
    forger.send4(&error, address::RELAY4).expect("sent");
    icmp.wait_for("the error", Deadline::seconds(10), |bytes| (bytes.get(20) == Some(&3)).then_some(()))
        .unwrap_or_else(|error| {
            panic!("{error}: {:#}", lab.relay.show_json(&["show", "status"]).expect("status")["door"])
        });
    let status = lab.relay.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["door"]["to_kernel"], 1, "{status:#}");
    lab.assert_identity();
}

/// LOOP-11: the way to a site's IPv4 address must not lead into one of our own tunnels. The door is no port,
/// so a route into it is none for outer packets.
#[test]
fn an_ipv4_route_into_the_door_leads_nowhere() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let native = host(&lab, "host6");
    host(&lab, "relay").ip("route add 192.1.2.0/24 dev sixlane0").expect("a route into the door");
    let forger = Port::forger6(native).expect("a raw socket");
    let echo = packet::echo_request(address::HOST6, address::SITE6, 64);
    eventually("a refusal", Deadline::seconds(10), || {
        forger.send6(&echo, address::SITE6, 0).ok()?;
        (dropped(&lab.relay.show_json(&["show", "drops"]).ok()?, "outer_no_route") > 0).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#}", lab.relay.show_json(&["show", "drops"]).expect("drops")));
    lab.assert_identity();
}

/// The door outlives its keeper, and the next keeper gives it to the next control.
#[test]
fn the_door_outlives_its_keeper() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    announced(&lab, true);
    let relay = host(&lab, "relay").clone();
    let index = relay.index("sixlane0").expect("an interface");
    let monitor = Monitor::start(&lab, &relay);
    lab.relay.kill_keeper().expect("killed");
    let again = lab.world.relay().expect("another keeper");
    eventually("the take-over", Deadline::seconds(10), || {
        again.log().contains("is taken over").then_some(())
    })
    .unwrap_or_else(|_| panic!("{}", again.log()));
    let killed = again.kill(Part::Control).expect("killed");
    again.restarted(Part::Control, killed).expect("restarted");
    relay.ip("-6 route add 2001:db8:ffff::/48 dev sixlane0").expect("a later route");
    let monitored = || monitor.text().contains("2001:db8:ffff::/48").then_some(());
    eventually("the monitor", Deadline::seconds(10), monitored).expect("it is told");
    assert_eq!(relay.index("sixlane0").expect("an interface"), index, "it was made anew");
    assert!(serves(&relay), "{}", again.log());
    assert!(monitor.end().is_empty(), "the route went in between; {}", again.log());
    let status = again.show_json(&["show", "status"]).expect("status");
    assert_eq!(status["door"]["routes"][0], "2002::/16", "{status:#}");
}

/// `ip -6 monitor route`: what happened to the prefix in between.
struct Monitor {
    child: std::process::Child,
    file: std::path::PathBuf,
}

impl Monitor {
    fn start(lab: &Running, host: &Host) -> Self {
        let file = lab.world.lab.directory().join("monitor");
        let output = std::fs::File::create(&file).expect("a file");
        let mut command = host.command("ip");
        command.args(["-6", "monitor", "route"]).stdout(output);
        let child = command.spawn().expect("ip monitor");
        let this = Self { child, file };
        // It listens when it tells of a route of ours.
        let mut n = 0;
        eventually("the monitor", Deadline::seconds(10), || {
            n += 1;
            host.ip(&format!("-6 route add blackhole 2001:db8:{n:x}::/48")).ok()?;
            this.text().contains("2001:db8:").then_some(())
        })
        .expect("it listens");
        this
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }

    /// What it told about 2002::/16.
    fn end(mut self) -> Vec<String> {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
        self.text().lines().filter(|line| line.contains("2002::/16")).map(str::to_owned).collect()
    }
}
