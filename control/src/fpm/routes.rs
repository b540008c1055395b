//! The routes that zebra has told, by prefix and table, with the connection that told them last: what a new
//! connection does not repeat is swept (FAIL-15).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv6Net};

use super::object::{Name, Objects};
use crate::kernel::within;
use crate::netlink::next_hop::NextHop;
use crate::netlink::route::{Action, Route};

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leads {
    /// By itself.
    Own(Action),
    /// To an object of its connection.
    Object(u32),
}

/// A route as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// Number of the connection that told it last.
    session: u32,
    protocol: u8,
    priority: u32,
    mtu: u32,
    leads: Leads,
}

impl Said {
    fn object(&self) -> Option<Name> {
        match self.leads {
            Leads::Object(id) => Some((self.session, id)),
            Leads::Own(_) => None,
        }
    }
}

/// The routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    said: BTreeMap<(IpNet, u32), Said>,
    objects: Objects,
    count4: usize,
    count6: usize,
}

/// The routes of nobody.
#[cfg(test)]
pub(crate) static NOBODY: Routes = Routes::new();

#[cfg(test)]
impl Routes {
    const fn new() -> Self {
        Self { said: BTreeMap::new(), objects: Objects::new(), count4: 0, count6: 0 }
    }
}

impl Routes {
    /// The routes of one prefix, of any table.
    pub(crate) fn at(&self, net: IpNet) -> impl Iterator<Item = Route> + '_ {
        self.said.range((net, 0)..=(net, u32::MAX)).map(move |(&(destination, table), said)| Route {
            destination,
            table,
            protocol: said.protocol,
            priority: said.priority,
            mtu: said.mtu,
            next_hop: 0,
            action: match &said.leads {
                Leads::Own(action) => action.clone(),
                Leads::Object(id) => self.objects.action((said.session, *id)),
            },
        })
    }

    /// All prefixes that have routes.
    pub(crate) fn nets(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.said.keys().map(|(net, _)| *net)
    }

    /// The prefixes inside of one.
    pub(crate) fn inside(&self, net: Ipv6Net) -> impl Iterator<Item = IpNet> + '_ {
        let (first, last) = within(net).into_inner();
        self.said.range((first, 0)..=(last, u32::MAX)).map(|((net, _), _)| *net)
    }

    /// How many routes there are, IPv4 and IPv6.
    pub(crate) const fn counts(&self) -> [usize; 2] {
        [self.count4, self.count6]
    }

    fn count(&mut self, net: IpNet) -> &mut usize {
        match net {
            IpNet::V4(_) => &mut self.count4,
            IpNet::V6(_) => &mut self.count6,
        }
    }

    /// A connection tells a route. `None`: it is one more than `limits` (IPv4, IPv6) and not taken. Else:
    /// whether it is another one than before.
    pub(super) fn set(&mut self, session: u32, route: Route, limits: [usize; 2]) -> Option<bool> {
        let key = (route.destination, route.table);
        let Route { protocol, priority, mtu, next_hop, action, .. } = route;
        // An object says more than the paths that are told beside it, if any are.
        let leads = if next_hop == 0 { Leads::Own(action) } else { Leads::Object(next_hop) };
        let said = Said { session, protocol, priority, mtu, leads };
        let Some(old) = self.said.get(&key).cloned() else {
            let [limit4, limit6] = limits;
            let limit = if key.0.addr().is_ipv4() { limit4 } else { limit6 };
            if *self.count(key.0) >= limit {
                return None;
            }
            *self.count(key.0) += 1;
            self.insert(key, said);
            return Some(true);
        };
        // The number of an object means another one in another connection.
        let meant = |said: &Said| said.object().map(|key| self.objects.action(key));
        let same = (old.protocol, old.priority, old.mtu) == (said.protocol, said.priority, said.mtu)
            && match (&old.leads, &said.leads) {
                (Leads::Object(_), Leads::Object(_)) => meant(&old) == meant(&said),
                (old, said) => old == said,
            };
        if let Some(object) = old.object() {
            self.objects.release(object);
        }
        self.insert(key, said);
        Some(!same)
    }

    fn insert(&mut self, key: (IpNet, u32), said: Said) {
        if let Some(object) = said.object() {
            self.objects.name(object);
        }
        self.said.insert(key, said);
    }

    /// A route is withdrawn; `false`: there was none.
    pub(super) fn remove(&mut self, net: IpNet, table: u32) -> bool {
        let Some(old) = self.said.remove(&(net, table)) else { return false };
        *self.count(net) -= 1;
        if let Some(object) = old.object() {
            self.objects.release(object);
        }
        true
    }

    /// A connection tells an object. The answer: the prefixes that lead elsewhere now.
    pub(super) fn set_object(&mut self, session: u32, object: NextHop) -> Vec<IpNet> {
        let moved = self.objects.set(session, object);
        self.naming(&moved)
    }

    /// An object is withdrawn.
    pub(super) fn remove_object(&mut self, session: u32, id: u32) -> Vec<IpNet> {
        let moved = self.objects.remove(session, id);
        self.naming(&moved)
    }

    /// The prefixes whose routes name one of these objects. Zebra mends routes one by one, so it is seldom
    /// that an object changes which routes name: then all are looked at.
    fn naming(&self, objects: &BTreeSet<Name>) -> Vec<IpNet> {
        if objects.is_empty() {
            return Vec::new();
        }
        let names = |said: &Said| said.object().is_some_and(|object| objects.contains(&object));
        self.said.iter().filter(|(_, said)| names(said)).map(|((net, _), _)| *net).collect()
    }

    /// Removes what no connection after `session` has told. The answer: the prefixes.
    pub(super) fn sweep(&mut self, session: u32) -> Vec<IpNet> {
        let stale = self.said.iter().filter(|(_, said)| said.session <= session);
        let stale: Vec<(IpNet, u32)> = stale.map(|(key, _)| *key).collect();
        for &(net, table) in &stale {
            self.remove(net, table);
        }
        self.objects.forget(session);
        stale.into_iter().map(|(net, _)| net).collect()
    }
}
