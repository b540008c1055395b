//! Nexthop objects by number, and what routes that point at them do. Pure; for every source of routes that
//! speaks of such objects.

use std::collections::BTreeMap;

use crate::netlink::next_hop::{NextHop, What};
use crate::netlink::route::{Action, Path, Route};

/// The nexthop objects of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NextHops {
    known: BTreeMap<u32, What>,
    /// Some route did not carry its paths.
    needed: bool,
}

impl NextHops {
    /// An object is new, or another one than before. The answer: whether routes that were completed here
    /// may lead elsewhere now.
    pub(crate) fn set(&mut self, next_hop: NextHop) -> bool {
        let NextHop { id, what } = next_hop;
        let changed = self.known.get(&id).is_some_and(|old| *old != what);
        self.known.insert(id, what);
        changed && self.needed
    }

    /// An object.
    pub(crate) fn get(&self, id: u32) -> Option<&What> {
        self.known.get(&id)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// An object has gone.
    pub(crate) fn remove(&mut self, id: u32) {
        self.known.remove(&id);
    }

    /// What a route does that points at an object: its paths, with the weights of their group. (A group has
    /// no groups as members.)
    pub(crate) fn action(&self, id: u32) -> Action {
        match self.known.get(&id) {
            Some(What::Path(path)) => Action::Paths(vec![*path]),
            Some(What::Blackhole) => Action::Blackhole,
            Some(What::Group(members)) => self.group(members),
            Some(What::Unusable) | None => Action::Unusable,
        }
    }

    fn group(&self, members: &[(u32, u32)]) -> Action {
        let path = |(id, weight): &(u32, u32)| match self.known.get(id) {
            Some(What::Path(path)) => Some(Path { weight: *weight, ..*path }),
            _ => None,
        };
        let paths: Vec<Path> = members.iter().filter_map(path).collect();
        let only_holes = |(id, _): &(u32, u32)| self.known.get(id) == Some(&What::Blackhole);
        if !paths.is_empty() {
            Action::Paths(paths)
        } else if !members.is_empty() && members.iter().all(only_holes) {
            Action::Blackhole
        } else {
            Action::Unusable
        }
    }

    /// Gives a route the paths of the object that it points at, if it does not carry them itself.
    pub(crate) fn complete(&mut self, route: &mut Route) {
        if route.next_hop != 0 && route.action == Action::Unusable {
            self.needed = true;
            route.action = self.action(route.next_hop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(ifindex: u32, gateway: &str) -> Path {
        Path { ifindex, gateway: Some(gateway.parse().unwrap()), foreign: false, weight: 1 }
    }

    #[test]
    fn a_group_is_its_members_with_their_weights() {
        let mut known = NextHops::default();
        known.set(NextHop { id: 1, what: What::Path(path(3, "9.0.0.1")) });
        known.set(NextHop { id: 2, what: What::Path(path(3, "9.0.0.2")) });
        known.set(NextHop { id: 10, what: What::Group(vec![(1, 1), (2, 3), (7, 1)]) });
        let expected = vec![path(3, "9.0.0.1"), Path { weight: 3, ..path(3, "9.0.0.2") }];
        assert_eq!(known.action(10), Action::Paths(expected));
        known.remove(1);
        assert_eq!(known.action(10), Action::Paths(vec![Path { weight: 3, ..path(3, "9.0.0.2") }]));
        known.set(NextHop { id: 2, what: What::Blackhole });
        assert_eq!(known.action(10), Action::Unusable, "one member is not known");
        known.set(NextHop { id: 10, what: What::Group(vec![(2, 1)]) });
        assert_eq!(known.action(10), Action::Blackhole);
        assert_eq!(known.action(99), Action::Unusable);
    }

    #[test]
    fn only_routes_without_their_paths_are_completed_and_then_changes_matter() {
        let mut known = NextHops::default();
        known.set(NextHop { id: 1, what: What::Path(path(3, "9.0.0.1")) });
        let carried = crate::compile::tests::route("8.0.0.0/8", 3, Some("9.0.0.9"));
        let mut route = Route { next_hop: 1, ..carried.clone() };
        known.complete(&mut route);
        assert_eq!(route.action, carried.action);
        assert!(!known.set(NextHop { id: 1, what: What::Path(path(3, "9.0.0.2")) }));
        let mut route = Route { action: Action::Unusable, ..route };
        known.complete(&mut route);
        assert_eq!(route.action, Action::Paths(vec![path(3, "9.0.0.2")]));
        assert!(known.set(NextHop { id: 1, what: What::Blackhole }), "the route must be read again");
        assert!(!known.set(NextHop { id: 2, what: What::Blackhole }), "nobody can point at it yet");
    }
}
