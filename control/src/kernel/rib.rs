//! The kernel's routes by prefix, kept by its notices. Pure: a notice in, what it changed out.
//!
//! A notice says what a route is and where it stands, and mostly that is enough. Where the kernel's
//! words are ambiguous (several routes of one prefix and metric, of which some may have been joined),
//! the answer is [`Heard::Doubt`] and the tables are read again: a guess would last.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv6Net};

use crate::netlink::route::{Action, Path, Place, Route};

/// What a notice meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that was not known.
    Known,
    /// The routes of the prefix are other ones now.
    Changed,
    /// It cannot be told what the routes are now.
    Doubt,
}

/// The routes, by prefix and in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rib {
    routes: BTreeMap<IpNet, Vec<Route>>,
    /// How many of the prefixes are IPv6.
    six: usize,
}

impl Rib {
    /// The routes of one prefix, in the kernel's order.
    pub(crate) fn at(&self, net: &IpNet) -> &[Route] {
        self.routes.get(net).map_or(&[], Vec::as_slice)
    }

    /// How many prefixes have routes, IPv4 and IPv6.
    pub(crate) fn counts(&self) -> [usize; 2] {
        [self.routes.len().saturating_sub(self.six), self.six]
    }

    /// Something was done to the routes of `net`; before that `before` prefixes had routes.
    fn recount(&mut self, net: IpNet, before: usize) {
        if net.addr().is_ipv6() {
            self.six = (self.six + self.routes.len()).saturating_sub(before);
        }
    }

    /// All prefixes that have routes.
    pub(crate) fn nets(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.routes.keys().copied()
    }

    /// The prefixes inside of one.
    pub(crate) fn inside(&self, net: Ipv6Net) -> impl Iterator<Item = IpNet> + '_ {
        self.routes.range(within(net)).map(|(net, _)| *net)
    }

    /// The prefixes that some route leads over an interface.
    pub(crate) fn over(&self, ifindex: u32) -> impl Iterator<Item = IpNet> + '_ {
        let uses = move |route: &Route| match &route.action {
            Action::Paths(paths) => paths.iter().any(|path| path.ifindex == ifindex),
            _ => false,
        };
        self.routes.iter().filter(move |(_, routes)| routes.iter().any(uses)).map(|(net, _)| *net)
    }

    /// Takes a route behind those that are there, as a dump tells it. (A dump tells some IPv6 routes twice
    /// when others come in the middle of it.)
    pub(crate) fn push(&mut self, route: Route) {
        let (net, before) = (route.destination, self.routes.len());
        let held = self.routes.entry(net).or_default();
        if net.addr().is_ipv4() || !held.contains(&route) {
            held.push(route);
        }
        self.recount(net, before);
    }

    /// Takes over the IPv6 prefixes that only `old` has.
    pub(crate) fn keep(&mut self, old: &Self) {
        for (net, routes) in old.routes.iter().filter(|(net, _)| net.addr().is_ipv6()) {
            let before = self.routes.len();
            self.routes.entry(*net).or_insert_with(|| routes.clone());
            self.recount(*net, before);
        }
    }

    /// The kernel has a new route.
    pub(crate) fn added(&mut self, route: Route, place: Place) -> Heard {
        let (net, before) = (route.destination, self.routes.len());
        let heard = self.add(route, place);
        self.recount(net, before);
        heard
    }

    fn add(&mut self, route: Route, place: Place) -> Heard {
        let held = self.routes.entry(route.destination).or_default();
        let alike: Vec<usize> = positions(held, &route);
        match (alike.as_slice(), place) {
            ([], _) => held.push(route),
            ([at, ..], Place::Alone) => {
                // Those that were there went in silence.
                let at = *at;
                held.retain(|other| !same_rank(other, &route));
                held.insert(at.min(held.len()), route);
            }
            ([at], Place::Instead) => return replace(held, *at, route),
            // The kernel may have joined the new path to the old ones; then it tells them all.
            ([at], Place::First | Place::Last) if joins(held.get(*at), &route) => {
                return join(held, *at, route);
            }
            (_, Place::First | Place::Last) if held.contains(&route) => return Heard::Known,
            ([at, ..], Place::First) if route.destination.addr().is_ipv4() => held.insert(*at, route),
            ([.., at], Place::Last) if route.destination.addr().is_ipv4() => held.insert(*at + 1, route),
            _ => return Heard::Doubt,
        }
        Heard::Changed
    }

    /// The kernel has removed a route, or a path of one.
    pub(crate) fn removed(&mut self, route: &Route) -> Heard {
        let Some(held) = self.routes.get_mut(&route.destination) else { return Heard::Known };
        let alike = positions(held, route);
        let heard = match alike.as_slice() {
            [] => Heard::Known,
            [at] => remove_from(held, *at, route),
            _ => {
                let mut equal = held.iter().enumerate().filter(|(_, other)| *other == route);
                // Of several that look the same it is not known which one has gone.
                match (equal.next().map(|(at, _)| at), equal.next()) {
                    (Some(at), None) => {
                        held.remove(at);
                        Heard::Changed
                    }
                    _ => Heard::Doubt,
                }
            }
        };
        if held.is_empty() {
            let before = self.routes.len();
            self.routes.remove(&route.destination);
            self.recount(route.destination, before);
        }
        heard
    }

    /// The prefixes whose routes differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<IpNet> {
        let changed = self.routes.iter().filter(|(net, routes)| other.routes.get(net) != Some(routes));
        let gone = other.routes.keys().filter(|net| !self.routes.contains_key(net));
        changed.map(|(net, _)| *net).chain(gone.copied()).collect()
    }
}

/// Where the prefixes inside of one stand in the order of all, as far as it goes by address.
pub(crate) fn within(net: Ipv6Net) -> RangeInclusive<IpNet> {
    let at = |address, len| IpNet::new_assert(IpAddr::V6(address), len);
    at(net.network(), net.prefix_len())..=at(net.broadcast(), 128)
}

/// Of one table and metric: the kernel takes them for alternatives.
fn same_rank(one: &Route, other: &Route) -> bool {
    (one.table, one.priority) == (other.table, other.priority)
}

fn positions(held: &[Route], route: &Route) -> Vec<usize> {
    held.iter().enumerate().filter(|(_, other)| same_rank(other, route)).map(|(at, _)| at).collect()
}

fn replace(held: &mut [Route], at: usize, route: Route) -> Heard {
    match held.get_mut(at) {
        Some(old) if *old == route => Heard::Known,
        Some(old) => {
            *old = route;
            Heard::Changed
        }
        None => Heard::Doubt,
    }
}

/// The paths that were there stay in front, whatever the order in which the notice tells them.
fn join(held: &mut [Route], at: usize, route: Route) -> Heard {
    if let (Some(Action::Paths(old)), Action::Paths(new)) =
        (held.get_mut(at).map(|old| &mut old.action), route.action)
    {
        let more: Vec<Path> =
            new.into_iter().filter(|path| !old.iter().any(|one| one.leads_as(path))).collect();
        old.extend(more);
    }
    Heard::Changed
}

/// Whether an IPv6 route is `old` with more paths.
fn joins(old: Option<&Route>, route: &Route) -> bool {
    match (old.map(|old| &old.action), &route.action) {
        (Some(Action::Paths(old)), Action::Paths(new)) if route.destination.addr().is_ipv6() => {
            new.len() > old.len() && old.iter().all(|path| new.contains(path))
        }
        _ => false,
    }
}

/// The only route of its rank is removed, or, for IPv6, some of its paths. A notice about another route
/// is older than what is held, or something was missed.
fn remove_from(held: &mut Vec<Route>, at: usize, route: &Route) -> Heard {
    let left = match (held.get(at).map(|old| &old.action), &route.action) {
        (Some(Action::Paths(old)), Action::Paths(gone)) if route.destination.addr().is_ipv6() => {
            let left: Vec<Path> =
                old.iter().filter(|path| !gone.iter().any(|one| one.leads_as(path))).copied().collect();
            if left.len() == old.len() {
                return Heard::Doubt;
            }
            left
        }
        (Some(old), gone) if old != gone => return Heard::Doubt,
        _ => Vec::new(),
    };
    if left.is_empty() {
        held.remove(at);
    } else if let Some(old) = held.get_mut(at) {
        old.action = Action::Paths(left);
    }
    Heard::Changed
}

#[cfg(test)]
impl Rib {
    /// Keeps the routes that `keep` names.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Route) -> bool) {
        self.routes.values_mut().for_each(|routes| routes.retain(&mut keep));
        self.routes.retain(|_, routes| !routes.is_empty());
        self.six = self.routes.keys().filter(|net| net.addr().is_ipv6()).count();
    }
}

#[cfg(test)]
impl Extend<Route> for Rib {
    fn extend<T: IntoIterator<Item = Route>>(&mut self, routes: T) {
        routes.into_iter().for_each(|route| self.push(route));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET4: &str = "8.0.0.0/8";
    const NET6: &str = "2001:700::/32";

    fn route(net: &str, gateways: &[&str]) -> Route {
        let path = |text: &&str| Path {
            ifindex: 3,
            gateway: Some(text.parse().unwrap()),
            foreign: false,
            weight: 1,
        };
        Route {
            destination: net.parse().unwrap(),
            table: 254,
            protocol: 3,
            priority: 10,
            mtu: 0,
            next_hop: 0,
            action: Action::Paths(gateways.iter().map(path).collect()),
        }
    }

    fn gateways(rib: &Rib, net: &str) -> Vec<String> {
        let paths = |route: &Route| match &route.action {
            Action::Paths(paths) => paths.clone(),
            _ => Vec::new(),
        };
        let held = rib.at(&net.parse().unwrap()).iter().flat_map(paths);
        held.filter_map(|path| Some(path.gateway?.to_string())).collect()
    }

    #[test]
    fn ipv4_routes_of_one_metric_stand_in_the_order_that_the_kernel_says() {
        let mut rib = Rib::default();
        assert_eq!(rib.added(route(NET4, &["9.0.0.1"]), Place::Alone), Heard::Changed);
        assert_eq!(rib.added(route(NET4, &["9.0.0.2"]), Place::Last), Heard::Changed);
        assert_eq!(rib.added(route(NET4, &["9.0.0.3"]), Place::First), Heard::Changed);
        assert_eq!(rib.added(route(NET4, &["9.0.0.3"]), Place::Last), Heard::Known, "told twice");
        assert_eq!(gateways(&rib, NET4), ["9.0.0.3", "9.0.0.1", "9.0.0.2"]);
        assert_eq!(rib.added(route(NET4, &["9.0.0.4"]), Place::Instead), Heard::Doubt, "which one?");
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.1"])), Heard::Changed);
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.9"])), Heard::Doubt);
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.2"])), Heard::Changed);
        assert_eq!(rib.added(route(NET4, &["9.0.0.4"]), Place::Instead), Heard::Changed);
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.5"])), Heard::Doubt, "another one");
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.4"])), Heard::Changed, "the only one");
        assert_eq!(rib, Rib::default());
    }

    #[test]
    fn of_routes_that_look_the_same_any_may_have_gone() {
        let mut rib = Rib::default();
        rib.extend(["9.0.0.1", "9.0.0.2", "9.0.0.1"].map(|gateway| route(NET4, &[gateway])));
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.1"])), Heard::Doubt);
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.2"])), Heard::Changed);
    }

    #[test]
    fn ipv6_paths_join_and_part() {
        let mut rib = Rib::default();
        assert_eq!(rib.added(route(NET6, &["fe80::1"]), Place::Alone), Heard::Changed);
        // The notice tells the new one first; the kernel puts it last.
        assert_eq!(rib.added(route(NET6, &["fe80::2", "fe80::1"]), Place::First), Heard::Changed);
        assert_eq!(gateways(&rib, NET6), ["fe80::1", "fe80::2"]);
        assert_eq!(rib.added(route(NET6, &["fe80::3"]), Place::First), Heard::Doubt, "joined or beside?");
        assert_eq!(rib.removed(&route(NET6, &["fe80::1"])), Heard::Changed);
        assert_eq!(gateways(&rib, NET6), ["fe80::2"]);
        assert_eq!(rib.removed(&route(NET6, &["fe80::7"])), Heard::Doubt);
        assert_eq!(rib.removed(&route(NET6, &["fe80::2"])), Heard::Changed);
        assert_eq!(rib.removed(&route(NET6, &["fe80::2"])), Heard::Known);
        assert_eq!(rib, Rib::default());
    }

    /// After a dump come the notices that were on their way: what they say is in it already.
    #[test]
    fn an_old_notice_takes_no_newer_route_away() {
        let mut rib = Rib::default();
        rib.push(route(NET4, &["9.0.0.2"]));
        let dumped = rib.clone();
        assert_eq!(rib.added(route(NET4, &["9.0.0.2"]), Place::Last), Heard::Known);
        assert_eq!(rib.removed(&route(NET4, &["9.0.0.1"])), Heard::Doubt);
        assert_eq!(rib, dumped);
    }

    #[test]
    fn what_an_unsure_dump_lacks_is_kept_and_what_it_tells_twice_is_one() {
        let (mut old, mut new) = (Rib::default(), Rib::default());
        old.extend([route(NET4, &["9.0.0.1"]), route(NET6, &["fe80::1"])]);
        new.extend([route("2001:701::/32", &["fe80::1"]), route("2001:701::/32", &["fe80::1"])]);
        new.keep(&old);
        let nets: Vec<String> = new.nets().map(|net| net.to_string()).collect();
        assert_eq!(nets, [NET6, "2001:701::/32"], "IPv4 dumps are whole");
        assert_eq!(new.at(&"2001:701::/32".parse().unwrap()).len(), 1);
    }

    #[test]
    fn differences_are_the_changed_and_the_gone() {
        let (mut old, mut new) = (Rib::default(), Rib::default());
        old.extend([route(NET4, &["9.0.0.1"]), route("7.0.0.0/8", &["9.0.0.1"])]);
        new.extend([route(NET4, &["9.0.0.1"]), route(NET6, &["fe80::1"])]);
        let nets: Vec<String> = new.differences(&old).iter().map(ToString::to_string).collect();
        assert_eq!(nets, [NET6, "7.0.0.0/8"]);
    }
}
