//! Byte strings as the kernel sends them, and noise.

use std::net::IpAddr;

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::attribute::messages;
use super::message::{Address, Link, Message, Neighbour, parse};
use super::next_hop::{NextHop, What};
use super::request::{Ask, Dump, Key, dump, neighbour};
use super::route::{Action, Path, Place, Route};
use super::socket::{Events, Listener, Requests};
use super::uapi;

/// Builds one message: family header, then attributes.
fn message(kind: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = header.to_vec();
    for (kind, value) in attributes {
        let length = u16::try_from(value.len() + 4).unwrap();
        body.extend_from_slice(&length.to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0xa5);
    }
    let mut bytes = uapi::MessageHeader {
        length: u32::try_from(16 + body.len()).unwrap(),
        kind,
        flags: 0,
        sequence: 7,
        port: 0,
    }
    .as_bytes()
    .to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

fn parsed(bytes: &[u8]) -> Vec<Option<Message>> {
    messages(bytes).map(|raw| parse(&raw)).collect()
}

fn one(bytes: &[u8]) -> Option<Message> {
    let all = parsed(bytes);
    assert_eq!(all.len(), 1, "one message in, one out");
    all.into_iter().next().unwrap()
}

fn route_header(family: u8, dst_len: u8, kind: u8, flags: u32) -> uapi::RouteHeader {
    uapi::RouteHeader { family, dst_len, src_len: 0, tos: 0, table: 254, protocol: 3, scope: 0, kind, flags }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn octets(text: &str) -> Vec<u8> {
    match address(text) {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[test]
fn a_link_has_name_mac_and_mtu() {
    let header = uapi::LinkHeader { family: 0, pad: 0, kind: 1, ifindex: 3, flags: 0x1043, change: 0 };
    let bytes = message(
        uapi::RTM_NEWLINK,
        header.as_bytes(),
        &[(3, b"wan4\0"), (1, &[2, 0, 0, 0, 0, 9]), (4, &1500_u32.to_ne_bytes()), (200, &[1, 2, 3])],
    );
    let expected = Link {
        ifindex: 3,
        name: "wan4".into(),
        mac: [2, 0, 0, 0, 0, 9],
        mtu: 1500,
        up: true,
        running: true,
        vlan: None,
    };
    assert_eq!(one(&bytes), Some(Message::Link(expected)));
}

/// `struct nlattr` with its value, padded.
fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [(4 + value.len() as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn vlan_of(kind: &[u8], protocol: [u8; 2], more: &[(u16, &[u8])]) -> Option<(u32, u16)> {
    let header = uapi::LinkHeader { family: 0, pad: 0, kind: 1, ifindex: 9, flags: 0, change: 0 };
    let data = [nested(1, &600_u16.to_ne_bytes()), nested(2, &[0; 8]), nested(5, &protocol)].concat();
    let info = [nested(1, kind), nested(2, &data)].concat();
    let parent = 3_u32.to_ne_bytes();
    let attributes = [&[(5, &parent[..]), (18, &info)], more].concat();
    match one(&message(uapi::RTM_NEWLINK, header.as_bytes(), &attributes)) {
        Some(Message::Link(link)) => link.vlan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vlan_is_known_by_parent_and_id() {
    assert_eq!(vlan_of(b"vlan\0", [0x81, 0], &[]), Some((3, 600)));
    assert_eq!(vlan_of(b"vlan\0", [0x88, 0xa8], &[]), None, "a service VLAN is another one");
    assert_eq!(vlan_of(b"macvlan\0", [0x81, 0], &[]), None);
    assert_eq!(vlan_of(b"vlan\0", [0x81, 0], &[(37, &[0; 4])]), None, "its parent is elsewhere");
}

#[test]
fn a_point_to_point_address_is_ours_and_not_the_peers() {
    let header =
        uapi::AddressHeader { family: uapi::AF_INET, prefix_len: 32, flags: 0, scope: 0, ifindex: 4 };
    let bytes = message(
        uapi::RTM_NEWADDR,
        header.as_bytes(),
        &[(1, &octets("192.0.2.9")), (2, &octets("192.0.2.8"))],
    );
    let expected = Address {
        ifindex: 4,
        address: address("192.0.2.8"),
        prefix_len: 32,
        peer: Some(address("192.0.2.9")),
        scope: 0,
        deprecated: false,
    };
    assert_eq!(one(&bytes), Some(Message::Address(expected)));
}

#[test]
fn an_address_that_lost_duplicate_detection_does_not_count() {
    let header =
        uapi::AddressHeader { family: uapi::AF_INET6, prefix_len: 64, flags: 0x08, scope: 0, ifindex: 4 };
    let bytes = message(uapi::RTM_NEWADDR, header.as_bytes(), &[(1, &octets("2001:600::fe"))]);
    assert!(matches!(one(&bytes), Some(Message::AddressGone(_))));
}

#[test]
fn what_a_bridge_says_of_its_ports_is_not_about_the_link() {
    let header = uapi::LinkHeader { family: 7, pad: 0, kind: 1, ifindex: 3, flags: 1, change: 0 };
    for kind in [uapi::RTM_NEWLINK, uapi::RTM_DELLINK] {
        assert_eq!(one(&message(kind, header.as_bytes(), &[(3, b"wan4\0")])), Some(Message::Other));
    }
}

#[test]
fn a_notice_says_where_a_route_stands() {
    for (flags, place) in [
        (uapi::NLM_F_MULTI, Place::Last),
        (uapi::NLM_F_CREATE | uapi::NLM_F_EXCL, Place::Alone),
        (uapi::NLM_F_REPLACE, Place::Instead),
        (uapi::NLM_F_CREATE | uapi::NLM_F_APPEND, Place::Last),
        (uapi::NLM_F_CREATE, Place::First),
    ] {
        assert_eq!(Place::of(flags), place, "{flags:#x}");
    }
}

#[test]
fn a_default_route_has_no_destination_attribute() {
    let bytes = message(
        uapi::RTM_NEWROUTE,
        route_header(uapi::AF_INET, 0, 1, 0).as_bytes(),
        &[(15, &254_u32.to_ne_bytes()), (5, &octets("9.254.253.1")), (4, &3_u32.to_ne_bytes())],
    );
    let expected = Route {
        destination: "0.0.0.0/0".parse().unwrap(),
        table: 254,
        protocol: 3,
        priority: 0,
        mtu: 0,
        next_hop: 0,
        action: Action::Paths(vec![Path {
            ifindex: 3,
            gateway: Some(address("9.254.253.1")),
            foreign: false,
            weight: 1,
        }]),
    };
    assert_eq!(one(&bytes), Some(Message::Route(expected, Place::First)));
}

#[test]
fn multipath_leaves_out_dead_paths_and_reads_foreign_families() {
    let mut paths = Vec::new();
    for (flags, ifindex, kind, value) in [
        (uapi::RTNH_F_DEAD as u8, 3_u32, 5_u16, octets("9.0.0.1")),
        (0, 5, 18, [&10_u16.to_ne_bytes()[..], &octets("fe80::1")].concat()),
    ] {
        let attribute =
            [&u16::try_from(value.len() + 4).unwrap().to_ne_bytes()[..], &kind.to_ne_bytes(), &value]
                .concat();
        let padded = attribute.len().next_multiple_of(4);
        paths.extend_from_slice(&u16::try_from(8 + attribute.len()).unwrap().to_ne_bytes());
        paths.extend_from_slice(&[flags, 0]);
        paths.extend_from_slice(&ifindex.to_ne_bytes());
        paths.extend_from_slice(&attribute);
        paths.resize(paths.len() + padded - attribute.len(), 0);
    }
    let bytes = message(
        uapi::RTM_NEWROUTE,
        route_header(uapi::AF_INET, 8, 1, 0).as_bytes(),
        &[(1, &octets("8.0.0.0")), (9, &paths)],
    );
    let Some(Message::Route(route, _)) = one(&bytes) else { panic!("a route") };
    let path = Path { ifindex: 5, gateway: Some(address("fe80::1")), foreign: false, weight: 1 };
    assert_eq!(route.action, Action::Paths(vec![path]));
}

#[test]
fn weights_mtu_and_next_hop_objects_are_read() {
    let path = |hops: u8, gateway: &str| {
        let mut bytes = 16_u16.to_ne_bytes().to_vec();
        bytes.extend([0, hops]);
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend([8_u16.to_ne_bytes(), 5_u16.to_ne_bytes()].concat());
        bytes.extend(octets(gateway));
        bytes
    };
    let paths = [path(0, "9.0.0.1"), path(4, "9.0.0.2")].concat();
    let mtu = [&8_u16.to_ne_bytes()[..], &2_u16.to_ne_bytes(), &1400_u32.to_ne_bytes()].concat();
    let bytes = message(
        uapi::RTM_NEWROUTE,
        route_header(uapi::AF_INET, 8, 1, 0).as_bytes(),
        &[(1, &octets("8.0.0.0")), (8, &mtu), (30, &77_u32.to_ne_bytes()), (9, &paths)],
    );
    let Some(Message::Route(route, _)) = one(&bytes) else { panic!("a route") };
    assert_eq!((route.mtu, route.next_hop), (1400, 77));
    let path = |text, weight| Path { ifindex: 3, gateway: Some(address(text)), foreign: false, weight };
    assert_eq!(route.action, Action::Paths(vec![path("9.0.0.1", 1), path("9.0.0.2", 5)]));
}

#[test]
fn a_next_hop_object_is_a_path_a_group_or_nothing() {
    let header = |family, flags| uapi::NextHopHeader { family, scope: 0, protocol: 3, pad: 0, flags };
    let id = 9_u32.to_ne_bytes();
    let oif = 3_u32.to_ne_bytes();
    let what = |header: uapi::NextHopHeader, attributes: &[(u16, &[u8])]| {
        let all = [&[(1, &id[..])], attributes].concat();
        match one(&message(uapi::RTM_NEWNEXTHOP, header.as_bytes(), &all)) {
            Some(Message::NextHop(NextHop { id: 9, what })) => what,
            other => panic!("{other:?} is no nexthop object 9"),
        }
    };
    let path = Path { ifindex: 3, gateway: Some(address("fe80::1")), foreign: false, weight: 1 };
    let gateway = octets("fe80::1");
    assert_eq!(what(header(10, 0), &[(5, &oif), (6, &gateway)]), What::Path(path));
    assert_eq!(what(header(0, 0), &[(5, &oif), (6, &gateway)]), What::Path(path), "the length tells");
    assert_eq!(what(header(10, uapi::RTNH_F_DEAD), &[(5, &oif), (6, &gateway)]), What::Unusable);
    assert_eq!(what(header(2, 0), &[(4, &[])]), What::Blackhole);
    let members = [&1_u32.to_ne_bytes()[..], &[0, 0, 0, 0], &2_u32.to_ne_bytes(), &[44, 1, 0, 0]].concat();
    assert_eq!(what(header(0, 0), &[(2, &members)]), What::Group(vec![(1, 1), (2, 301)]));
    let gone = message(uapi::RTM_DELNEXTHOP, header(10, 0).as_bytes(), &[(1, &id)]);
    assert_eq!(one(&gone), Some(Message::NextHopGone(9)));
}

#[test]
fn routes_that_a_relay_does_not_use_are_left_out() {
    let cloned = route_header(uapi::AF_INET6, 128, 1, uapi::RTM_F_CLONED);
    let local = route_header(uapi::AF_INET6, 128, 2, 0);
    let oif = (4_u16, &3_u32.to_ne_bytes()[..]);
    let dst = octets("2001:600::1");
    let bytes = message(uapi::RTM_NEWROUTE, cloned.as_bytes(), &[(1, &dst), oif]);
    assert_eq!(one(&bytes), Some(Message::Other));
    let bytes = message(uapi::RTM_NEWROUTE, local.as_bytes(), &[(1, &dst), oif]);
    assert!(matches!(one(&bytes), Some(Message::Route(Route { action: Action::Unusable, .. }, _))));
    let prohibit = route_header(uapi::AF_INET6, 128, uapi::RTN_PROHIBIT, 0);
    let bytes = message(uapi::RTM_NEWROUTE, prohibit.as_bytes(), &[(1, &dst), oif]);
    assert!(matches!(one(&bytes), Some(Message::Route(Route { action: Action::Prohibit, .. }, _))));
}

#[test]
fn a_neighbour_has_state_and_mac_and_a_proxy_is_none() {
    let mut header = uapi::NeighbourHeader {
        family: uapi::AF_INET6,
        pad1: 0,
        pad2: 0,
        ifindex: 3,
        state: uapi::NUD_STALE,
        flags: 0,
        kind: 1,
    };
    let attributes: [(u16, &[u8]); 2] = [(1, &octets("2001:600::1")), (2, &[2, 0, 0, 0, 0, 7])];
    let bytes = message(uapi::RTM_NEWNEIGH, header.as_bytes(), &attributes);
    let expected = Neighbour {
        ifindex: 3,
        address: address("2001:600::1"),
        state: uapi::NUD_STALE,
        mac: Some([2, 0, 0, 0, 0, 7]),
        managed_for_us: false,
    };
    assert_eq!(one(&bytes), Some(Message::Neighbour(expected)));
    // Managed, and by whom: both attributes make it ours.
    for (protocol, flags, ours) in [(73, 1_u32, true), (73, 0, false), (3, 1, false)] {
        let flags = flags.to_ne_bytes();
        let more: [(u16, &[u8]); 4] = [attributes[0], attributes[1], (12, &[protocol]), (15, &flags)];
        let bytes = message(uapi::RTM_NEWNEIGH, header.as_bytes(), &more);
        assert_eq!(one(&bytes), Some(Message::Neighbour(Neighbour { managed_for_us: ours, ..expected })));
    }
    header.flags = uapi::NTF_PROXY;
    let bytes = message(uapi::RTM_NEWNEIGH, header.as_bytes(), &attributes);
    assert_eq!(one(&bytes), Some(Message::Other));
}

#[test]
fn lengths_that_lie_end_the_walk() {
    let header = uapi::LinkHeader { family: 0, pad: 0, kind: 1, ifindex: 3, flags: 0, change: 0 };
    let good = message(uapi::RTM_NEWLINK, header.as_bytes(), &[(3, b"a\0")]);
    for lie in [0_u32, 15, 1 << 20, u32::MAX] {
        let mut bytes = good.clone();
        bytes[..4].copy_from_slice(&lie.to_ne_bytes());
        assert!(parsed(&bytes).is_empty());
    }
    for cut in 0..good.len() {
        parsed(&good[..cut]);
    }
}

#[test]
fn requests_read_back_as_what_they_say() {
    let key = Key { ifindex: 3, address: address("9.254.253.1") };
    let bytes = neighbour(Ask::Managed, key, 9);
    let raw = messages(&bytes).next().unwrap();
    assert_eq!((raw.header.kind, raw.header.sequence), (uapi::RTM_NEWNEIGH, 9));
    assert_eq!(bytes.len(), 16 + 12 + 8 + 8 + 8);
    let Some(Message::Neighbour(back)) = parse(&raw) else { panic!("a neighbour") };
    assert_eq!((back.ifindex, back.address, back.state), (3, key.address, 0));
    assert!(back.managed_for_us);
    let bytes = dump(Dump::Routes6, 1);
    assert_eq!(bytes.len(), 16 + 12);
    assert_eq!(bytes[16], uapi::AF_INET6);
}

#[test]
fn the_running_kernel_answers_dumps() {
    let mut requests = Requests::open().unwrap();
    let links = requests.dump(Dump::Links).unwrap();
    assert!(links.iter().any(|m| matches!(m, Message::Link(link) if link.name == "lo" && link.mtu > 0)));
    for what in
        [Dump::Addresses, Dump::NextHops, Dump::Routes4, Dump::Routes6, Dump::Neighbours4, Dump::Neighbours6]
    {
        requests.dump(what).unwrap();
    }
    let mut listener = Listener::open(uapi::GROUPS).unwrap();
    // Neighbours of the machine may move while the test runs.
    assert!(matches!(listener.next().unwrap(), Events::Empty | Events::Changes(_)));
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        parsed(&bytes);
    }

    #[test]
    fn noise_behind_a_true_header_never_panics(
        kind in prop_oneof![0_u16..40, 104..107_u16],
        body in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let bytes = message(kind, &body, &[]);
        prop_assert_eq!(parsed(&bytes).len(), 1);
    }

    #[test]
    fn flipped_bytes_never_panic(at in 16_usize..88, value in any::<u8>()) {
        let paths = [&24_u16.to_ne_bytes()[..], &[0, 0], &3_u32.to_ne_bytes(), &8_u16.to_ne_bytes(),
            &5_u16.to_ne_bytes(), &[9, 0, 0, 1], &8_u16.to_ne_bytes(), &21_u16.to_ne_bytes(), &[1, 0, 0, 0]];
        let mut bytes = message(
            uapi::RTM_NEWROUTE,
            route_header(uapi::AF_INET, 8, 1, 0).as_bytes(),
            &[(1, &[8, 0, 0, 0]), (15, &254_u32.to_ne_bytes()), (9, &paths.concat())],
        );
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        parsed(&bytes);
    }
}
