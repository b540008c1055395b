//! What zebra may say, and what it must not be able to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::{Routes, Settings, Source};
use crate::compile::tests::{TEXT, WAN6, checked, kernel, plan, route};
use crate::compile::{Input, Target, compile_again};
use crate::netlink::request::{Key, message, push_attribute};
use crate::netlink::route::{Action, Route};
use crate::netlink::uapi::{self, RouteHeader};

const KEEP: u64 = 120_000_000_000;
const SECOND: u64 = 1_000_000_000;
const MAIN: &[u32] = &[254];
const BGP: u8 = 186;
/// NLM_F_REQUEST | NLM_F_CREATE, and what FRR calls a replacement: both mean the same.
const CREATE: u16 = 0x401;
const REPLACE: u16 = 0x501;

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A frame with one message.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len() + 4).unwrap();
    [&[1, 1][..], &length.to_be_bytes(), message].concat()
}

/// How a route is told to lead.
#[derive(Clone, Copy)]
enum To {
    Gateway(&'static str),
    Object(u32),
    Nowhere,
}

fn told(kind: u16, protocol: u8, table: u32, net: &str, to: To) -> Vec<u8> {
    let net: IpNet = net.parse().unwrap();
    let header = RouteHeader {
        family: if net.addr().is_ipv4() { uapi::AF_INET } else { uapi::AF_INET6 },
        dst_len: net.prefix_len(),
        src_len: 0,
        tos: 0,
        table: 0,
        protocol,
        scope: 0,
        kind: uapi::RTN_UNICAST,
        flags: 0,
    };
    let mut body = header.as_bytes().to_vec();
    push_attribute(&mut body, uapi::RTA_DST, &octets(net.addr()));
    push_attribute(&mut body, uapi::RTA_TABLE, &table.to_ne_bytes());
    push_attribute(&mut body, uapi::RTA_PRIORITY, &20_u32.to_ne_bytes());
    match to {
        To::Gateway(gateway) => {
            push_attribute(&mut body, uapi::RTA_GATEWAY, &octets(gateway.parse().unwrap()));
            push_attribute(&mut body, uapi::RTA_OIF, &WAN6.to_ne_bytes());
        }
        To::Object(id) => push_attribute(&mut body, 30, &id.to_ne_bytes()),
        To::Nowhere => {}
    }
    frame(&message(kind, if table.is_multiple_of(2) { CREATE } else { REPLACE }, 0, &body))
}

fn set(net: &str, gateway: &'static str) -> Vec<u8> {
    told(uapi::RTM_NEWROUTE, BGP, 254, net, To::Gateway(gateway))
}

fn gone(net: &str) -> Vec<u8> {
    told(uapi::RTM_DELROUTE, BGP, 254, net, To::Nowhere)
}

/// Object `id`: a way out by a gateway of WAN6, or a group.
fn object(id: u32, gateway: Option<&str>, group: &[u32]) -> Vec<u8> {
    let family = if gateway.is_some() { uapi::AF_INET6 } else { 0 };
    let mut body = vec![family, 0, 0, 0, 0, 0, 0, 0];
    push_attribute(&mut body, 1, &id.to_ne_bytes());
    if let Some(gateway) = gateway {
        push_attribute(&mut body, 5, &WAN6.to_ne_bytes());
        push_attribute(&mut body, 6, &octets(gateway.parse().unwrap()));
    } else {
        let members: Vec<u8> =
            group.iter().flat_map(|id| [&id.to_ne_bytes()[..], &[0; 4]].concat()).collect();
        push_attribute(&mut body, 2, &members);
    }
    frame(&message(104, CREATE, 0, &body))
}

fn object_gone(id: u32) -> Vec<u8> {
    let mut body = vec![0; 8];
    push_attribute(&mut body, 1, &id.to_ne_bytes());
    frame(&message(105, 1, 0, &body))
}

/// A source with what it changed so far.
struct Bench {
    source: Source,
    changed: BTreeSet<IpNet>,
    now: u64,
}

impl Bench {
    fn new(limits: [usize; 2]) -> Self {
        let mut source = Source::new(Settings { keep_ns: KEEP, limits });
        source.begin(1);
        Self { source, changed: BTreeSet::new(), now: 1 }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.now += 1;
        self.source.room()[..bytes.len()].copy_from_slice(bytes);
        self.source.take(self.now, bytes.len(), MAIN, &mut self.changed).unwrap();
    }

    fn pass(&mut self, nanoseconds: u64) -> bool {
        self.now += nanoseconds;
        self.source.tick(self.now, &mut self.changed)
    }

    fn changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed).iter().map(ToString::to_string).collect()
    }

    fn gateways(&self, net: &str) -> Vec<String> {
        gateways(&self.source.routes, net)
    }
}

fn gateways(routes: &Routes, net: &str) -> Vec<String> {
    let paths = |route: Route| match route.action {
        Action::Paths(paths) => paths,
        _ => Vec::new(),
    };
    let all = routes.at(net.parse().unwrap()).flat_map(paths);
    all.map(|path| path.gateway.unwrap().to_string()).collect()
}

#[test]
fn routes_come_change_and_go() {
    let mut bench = Bench::new([9, 9]);
    bench.take(&set("8.0.0.0/8", "9.0.0.1"));
    bench.take(&set("2001:700::/32", "fe80::1"));
    assert_eq!(bench.changed(), ["8.0.0.0/8", "2001:700::/32"]);
    assert_eq!((bench.gateways("8.0.0.0/8"), bench.source.routes.counts()), (vec!["9.0.0.1".into()], [1, 1]));
    // A change is a withdrawal and an announcement, here in two pieces: there is no gap between them.
    bench.take(&gone("8.0.0.0/8"));
    assert_eq!((bench.changed(), bench.gateways("8.0.0.0/8")), (vec![], vec!["9.0.0.1".into()]));
    bench.take(&set("8.0.0.0/8", "9.0.0.2"));
    assert_eq!(bench.changed(), ["8.0.0.0/8"]);
    bench.take(&[gone("8.0.0.0/8"), gone("2001:700::/32")].concat());
    assert_eq!(bench.changed(), ["8.0.0.0/8"]);
    bench.pass(SECOND);
    assert_eq!((bench.changed(), bench.source.routes.counts()), (vec!["2001:700::/32".into()], [0, 0]));
}

#[test]
fn other_tables_and_what_the_kernel_tells_itself_are_passed_over() {
    let mut bench = Bench::new([9, 9]);
    let gateway = To::Gateway("fe80::1");
    bench.take(&told(uapi::RTM_NEWROUTE, BGP, 77, "2001:700::/32", gateway));
    bench.take(&told(uapi::RTM_NEWROUTE, 2, 254, "2001:701::/32", gateway));
    bench.take(&told(uapi::RTM_NEWROUTE, 73, 254, "2002::/16", gateway));
    bench.take(&frame(&message(16, 0, 0, &[0; 16])));
    assert_eq!((bench.changed(), bench.source.counts.ignored), (vec![], 4));
    // Zebra prefers the kernel's route from now on.
    bench.take(&set("2001:701::/32", "fe80::1"));
    bench.take(&told(uapi::RTM_NEWROUTE, 2, 254, "2001:701::/32", gateway));
    assert_eq!((bench.changed(), bench.source.routes.counts()), (vec!["2001:701::/32".into()], [0, 0]));
}

#[test]
fn objects_lead_alone_and_in_groups_and_change_under_their_routes() {
    let mut bench = Bench::new([9, 9]);
    let via = |net: &str, id| told(uapi::RTM_NEWROUTE, BGP, 254, net, To::Object(id));
    bench.take(&[object(1, Some("fe80::1"), &[]), object(2, Some("fe80::2"), &[])].concat());
    bench.take(&[object(3, None, &[1, 2]), via("2001:700::/32", 1), via("2001:701::/32", 3)].concat());
    bench.changed();
    assert_eq!(bench.gateways("2001:701::/32"), ["fe80::1", "fe80::2"]);
    bench.take(&object(2, Some("fe80::3"), &[]));
    assert_eq!(bench.changed(), ["2001:701::/32"]);
    assert_eq!(bench.gateways("2001:701::/32"), ["fe80::1", "fe80::3"]);
    bench.take(&object_gone(1));
    assert_eq!(bench.changed(), ["2001:700::/32", "2001:701::/32"]);
    assert_eq!((bench.gateways("2001:700::/32"), bench.gateways("2001:701::/32").len()), (vec![], 1));
    // The object may come after the route.
    bench.take(&via("2001:702::/32", 9));
    bench.changed();
    bench.take(&object(9, Some("fe80::9"), &[]));
    assert_eq!(
        (bench.changed(), bench.gateways("2001:702::/32")),
        (vec!["2001:702::/32".into()], vec!["fe80::9".into()])
    );
}

/// FAIL-15: the connection breaks inside of a message. What was told is kept for 120 s; of that the next
/// connection, whose numbers of objects are its own, says some again, and the rest goes.
#[test]
fn after_a_reset_routes_are_kept_and_what_is_not_told_again_is_swept() {
    let mut bench = Bench::new([9, 9]);
    let via = |net: &str| told(uapi::RTM_NEWROUTE, BGP, 254, net, To::Object(1));
    bench.take(&[object(1, Some("fe80::1"), &[]), via("2001:700::/32"), via("2001:701::/32")].concat());
    bench.take(&set("2001:702::/32", "fe80::1"));
    let cut = set("2001:703::/32", "fe80::1");
    bench.take(&cut[..cut.len() - 1]);
    bench.source.end(bench.now);
    bench.changed();
    bench.pass(KEEP / 2);
    bench.source.begin(bench.now);
    bench.take(
        &[object(1, Some("fe80::2"), &[]), via("2001:701::/32"), set("2001:702::/32", "fe80::1")].concat(),
    );
    assert_eq!(bench.changed(), ["2001:701::/32"], "the number means another object now");
    assert_eq!(
        (bench.gateways("2001:700::/32"), bench.gateways("2001:701::/32")),
        (vec!["fe80::1".into()], vec!["fe80::2".into()])
    );
    bench.pass(KEEP / 2 - SECOND);
    assert_eq!(bench.changed(), Vec::<String>::new());
    bench.pass(2 * SECOND);
    assert_eq!((bench.changed(), bench.source.routes.counts()), (vec!["2001:700::/32".into()], [0, 2]));
    assert_eq!(bench.source.counts.swept, 1);
}

/// The time is over while zebra is telling: it is waited for until it is silent.
#[test]
fn a_zebra_in_the_middle_of_telling_is_waited_for() {
    let mut bench = Bench::new([9, 9]);
    bench.take(&[set("2001:700::/32", "fe80::1"), set("2001:701::/32", "fe80::1")].concat());
    bench.source.end(bench.now);
    bench.pass(KEEP - SECOND);
    bench.source.begin(bench.now);
    bench.pass(SECOND / 2);
    bench.take(&set("2001:700::/32", "fe80::1"));
    bench.changed();
    bench.pass(SECOND - SECOND / 4);
    assert_eq!(bench.changed(), Vec::<String>::new());
    bench.take(&set("2001:701::/32", "fe80::1"));
    bench.pass(2 * SECOND);
    assert_eq!((bench.changed(), bench.source.routes.counts()), (vec![], [0, 2]));
}

/// ATK-59: what is over the limit is passed over; what is held stays and changes. When there is room again
/// zebra is to tell everything anew.
#[test]
fn a_limit_keeps_the_last_good_set() {
    let mut bench = Bench::new([8, 8]);
    let net = |n: u32| format!("2001:{:x}::/32", 0x700 + n);
    for n in 0..12 {
        bench.take(&set(&net(n), "fe80::1"));
    }
    bench.take(&set("8.0.0.0/8", "9.0.0.1"));
    assert_eq!((bench.source.routes.counts(), bench.source.counts.over_limit), ([1, 8], 4));
    bench.take(&set(&net(0), "fe80::2"));
    assert_eq!(bench.gateways(&net(0)), ["fe80::2"]);
    assert!(bench.source.over_limit() && !bench.pass(SECOND));
    bench.take(&gone(&net(1)));
    assert!(bench.pass(SECOND), "there is room");
    bench.source.end(bench.now);
    bench.source.begin(bench.now);
    assert!(!bench.source.over_limit() && !bench.pass(SECOND));
}

fn target(told: &[Vec<u8>], more: &[Route], net: &str) -> Option<Target> {
    let mut bench = Bench::new([9, 9]);
    told.iter().for_each(|bytes| bench.take(bytes));
    let (config, plan, mut kernel) = (checked(TEXT), plan(), kernel());
    kernel.routes.extend(more.iter().cloned());
    compile_again(Input {
        config: &config,
        plan: &plan,
        kernel: &kernel,
        tables: MAIN,
        failed: &BTreeSet::new(),
        hash_key: [1, 2],
        fpm: &bench.source.routes,
    })
    .target(net.parse().unwrap())
}

fn via(address: &str) -> Option<Target> {
    Some(Target::Neighbour(Key { ifindex: WAN6, address: address.parse().unwrap() }))
}

#[test]
fn of_two_sources_the_better_metric_wins_and_zebra_among_equals() {
    let net = "2001:900::/32";
    let kernels = |priority| Route { priority, ..route(net, WAN6, Some("fe80::2")) };
    let zebras = [set(net, "fe80::1")];
    assert_eq!(target(&zebras, &[], net), via("fe80::1"));
    assert_eq!(target(&[], &[kernels(20)], net), via("fe80::2"));
    assert_eq!(target(&zebras, &[kernels(20)], net), via("fe80::1"));
    assert_eq!(target(&zebras, &[kernels(19)], net), via("fe80::2"));
}

/// ATK-59: neither a link's prefix nor a part of a tunnel's is taken by what was learned, nor by a gateway
/// that is the box itself.
#[test]
fn learned_routes_take_nothing_that_is_ours() {
    let link = "2001:600::/64";
    assert_eq!(target(&[set(link, "fe80::1")], &[], link), Some(Target::Glean { port: 1 }));
    let part = "2002:808::/32";
    assert_eq!(target(&[set(part, "fe80::1")], &[], part), None);
    let learned = Route { protocol: BGP, ..route(part, WAN6, Some("fe80::1")) };
    assert_eq!(target(&[], std::slice::from_ref(&learned), part), None);
    let operators = Route { protocol: 3, ..learned };
    assert_eq!(target(&[], &[operators], part), via("fe80::1"));
    let net = "2001:900::/32";
    let no_way = Some(Target::Kind(sixlane_tables::adjacency::kind::NO_ROUTE));
    assert_eq!(target(&[set(net, "2001:600::fe")], &[], net), no_way);
}

proptest! {
    /// Any bytes: the connection lives or ends, nothing else.
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let mut source = Source::new(Settings { keep_ns: KEEP, limits: [9, 9] });
        source.begin(1);
        let bytes = if head && bytes.len() < 250 { frame(&bytes) } else { bytes };
        source.room()[..bytes.len()].copy_from_slice(&bytes);
        let _ = source.take(2, bytes.len(), MAIN, &mut BTreeSet::new());
        source.tick(KEEP, &mut BTreeSet::new());
    }

    /// Announcements, withdrawals and resets against a plain map of what each connection has told.
    #[test]
    fn what_is_held_is_what_was_told(steps in prop::collection::vec((0_u8..8, 0_u32..6, 0_u64..60), 0..200)) {
        let mut bench = Bench::new([9, 9]);
        let (mut model, mut session, mut lost) = (BTreeMap::new(), 0, Vec::new());
        for (step, n, wait) in steps {
            let net = format!("2001:{:x}::/32", 0x700 + n);
            match step {
                0..4 => {
                    let gateway = if step == 0 { "fe80::1" } else { "fe80::2" };
                    bench.take(&set(&net, gateway));
                    model.insert(net, (session, gateway));
                }
                4..6 => {
                    bench.take(&gone(&net));
                    model.remove(&net);
                }
                6 => {
                    bench.source.end(bench.now);
                    bench.source.begin(bench.now);
                    lost.push((session, bench.now + KEEP));
                    session += 1;
                }
                _ => {
                    // Long enough that nobody is waited for.
                    bench.pass((wait + 2) * SECOND);
                    for &(of, _) in lost.iter().filter(|(_, until)| *until <= bench.now) {
                        model.retain(|_, (told, _)| *told > of);
                    }
                }
            }
            bench.pass(SECOND / 100);
            let held: Vec<String> = bench.source.routes.nets().map(|net| net.to_string()).collect();
            prop_assert_eq!(&held, &model.keys().cloned().collect::<Vec<_>>());
            for (net, (_, gateway)) in &model {
                prop_assert_eq!(bench.gateways(net), [*gateway]);
            }
            prop_assert_eq!(bench.source.routes.counts(), [0, held.len()]);
        }
    }
}
