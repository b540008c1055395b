//! Two FRR routers in two hosts: what one redistributes the other learns, and loses again.

#![allow(clippy::expect_used, reason = "a test")]

use sixlane_lab::{Deadline, End, Frr, Lab, Wire, eventually};

fn config(own: u16, other: u16, neighbour: &str) -> String {
    format!(
        "router bgp 6500{own}\n bgp router-id 1.1.1.{own}\n no bgp ebgp-requires-policy\n \
         neighbor {neighbour} remote-as 6500{other}\n neighbor {neighbour} timers connect 1\n \
         address-family ipv6 unicast\n  redistribute kernel\n  neighbor {neighbour} activate\n \
         exit-address-family\n"
    )
}

#[test]
fn a_kernel_route_is_announced_and_withdrawn() {
    let lab = Lab::new().expect("a laboratory");
    let (a, b) = (lab.host("a").expect("a"), lab.host("b").expect("b"));
    let end = |host: &sixlane_lab::Host| End { host: host.clone(), interface: "eth0".to_owned() };
    Wire::lay(end(&a), end(&b), 1).expect("a wire");
    a.ip("addr add 2001:db8::1/64 dev eth0 nodad").expect("an address");
    b.ip("addr add 2001:db8::2/64 dev eth0 nodad").expect("an address");
    let first = Frr::start(&lab, &a, &config(1, 2, "2001:db8::2")).expect("FRR in a");
    let mut second = Frr::start(&lab, &b, &config(2, 1, "2001:db8::1")).expect("FRR in b");
    first.established("2001:db8::2").expect("the session");
    for known in [true, false] {
        let word = if known { "add" } else { "del" };
        a.ip(&format!("-6 route {word} 2001:db8:77::/48 dev eth0 proto 73")).expect("a route");
        eventually("the announcement or withdrawal", Deadline::seconds(30), || {
            (second.knows("2001:db8:77::/48").expect("an answer") == known).then_some(())
        })
        .expect("BGP follows the kernel's route");
    }
    second.stop().expect("an orderly end");
}
