//! Single frames and the answers that the design asks for.

use crate::packets::*;
use crate::runner::{Runner, XDP_DROP, XDP_PASS, XDP_REDIRECT};
use std::net::Ipv6Addr;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use sixlane_xsk::maps::Maps;
use sixlane_xsk::program::load;
use sixlane_xsk::uapi::{FORWARD_ALL, PREFIXES_MAX, Prefix6, XdpCounters};

/// Frames with a name and the expected answer where a socket is present.
type Fixtures = Vec<(&'static str, Vec<u8>, u32)>;

fn check(flags: u8, fixtures: Fixtures) {
    let mut with_socket = Runner::with_socket(flags);
    let mut without = Runner::new(flags);
    for (name, frame, expected) in fixtures {
        assert_eq!(with_socket.run(&frame), expected, "{name}");
        let fallback = if expected == XDP_REDIRECT { XDP_DROP } else { expected };
        assert_eq!(without.run(&frame), fallback, "{name}, without a socket");
    }
}

fn ours4(packet: &[u8]) -> Vec<u8> {
    ethernet(OUR_MAC, ETHERTYPE_IPV4, packet)
}

fn ours6(packet: &[u8]) -> Vec<u8> {
    ethernet(OUR_MAC, ETHERTYPE_IPV6, packet)
}

#[test]
fn protocol_41_to_a_relay_address_is_ours() {
    let nops = [1_u8; 40];
    let with = |options, fragment| ours4(&ipv4_with(SIXINFOUR, STRANGER, RELAY, options, fragment, &inner()));
    check(
        0,
        vec![
            ("plain", ours4(&tunnel_packet()), XDP_REDIRECT),
            ("one word of options", with(&nops[..4], 0), XDP_REDIRECT),
            ("all options", with(&nops, 0), XDP_REDIRECT),
            ("first fragment", with(&[], MORE_FRAGMENTS), XDP_REDIRECT),
            ("middle fragment", with(&[], MORE_FRAGMENTS | 100), XDP_REDIRECT),
            ("last fragment", with(&[], 200), XDP_REDIRECT),
            ("nothing inside", ours4(&ipv4(SIXINFOUR, STRANGER, RELAY, &[])), XDP_REDIRECT),
            ("several pages", ours4(&ipv4(SIXINFOUR, STRANGER, RELAY, &[0; 9000])), XDP_REDIRECT),
        ],
    );
}

#[test]
fn other_ipv4_is_the_kernels() {
    let to = |protocol, destination| ours4(&ipv4(protocol, STRANGER, destination, &[0; 40]));
    check(
        0,
        vec![
            ("protocol 41 to a stranger", to(SIXINFOUR, STRANGER), XDP_PASS),
            ("protocol 41 to an address without that service", to(SIXINFOUR, TEREDO_RELAY), XDP_PASS),
            ("TCP to the relay (BGP, SSH)", to(TCP, RELAY), XDP_PASS),
            ("UDP to the relay", to(UDP, RELAY), XDP_PASS),
            ("GRE to the relay", to(47, RELAY), XDP_PASS),
            ("IPIP to the relay", to(4, RELAY), XDP_PASS),
            ("broadcast", to(SIXINFOUR, "255.255.255.255".parse().unwrap()), XDP_PASS),
            ("multicast", to(SIXINFOUR, "224.0.0.1".parse().unwrap()), XDP_PASS),
            ("ARP", ethernet(BROADCAST_MAC, ETHERTYPE_ARP, &[0; 28]), XDP_PASS),
            ("ARP to us", ethernet(OUR_MAC, ETHERTYPE_ARP, &[0; 28]), XDP_PASS),
            ("unknown EtherType", ethernet(OUR_MAC, 0x88cc, &[0; 46]), XDP_PASS),
        ],
    );
}

#[test]
fn malformed_ipv4_is_in_doubt() {
    let changed = |offset: usize, byte: u8| {
        let mut packet = tunnel_packet();
        packet[offset] = byte;
        ours4(&packet)
    };
    check(
        0,
        vec![
            ("version 5", changed(0, 0x55), XDP_PASS),
            ("version 6 under the EtherType of IPv4", changed(0, 0x65), XDP_PASS),
            ("header length 0", changed(0, 0x40), XDP_PASS),
            ("header length 4 words", changed(0, 0x44), XDP_PASS),
            (
                "header longer than the frame",
                ours4(&{
                    let mut packet = ipv4(SIXINFOUR, STRANGER, RELAY, &[0; 8]);
                    packet[0] = 0x48;
                    packet
                }),
                XDP_PASS,
            ),
        ],
    );
}

#[test]
fn icmp_errors_about_our_packets_are_ours() {
    let error = |kind, source, protocol| ours4(&icmp_error(kind, source, protocol));
    let quote_with_options = ipv4_with(SIXINFOUR, RELAY, STRANGER, &[1; 40], DONT_FRAGMENT, &inner()[..8]);
    let in_options = |options| ipv4_with(ICMP, STRANGER, RELAY, options, 0, &icmpv4(11, &quote_with_options));
    check(
        0,
        vec![
            ("unreachable", error(3, RELAY, SIXINFOUR), XDP_REDIRECT),
            ("time exceeded", error(11, RELAY, SIXINFOUR), XDP_REDIRECT),
            ("parameter problem", error(12, RELAY, SIXINFOUR), XDP_REDIRECT),
            ("options in the quote", ours4(&in_options(&[])), XDP_REDIRECT),
            ("options everywhere", ours4(&in_options(&[1; 40])), XDP_REDIRECT),
            ("sent by a stranger", error(3, STRANGER, SIXINFOUR), XDP_PASS),
            ("sent by an address without that service", error(3, TEREDO_RELAY, SIXINFOUR), XDP_PASS),
            ("about TCP", error(3, RELAY, TCP), XDP_PASS),
            ("about UDP", error(3, RELAY, UDP), XDP_PASS),
            ("about ICMP", error(11, RELAY, ICMP), XDP_PASS),
        ],
    );
}

#[test]
fn other_icmp_is_the_kernels() {
    let message = |kind| ours4(&ipv4(ICMP, STRANGER, RELAY, &icmpv4(kind, &tunnel_packet())));
    let quote = ipv4(SIXINFOUR, RELAY, STRANGER, &inner()[..8]);
    let fragment = |word| ours4(&ipv4_with(ICMP, STRANGER, RELAY, &[], word, &icmpv4(3, &quote)));
    check(
        0,
        vec![
            ("echo request", message(8), XDP_PASS),
            ("echo reply", message(0), XDP_PASS),
            ("redirect", ours4(&icmp_error(5, RELAY, SIXINFOUR)), XDP_PASS),
            ("source quench", ours4(&icmp_error(4, RELAY, SIXINFOUR)), XDP_PASS),
            ("first fragment of an error", fragment(MORE_FRAGMENTS), XDP_PASS),
            ("later fragment of an error", fragment(1), XDP_PASS),
            ("an error to a stranger", ours4(&ipv4(ICMP, STRANGER, STRANGER, &icmpv4(3, &quote))), XDP_PASS),
        ],
    );
}

#[test]
fn ipv6_to_served_prefixes_is_ours() {
    let to = |destination: &str| ours6(&ipv6(UDP, NATIVE, destination.parse().unwrap(), &[0; 8]));
    let unserved = |expected| {
        vec![
            ("native destination", to("2001:600::77"), expected),
            ("just below the prefix", to("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), expected),
            ("just above the prefix", to("2003::"), expected),
        ]
    };
    let fixtures = || {
        vec![
            ("served", to("2002:c001:203::1"), XDP_REDIRECT),
            ("first address of the prefix", to("2002::"), XDP_REDIRECT),
            ("last address", to("2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), XDP_REDIRECT),
            ("own address", to("2001:600::fe"), XDP_PASS),
            ("own address inside the prefix", to("2002:9fe:fdfc::1"), XDP_PASS),
            ("all nodes", to("ff02::1"), XDP_PASS),
            ("solicited node", to("ff02::1:ff00:fe"), XDP_PASS),
            ("global multicast", to("ff0e::1"), XDP_PASS),
            ("link-local", to("fe80::1"), XDP_PASS),
            ("end of link-local", to("febf::1"), XDP_PASS),
        ]
    };
    check(0, fixtures());
    check(0, unserved(XDP_PASS));
    check(FORWARD_ALL, fixtures());
    check(FORWARD_ALL, unserved(XDP_REDIRECT));
    check(FORWARD_ALL, vec![("site-local is not link-local", to("fec0::1"), XDP_REDIRECT)]);
}

/// What the box itself must hear stays the kernel's, also where all native packets are ours.
#[test]
fn what_concerns_the_box_itself_is_the_kernels() {
    let own = "2001:600::fe".parse().unwrap();
    let to = |next, destination: &str, payload: &[u8]| {
        ours6(&ipv6(next, NATIVE, destination.parse().unwrap(), payload))
    };
    let group = |last: [u8; 4], source, destination: &str, next, payload: &[u8]| {
        let mac = [0x33, 0x33, last[0], last[1], last[2], last[3]];
        ethernet(mac, ETHERTYPE_IPV6, &ipv6(next, source, destination.parse().unwrap(), payload))
    };
    let icmp = |kind| [kind, 0, 0, 0, 0, 0, 0, 0];
    let alert = [&[ICMPV6, 0, 5, 2, 0, 0, 1, 0][..], &icmp(130)].concat();
    let (none, router): (Ipv6Addr, Ipv6Addr) = ("::".parse().unwrap(), "fe80::1".parse().unwrap());
    let fixtures = || {
        vec![
            ("ping", to(ICMPV6, "2001:600::fe", &icmp(128)), XDP_PASS),
            ("probe of reachability", to(ICMPV6, "2001:600::fe", &icmp(135)), XDP_PASS),
            ("answer to ours", to(ICMPV6, "2001:600::fe", &icmp(136)), XDP_PASS),
            ("redirect", ours6(&ipv6(ICMPV6, router, own, &icmp(137))), XDP_PASS),
            ("BGP, SSH", to(TCP, "2001:600::fe", &[0; 20]), XDP_PASS),
            (
                "BGP by link-local addresses",
                ours6(&ipv6(TCP, router, "fe80::2".parse().unwrap(), &[0; 20])),
                XDP_PASS,
            ),
            ("first fragment", to(44, "2001:600::fe", &[17, 0, 0, 1, 0, 0, 0, 1]), XDP_PASS),
            (
                "solicitation",
                group([0xff, 0, 0, 0xfe], NATIVE, "ff02::1:ff00:fe", ICMPV6, &icmp(135)),
                XDP_PASS,
            ),
            ("DAD", group([0xff, 0, 0, 0xfe], none, "ff02::1:ff00:fe", ICMPV6, &icmp(135)), XDP_PASS),
            ("router solicitation", group([0, 0, 0, 2], router, "ff02::2", ICMPV6, &icmp(133)), XDP_PASS),
            ("router advertisement", group([0, 0, 0, 1], router, "ff02::1", ICMPV6, &icmp(134)), XDP_PASS),
            ("MLD query with Router Alert", group([0, 0, 0, 1], router, "ff02::1", 0, &alert), XDP_PASS),
            ("MLD report", group([0, 0, 0, 0x16], none, "ff02::16", 0, &alert), XDP_PASS),
            ("OSPF", group([0, 0, 0, 5], router, "ff02::5", 89, &[0; 16]), XDP_PASS),
            // A packet to a unicast address in a frame to a group is nobody's to forward.
            ("unicast in a group frame", group([0, 0, 0, 1], NATIVE, "2001:700::1", UDP, &[0; 8]), XDP_PASS),
        ]
    };
    check(0, fixtures());
    check(FORWARD_ALL, fixtures());
    let through = |expected| {
        vec![
            ("TCP behind the box", to(TCP, "2001:700::1", &[0; 20]), expected),
            ("Router Alert behind the box", to(0, "2001:700::1", &[UDP, 0, 5, 2, 0, 1, 1, 0]), expected),
        ]
    };
    check(0, through(XDP_PASS));
    check(FORWARD_ALL, through(XDP_REDIRECT));
}

/// An address that the box gets while packets to it are forwarded is the kernel's from then on.
#[test]
fn a_new_own_address_is_left_to_the_kernel() {
    let mut runner = Runner::with_socket(FORWARD_ALL);
    let new = "2001:700::5".parse().unwrap();
    let frame = ours6(&ipv6(TCP, NATIVE, new, &[0; 20]));
    assert_eq!(runner.run(&frame), XDP_REDIRECT);
    runner.program.maps().add_local6(new).unwrap();
    assert_eq!(runner.run(&frame), XDP_PASS);
    runner.program.maps().remove_local6(new).unwrap();
    assert_eq!(runner.run(&frame), XDP_REDIRECT);
}

#[test]
fn malformed_ipv6_is_in_doubt() {
    let mut version = ipv6(UDP, NATIVE, SERVED, &[0; 8]);
    version[0] = 0x40;
    check(
        FORWARD_ALL,
        vec![
            ("version 4", ours6(&version), XDP_PASS),
            ("IPv6 under the EtherType of IPv4", ours4(&inner()), XDP_PASS),
            ("IPv4 under the EtherType of IPv6", ours6(&tunnel_packet()), XDP_PASS),
        ],
    );
}

#[test]
fn frames_for_others_are_the_kernels() {
    let to = |mac| ethernet(mac, ETHERTYPE_IPV4, &tunnel_packet());
    let mut runner = Runner::with_socket(0);
    assert_eq!(runner.run(&to(FOREIGN_MAC)), XDP_PASS);
    assert_eq!(runner.run(&ethernet(FOREIGN_MAC, ETHERTYPE_IPV6, &inner())), XDP_PASS);
    for position in 0..6 {
        let mut mac = OUR_MAC;
        mac[position] ^= 0x80;
        assert_eq!(runner.run(&to(mac)), XDP_PASS, "byte {position}");
    }
    assert_eq!(runner.run(&to(BROADCAST_MAC)), XDP_PASS);
    assert_eq!(runner.run(&to([0x01, 0, 0x5e, 0, 0, 1])), XDP_PASS);
    let expected = XdpCounters { seen: 10, passed: 10, not_our_mac: 8, ..Default::default() };
    assert_eq!(runner.counters(), expected, "group addresses are not counted as foreign");
}

#[test]
fn tagged_frames_pass_an_untagged_port() {
    let tunnel = tunnel_packet();
    let frame = |tags: &[(u16, u16)]| tagged(tags, ETHERTYPE_IPV4, &tunnel);
    let mut runner = Runner::with_socket(0);
    for (name, frame) in [
        ("VLAN 600", frame(&[(TPID_8021Q, 600)])),
        ("a priority in a service tag", frame(&[(TPID_8021AD, 0xe000)])),
        ("a priority before a VLAN", frame(&[(TPID_8021Q, 0), (TPID_8021Q, 600)])),
        ("service tag", frame(&[(TPID_8021AD, 600)])),
        ("QinQ", frame(&[(TPID_8021AD, 600), (TPID_8021Q, 7)])),
        ("two customer tags", frame(&[(TPID_8021Q, 600), (TPID_8021Q, 7)])),
        ("three tags", frame(&[(TPID_8021AD, 1), (TPID_8021Q, 2), (TPID_8021Q, 3)])),
        ("tag cut short", frame(&[(TPID_8021Q, 600)])[..17].to_vec()),
        ("second tag cut short", frame(&[(TPID_8021AD, 600), (TPID_8021Q, 7)])[..19].to_vec()),
    ] {
        assert_eq!(runner.run(&frame), XDP_PASS, "{name}");
    }
    assert_eq!(runner.counters(), XdpCounters::default());
    let expected = XdpCounters { seen: 9, passed: 9, ..Default::default() };
    assert_eq!(runner.counters_of_no_port(), expected);
}

#[test]
fn a_tagged_port_takes_its_tag_alone() {
    let tunnel = tunnel_packet();
    let mut runner = Runner::with_socket(0);
    runner.move_to_vlan(600);
    let mut run = |tags: &[(u16, u16)]| runner.run(&tagged(tags, ETHERTYPE_IPV4, &tunnel));
    assert_eq!(run(&[(TPID_8021Q, 600)]), XDP_REDIRECT);
    assert_eq!(run(&[(TPID_8021Q, 0xe000 | 600)]), XDP_REDIRECT, "the priority does not matter");
    assert_eq!(run(&[(TPID_8021Q, 601)]), XDP_PASS);
    assert_eq!(run(&[(TPID_8021AD, 600)]), XDP_PASS, "a service tag is another VLAN");
    assert_eq!(run(&[]), XDP_PASS);
    assert_eq!(run(&[(TPID_8021Q, 0)]), XDP_PASS, "a priority is no VLAN");
    assert_eq!(run(&[(TPID_8021AD, 600), (TPID_8021Q, 600)]), XDP_PASS);
    assert_eq!(run(&[(TPID_8021Q, 600), (TPID_8021Q, 600)]), XDP_PASS);
    let native = ipv6(UDP, NATIVE, SERVED, &[0; 8]);
    assert_eq!(runner.run(&tagged(&[(TPID_8021Q, 600)], ETHERTYPE_IPV6, &native)), XDP_REDIRECT);
}

/// IEEE 802.1Q §6.9: the id 0 says that a frame belongs to no VLAN.
#[test]
fn a_priority_tag_is_no_vlan() {
    let mut runner = Runner::with_socket(0);
    for control in [0, 0x1000, 0xe000] {
        let frame = tagged(&[(TPID_8021Q, control)], ETHERTYPE_IPV4, &tunnel_packet());
        assert_eq!(runner.run(&frame), XDP_REDIRECT, "{control:#x}");
    }
    assert_eq!(runner.counters().redirected, 3);
}

/// Several ports on one device: each takes the frames with its tag, and its own counters tell.
#[test]
fn ports_of_one_device_differ_by_their_tags() {
    let mut runner = Runner::with_socket(0);
    let key = runner.program.maps().ports.keys().unwrap().remove(0);
    let port = runner.program.maps().ports.get(&key).unwrap().unwrap();
    let other = crate::runner::PORT + 1;
    let with_index = sixlane_xsk::uapi::Port { index: other, ..port };
    runner.program.maps().set_port(crate::runner::LOOPBACK, Some(600), with_index).unwrap();
    let frame = |tags: &[(u16, u16)]| tagged(tags, ETHERTYPE_IPV4, &tunnel_packet());
    assert_eq!(runner.run(&frame(&[])), XDP_REDIRECT);
    assert_eq!(runner.run(&frame(&[(TPID_8021Q, 600)])), XDP_DROP, "its port has no socket yet");
    runner.share_socket(other);
    assert_eq!(runner.run(&frame(&[(TPID_8021Q, 600)])), XDP_REDIRECT, "one socket serves both");
    assert_eq!(runner.run(&frame(&[])), XDP_REDIRECT);
    assert_eq!(runner.run(&frame(&[(TPID_8021Q, 7)])), XDP_PASS);
    let counted = runner.program.maps().counters(other.into()).unwrap();
    assert_eq!((counted.seen, counted.redirected, counted.no_socket), (2, 1, 1));
    assert_eq!(runner.counters().redirected, 2);
}

/// Cuts frames at every length: never redirected before the header is whole, never dropped.
#[test]
fn truncated_headers_are_in_doubt() {
    let options = ipv4_with(SIXINFOUR, STRANGER, RELAY, &[1; 40], 0, &inner());
    let error = icmp_error(3, RELAY, SIXINFOUR);
    let served = ipv6(UDP, NATIVE, SERVED, &[0; 8]);
    let mut runner = Runner::with_socket(0);
    for (name, frame, needed) in [
        ("protocol 41", ours4(&tunnel_packet()), 14 + 20),
        ("protocol 41 with options", ours4(&options), 14 + 60),
        ("ICMP error", ours4(&error), 14 + 20 + 8 + 20),
        ("IPv6", ours6(&served), 14 + 40),
    ] {
        for length in 14..=frame.len() {
            let expected = if length < needed { XDP_PASS } else { XDP_REDIRECT };
            assert_eq!(runner.run(&frame[..length]), expected, "{name}, {length} bytes");
        }
    }
}

#[test]
fn without_a_socket_ours_is_dropped_and_counted() {
    let mut runner = Runner::new(0);
    let frame = ours4(&tunnel_packet());
    for _ in 0..3 {
        assert_eq!(runner.run(&frame), XDP_DROP);
    }
    assert_eq!(runner.run(&ours4(&ipv4(TCP, STRANGER, RELAY, &[0; 20]))), XDP_PASS);
    let expected = XdpCounters { seen: 4, passed: 1, no_socket: 3, ..Default::default() };
    assert_eq!(runner.counters(), expected);
}

#[test]
fn a_closed_socket_is_no_socket() {
    let mut runner = Runner::with_socket(0);
    let frame = ours4(&tunnel_packet());
    assert_eq!(runner.run(&frame), XDP_REDIRECT);
    runner.program.maps().clear_socket(crate::runner::PORT, 0).unwrap();
    assert_eq!(runner.run(&frame), XDP_DROP);
    let expected = XdpCounters { seen: 2, redirected: 1, no_socket: 1, ..Default::default() };
    assert_eq!(runner.counters(), expected);
}

#[test]
fn an_interface_that_is_no_port_is_left_alone() {
    let mut runner = Runner::with_socket(FORWARD_ALL);
    runner.program.maps().ports.replace(&[]).unwrap();
    assert_eq!(runner.run(&ours4(&tunnel_packet())), XDP_PASS);
    assert_eq!(runner.counters(), XdpCounters::default());
    assert_eq!(runner.counters_of_no_port().passed, 1);
}

#[test]
fn sets_follow_their_writer() {
    let mut runner = Runner::with_socket(0);
    let (tunnel, served) = (ours4(&tunnel_packet()), ours6(&ipv6(UDP, NATIVE, SERVED, &[])));
    let prefix = "2002::".parse().unwrap();
    runner.program.maps().remove_relay4(RELAY).unwrap();
    runner.program.maps().remove_served6(prefix, 16).unwrap();
    assert_eq!((runner.run(&tunnel), runner.run(&served)), (XDP_PASS, XDP_PASS));
    runner.program.maps().remove_served6(prefix, 16).unwrap();
    runner.program.maps().add_served6("2002:c001:203::".parse().unwrap(), 48).unwrap();
    assert_eq!(runner.run(&served), XDP_REDIRECT);
    runner.program.maps().add_local6(SERVED).unwrap();
    assert_eq!(runner.run(&served), XDP_PASS);
    runner.program.maps().remove_local6(SERVED).unwrap();
    assert_eq!(runner.run(&served), XDP_REDIRECT);
}

/// The keeper has neither CAP_PERFMON nor CAP_SYS_ADMIN, and the verifier is stricter then.
#[test]
fn the_keepers_capabilities_suffice() {
    let loaded = std::thread::spawn(|| {
        let keepers = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        let sets = CapabilitySets { effective: keepers, permitted: keepers, inheritable: keepers };
        set_capabilities(None, sets).unwrap();
        load().map(drop)
    });
    loaded.join().unwrap().unwrap();
}

/// The maps can be used by a process without any capability that was given their descriptors.
#[test]
fn maps_need_no_capability() {
    let runner = Runner::new(0);
    let fds = runner.program.maps().fds().map(|fd| fd.try_clone_to_owned().unwrap());
    let used = std::thread::spawn(|| {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets).unwrap();
        let maps = Maps::from_fds(fds).unwrap();
        maps.add_local6(NATIVE).unwrap();
        maps.remove_local6(OWN).unwrap();
        maps.served6.replace(&[]).unwrap();
        (maps.local6.keys().unwrap().len(), maps.counters(0).unwrap())
    });
    assert_eq!(used.join().unwrap(), (2, XdpCounters::default()));
    assert_eq!(runner.program.maps().served6.keys().unwrap(), []);
    assert!(load().map(drop).is_ok(), "only that thread gave its capabilities up");
}

#[test]
fn descriptors_in_the_wrong_order_are_refused() {
    let runner = Runner::new(0);
    let mut fds = runner.program.maps().fds().map(|fd| fd.try_clone_to_owned().unwrap());
    fds.reverse();
    assert!(Maps::from_fds(fds).is_err());
}

/// A full set can be replaced by one that has nothing in common with it.
#[test]
fn full_sets_can_be_replaced_and_say_when_they_overflow() {
    let runner = Runner::new(0);
    let served6 = &runner.program.maps().served6;
    let prefixes: Vec<_> = (0..=2 * PREFIXES_MAX)
        .map(|i| {
            let address = Ipv6Addr::from((0x2001_u128 << 112) | (u128::from(i) << 80)).octets();
            (Prefix6 { length: 48, address }, 0)
        })
        .collect();
    let limit = PREFIXES_MAX as usize;
    served6.replace(&[]).unwrap();
    served6.replace(&prefixes[..limit]).unwrap();
    served6.replace(&prefixes[limit..2 * limit]).unwrap();
    let mut keys = served6.keys().unwrap();
    keys.sort_unstable_by_key(|key| key.address);
    assert!(keys.iter().eq(prefixes[limit..2 * limit].iter().map(|(key, _)| key)));
    let overflow = served6.replace(&prefixes).unwrap_err();
    assert_eq!(overflow.kind(), std::io::ErrorKind::StorageFull);
    assert!(served6.get(&keys[0]).unwrap().is_some(), "what was there stays");
}
