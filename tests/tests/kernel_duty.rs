//! On the ports the kernel stays the host: with the program attached ARP, ND, DAD, router
//! advertisements, MLD and pings to the box's own addresses go through to it unchanged, and it
//! judges them (ND-*, RA-*, MLD-*, ETH-* of the requirements, state `kernel`).

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::socket::Port;
use sixlane_lab::{Deadline, FarEnd, Host, LabError, Radvd, eventually, packet};
use sixlane_tests::Running;
use std::net::Ipv6Addr;
use std::time::Duration;

const ICMPV6: u8 = packet::protocol::ICMPV6;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

#[test]
fn nd_dad_ra_mld_and_ping_reach_the_kernel() {
    all_of_it("tunnels");
}

/// The same where sixlane takes all native packets that go through the box.
#[test]
fn where_all_is_forwarded_they_reach_the_kernel_too() {
    all_of_it("all");
}

fn all_of_it(forward: &str) {
    let port = |text: String| {
        text.replace("name = \"wan6\"\n", &format!("name = \"wan6\"\nforward = \"{forward}\"\n"))
    };
    let lab = Running::with(FarEnd::RawSocket, port).expect("a running relay");
    let native = lab.world.host("host6").expect("host6").clone();
    let relay = lab.world.host("relay").expect("relay").clone();
    let isp = lab.world.host("isp").expect("isp").clone();
    pings_are_answered(&native, &isp).expect("ping");
    an_address_in_use_is_defended(&native, &relay).expect("DAD");
    a_forged_hop_limit_is_not_believed(&native, &relay).expect("hop limit 254");
    an_advertisement_is_heard(&lab, &native, &relay).expect("RA");
    a_query_is_answered(&native).expect("MLD");
    a_redirect_is_judged(&native, &relay).expect("Redirect");
    the_tunnel_took_none_of_it(&lab);
}

/// Neighbours are flushed first, so that each ping needs ND or ARP through the program.
fn pings_are_answered(native: &Host, isp: &Host) -> Result<(), LabError> {
    native.ip("-6 neigh flush dev eth0")?;
    native.run("ping -6 -n -c 2 -i 0.1 -W 5 2001:600::fe")?;
    isp.ip("neigh flush dev north")?;
    isp.run("ping -n -c 2 -i 0.1 -W 5 9.254.253.252").map(drop)
}

/// ND-11, both ways: the relay's kernel defends its address, and gives one up that is taken.
fn an_address_in_use_is_defended(native: &Host, relay: &Host) -> Result<(), LabError> {
    for (host, interface, address) in [(native, "eth0", "2001:600::fe"), (relay, "wan6", "2001:600::1")] {
        host.sysctl(&format!("net.ipv6.conf.{interface}.accept_dad"), "1")?;
        host.sysctl("net.ipv6.conf.all.accept_dad", "1")?;
        host.ip(&format!("addr add {address}/64 dev {interface}"))?;
        eventually("the duplicate's discovery", Deadline::seconds(10), || {
            let shown = host.ip(&format!("-6 addr show dev {interface} to {address}")).ok()?;
            shown.contains("dadfailed").then_some(())
        })?;
        host.ip(&format!("addr del {address}/64 dev {interface}"))?;
    }
    Ok(())
}

/// ND-01, ND-03: a neighbour advertisement with hop limit 254 comes from beyond the link, and one with a
/// Fragment header (RFC 6980) is none.
fn a_forged_hop_limit_is_not_believed(native: &Host, relay: &Host) -> Result<(), LabError> {
    let before = relay.ip("-6 neigh show 2001:600::1 dev wan6")?;
    let mut advertisement = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    advertisement.extend_from_slice(&sixlane_lab::socket::address::HOST6.octets());
    advertisement.extend_from_slice(&[2, 1, 2, 0xBA, 0xD0, 0xBA, 0xD0, 1]);
    let (from, to) = (sixlane_lab::socket::address::HOST6, sixlane_lab::socket::address::RELAY6);
    let good = packet::icmpv6(from, to, 255, &advertisement);
    let fragment = [&[ICMPV6, 0, 0, 0, 0, 0, 0, 1], &good[40..]].concat();
    let forger = Port::forger6(native)?;
    for bad in [
        packet::icmpv6(from, to, 254, &advertisement),
        packet::ipv6(from, to, packet::protocol::FRAGMENT, 255, &fragment),
    ] {
        forger.send6(&bad, to, 0)?;
        native.run("ping -6 -n -c 1 -W 5 2001:600::fe")?; // judged after it
        let after = relay.ip("-6 neigh show 2001:600::1 dev wan6")?;
        assert!(!after.contains("ba:d0"), "believed: {before} became {after}");
    }
    forger.send6(&good, to, 0)?;
    eventually("the same advertisement with hop limit 255", Deadline::seconds(5), || {
        relay.ip("-6 neigh show 2001:600::1 dev wan6").ok()?.contains("ba:d0").then_some(())
    })?;
    relay.ip("-6 neigh flush dev wan6").map(drop)
}

/// RA-06: the advertisements of radvd give the relay's kernel an address, because it was told to listen; a
/// forged one with hop limit 254 does not.
fn an_advertisement_is_heard(lab: &Running, native: &Host, relay: &Host) -> Result<(), LabError> {
    relay.sysctl("net.ipv6.conf.wan6.accept_ra", "2")?;
    let mut advertisement = vec![134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    advertisement.extend_from_slice(&[3, 4, 64, 0xC0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    advertisement.extend_from_slice(&Ipv6Addr::new(0x2001, 0x600, 0, 0x78, 0, 0, 0, 0).octets());
    let bytes = packet::icmpv6(link_local(native)?, ALL_NODES, 254, &advertisement);
    Port::forger6(native)?.send6_on(&bytes, ALL_NODES, native.index("eth0")?)?;

    native.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    let config = "interface eth0 {\n AdvSendAdvert on;\n MinRtrAdvInterval 3;\n MaxRtrAdvInterval 4;\n \
                  prefix 2001:600:0:77::/64 { };\n};\n";
    let _router = Radvd::start(&lab.world.lab, native, config)?;
    eventually("an address from the advertised prefix", Deadline::seconds(20), || {
        relay.ip("-6 addr show dev wan6").ok()?.contains("2001:600:0:77:").then_some(())
    })?;
    let shown = relay.ip("-6 addr show dev wan6")?;
    assert!(!shown.contains("2001:600:0:78:"), "the forged one was believed: {shown}");
    relay.sysctl("net.ipv6.conf.wan6.accept_ra", "0")
}

/// MLD-01: a query with Router Alert is answered by a report of the relay's kernel.
fn a_query_is_answered(native: &Host) -> Result<(), LabError> {
    let link_local = link_local(native)?;
    let frames = Port::frames(native)?;
    let mut query = vec![130, 0, 0, 0, 0, 1, 0, 0];
    query.extend_from_slice(&[0; 16]);
    query.extend_from_slice(&[2, 125, 0, 0]);
    let alert = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];
    let message = packet::icmpv6(link_local, ALL_NODES, 1, &query);
    let body = [&alert, &message[40..]].concat();
    let bytes = packet::ipv6(link_local, ALL_NODES, 0, 1, &body);
    Port::forger6(native)?.send6_on(&bytes, ALL_NODES, native.index("eth0")?)?;
    let own = native.mac("eth0")?;
    frames.wait_for("the relay's report", Deadline::after(Duration::from_secs(10)), |frame| {
        let report = frame.get(12..14) == Some(&[0x86, 0xDD])
            && frame.get(6..12) != Some(&own)
            && frame.get(20) == Some(&0)
            && frame.get(62) == Some(&143);
        report.then_some(())
    })
}

/// ND-13: the relay's kernel hears a Redirect as a host, and as a router it does not obey it.
fn a_redirect_is_judged(native: &Host, relay: &Host) -> Result<(), LabError> {
    let (gateway, better) = (link_local(native)?, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99));
    let far = Ipv6Addr::new(0x2001, 0x4860, 0, 0, 0, 0, 0, 1);
    let to = sixlane_lab::socket::address::RELAY6;
    relay.ip(&format!("route add {far}/128 via {gateway} dev wan6"))?;
    let mut redirect = vec![137, 0, 0, 0, 0, 0, 0, 0];
    redirect.extend_from_slice(&better.octets());
    redirect.extend_from_slice(&far.octets());
    let bytes = packet::icmpv6(gateway, to, 255, &redirect);
    let forger = Port::forger6(native)?;
    let route = || relay.ip(&format!("route get {far}"));
    for (role, forwarding) in [("router", "1"), ("host", "0")] {
        relay.sysctl("net.ipv6.conf.all.forwarding", forwarding)?;
        forger.send6(&bytes, to, 0)?;
        native.run("ping -6 -n -c 1 -W 5 2001:600::fe")?; // judged after it
        let moved = route()?.contains(&better.to_string());
        assert_eq!(moved, role == "host", "as a {role}: {}", route()?);
    }
    Ok(())
}

fn link_local(host: &Host) -> Result<Ipv6Addr, LabError> {
    let shown = host.ip("-br -6 addr show dev eth0 scope link")?;
    let word = shown.split_whitespace().nth(2).and_then(|word| word.split('/').next());
    word.and_then(|word| word.parse().ok())
        .ok_or_else(|| LabError::Topology(format!("no link-local address in `{shown}`")))
}

fn the_tunnel_took_none_of_it(lab: &Running) {
    let counters = lab.counters();
    assert_eq!(counters["total"]["received"], 0, "the kernel's packets went to the relay: {counters}");
    for port in counters["ports"].as_array().into_iter().flatten() {
        let xdp = &port["xdp"];
        assert_eq!((&xdp["seen"], &xdp["redirected"]), (&xdp["passed"], &0.into()), "{port}");
    }
}
