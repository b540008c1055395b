//! The rules, one by one, and the agreement of every screen with its list.

extern crate std;

use super::*;
use crate::bogon::{self, BLOCKS4, BLOCKS6};
use crate::embed::{Teredo, isatap_identifier, sixtofour};
use crate::testing::{RELAY, SITE, TestClasses, packet4, packet6, v4, v6};
use proptest::prelude::*;
use std::{format, vec, vec::Vec};

const NATIVE: Address = Address { hi: 0x2001_0600_0000_0000, lo: 1 };

fn leave(source: &str, destination: &str) -> Result<(), Reason> {
    leave_as(v6(source), v6(destination), SITE, &TestClasses::relay())
}

fn leave_as(source: Address, destination: Address, outer: u32, classes: &TestClasses) -> Result<(), Reason> {
    leaving(&inner(source, destination), &carrier(outer), classes.class4(outer), classes)
}

/// A header between these addresses.
fn inner(source: Address, destination: Address) -> ipv6::Header {
    *ipv6::parse(&packet6(source, destination, ipv6::UDP, &[])).unwrap().0
}

/// An outer header from this address.
fn carrier(source: u32) -> ipv4::Header {
    *ipv4::parse(&packet4(source, RELAY, &[], |_| {})).unwrap().0
}

fn enter(source: Address, destination: Address, classes: &TestClasses) -> Result<(), Reason> {
    let embedded = native(&inner(source, destination), classes)?;
    entering(source, destination, embedded, classes)
}

#[test]
fn outer_sources() {
    let judge = |class: Class4| outer_source(class, ipv4::IPV6);
    assert_eq!(judge(Class4::NONE), Ok(()));
    // 192.88.99.1 as outer source is fine for 6to4 (6TO4-23).
    assert_eq!(judge(bogon::class4(ANYCAST_RELAY, false)), Ok(()));
    for (class, reason) in [
        (Class4::OUTER_BOGON, Reason::V4SrcBogon),
        (Class4::BROADCAST, Reason::V4SrcBogon),
        (Class4::OUTER_BOGON.union(Class4::OWN), Reason::V4SrcBogon),
        (Class4::OWN, Reason::OwnSource),
        (Class4::OWN.union(Class4::KNOWN_RELAY), Reason::OwnSource),
        (Class4::KNOWN_RELAY, Reason::KnownRelay),
        (Class4::KNOWN_RELAY.union(Class4::NOT_ALLOWED), Reason::KnownRelay),
        (Class4::NOT_ALLOWED, Reason::NotAllowed),
    ] {
        assert_eq!(judge(class), Err(reason), "{class:?}");
    }
}

#[test]
fn what_is_not_protocol_41() {
    assert_eq!(outer_source(Class4::NONE, ipv4::ICMP), Err(Reason::IcmpQuoteUntrusted));
    assert_eq!(outer_source(Class4::NOT_ALLOWED, ipv4::ICMP), Err(Reason::IcmpQuoteUntrusted));
    assert_eq!(outer_source(Class4::OUTER_BOGON, ipv4::ICMP), Err(Reason::V4SrcBogon));
    for protocol in [4, ipv4::UDP, 47] {
        assert_eq!(outer_source(Class4::NONE, protocol), Err(Reason::NoTunnel), "{protocol}");
    }
}

#[test]
fn leaving_the_tunnel() {
    let site = "2002:c001:203:1::a";
    for (source, destination, expected) in [
        (site, "2001:600::1", Ok(())),
        (site, "2400::1", Ok(())),
        (site, "2001:4860::1", Ok(())),
        (site, "2001:20::1", Ok(())),
        (site, "64:ff9b::8.8.8.8", Ok(())),
        // Somebody else's ISATAP and Teredo addresses are ordinary destinations.
        (site, "2001:600:9:9:200:5efe:8.8.8.8", Ok(())),
        (site, "2001:0:800:a:0:63bf:f6ff:fffd", Ok(())),
        ("fe80::1", "ff02::1", Err(Reason::V6LinklocalOn6to4)),
        ("fe80::1", "2001:600::1", Err(Reason::V6LinklocalOn6to4)),
        (site, "fe80::1", Err(Reason::V6LinklocalOn6to4)),
        ("::", "2001:600::1", Err(Reason::V6SrcBogon)),
        ("::1", "2001:600::1", Err(Reason::V6SrcBogon)),
        ("::ffff:192.1.2.3", "2001:600::1", Err(Reason::V6SrcBogon)),
        ("fec0::1", "2001:600::1", Err(Reason::V6SrcBogon)),
        ("ff02::1", "2001:600::1", Err(Reason::V6SrcBogon)),
        ("2001:db8::1", "2001:600::1", Err(Reason::V6SrcBogon)),
        (site, "::1", Err(Reason::V6DstBogon)),
        (site, "ff0e::1", Err(Reason::V6DstBogon)),
        (site, "fc00::1", Err(Reason::V6DstBogon)),
        (site, "2001:db8::1", Err(Reason::V6DstBogon)),
        ("2002:a00:5::1", "2001:600::1", Err(Reason::V4EmbeddedBogon)),
        ("2002:e000:1::1", "2001:600::1", Err(Reason::V4EmbeddedBogon)),
        (site, "2002:a00:5::1", Err(Reason::V4EmbeddedBogon)),
        (site, "2002:c058:6301::1", Err(Reason::V4EmbeddedBogon)),
        ("2002:c058:6301::", "2001:600::1", Err(Reason::V4EmbeddedBogon)),
        ("2001:600::77", "2001:600::1", Err(Reason::V6NativeNative)),
        ("2001:600::77", "2002:c001:203::1", Err(Reason::Sixto4RelayNativeSrc)),
        ("2002:c001:204::1", "2001:600::1", Err(Reason::Sixto4SrcMismatch)),
        ("2002:c001:204::1", "2002:800:1::1", Err(Reason::Sixto4SrcMismatch)),
        (site, "2002:800:1::1", Err(Reason::Sixto4To6to4ViaRelay)),
        (site, "2002:9fe:fdfc::1", Err(Reason::V4LocalAddress)),
        // LOOP-03: both ISATAP forms, Teredo client and server.
        (site, "2001:600:9:9:200:5efe:9.254.253.252", Err(Reason::LoopLocalV4InDst)),
        (site, "2001:600:9:9:0:5efe:9.254.253.252", Err(Reason::LoopLocalV4InDst)),
        (site, "2001:0:800:a:0:f227:f601:203", Err(Reason::LoopLocalV4InDst)),
        (site, "2001:0:9fe:fdfc:0:63bf:f6ff:fffd", Err(Reason::LoopLocalV4InDst)),
    ] {
        assert_eq!(leave(source, destination), expected, "{source} to {destination}");
    }
}

#[test]
fn the_anycast_relay_speaks_for_itself_only() {
    let classes = TestClasses::relay();
    let (source, other) = (v6("2002:c058:6301::"), v6("2002:c058:6302::"));
    assert_eq!(leave_as(source, NATIVE, ANYCAST_RELAY, &classes), Ok(()));
    assert_eq!(leave_as(source, NATIVE, ANYCAST_RELAY + 1, &classes), Err(Reason::V4EmbeddedBogon));
    assert_eq!(leave_as(other, NATIVE, ANYCAST_RELAY + 1, &classes), Err(Reason::V4EmbeddedBogon));
}

#[test]
fn the_laboratory_permits_its_ranges() {
    let lab = TestClasses { lab: true, ..TestClasses::relay() };
    let outer = v4("198.18.0.1");
    assert_eq!(leave_as(sixtofour(outer, 0, 1), v6("2001:db8::1"), outer, &lab), Ok(()));
    assert_eq!(enter(v6("2001:2::1"), sixtofour(outer, 0, 1), &lab), Ok(()));
    let internet = TestClasses::relay();
    assert_eq!(leave_as(sixtofour(outer, 0, 1), NATIVE, outer, &internet), Err(Reason::V4EmbeddedBogon));
    assert_eq!(enter(v6("2001:2::1"), v6("2002:c001:203::1"), &internet), Err(Reason::V6SrcBogon));
}

#[test]
fn own_private_addresses_are_ambiguous() {
    // LOOP-04: 10.0.0.1 is ours, and also somebody else's in his own ISATAP site.
    let classes = TestClasses::relay().with("10.0.0.1", Class4::OWN);
    let theirs = v6("2001:600:9:9:0:5efe:10.0.0.1");
    assert_eq!(leave_as(v6("2002:c001:203::1"), theirs, SITE, &classes), Ok(()));
    assert_eq!(enter(theirs, v6("2002:c001:203::1"), &classes), Ok(()));
}

#[test]
fn broadcast_addresses_of_attached_networks() {
    let classes = TestClasses::relay().with("8.1.1.255", Class4::BROADCAST);
    let embedded = v6("2002:801:1ff::1");
    assert_eq!(enter(NATIVE, embedded, &classes), Err(Reason::V4EmbeddedBogon));
    assert_eq!(enter(embedded, NATIVE, &classes), Err(Reason::V4EmbeddedBogon));
    assert_eq!(leave_as(embedded, NATIVE, v4("8.1.1.255"), &classes), Err(Reason::V4EmbeddedBogon));
}

#[test]
fn from_a_port_into_the_tunnel() {
    let site = "2002:c001:203:1::a";
    let classes =
        TestClasses::relay().with("8.0.0.1", Class4::KNOWN_RELAY).with("8.0.0.2", Class4::NOT_ALLOWED);
    for (source, destination, expected) in [
        ("2001:600::1", site, Ok(())),
        ("2001:600:9:9:200:5efe:8.8.8.8", site, Ok(())),
        ("2001:0:800:a:0:63bf:f6ff:fffd", site, Ok(())),
        ("64:ff9b::8.8.8.8", site, Ok(())),
        ("::1", site, Err(Reason::V6SrcBogon)),
        ("::", site, Err(Reason::V6SrcBogon)),
        ("ff02::1", site, Err(Reason::V6SrcBogon)),
        ("fd00::1", site, Err(Reason::V6SrcBogon)),
        ("fec0::1", site, Err(Reason::V6SrcBogon)),
        ("2001:600::1", "fec0::1", Err(Reason::V6DstBogon)),
        ("2001:600::1", "ff0e::1", Err(Reason::V6DstBogon)),
        ("2001:600::1", "fe80::1", Err(Reason::V6DstBogon)),
        ("fe80::1", "fe80::2", Err(Reason::V6DstBogon)),
        ("fe80::1", "2002:a00:1::1", Err(Reason::V4EmbeddedBogon)),
        ("fe80::1", site, Err(Reason::BeyondScope)),
        ("fe80::1", "2001:600::2", Err(Reason::BeyondScope)),
        ("2001:600::1", "2002:a00:1::1", Err(Reason::V4EmbeddedBogon)),
        ("2001:600::1", "2002:ffff:ffff::1", Err(Reason::V4EmbeddedBogon)),
        ("2001:600::1", "2002:c058:6301::1", Err(Reason::V4EmbeddedBogon)),
        ("2002:a00:1::1", site, Err(Reason::V4EmbeddedBogon)),
        ("2002:9fe:fdfc::1", site, Err(Reason::OwnSource)),
        (site, site, Err(Reason::OwnSource)),
        ("2001:600::1", "2001:600::1", Err(Reason::OwnSource)),
        ("2002:800:1::1", site, Err(Reason::Sixto4NativeSrc6to4)),
        ("2001:600::1", "2001:600::2", Err(Reason::V6NativeNative)),
        ("2001:600::1", "2002:9fe:fdfc::5", Err(Reason::V4LocalAddress)),
        ("2001:600::1", "2002:800:1::1", Err(Reason::KnownRelay)),
        ("2001:600::1", "2002:800:2::1", Err(Reason::NotAllowed)),
        ("2001:600:9:9:200:5efe:9.254.253.252", site, Err(Reason::LoopLocalV4InSrc)),
        ("2001:600:9:9:0:5efe:9.254.253.252", site, Err(Reason::LoopLocalV4InSrc)),
        ("2001:0:800:a:0:f227:f601:203", site, Err(Reason::LoopLocalV4InSrc)),
        ("2001:0:9fe:fdfc:0:63bf:f6ff:fffd", site, Err(Reason::LoopLocalV4InSrc)),
    ] {
        assert_eq!(enter(v6(source), v6(destination), &classes), expected, "{source} to {destination}");
    }
}

/// RFC 3964 §5.3.2 refuses fec0::/10 on 6to4; elsewhere it is global unicast (RFC 4291 §2.5.7).
#[test]
fn site_local_addresses_are_refused_on_6to4_only() {
    let classes = TestClasses::relay();
    let site_local = v6("fec0::1");
    assert_eq!(native(&inner(site_local, NATIVE), &classes), Ok(Class4::NONE));
    assert_eq!(native(&inner(NATIVE, site_local), &classes), Ok(Class4::NONE));
    assert_eq!(enter(site_local, v6("2002:c001:203::1"), &classes), Err(Reason::V6SrcBogon));
    assert_eq!(leave("2002:c001:203::1", "fec0::1"), Err(Reason::V6DstBogon));
}

/// A bit that means nothing, in a table that is newer or damaged, opens no way past the list.
#[test]
fn unknown_properties_mean_nothing() {
    let classes = TestClasses::relay().with("192.1.2.3", Class4::from_bits(1 << 15));
    let (spoofed, site) = (v6("2002:800:1::1"), v6("2002:c001:203::1"));
    assert_eq!(enter(spoofed, site, &classes), Err(Reason::Sixto4NativeSrc6to4));
    assert_eq!(enter(NATIVE, site, &classes), Ok(()));
}

#[test]
fn native_traffic_of_6to4_sources_is_forwarded_but_not_answered() {
    let classes = TestClasses::relay();
    assert_eq!(native(&inner(v6("2002:c001:203::1"), NATIVE), &classes), Ok(Class4::NONE));
    assert!(!is_answerable(v6("2002:c001:203::1")));
    assert!(is_answerable(NATIVE));
}

/// BOG-03: every edge of every IPv4 block, in each direction and each place.
#[test]
fn every_ipv4_edge_in_both_directions() {
    for lab in [false, true] {
        let classes = TestClasses { lab, ..TestClasses::relay() };
        let edges = |block: &bogon::Block4| {
            [block.first, block.last(), block.first.wrapping_sub(1), block.last().wrapping_add(1)]
        };
        for edge in BLOCKS4.iter().flat_map(edges) {
            let class = bogon::class4(edge, lab);
            let embedded = sixtofour(edge, 0, 1);
            let refused = class.contains(Class4::EMBEDDED_BOGON);
            let expected = if refused { Err(Reason::V4EmbeddedBogon) } else { Ok(()) };
            assert_eq!(enter(NATIVE, embedded, &classes), expected, "to {edge:#x} lab={lab}");

            let expected =
                if refused { Err(Reason::V4EmbeddedBogon) } else { Err(Reason::Sixto4NativeSrc6to4) };
            assert_eq!(
                enter(embedded, sixtofour(SITE, 0, 1), &classes),
                expected,
                "from {edge:#x} lab={lab}"
            );

            let outer = outer_source(class, ipv4::IPV6);
            let bogon = class.contains(Class4::OUTER_BOGON);
            assert_eq!(outer, if bogon { Err(Reason::V4SrcBogon) } else { Ok(()) }, "{edge:#x} lab={lab}");
            let expected = if refused { Err(Reason::V4EmbeddedBogon) } else { Ok(()) };
            assert_eq!(leave_as(embedded, NATIVE, edge, &classes), expected, "{edge:#x} lab={lab}");
        }
    }
}

/// BOG-03 for IPv6, as source and as destination, in both directions.
#[test]
fn every_ipv6_edge_in_both_directions() {
    let site = sixtofour(SITE, 0, 1);
    for block in BLOCKS6 {
        let number = |address: Address| u128::from_be_bytes(address.octets());
        let (first, last) = (number(block.first), number(block.last()));
        for edge in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
            let edge = Address::from_octets(edge.to_be_bytes());
            for lab in [false, true] {
                let classes = TestClasses { lab, ..TestClasses::relay() };
                let context = format!("{edge:x?} lab={lab}");
                if is_sixtofour(edge) {
                    continue; // judged by the embedded address: above
                }
                let refused = bogon::refused6(edge, lab);
                let local = edge.is_link_local();

                let expected = match (local, refused) {
                    (true, _) => Err(Reason::BeyondScope),
                    (false, true) => Err(Reason::V6SrcBogon),
                    (false, false) => Ok(()),
                };
                assert_eq!(enter(edge, site, &classes), expected, "source {context}");
                // What stays native is the operator's own affair but for what no router forwards.
                let never = local || edge.is_multicast() || edge.hi >> 48 == 0;
                let expected = |reason| if never { Err(reason) } else { Ok(Class4::NONE) };
                let expected_to = expected(Reason::V6DstBogon);
                assert_eq!(native(&inner(NATIVE, edge), &classes), expected_to, "destination {context}");
                let expected_from =
                    if local { Err(Reason::BeyondScope) } else { expected(Reason::V6SrcBogon) };
                assert_eq!(native(&inner(edge, NATIVE), &classes), expected_from, "native source {context}");

                let expected = match (local, refused) {
                    (true, _) => Err(Reason::V6LinklocalOn6to4),
                    (false, true) => Err(Reason::V6SrcBogon),
                    (false, false) => Err(Reason::V6NativeNative),
                };
                assert_eq!(leave_as(edge, NATIVE, SITE, &classes), expected, "inner source {context}");
                let expected = match (local, refused) {
                    (true, _) => Err(Reason::V6LinklocalOn6to4),
                    (false, true) => Err(Reason::V6DstBogon),
                    (false, false) => Ok(()),
                };
                assert_eq!(leave_as(site, edge, SITE, &classes), expected, "inner destination {context}");
            }
        }
    }
}

fn routing(kind: u8, segments_left: u8, next_header: u8) -> Vec<u8> {
    let mut header = vec![next_header, 2, kind, segments_left, 0, 0, 0, 0];
    header.extend([0; 16]);
    header
}

#[test]
fn routing_headers() {
    for segments_left in [0, 1] {
        for (kind, expected) in [
            (0, Err(Reason::RoutingHeaderType0)),
            (1, Err(Reason::RoutingHeader)),
            (2, Ok(())),
            (3, Err(Reason::RoutingHeader)),
            (4, Ok(())),
            (253, Ok(())),
        ] {
            let header = routing(kind, segments_left, ipv6::TCP);
            assert_eq!(header_chain(extension::ROUTING, &header), expected, "type {kind}");
            let behind = [&[extension::ROUTING, 0, 1, 4, 0, 0, 0, 0][..], &header].concat();
            assert_eq!(header_chain(ipv6::HOP_BY_HOP, &behind), expected, "type {kind} behind options");
        }
    }
}

#[test]
fn messages_that_stay_on_their_link() {
    let expected = |kind: u8| match kind {
        130..=137 | 141..=143 | 148 | 149 | 151..=153 => Err(Reason::NdTransit),
        _ => Ok(()),
    };
    for kind in 0..=255 {
        let message = [kind, 0, 0, 0];
        assert_eq!(header_chain(ipv6::ICMPV6, &message), expected(kind), "type {kind}");
        let behind = [&[ipv6::ICMPV6, 0, 5, 2, 0, 0, 1, 0][..], &message].concat();
        assert_eq!(header_chain(ipv6::HOP_BY_HOP, &behind), expected(kind), "type {kind} behind options");
    }
    assert_eq!(header_chain(ipv6::ICMPV6, &[]), Ok(()));
}

#[test]
fn headers_that_pass() {
    let fragment = [ipv6::TCP, 0, 0, 8, 0, 0, 0, 1];
    assert_eq!(header_chain(extension::FRAGMENT, &fragment), Ok(()));
    assert_eq!(
        header_chain(extension::ROUTING, &[0; 3]),
        Ok(()),
        "a truncated header is for its destination"
    );
    for next_header in [ipv6::TCP, ipv6::UDP, ipv6::NO_NEXT_HEADER, 4, 41, 50, 132, 255] {
        assert_eq!(header_chain(next_header, &[]), Ok(()), "{next_header}");
    }
    let options = [extension::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(header_chain(extension::DESTINATION_OPTIONS, &options.repeat(9)), Err(Reason::ExtChain));
}

/// Addresses that sit on the edges of the rules.
fn any_address() -> impl Strategy<Value = Address> {
    let v4s = prop::sample::select(
        &[RELAY, SITE, ANYCAST_RELAY, 0x0a00_0005, 0x0a00_0001, 0xe000_0001, 0x0801_01ff][..],
    );
    let v4s = prop_oneof![4 => v4s, 1 => any::<u32>()];
    let blocks = prop::sample::select(BLOCKS6).prop_flat_map(|block| {
        let (first, last) = (block.first, block.last());
        (any::<u64>(), any::<u64>()).prop_map(move |(hi, lo)| Address {
            hi: first.hi | hi & (last.hi ^ first.hi),
            lo: first.lo | lo & (last.lo ^ first.lo),
        })
    });
    let tops = prop::sample::select(
        &[0x2001_0600_u64 << 32, 0x2400 << 48, 0xfe80 << 48, 0x2001_0db8 << 32, 0xff02 << 48][..],
    );
    prop_oneof![
        3 => (v4s.clone(), any::<u16>(), any::<u64>()).prop_map(|(v4, subnet, id)| sixtofour(v4, subnet, id)),
        2 => (tops.clone(), v4s.clone(), any::<bool>())
            .prop_map(|(hi, v4, global)| Address { hi, lo: isatap_identifier(v4, global) }),
        1 => (v4s.clone(), v4s, any::<u16>())
            .prop_map(|(server, client, port)| Teredo { server, flags: 0, port, client }.address()),
        2 => blocks,
        2 => tops.prop_map(|hi| Address { hi, lo: 1 }),
        1 => any::<[u8; 16]>().prop_map(Address::from_octets),
    ]
}

fn any_classes() -> impl Strategy<Value = TestClasses> {
    any::<(bool, bool, bool)>().prop_map(|(lab, own_private, restricted)| {
        let mut classes = TestClasses { lab, ..TestClasses::relay() }.with("8.1.1.255", Class4::BROADCAST);
        if own_private {
            classes = classes.with("10.0.0.1", Class4::OWN);
        }
        if restricted {
            classes = classes.with("192.1.2.3", Class4::NOT_ALLOWED);
        }
        classes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn screens_are_never_more_lenient_than_their_lists(
        source in any_address(),
        destination in any_address(),
        outer in prop_oneof![Just(SITE), Just(ANYCAST_RELAY), any::<u32>()],
        follows: bool,
        classes in any_classes(),
    ) {
        let outer = match sixtofour_v4(source) {
            Some(v4) if follows => v4,
            _ => outer,
        };
        let class = classes.class4(outer);
        let header = inner(source, destination);
        prop_assert_eq!(
            leaving(&header, &carrier(outer), class, &classes),
            leaving_list(&header, &carrier(outer), &classes)
        );
        let embedded = sixtofour_v4(destination).map_or(Class4::NONE, |v4| classes.class4(v4));
        let answer = native(&header, &classes);
        let listed = native_list(&header, embedded, &classes);
        if answer == Ok(ENTERS) {
            prop_assert_eq!(listed, Ok(Class4::NONE));
            prop_assert_eq!(entering_list(source, destination, Class4::NONE, &classes), Ok(()));
        } else {
            prop_assert_eq!(answer, listed);
        }
    }

    #[test]
    fn the_header_screen_agrees_with_the_walk(next_header: u8, payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert_eq!(header_chain(next_header, &payload), header_chain_walk(next_header, &payload));
    }

    #[test]
    fn the_outer_screen_agrees_with_its_list(bits in 0_u16..128, protocol in 0_u8..60) {
        let class = Class4::from_bits(bits);
        if let Err(reason) = outer_source(class, protocol) {
            prop_assert_eq!(reason, outer_source_list(class, protocol));
        } else {
            prop_assert!(protocol == ipv4::IPV6 && !class.intersects(OUTER_REFUSED));
        }
    }
}

fn from_box(source: &str, destination: &str) -> Result<(), Reason> {
    let classes = TestClasses::relay().with("9.254.253.1", Class4::OWN).with("8.0.0.66", Class4::KNOWN_RELAY);
    let header = inner(v6(source), v6(destination));
    let embedded = from_host(&header, RELAY, &classes)?;
    entering(header.source(), header.destination(), embedded, &classes)
}

#[test]
fn from_the_box_itself_into_the_tunnel() {
    let site = "2002:c001:203:1::a";
    for (source, destination, expected) in [
        ("2001:600::fe", site, Ok(())),
        // Its own addresses that embed its own IPv4 address: 6to4, ISATAP, Teredo.
        ("2002:9fe:fdfc::1", site, Ok(())),
        ("2001:700::5efe:9fe:fdfc", site, Ok(())),
        ("2001:0:9fe:fdfc::1", site, Ok(())),
        // The far end would refuse this: the outer source is another.
        ("2002:9fe:fd01::1", site, Err(Reason::Sixto4NativeSrc6to4)),
        // Everything else is refused as from a port.
        ("2002:801:1::1", site, Err(Reason::Sixto4NativeSrc6to4)),
        ("2002:9fe:fdfc::1", "2002:9fe:fdfc::1", Err(Reason::OwnSource)),
        ("2002:9fe:fdfc::1", "2002:9fe:fdfc::2", Err(Reason::V4LocalAddress)),
        ("2002:9fe:fdfc::1", "2001:600::1", Err(Reason::V6NativeNative)),
        ("2002:a00:1::1", site, Err(Reason::V4EmbeddedBogon)),
        ("2001:600::fe", "2002:a00:1::1", Err(Reason::V4EmbeddedBogon)),
        ("2001:600::fe", "2002:800:42::1", Err(Reason::KnownRelay)),
        ("2001:600::fe", "ff02::2", Err(Reason::V6DstBogon)),
        ("fe80::1", site, Err(Reason::BeyondScope)),
        ("::1", site, Err(Reason::V6SrcBogon)),
    ] {
        assert_eq!(from_box(source, destination), expected, "{source} -> {destination}");
    }
}

proptest! {
    /// Where the source embeds nothing of ours, the box is judged as any port.
    #[test]
    fn from_the_box_as_from_a_port(source: [u8; 16], destination: [u8; 16], forms in 0_usize..9) {
        let shape = |mut address: [u8; 16], form: usize| {
            match form {
                0 => address[..2].copy_from_slice(&[0x20, 0x02]),
                1 => address[..4].copy_from_slice(&[0x20, 0x01, 6, 0]),
                _ => {}
            }
            Address::from_octets(address)
        };
        let (source, destination) = (shape(source, forms % 3), shape(destination, forms / 3));
        let classes = TestClasses::relay();
        let header = inner(source, destination);
        prop_assert_eq!(
            from_host(&header, RELAY, &classes).and_then(|class| entering(source, destination, class, &classes)),
            enter(source, destination, &classes)
        );
    }
}

#[test]
fn what_a_tunnel_delivers_to_the_box() {
    let protected = Err(Reason::MgmtProtected);
    let fragment = |next: u8, offset: u8| [next, 0, 0, offset, 0, 0, 0, 1, 0, 0, 0, 0];
    for (next_header, payload, expected) in [
        (ipv6::ICMPV6, &[128, 0, 0, 0][..], Ok(())),
        (ipv6::ICMPV6, &[], Ok(())),
        (ipv6::TCP, &[0; 20], protected),
        (ipv6::UDP, &[0; 8], protected),
        (ipv6::ESP, &[0; 8], protected),
        (ipv6::NO_NEXT_HEADER, &[], protected),
        (extension::DESTINATION_OPTIONS, &[ipv6::ICMPV6, 0, 1, 4, 0, 0, 0, 0, 129, 0, 0, 0], Ok(())),
        (extension::DESTINATION_OPTIONS, &[ipv6::TCP, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4], protected),
        (extension::DESTINATION_OPTIONS, &[ipv6::ICMPV6, 1, 1, 4, 0, 0, 0, 0], protected),
        (extension::FRAGMENT, &fragment(ipv6::ICMPV6, 1), Ok(())),
        (extension::FRAGMENT, &fragment(ipv6::UDP, 1), protected),
        (extension::FRAGMENT, &fragment(ipv6::ICMPV6, 8), Ok(())),
        (extension::FRAGMENT, &fragment(ipv6::TCP, 8), protected),
    ] {
        assert_eq!(delivery(next_header, payload, false), expected, "{next_header} {payload:?}");
        assert_eq!(delivery(next_header, payload, true), Ok(()));
    }
}
