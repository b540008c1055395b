//! Routes: the kernel's, ours, and the addresses that are no one else's. Each prefix is judged by
//! itself, so the same few lines make the first tables and follow one changed route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use sixlane_tables::adjacency::kind;

use super::classes::broadcasts;
use super::{Desired, Input, Target, subnet_router_anycast};
use crate::neighbours::OnLink;
use crate::netlink::request::Key;
use crate::netlink::route::{Action, Path, Route};

/// 2002::/16 (RFC 3056 §2).
pub(super) const SIXTOFOUR_PREFIX: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// `include/uapi/linux/rtnetlink.h`: an operator's route.
const RTPROT_STATIC: u8 = 4;
/// The same, by FRR.
const RTPROT_ZSTATIC: u8 = 196;

/// What follows from the routes, kept beside them so that a change of one route costs one route's work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    /// Prefixes that are not the kernel's to route: the tunnel's, broadcast and own addresses.
    overlay: BTreeMap<IpNet, Target>,
    /// How many prefixes need a gateway.
    users: BTreeMap<Key, u32>,
    /// The gateways of each prefix that may move from one to another.
    several: BTreeMap<IpNet, Vec<Key>>,
    /// Gateways on a connected prefix, which are also hosts there.
    hosts: BTreeSet<IpNet>,
}

/// What a change of routes came to.
#[derive(Debug, Default)]
pub(super) struct Routed {
    /// The prefixes that lead elsewhere now.
    pub(super) changed: BTreeSet<IpNet>,
    /// Gateways or connected prefixes have changed.
    pub(super) topology: bool,
}

/// Where a prefix leads.
#[derive(Debug, Default)]
struct Found {
    target: Option<Target>,
    /// All gateways that it may lead to, the first choice first.
    gateways: Vec<Key>,
    /// There is another way, should the gateway fail.
    movable: bool,
    /// It is there because a gateway is a host.
    host: bool,
}

impl Found {
    const fn plain(target: Target) -> Self {
        Self { target: Some(target), gateways: Vec::new(), movable: false, host: false }
    }
}

/// The overlay. Later entries overwrite earlier ones of the same prefix, so the order is the order of
/// authority: tunnels, broadcast, own addresses.
fn overlay(input: Input<'_>) -> BTreeMap<IpNet, Target> {
    let mut overlay = BTreeMap::new();
    if input.config.sixtofour.is_some() {
        overlay.insert(SIXTOFOUR_PREFIX.into(), Target::Kind(kind::SIXTOFOUR));
    }
    let global = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let own = || input.kernel.addresses.iter().filter(|own| global(&own.address));
    for address in own() {
        match address.address {
            IpAddr::V4(_) => {
                for broadcast in broadcasts(address) {
                    overlay.insert(IpAddr::V4(broadcast).into(), Target::Kind(kind::BROADCAST));
                }
            }
            IpAddr::V6(v6) => {
                if let Some(anycast) = subnet_router_anycast(v6, address.prefix_len) {
                    overlay.insert(IpAddr::V6(anycast).into(), Target::Kind(kind::LOCAL));
                }
            }
        }
    }
    for address in own() {
        overlay.insert(address.address.into(), Target::Kind(kind::LOCAL));
    }
    overlay
}

/// Changes the overlay. The answer is the prefixes in which the new one differs.
pub(super) fn overlay_changes(desired: &mut Desired, input: Input<'_>) -> Vec<IpNet> {
    let new = overlay(input);
    let old = std::mem::replace(&mut desired.book.overlay, new);
    let new = &desired.book.overlay;
    let changed = new.iter().filter(|(net, target)| old.get(net) != Some(target)).map(|(net, _)| *net);
    let mut changed: Vec<IpNet> =
        changed.chain(old.keys().filter(|net| !new.contains_key(net)).copied()).collect();
    if changed.contains(&SIXTOFOUR_PREFIX.into()) {
        // Learned routes inside of it lead somewhere only while it is no tunnel's.
        changed.extend(input.kernel.routes.inside(SIXTOFOUR_PREFIX));
        changed.extend(input.fpm.inside(SIXTOFOUR_PREFIX));
    }
    changed
}

/// Brings the prefixes of `work`, and those that follow from them, to what the kernel says.
pub(super) fn update(desired: &mut Desired, input: Input<'_>, mut work: BTreeSet<IpNet>) -> Routed {
    let mut routed = Routed::default();
    while let Some(net) = work.pop_first() {
        let found = find(desired, input, net);
        enter(desired, net, found, &mut work, &mut routed);
    }
    routed
}

/// The prefixes that may lead elsewhere when the gateway fails or is back.
pub(super) fn depending_on(desired: &Desired, key: Key) -> impl Iterator<Item = IpNet> + '_ {
    let holds = move |gateways: &Vec<Key>| gateways.contains(&key);
    desired.book.several.iter().filter(move |(_, gateways)| holds(gateways)).map(|(net, _)| *net)
}

/// The prefixes of the overlay that lead to `target`.
pub(super) fn overlaid(desired: &Desired, target: Target) -> impl Iterator<Item = IpNet> + '_ {
    desired.book.overlay.iter().filter(move |(_, to)| **to == target).map(|(net, _)| *net)
}

fn find(desired: &Desired, input: Input<'_>, net: IpNet) -> Found {
    if let Some(&target) = desired.book.overlay.get(&net) {
        return Found::plain(target);
    }
    if forwardable(&net)
        && let Some(found) = choose(desired, input, net)
    {
        return found;
    }
    match gateway_as_host(desired, net) {
        Some(key) => Found { host: true, ..Found::plain(Target::Neighbour(key)) },
        None => Found::default(),
    }
}

/// The best way: first by the order of the tables, then by metric, then the first. A gateway that has
/// failed is passed over while there is another way.
fn choose(desired: &Desired, input: Input<'_>, net: IpNet) -> Option<Found> {
    let rank = |route: &&Route| {
        (input.tables.iter().position(|&table| table == route.table).unwrap_or(usize::MAX), route.priority)
    };
    let kernel = input.kernel.routes.at(&net);
    // What is on a link is the kernel's to say. Of equal ones what zebra tells comes first: it hears of a
    // change before the kernel does.
    let said: Vec<Route> = if kernel.iter().any(on_link) { Vec::new() } else { told(desired, input, net) };
    let mut routes: Vec<&Route> =
        said.iter().chain(kernel).filter(|route| may_lead(desired, route)).collect();
    routes.sort_by_key(rank);
    let mut gateways = Vec::new();
    let mut end = None;
    for route in routes {
        let paths = match &route.action {
            Action::Unusable => continue,
            Action::Paths(paths) => paths,
            Action::Blackhole => {
                end = Some(Target::Kind(kind::BLACKHOLE));
                break;
            }
            Action::Unreachable => {
                end = Some(Target::Kind(kind::UNREACHABLE));
                break;
            }
            Action::Prohibit => {
                end = Some(Target::Kind(kind::PROHIBIT));
                break;
            }
        };
        end = follow(desired, paths, &mut gateways);
        if end.is_some() {
            break;
        }
    }
    let alive = gateways.iter().find(|key| !input.failed.contains(key)).copied();
    let target = match (alive, end) {
        (Some(key), _) => Target::Neighbour(key),
        // To refuse is no better than to wait for a gateway that may come back; a link is.
        (None, Some(end)) if gateways.is_empty() || matches!(end, Target::Glean { .. }) => end,
        (None, _) => Target::Neighbour(*gateways.first()?),
    };
    let movable = gateways.len() + usize::from(matches!(end, Some(Target::Glean { .. }))) > 1;
    Some(Found { target: Some(target), gateways, movable, host: false })
}

/// Collects the gateways of paths that leave by ports of ours. The answer is where the search ends: on
/// a link, or with what leaves elsewhere, which is the kernel's to forward; a packet that we hold has
/// no route there.
fn follow(desired: &Desired, paths: &[Path], gateways: &mut Vec<Key>) -> Option<Target> {
    let mut end = Some(Target::Kind(kind::NO_ROUTE));
    for path in paths.iter().filter(|path| !path.foreign) {
        let Some(&port) = desired.ports.get(&path.ifindex) else { continue };
        let Some(address) = path.gateway else { return Some(Target::Glean { port }) };
        end = None;
        let key = Key { ifindex: path.ifindex, address };
        if !gateways.contains(&key) {
            gateways.push(key);
        }
    }
    end
}

/// Whether it is the route of a link.
fn on_link(route: &Route) -> bool {
    matches!(&route.action, Action::Paths(paths) if paths.iter().any(|path| path.gateway.is_none()))
}

/// ATK-59: what was learned from neighbours takes no part of a tunnel's prefix: where that leads the
/// configuration alone says.
fn may_lead(desired: &Desired, route: &Route) -> bool {
    let IpNet::V6(net) = route.destination else { return true };
    let within =
        SIXTOFOUR_PREFIX.contains(&net) && desired.book.overlay.contains_key(&SIXTOFOUR_PREFIX.into());
    !(within && learned(route.protocol))
}

/// Whether a protocol told the route to whoever installed it, and not an operator or the kernel itself.
const fn learned(protocol: u8) -> bool {
    !matches!(protocol, 0..=RTPROT_STATIC | RTPROT_ZSTATIC)
}

/// What zebra tells, without ways that lead to the box itself (ATK-59): from others the kernel takes no such
/// route, and when its addresses change zebra tells anew.
fn told(desired: &Desired, input: Input<'_>, net: IpNet) -> Vec<Route> {
    let own = |gateway: IpAddr| desired.book.overlay.get(&gateway.into()) == Some(&Target::Kind(kind::LOCAL));
    let mut routes: Vec<Route> = input.fpm.at(net).collect();
    for route in &mut routes {
        if let Action::Paths(paths) = &mut route.action {
            paths.retain(|path| path.gateway.is_none_or(|gateway| !own(gateway)));
        }
    }
    routes
}

/// A gateway on a connected prefix is also a host there, where no route says otherwise.
fn gateway_as_host(desired: &Desired, net: IpNet) -> Option<Key> {
    if net.prefix_len() != net.max_prefix_len() {
        return None;
    }
    let address = net.addr();
    let keys = desired.ports.keys().map(|&ifindex| Key { ifindex, address });
    let suits = |key: &Key| desired.on_link.iter().any(|link| connects(link, key));
    keys.into_iter().find(|key| desired.gateways.contains(key) && suits(key))
}

fn connects(link: &OnLink, key: &Key) -> bool {
    link.ifindex == key.ifindex && link.net.contains(&key.address)
}

/// Enters where a prefix leads; puts into `work` what follows.
fn enter(desired: &mut Desired, net: IpNet, found: Found, work: &mut BTreeSet<IpNet>, routed: &mut Routed) {
    let old = desired.target(net);
    let was_host = desired.book.hosts.remove(&net);
    let before = match (desired.book.several.remove(&net), old) {
        (Some(gateways), _) => gateways,
        (None, Some(Target::Neighbour(key))) if !was_host => vec![key],
        _ => Vec::new(),
    };
    for &key in &found.gateways {
        need(desired, key, work, routed);
    }
    for key in before {
        release(desired, key, work, routed);
    }
    if found.host {
        desired.book.hosts.insert(net);
    }
    if found.movable {
        desired.book.several.insert(net, found.gateways);
    }
    if old == found.target {
        return;
    }
    if let Some(Target::Glean { port }) = old {
        connect(desired, port, net, false, work);
        routed.topology = true;
    }
    if let Some(Target::Glean { port }) = found.target {
        connect(desired, port, net, true, work);
        routed.topology = true;
    }
    desired.set(net, found.target);
    routed.changed.insert(net);
}

fn need(desired: &mut Desired, key: Key, work: &mut BTreeSet<IpNet>, routed: &mut Routed) {
    let users = desired.book.users.entry(key).or_insert(0);
    *users += 1;
    if *users == 1 {
        desired.gateways.insert(key);
        work.insert(key.address.into());
        routed.topology = true;
    }
}

fn release(desired: &mut Desired, key: Key, work: &mut BTreeSet<IpNet>, routed: &mut Routed) {
    let Some(users) = desired.book.users.get_mut(&key) else { return };
    *users -= 1;
    if *users == 0 {
        desired.book.users.remove(&key);
        desired.gateways.remove(&key);
        work.insert(key.address.into());
        routed.topology = true;
    }
}

/// A prefix is on the link of a port now, or no longer.
fn connect(desired: &mut Desired, port: u8, net: IpNet, there: bool, work: &mut BTreeSet<IpNet>) {
    let Some(ifindex) = desired.ports.iter().find(|&(_, &index)| index == port).map(|(&ifindex, _)| ifindex)
    else {
        return;
    };
    let link = OnLink { ifindex, net };
    match desired.on_link.binary_search(&link) {
        Ok(at) if !there => drop(desired.on_link.remove(at)),
        Err(at) if there => desired.on_link.insert(at, link),
        _ => {}
    }
    work.extend(
        desired.gateways.iter().filter(|key| connects(&link, key)).map(|key| IpNet::from(key.address)),
    );
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
