//! Whatever the kernel says, in whatever order: the tables that follow it are the tables that a start
//! would make of its last state.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sixlane_tables::Limits;

use super::*;
use crate::compile::tests::{TEXT, TRUNK, WAN4, WAN6, address, checked, kernel, plan, with_vlan};
use crate::compile::{self, Input};
use crate::config::Checked;
use crate::fpm::NOBODY;
use crate::kernel::{Kernel, Pending};
use crate::link::PlanFacts;
use crate::neighbours::Change;
use crate::netlink::message::{Message, Neighbour};
use crate::netlink::route::{Action, Path, Place, Route};
use crate::netlink::uapi;

const NETS: [&str; 12] = [
    "0.0.0.0/0",
    "8.0.0.0/8",
    "9.254.253.0/24",
    "9.254.253.1/32",
    "9.254.253.7/32",
    "9.9.0.0/16",
    "::/0",
    "2001:600::/64",
    "2001:600::7/128",
    "2001:700::/32",
    "2002::/16",
    "fe80::/64",
];
const GATEWAYS4: [&str; 3] = ["9.254.253.1", "9.254.253.7", "9.9.0.1"];
const GATEWAYS6: [&str; 3] = ["fe80::9", "2001:600::7", "2001:600::8"];
const HOSTS: [&str; 8] = [
    "9.254.253.1",
    "9.254.253.7",
    "9.9.0.1",
    "9.254.253.99",
    "fe80::9",
    "2001:600::7",
    "2001:600::8",
    "2001:600::99",
];
const OWN: [(u32, &str); 5] = [
    (WAN4, "9.254.253.252/24"),
    (WAN4, "9.254.253.7/24"),
    (WAN4, "8.0.0.1/30"),
    (WAN6, "2001:600::7/64"),
    (WAN6, "2001:900::1/64"),
];

fn path() -> impl Strategy<Value = (u32, Option<usize>)> {
    (prop_oneof![4 => Just(WAN4), 4 => Just(WAN6), 1 => Just(2)], proptest::option::weighted(0.8, 0..3_usize))
}

fn action(v4: bool) -> impl Strategy<Value = Action> {
    let gateways = if v4 { GATEWAYS4 } else { GATEWAYS6 };
    let paths = proptest::collection::vec(path(), 1..3).prop_map(move |paths| {
        let path = |(ifindex, gateway): (u32, Option<usize>)| {
            let gateway = gateway.map(|at| gateways[at].parse().unwrap());
            Path { ifindex, gateway, foreign: false, weight: 1 }
        };
        Action::Paths(paths.into_iter().map(path).collect())
    });
    prop_oneof![8 => paths, 1 => Just(Action::Blackhole), 1 => Just(Action::Unusable)]
}

fn some_route() -> impl Strategy<Value = Route> {
    (0..NETS.len(), 0..2_u32, 0..2_u32).prop_flat_map(|(net, table, priority)| {
        let destination: IpNet = NETS[net].parse().unwrap();
        action(destination.addr().is_ipv4()).prop_map(move |action| Route {
            destination,
            table: [254, 100][table as usize],
            protocol: 3,
            priority,
            mtu: 0,
            next_hop: 0,
            action,
        })
    })
}

fn event() -> impl Strategy<Value = Message> {
    let place = prop_oneof![Just(Place::Alone), Just(Place::Instead), Just(Place::First), Just(Place::Last)];
    let link =
        (prop_oneof![Just(WAN4), Just(WAN6)], 0..2_u8, any::<bool>()).prop_map(|(ifindex, kind, up)| {
            let mut link = kernel().links[&ifindex].clone();
            (link.up, link.mtu, link.mac[0]) = (up, 1400 + 100 * u32::from(kind), 2 + 4 * kind);
            Message::Link(link)
        });
    let own = (0..OWN.len(), any::<bool>()).prop_map(|(at, there)| {
        let (ifindex, text) = OWN[at];
        let own = address(ifindex, text);
        if there { Message::Address(own) } else { Message::AddressGone(own) }
    });
    let states = prop_oneof![
        3 => Just(uapi::NUD_REACHABLE), 2 => Just(uapi::NUD_FAILED), 1 => Just(uapi::NUD_STALE), 1 => Just(0)];
    let neighbour =
        (0..HOSTS.len(), any::<bool>(), states, 0..2_u8, 0..5_u8).prop_map(|(at, wan4, state, mac, gone)| {
            let heard = Neighbour {
                ifindex: if wan4 { WAN4 } else { WAN6 },
                address: HOSTS[at].parse().unwrap(),
                state,
                mac: (state != 0).then_some([2, 0, 0, 0, 9, mac]),
                managed_for_us: false,
            };
            if gone == 0 { Message::NeighbourGone(heard) } else { Message::Neighbour(heard) }
        });
    prop_oneof![
        6 => (some_route(), place).prop_map(|(route, place)| Message::Route(route, place)),
        4 => some_route().prop_map(Message::RouteGone),
        1 => link,
        1 => prop_oneof![Just(WAN4), Just(WAN6)].prop_map(Message::LinkGone),
        2 => own,
        6 => neighbour,
    ]
}

/// Control in small: what it does with a notice, without sockets.
struct Bench {
    config: Checked,
    plan: PlanFacts,
    kernel: Kernel,
    pending: Pending,
    neighbours: Neighbours,
    desired: Desired,
    publisher: Publisher,
}

const TABLES: [u32; 2] = [100, 254];

fn publisher(desired: &Desired) -> Publisher {
    let limits = Limits { adjacencies: 256, ..Limits::default() };
    Publisher::new(TableWriter::create(&limits, &desired.settings).unwrap())
}

impl Bench {
    fn new(vlan: bool) -> Self {
        let (config, plan, kernel) = if vlan { with_vlan() } else { (checked(TEXT), plan(), kernel()) };
        let failed = BTreeSet::new();
        let input = Input {
            config: &config,
            plan: &plan,
            kernel: &kernel,
            tables: &TABLES,
            failed: &failed,
            hash_key: [1, 2],
            fpm: &NOBODY,
        };
        let desired = compile::compile_again(input);
        let mut neighbours = Neighbours::new(1024, 100);
        neighbours.set_topology(0, &desired.gateways, &desired.on_link);
        let mut publisher = publisher(&desired);
        publisher.bring_to(&desired, &neighbours, Readers::Nobody).unwrap();
        Self { config, plan, kernel, pending: Pending::default(), neighbours, desired, publisher }
    }

    fn input<'a>(&'a self) -> Input<'a> {
        Input {
            config: &self.config,
            plan: &self.plan,
            kernel: &self.kernel,
            tables: &TABLES,
            failed: self.neighbours.lost(),
            hash_key: [1, 2],
            fpm: &NOBODY,
        }
    }

    fn heard(&mut self, message: Message) {
        match message {
            Message::Neighbour(neighbour) => self.neighbours.heard(1, &neighbour),
            Message::NeighbourGone(Neighbour { ifindex, address, .. }) => {
                self.neighbours.gone(1, Key { ifindex, address });
            }
            Message::Link(mut link) => {
                // What goes and comes again is the same VLAN.
                if link.ifindex == WAN6 && self.plan.ports[1].ifindex == TRUNK {
                    link.vlan = Some((TRUNK, 600));
                }
                self.kernel.take(Message::Link(link), &TABLES, &mut self.pending);
            }
            other => self.kernel.take(other, &TABLES, &mut self.pending),
        }
    }

    fn settle(&mut self) {
        // What publication does to neighbours is taken in the next round.
        for _ in 0..4 {
            for change in self.neighbours.take_changes() {
                let (Change::Up(key, _) | Change::Down(key) | Change::Lost(key)) = change;
                match change {
                    Change::Up(..) | Change::Down(_) => {
                        self.publisher.neighbour(key, &self.desired, &self.neighbours)
                    }
                    Change::Lost(_) => Ok(()),
                }
                .unwrap();
                self.pending.nets.extend(self.desired.depending_on(key));
            }
            let pending = std::mem::take(&mut self.pending);
            let input = Input {
                config: &self.config,
                plan: &self.plan,
                kernel: &self.kernel,
                tables: &TABLES,
                failed: self.neighbours.lost(),
                hash_key: [1, 2],
                fpm: &NOBODY,
            };
            let changes = self.desired.follow(input, pending);
            if changes.topology {
                self.neighbours.set_topology(1, &self.desired.gateways, &self.desired.on_link);
            }
            self.publisher.follow(&changes, &self.desired, &self.neighbours, Readers::Nobody).unwrap();
        }
    }
}

type Shown = Vec<(IpNet, Option<Adjacency>)>;

fn shown(publisher: &Publisher) -> Shown {
    let writer = publisher.writer();
    let v4 = writer.routes4().map(|(net, id)| (net.into(), writer.adjacency(id)));
    let v6 = writer.routes6().map(|(net, id)| (net.into(), writer.adjacency(id)));
    v4.chain(v6).collect()
}

proptest! {
    // Each step makes tables of its own, of 4 MiB and more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]
    #[test]
    fn what_follows_is_what_a_start_would_make(
        vlan: bool,
        steps in proptest::collection::vec(proptest::collection::vec(event(), 1..4), 1..24),
    ) {
        let mut bench = Bench::new(vlan);
        for step in steps {
            step.into_iter().for_each(|event| bench.heard(event));
            bench.settle();
            let fresh = compile::compile_again(bench.input());
            prop_assert_eq!(&fresh.routes4, &bench.desired.routes4);
            prop_assert_eq!(&fresh.routes6, &bench.desired.routes6);
            prop_assert_eq!(&fresh.gateways, &bench.desired.gateways);
            prop_assert!(fresh == bench.desired, "all else");
            let mut tables = publisher(&fresh);
            tables.bring_to(&fresh, &bench.neighbours, Readers::Nobody).unwrap();
            prop_assert_eq!(shown(&tables), shown(&bench.publisher));
            bench.publisher.collect(Readers::Nobody);
            tables.collect(Readers::Nobody);
            let (fresh, followed) = (tables.writer().memory(), bench.publisher.writer().memory());
            prop_assert_eq!(fresh.adjacencies, followed.adjacencies, "nothing is left behind");
        }
    }
}
