//! BOG-03: the first, the last and both neighbouring addresses of every block of the bogon tables, in
//! every place where a 6to4 relay meets them, in both directions and under both profiles.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE, V4, V6, sixtofour, v6};
use common::{Rig, Sizes, WAN4, WAN6, topology};
use sixlane_tunnel::Reason;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A block of §21 of the standards catalogue, written down here a second time on purpose.
struct Block4 {
    prefix: &'static str,
    outer_source: bool,
    embedded: bool,
    lab_permits: bool,
}

const fn both(prefix: &'static str) -> Block4 {
    Block4 { prefix, outer_source: true, embedded: true, lab_permits: false }
}

const fn lab(prefix: &'static str) -> Block4 {
    Block4 { lab_permits: true, ..both(prefix) }
}

const BLOCKS4: [Block4; 18] = [
    both("0.0.0.0/8"),
    both("10.0.0.0/8"),
    both("100.64.0.0/10"),
    both("127.0.0.0/8"),
    both("169.254.0.0/16"),
    both("172.16.0.0/12"),
    both("192.0.0.0/24"),
    lab("192.0.2.0/24"),
    Block4 { outer_source: false, ..both("192.88.99.0/24") },
    both("192.168.0.0/16"),
    lab("198.18.0.0/15"),
    lab("198.51.100.0/24"),
    lab("203.0.113.0/24"),
    both("224.0.0.0/4"),
    both("240.0.0.0/4"),
    // Globally reachable: kept.
    Block4 { prefix: "192.31.196.0/24", outer_source: false, embedded: false, lab_permits: false },
    Block4 { prefix: "192.52.193.0/24", outer_source: false, embedded: false, lab_permits: false },
    Block4 { prefix: "192.175.48.0/24", outer_source: false, embedded: false, lab_permits: false },
];

/// Whether a column of the table refuses an address.
fn refused4(address: u32, lab: bool, column: impl Fn(&Block4) -> bool) -> bool {
    let address = Ipv4Addr::from_bits(address);
    BLOCKS4.iter().any(|block| {
        let prefix: ipnet::Ipv4Net = block.prefix.parse().expect("a prefix");
        prefix.contains(&address) && column(block) && !(lab && block.lab_permits)
    })
}

/// The edges of all blocks and their neighbours.
fn edges4() -> Vec<u32> {
    let mut edges = Vec::new();
    for block in &BLOCKS4 {
        let prefix: ipnet::Ipv4Net = block.prefix.parse().expect("a prefix");
        let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
        edges.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
    }
    edges
}

fn rig(lab: bool) -> Rig {
    let (mut writer, tables) = topology::tables_with(|settings| settings.lab = u32::from(lab));
    // Everything that is not refused must have somewhere to go.
    topology::route4(&mut writer, "0.0.0.0/0", &topology::neighbour(WAN4, 1500));
    topology::route6(&mut writer, "::/0", &topology::neighbour(WAN6, 1500));
    std::mem::forget(writer);
    Rig::over(tables, Sizes::default())
}

#[test]
fn outer_sources() {
    for lab in [false, true] {
        let mut rig = rig(lab);
        for address in edges4() {
            let site = Ipv4Addr::from_bits(address);
            let packet = V6::between(sixtofour(site, 1), v6(NATIVE_HOST)).in_tunnel();
            let outcome = rig.one(WAN4, &V4 { source: site, ..packet }.bytes());
            if refused4(address, lab, |block| block.outer_source) {
                outcome.silent(Reason::V4SrcBogon);
            } else if refused4(address, lab, |block| block.embedded) && address != 0xc058_6301 {
                // 192.88.99.0/24 may speak, but only 192.88.99.1 for an address that embeds it.
                outcome.silent(Reason::V4EmbeddedBogon);
            } else {
                assert_eq!(outcome.counters.transmitted, 1, "{site} lab={lab}");
            }
        }
        rig.close();
    }
}

#[test]
fn the_anycast_relay_may_speak_for_itself_alone() {
    let mut rig = rig(false);
    let anycast = Ipv4Addr::new(192, 88, 99, 1);
    let packet = |source| V4 { source, ..V6::between(sixtofour(anycast, 1), v6(NATIVE_HOST)).in_tunnel() };
    assert_eq!(rig.one(WAN4, &packet(anycast).bytes()).counters.transmitted, 1);
    rig.one(WAN4, &packet(SITE).bytes()).silent(Reason::V4EmbeddedBogon);
    rig.one(WAN4, &packet(Ipv4Addr::new(192, 88, 99, 2)).bytes()).silent(Reason::V4EmbeddedBogon);
}

#[test]
fn embedded_addresses_in_both_directions() {
    for lab in [false, true] {
        let mut rig = rig(lab);
        for address in edges4() {
            let site = Ipv4Addr::from_bits(address);
            let refused = refused4(address, lab, |block| block.embedded);
            // Into the tunnel.
            let outcome = rig.one(WAN6, &V6::between(v6(NATIVE_HOST), sixtofour(site, 1)).bytes());
            if refused {
                outcome.silent(Reason::V4EmbeddedBogon);
            } else {
                assert_eq!(outcome.counters.transmitted, 1, "to {site} lab={lab}");
            }
            // Out of the tunnel, in the source of an honest neighbour, and in the destination.
            for (source, destination) in [(site, None), (SITE, Some(site))] {
                let destination = destination.map_or(v6(NATIVE_HOST), |site| sixtofour(site, 1));
                let packet = V6::between(sixtofour(source, 2), destination).in_tunnel();
                let outcome = rig.one(WAN4, &packet.bytes());
                let lies =
                    if source == site { Reason::Sixto4SrcMismatch } else { Reason::Sixto4To6to4ViaRelay };
                outcome.silent(if refused { Reason::V4EmbeddedBogon } else { lies });
            }
        }
        rig.close();
    }
}

/// IPv6 blocks: whether refused, whether the lab permits them; the longest match counts.
const BLOCKS6: [(&str, bool, bool); 27] = [
    ("::/16", true, false),
    ("64:ff9b::/96", false, false),
    ("64:ff9b:1::/48", true, false),
    ("100::/64", true, false),
    ("100:0:0:1::/64", true, false),
    ("2001::/23", true, false),
    ("2001::/32", false, false),
    ("2001:2::/48", true, true),
    ("2001:10::/28", true, false),
    ("2001:20::/28", false, false),
    ("2001:30::/28", false, false),
    ("2001:1::1/128", false, false),
    ("2001:1::2/128", false, false),
    ("2001:3::/32", false, false),
    ("2001:4:112::/48", false, false),
    ("2620:4f:8000::/48", false, false),
    ("2001:db8::/32", true, true),
    ("3fff::/20", true, true),
    ("3ffe::/16", true, false),
    ("5f00::/16", true, false),
    ("fc00::/7", true, false),
    ("fe80::/10", true, false),
    ("fec0::/10", true, false),
    ("ff00::/8", true, false),
    ("2400::/12", false, false),
    ("2600::/12", false, false),
    ("2a00::/12", false, false),
];

fn refused6(address: u128, lab: bool) -> bool {
    let address = Ipv6Addr::from_bits(address);
    let blocks = BLOCKS6.iter().map(|(prefix, refused, permitted)| {
        let prefix: ipnet::Ipv6Net = prefix.parse().expect("a prefix");
        (prefix, *refused && !(lab && *permitted))
    });
    let holding = blocks.filter(|(prefix, _)| prefix.contains(&address));
    holding.max_by_key(|(prefix, _)| prefix.prefix_len()).is_some_and(|(_, refused)| refused)
}

fn edges6() -> Vec<u128> {
    let mut edges = Vec::new();
    for (prefix, ..) in BLOCKS6 {
        let prefix: ipnet::Ipv6Net = prefix.parse().expect("a prefix");
        let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
        edges.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
    }
    edges
}

#[test]
fn ipv6_sources_and_destinations_in_both_directions() {
    for lab in [false, true] {
        let mut rig = rig(lab);
        for bits in edges6() {
            let address = bits.to_be_bytes();
            let text = Ipv6Addr::from_bits(bits);
            let link_local = bits >> 118 == 0xfe80 >> 6;
            let sixtofour_host = v6("2002:c001:203:1::a");
            // As native source, toward the site.
            let outcome = rig.one(WAN6, &V6::between(address, sixtofour_host).bytes());
            if link_local {
                outcome.dropped(Reason::BeyondScope);
            } else if refused6(bits, lab) {
                outcome.silent(Reason::V6SrcBogon);
            } else {
                assert_eq!(outcome.counters.transmitted, 1, "from {text} lab={lab}");
            }
            // From a native host to another: all but what no router forwards (FWD-04).
            let never = link_local || bits >> 112 == 0 || bits >> 120 == 0xff;
            for (packet, reason) in [
                (V6::between(address, v6(NATIVE_HOST)), Reason::V6SrcBogon),
                (V6::between(v6("2001:600::5"), address), Reason::V6DstBogon),
            ] {
                let outcome = rig.one(WAN6, &packet.bytes());
                if link_local && reason == Reason::V6SrcBogon {
                    outcome.dropped(Reason::BeyondScope);
                } else if never {
                    outcome.silent(reason);
                } else {
                    assert_eq!(outcome.counters.transmitted, 1, "{text} between native hosts, lab={lab}");
                }
            }
            // As destination of the site.
            let outcome = rig.one(WAN4, &V6::between(sixtofour_host, address).in_tunnel().bytes());
            if link_local {
                outcome.silent(Reason::V6LinklocalOn6to4);
            } else if refused6(bits, lab) {
                outcome.silent(Reason::V6DstBogon);
            } else {
                assert_eq!(outcome.counters.transmitted, 1, "to {text} from the site, lab={lab}");
            }
        }
        rig.close();
    }
}

#[test]
fn addresses_of_the_box_and_broadcasts_are_refused_under_both_profiles() {
    for lab in [false, true] {
        let mut rig = rig(lab);
        for (host, outer, into) in [
            (252, Reason::OwnSource, Reason::V4LocalAddress),
            (0, Reason::V4SrcBogon, Reason::V4EmbeddedBogon),
            (255, Reason::V4SrcBogon, Reason::V4EmbeddedBogon),
        ] {
            let address = Ipv4Addr::new(9, 254, 253, host);
            let inner = V6::between(sixtofour(address, 1), v6(NATIVE_HOST)).in_tunnel();
            rig.one(WAN4, &V4 { source: address, ..inner }.bytes()).silent(outer);
            rig.one(WAN6, &V6::between(v6(NATIVE_HOST), sixtofour(address, 1)).bytes()).silent(into);
        }
        rig.close();
    }
}
