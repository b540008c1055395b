//! The door over a pair of sockets instead of a TUN device: both keep the borders of packets.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixDatagram;

use ipnet::Ipv6Net;
use proptest::prelude::*;

use super::health::{Health, Verdict, patience_ns, steps};
use super::packet::{Own, for_kernel, for_tunnel};
use super::{Counts, Door, READS};

const SITE: &str = "2002:c001:203::1";
const BOX6: &str = "2001:600::fe";
const BOX4: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 252);
const ICMPV6: u8 = 58;
const TCP: u8 = 6;

fn ipv6(from: &str, to: &str, next: u8, body: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(&[next, 255]);
    packet.extend_from_slice(&address(from));
    packet.extend_from_slice(&address(to));
    packet.extend_from_slice(body);
    packet
}

fn echo(from: &str, to: &str) -> Vec<u8> {
    ipv6(from, to, ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1])
}

fn icmpv4(from: [u8; 4], to: Ipv4Addr, kind: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend_from_slice(&from);
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(&[kind, 1, 0, 0, 0, 0, 0, 0]);
    packet
}

/// What the kernel sees of a packet.
fn seen(bytes: &[u8], all: bool) -> Option<&[u8]> {
    let six = BTreeSet::from([BOX6.parse().unwrap()]);
    let four = BTreeSet::from([BOX4]);
    for_kernel(bytes, &Own { six: &six, four: &four, all })
}

fn served() -> BTreeSet<Ipv6Net> {
    BTreeSet::from(["2002::/16".parse().unwrap()])
}

#[test]
fn the_kernel_gets_what_is_for_it_from_afar() {
    let packet = echo(SITE, BOX6);
    assert_eq!(seen(&packet, false), Some(packet.as_slice()));
    let mut padded = packet.clone();
    padded.extend_from_slice(&[0; 6]);
    assert_eq!(seen(&padded, false), Some(packet.as_slice()), "what is behind the packet is not of it");
    assert_eq!(seen(&packet[..packet.len() - 1], false), None, "cut short");
    for (from, to) in [
        (SITE, "2001:600::1"),
        (SITE, "ff02::1"),
        (BOX6, BOX6),
        ("fe80::1", BOX6),
        ("::", BOX6),
        ("::1", BOX6),
        ("ff02::1", BOX6),
        ("::ffff:8.8.8.8", BOX6),
    ] {
        assert_eq!(seen(&echo(from, to), true), None, "{from} to {to}");
    }
}

#[test]
fn from_the_box_itself_come_only_the_relays_errors() {
    for kind in 0..=255_u8 {
        let packet = ipv6(BOX6, BOX6, ICMPV6, &[kind; 8]);
        assert_eq!(seen(&packet, true).is_some(), (1..=4).contains(&kind), "type {kind}");
    }
    assert_eq!(seen(&ipv6(BOX6, BOX6, TCP, &[0; 20]), true), None);
}

#[test]
fn nobody_speaks_as_a_neighbour_through_the_door() {
    let fragment = |kind: u8| [&[ICMPV6, 0, 0, 1, 0, 0, 0, 7][..], &[kind; 8]].concat();
    let options = |kind: u8| [&[ICMPV6, 0, 1, 4, 0, 0, 0, 0][..], &[kind; 8]].concat();
    for kind in (0..=255_u8).filter(|kind| ![1, 2, 3, 4, 128, 129].contains(kind)) {
        assert_eq!(seen(&ipv6(SITE, BOX6, ICMPV6, &[kind; 8]), true), None, "type {kind}");
        assert_eq!(seen(&ipv6(SITE, BOX6, 44, &fragment(kind)), true), None, "fragment of type {kind}");
        assert_eq!(seen(&ipv6(SITE, BOX6, 60, &options(kind)), true), None, "options before type {kind}");
    }
    assert!(seen(&ipv6(SITE, BOX6, 44, &fragment(128)), false).is_some());
    assert!(seen(&ipv6(SITE, BOX6, 60, &options(128)), false).is_some());
    assert_eq!(seen(&ipv6(SITE, BOX6, 60, &[ICMPV6, 9, 1, 4, 0, 0, 0, 0]), true), None, "a cut chain");
    let through = [&[ICMPV6, 0, 4, 1, 0, 0, 0, 0][..], &[128; 8]].concat();
    assert_eq!(seen(&ipv6(SITE, BOX6, 43, &through), true), None, "a route that goes on");
}

#[test]
fn other_protocols_pass_when_the_operator_says_so() {
    for next in [TCP, 17, 50, 47] {
        let packet = ipv6(SITE, BOX6, next, &[0; 20]);
        assert_eq!(seen(&packet, false), None, "protocol {next}");
        assert!(seen(&packet, true).is_some(), "protocol {next}");
    }
}

#[test]
fn of_ipv4_errors_to_the_box_are_given_back() {
    for kind in [3, 4, 11, 12] {
        assert!(seen(&icmpv4([192, 1, 2, 1], BOX4, kind), false).is_some());
    }
    for kind in [0, 5, 8, 9, 13] {
        assert_eq!(seen(&icmpv4([192, 1, 2, 1], BOX4, kind), true), None, "type {kind}");
    }
    assert_eq!(seen(&icmpv4(BOX4.octets(), BOX4, 3), true), None, "from the box itself");
    assert_eq!(seen(&icmpv4([192, 1, 2, 1], Ipv4Addr::new(9, 9, 9, 9), 3), true), None, "to somebody else");
    let mut fragment = icmpv4([192, 1, 2, 1], BOX4, 3);
    fragment[7] = 1;
    assert_eq!(seen(&fragment, true), None, "a fragment");
    let mut protocol = icmpv4([192, 1, 2, 1], BOX4, 3);
    protocol[9] = 17;
    assert_eq!(seen(&protocol, true), None, "UDP");
}

#[test]
fn to_a_tunnel_goes_what_is_whole_and_for_a_served_prefix() {
    assert!(for_tunnel(&echo(BOX6, SITE), &served()));
    assert!(!for_tunnel(&echo(BOX6, "2001:600::1"), &served()));
    assert!(!for_tunnel(&echo("::", SITE), &served()));
    assert!(!for_tunnel(&echo("fe80::1", "ff02::16"), &served()), "the kernel's own multicast");
    assert!(!for_tunnel(&echo(BOX6, SITE)[..47], &served()));
    assert!(!for_tunnel(&icmpv4([192, 1, 2, 1], BOX4, 3), &served()));
}

proptest! {
    /// Noise of a worker never panics, and what passes has a box's address and is as long as it says.
    #[test]
    fn noise_does_not_pass_as_something_else(mut bytes in prop::collection::vec(any::<u8>(), 0..120), first in 0_u8..3) {
        if let Some(byte) = bytes.first_mut() {
            *byte = [0x45, 0x60, *byte][usize::from(first)];
        }
        if let Some(packet) = seen(&bytes, true) {
            prop_assert!(packet.len() <= bytes.len());
            let to_box = packet.get(24..40) == Some(&BOX6.parse::<Ipv6Addr>().unwrap().octets()[..])
                || packet.get(16..20) == Some(&BOX4.octets()[..]);
            prop_assert!(to_box);
        }
        for_tunnel(&bytes, &served());
    }
}

#[test]
fn both_ways_are_counted_and_bounded() {
    let (ours, kernel) = UnixDatagram::pair().unwrap();
    for socket in [&ours, &kernel] {
        socket.set_nonblocking(true).unwrap();
    }
    let mut door = Door::new(ours.into(), 5);
    let (six, four) = (BTreeSet::from([BOX6.parse().unwrap()]), BTreeSet::new());
    let own = Own { six: &six, four: &four, all: false };
    door.give(&echo(SITE, BOX6), &own);
    door.give(&ipv6(SITE, BOX6, TCP, &[0; 20]), &own);
    let mut buffer = [0; 200];
    assert_eq!(kernel.recv(&mut buffer).unwrap(), 48);
    assert!(kernel.recv(&mut buffer).is_err(), "what was refused is not written");

    let mut sent = 0;
    while sent < READS + 2 && kernel.send(&echo(BOX6, SITE)).is_ok() {
        sent += 1;
        if sent.is_multiple_of(5) {
            door.take(&served(), |_| true);
        }
    }
    kernel.send(&echo(BOX6, "ff02::1")).unwrap();
    let mut refused = 0;
    while door.take(&served(), |_| {
        refused += 1;
        false
    }) {}
    let expected = Counts {
        to_kernel: 1,
        to_kernel_refused: 1,
        from_kernel: u64::try_from(sent - refused).unwrap(),
        from_kernel_ignored: 1,
        from_kernel_dropped: u64::try_from(refused).unwrap(),
        ..Counts::default()
    };
    assert_eq!(door.counts, expected);
    drop(kernel);
    door.give(&echo(SITE, BOX6), &own);
    assert_eq!(door.counts.to_kernel_failed, 1);
}

#[test]
fn a_short_break_is_no_reason_to_withdraw_and_a_long_one_is() {
    let patience = patience_ns(1);
    assert_eq!(patience, 2_000_000_000);
    assert_eq!(patience_ns(0), patience, "a worker that is never replaced is broken after the same time");
    let mut health = Health::default();
    assert_eq!(health.judge(0, false, patience), Verdict::Wait, "a new control, before it knows");
    assert_eq!(health.judge(10, true, patience), Verdict::Serve);
    assert_eq!(health.judge(20, false, patience), Verdict::Wait);
    assert_eq!(health.judge(20 + patience - 1, false, patience), Verdict::Wait);
    assert_eq!(health.judge(20 + patience, false, patience), Verdict::Withdraw);
    assert_eq!(health.judge(30 + patience, true, patience), Verdict::Serve);
    assert_eq!(health.judge(40 + patience, false, patience), Verdict::Wait, "the count begins anew");
}

#[test]
fn routes_are_brought_to_what_is_served() {
    let net = |text: &str| text.parse::<Ipv6Net>().unwrap();
    let (old, new) = (net("2001:db8::/32"), net("2002::/16"));
    let (standing, both) = (BTreeSet::from([old]), BTreeSet::from([old, new]));
    assert_eq!(steps(Verdict::Serve, &served(), &standing), (vec![new], vec![old]));
    assert_eq!(steps(Verdict::Serve, &both, &both), (vec![], vec![]));
    assert_eq!(steps(Verdict::Wait, &served(), &both), (vec![], vec![old]), "a stale one goes at once");
    assert_eq!(steps(Verdict::Wait, &served(), &BTreeSet::new()), (vec![], vec![]));
    assert_eq!(steps(Verdict::Withdraw, &both, &both), (vec![], vec![old, new]));
}
