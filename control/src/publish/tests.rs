//! Publication into real tables, seen through a reader's eyes.

use std::collections::BTreeSet;

use sixlane_tables::{Limits, Tables, View};

use super::*;
use crate::compile::tests::{TEXT, WAN4, WAN6, compiled, kernel, route};
use crate::neighbours::Change;
use crate::netlink::message::Neighbour;
use crate::netlink::uapi;

const MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];
const OTHER: [u8; 6] = [2, 0, 0, 0, 9, 10];

struct Bench {
    publisher: Publisher,
    neighbours: Neighbours,
    desired: Desired,
    tables: Tables,
}

impl Bench {
    fn new() -> Self {
        let desired = compiled(TEXT, &kernel()).unwrap();
        let limits = Limits { adjacencies: 64, ..Limits::default() };
        let publisher = Publisher::new(TableWriter::create(&limits, &desired.settings).unwrap());
        let mut neighbours = Neighbours::new(1024, 100);
        neighbours.set_topology(0, &desired.gateways, &desired.on_link);
        let tables = Tables::attach(publisher.writer().segments()[0].share().unwrap()).unwrap();
        let mut bench = Self { publisher, neighbours, desired, tables };
        bench.apply();
        bench
    }

    fn apply(&mut self) {
        self.publisher.bring_to(&self.desired, &self.neighbours, Readers::Nobody).unwrap();
    }

    fn said(&mut self, ifindex: u32, address: &str, state: u16, mac: Option<[u8; 6]>) {
        let neighbour =
            Neighbour { ifindex, address: address.parse().unwrap(), state, mac, managed_for_us: false };
        self.neighbours.heard(1, &neighbour);
        for change in self.neighbours.take_changes() {
            if let Change::Up(key, _) | Change::Down(key) = change {
                self.publisher.neighbour(key, &self.desired, &self.neighbours).unwrap();
            }
        }
    }

    fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        look(self.tables.enter().unwrap())
    }

    /// What a packet to `address` meets.
    fn meets(&self, address: &str) -> Adjacency {
        self.look(|view| {
            let mut out = [NextHopId::NONE];
            match address.parse::<IpAddr>().unwrap() {
                IpAddr::V4(address) => view.lookup4_batch(&[address.into()], &mut out),
                IpAddr::V6(address) => {
                    let bits = address.to_bits();
                    let low = u64::try_from(bits & u128::from(u64::MAX)).unwrap();
                    view.lookup6_batch(&[u64::try_from(bits >> 64).unwrap()], &[low], &mut out);
                }
            }
            view.adjacency(out[0]).copied().unwrap_or_default()
        })
    }
}

#[test]
fn a_gateway_resolves_under_its_routes() {
    let mut bench = Bench::new();
    assert_eq!(bench.meets("8.0.0.1").kind, kind::UNRESOLVED);
    assert_eq!(bench.meets("8.0.0.1").next_hop, mapped("9.254.253.1".parse().unwrap()));
    bench.said(WAN4, "9.254.253.1", uapi::NUD_REACHABLE, Some(MAC));
    let met = bench.meets("8.0.0.1");
    assert_eq!((met.kind, met.port, met.dst_mac, met.mtu), (kind::REWRITE, 0, MAC, 1500));
    assert_eq!(met.src_mac, [2, 0, 0, 0, 0, 3]);
    assert_eq!(bench.meets("9.254.253.1"), met, "the gateway itself goes the same way");
    bench.said(WAN4, "9.254.253.1", uapi::NUD_STALE, Some(OTHER));
    assert_eq!(bench.meets("8.0.0.1").dst_mac, OTHER);
    bench.said(WAN4, "9.254.253.1", uapi::NUD_FAILED, None);
    assert_eq!(bench.meets("8.0.0.1").kind, kind::UNRESOLVED);
    assert_eq!(bench.publisher.writer().memory().routes4, bench.desired.routes4.len());
}

#[test]
fn hosts_come_and_go_as_routes_of_their_own() {
    let mut bench = Bench::new();
    let before = bench.publisher.writer().memory();
    assert_eq!(bench.meets("2001:600::1").kind, kind::GLEAN);
    bench.said(WAN6, "2001:600::1", uapi::NUD_REACHABLE, Some(MAC));
    let met = bench.meets("2001:600::1");
    assert_eq!((met.kind, met.port, met.dst_mac), (kind::REWRITE, 1, MAC));
    assert_eq!(bench.meets("2001:600::2").kind, kind::GLEAN);
    bench.said(WAN6, "2001:600::1", uapi::NUD_FAILED, None);
    assert_eq!(bench.meets("2001:600::1").kind, kind::GLEAN);
    bench.publisher.collect(Readers::Nobody);
    assert_eq!(bench.publisher.writer().memory(), before, "nothing is left behind");
}

#[test]
fn own_addresses_are_never_displaced_by_a_neighbour_that_claims_them() {
    let mut bench = Bench::new();
    bench.said(WAN6, "2001:600::fe", uapi::NUD_REACHABLE, Some(MAC));
    assert_eq!(bench.meets("2001:600::fe").kind, kind::LOCAL);
    bench.said(WAN6, "2001:600::fe", uapi::NUD_FAILED, None);
    assert_eq!(bench.meets("2001:600::fe").kind, kind::LOCAL);
}

#[test]
fn the_difference_is_applied_and_no_more() {
    let mut bench = Bench::new();
    bench.said(WAN6, "2001:600::1", uapi::NUD_REACHABLE, Some(MAC));
    let number = bench.publisher.writer().number();
    let mut kernel = kernel();
    kernel.routes.retain(|route| route.destination != "2001:700::/32".parse::<IpNet>().unwrap());
    kernel.routes.push(route("2001:900::/32", WAN6, Some("2001:600::1")));
    bench.desired = compiled(TEXT, &kernel).unwrap();
    bench.neighbours.set_topology(2, &bench.desired.gateways, &bench.desired.on_link);
    bench.apply();
    assert_eq!(bench.meets("2001:700::1").kind, kind::NO_ROUTE);
    assert_eq!(bench.meets("2001:900::1").dst_mac, MAC, "a known host became a gateway");
    assert_eq!(bench.publisher.writer().number(), number + 1, "one generation");
    // The host is a gateway now: losing it leaves its routes, unresolved.
    bench.said(WAN6, "2001:600::1", uapi::NUD_FAILED, None);
    assert_eq!(bench.meets("2001:900::1").kind, kind::UNRESOLVED);
    assert_eq!(bench.meets("2001:600::1").kind, kind::UNRESOLVED);
}

#[test]
fn what_the_tables_refuse_leaves_the_old_state_and_can_be_tried_again() {
    let desired = compiled(TEXT, &kernel()).unwrap();
    let limits = Limits { routes6: 4, adjacencies: 64, ..Limits::default() };
    let mut publisher = Publisher::new(TableWriter::create(&limits, &desired.settings).unwrap());
    let neighbours = Neighbours::new(1024, 100);
    let refused = publisher.bring_to(&desired, &neighbours, Readers::Nobody);
    assert!(matches!(refused, Err(TableError::RouteLimit(4))));
    assert_eq!(publisher.writer().memory().routes4, desired.routes4.len(), "what fits is in");
    let mut less = desired.clone();
    let kept: BTreeSet<_> = desired.routes6.keys().take(4).copied().collect();
    less.routes6.retain(|net, _| kept.contains(net));
    publisher.bring_to(&less, &neighbours, Readers::Nobody).unwrap();
}

/// A group that does not fit is written as far as it does, and the publisher knows how far.
#[test]
fn of_a_group_of_routes_what_fits_is_written() {
    let mut kernel = kernel();
    kernel.routes.extend((0..100).map(|n| route(&format!("2a00:1:{n:x}::/48"), WAN6, Some("fe80::9"))));
    let desired = compiled(TEXT, &kernel).unwrap();
    let limits = Limits { routes6: 50, adjacencies: 64, ..Limits::default() };
    let mut publisher = Publisher::new(TableWriter::create(&limits, &desired.settings).unwrap());
    let neighbours = Neighbours::new(1024, 100);
    let agree = |publisher: &Publisher, count: usize| {
        let known: Vec<_> = publisher.routes6.keys().copied().collect();
        let written: Vec<_> = publisher.writer().routes6().map(|(net, _)| net).collect();
        assert_eq!((known.len(), &known), (count, &written));
    };
    for _ in 0..2 {
        let refused = publisher.bring_to(&desired, &neighbours, Readers::Nobody);
        assert!(matches!(refused, Err(TableError::RouteLimit(50))));
        agree(&publisher, 50);
    }
    let mut less = desired.clone();
    let last: Vec<_> = desired.routes6.keys().rev().take(50).copied().collect();
    less.routes6.retain(|net, _| last.contains(net));
    while publisher.bring_to(&less, &neighbours, Readers::Nobody).is_err() {
        // Room is made before it is taken.
    }
    agree(&publisher, 50);
}

#[test]
fn nothing_is_reclaimed_while_unknown_workers_may_run() {
    let mut bench = Bench::new();
    let waiting = |bench: &Bench| bench.publisher.writer().memory().waiting;
    bench.said(WAN6, "2001:600::1", uapi::NUD_REACHABLE, Some(MAC));
    bench.said(WAN6, "2001:600::1", uapi::NUD_FAILED, None);
    let before = waiting(&bench);
    assert!(before > 0);
    bench.publisher.collect(Readers::Unknown);
    assert_eq!(waiting(&bench), before);
    bench.publisher.collect(Readers::Workers(&[]));
    assert_eq!(waiting(&bench), 0);
}

#[test]
fn a_segment_is_used_only_after_it_is_mapped() {
    let mut bench = Bench::new();
    let index = bench.publisher.grow().unwrap().unwrap();
    assert_eq!(bench.publisher.grow().unwrap(), None, "one at a time");
    assert!(!bench.publisher.mapped(index + 1));
    assert!(bench.publisher.mapped(index));
    assert!(!bench.publisher.mapped(index));
}
