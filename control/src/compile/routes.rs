//! Routes: the kernel's, ours, and the addresses that are no one else's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixlane_tables::adjacency::kind;

use super::classes::broadcasts;
use super::{Input, Target};
use crate::neighbours::OnLink;
use crate::netlink::request::Key;
use crate::netlink::route::{Action, Path, Route};

/// 2002::/16 (RFC 3056 §2).
pub(super) const SIXTOFOUR_PREFIX: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// Routes and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Routed {
    pub(super) routes4: BTreeMap<Ipv4Net, Target>,
    pub(super) routes6: BTreeMap<Ipv6Net, Target>,
    pub(super) gateways: BTreeSet<Key>,
    pub(super) on_link: Vec<OnLink>,
}

impl Routed {
    fn set(&mut self, net: IpNet, target: Target) {
        match net {
            IpNet::V4(net) => drop(self.routes4.insert(net, target)),
            IpNet::V6(net) => drop(self.routes6.insert(net, target)),
        }
    }

    fn set_host(&mut self, address: IpAddr, target: Target) {
        self.set(IpNet::from(address), target);
    }
}

/// Puts all routes together. Later entries overwrite earlier ones of the same prefix, so the order is
/// the order of authority: the kernel's routes, tunnels, gateways as hosts, broadcast, own addresses.
pub(super) fn routes(input: Input<'_>, ports: &BTreeMap<u32, u8>) -> Routed {
    let mut routed = Routed::default();
    for (net, action) in best_routes(input) {
        let target = match action {
            Action::Paths(paths) => follow(net, paths, ports, &mut routed),
            Action::Blackhole => Target::Kind(kind::BLACKHOLE),
            Action::Unreachable => Target::Kind(kind::UNREACHABLE),
            Action::Prohibit => Target::Kind(kind::PROHIBIT),
        };
        routed.set(net, target);
    }
    if input.config.sixtofour.is_some() {
        routed.set(SIXTOFOUR_PREFIX.into(), Target::Kind(kind::SIXTOFOUR));
    }
    gateways_as_hosts(&mut routed);
    own_addresses(input, &mut routed);
    routed
}

/// The best route of each prefix: first by the order of the tables, then by metric, then the first.
fn best_routes(input: Input<'_>) -> BTreeMap<IpNet, &Action> {
    let rank = |route: &Route| {
        (input.tables.iter().position(|&table| table == route.table).unwrap_or(usize::MAX), route.priority)
    };
    let mut best: BTreeMap<IpNet, &Route> = BTreeMap::new();
    for route in input.kernel.routes.iter().filter(|route| forwardable(&route.destination)) {
        let held = best.entry(route.destination).or_insert(route);
        if rank(route) < rank(held) {
            *held = route;
        }
    }
    best.into_iter().map(|(net, route)| (net, &route.action)).collect()
}

/// Link-local and multicast destinations are never forwarded and need no route.
fn forwardable(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => !net.network().is_multicast() || net.prefix_len() < 4,
        IpNet::V6(net) => {
            let first = net.network();
            net.prefix_len() < 8 || !(first.is_multicast() || first.is_unicast_link_local())
        }
    }
}

/// Where paths lead: the first one that leaves by a port of ours. What leaves elsewhere is the
/// kernel's to forward; a packet that we hold has no route there.
fn follow(net: IpNet, paths: &[Path], ports: &BTreeMap<u32, u8>, routed: &mut Routed) -> Target {
    let ours =
        paths.iter().filter(|path| !path.foreign).find_map(|path| Some((path, *ports.get(&path.ifindex)?)));
    match ours {
        None => Target::Kind(kind::NO_ROUTE),
        Some((path, port)) => match path.gateway {
            Some(address) => {
                let key = Key { ifindex: path.ifindex, address };
                routed.gateways.insert(key);
                Target::Neighbour(key)
            }
            None => {
                routed.on_link.push(OnLink { ifindex: path.ifindex, net });
                Target::Glean { port }
            }
        },
    }
}

/// A gateway on a connected prefix is also a host there.
fn gateways_as_hosts(routed: &mut Routed) {
    let hosts: Vec<Key> = routed
        .gateways
        .iter()
        .filter(|key| {
            routed.on_link.iter().any(|link| link.ifindex == key.ifindex && link.net.contains(&key.address))
        })
        .copied()
        .collect();
    for key in hosts {
        let host = IpNet::from(key.address);
        let explicit = match host {
            IpNet::V4(net) => routed.routes4.contains_key(&net),
            IpNet::V6(net) => routed.routes6.contains_key(&net),
        };
        if !explicit {
            routed.set(host, Target::Neighbour(key));
        }
    }
}

fn own_addresses(input: Input<'_>, routed: &mut Routed) {
    let global = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let own = || input.kernel.addresses.iter().filter(|own| global(&own.address));
    for address in own() {
        match address.address {
            IpAddr::V4(v4) => {
                for broadcast in broadcasts(v4, address.prefix_len) {
                    routed.set_host(broadcast.into(), Target::Kind(kind::BROADCAST));
                }
            }
            // The subnet-router anycast address is a router's own (RFC 4291 §2.6.1).
            IpAddr::V6(v6) if address.prefix_len < 127 => {
                if let Ok(net) = Ipv6Net::new(v6, address.prefix_len) {
                    routed.set_host(net.network().into(), Target::Kind(kind::LOCAL));
                }
            }
            IpAddr::V6(_) => {}
        }
    }
    for address in own() {
        routed.set_host(address.address, Target::Kind(kind::LOCAL));
    }
}
