//! The kernel's links, addresses and routes: read at the start, then followed by its notices. Pure but
//! for the reading: [`Kernel::take`] says what a notice changed, as [`Pending`] work for the compiler.
//!
//! Not everything is said. IPv4 routes go in silence when a link goes down or an address is removed;
//! those notices raise a doubt, and the whole is read again into a shadow ([`Kernel::succeed`]).

pub(crate) mod next_hops;
mod rib;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use crate::config::checked::RoutingTable;
use crate::netlink::message::{Address, Link, Message, Neighbour};
use crate::netlink::request::Dump;
use crate::netlink::route::{Action, Route};
use crate::netlink::socket::{NetlinkError, Requests};
use crate::netlink::uapi::{RT_TABLE_MAIN, RTPROT_SIXLANE};
use next_hops::NextHops;
use rib::Heard;
pub(crate) use rib::{Rib, within};

/// Where iproute2 keeps the names of routing tables; the first that names it wins.
const NAME_FILES: [&str; 2] = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];

/// What has changed and is not compiled yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Prefixes whose routes, or whose gateways' fortunes, have changed.
    pub(crate) nets: BTreeSet<IpNet>,
    /// Links or addresses have changed.
    pub(crate) state: bool,
    /// Something has changed in silence: all must be read again.
    pub(crate) doubt: bool,
}

impl Pending {
    /// Whether there is something to compile.
    pub(crate) fn work(&self) -> bool {
        self.state || !self.nets.is_empty()
    }
}

/// What the kernel knows, except neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) addresses: Vec<Address>,
    /// Routes of the followed tables only, without our own (protocol 73).
    pub(crate) routes: Rib,
    /// Our own IPv6 routes in the main table, with their interfaces. They are never followed.
    pub(crate) own_routes: BTreeSet<(Ipv6Net, u32)>,
    /// What routes may point at.
    pub(crate) next_hops: NextHops,
}

impl Kernel {
    /// Reads everything; `tables` are the numbers of the tables to follow.
    pub(crate) fn read(requests: &mut Requests, tables: &[u32]) -> Result<Self, NetlinkError> {
        let (mut kernel, mut ignored) = (Self::default(), Pending::default());
        for what in [Dump::Links, Dump::Addresses, Dump::NextHops, Dump::Routes4, Dump::Routes6] {
            for message in requests.dump(what)? {
                match message {
                    // All are told, also those that are equal to others.
                    Message::Route(mut route, _) if followed(&route, tables) => {
                        kernel.next_hops.complete(&mut route);
                        kernel.routes.push(route);
                    }
                    Message::Route(route, _) => kernel.own_routes.extend(own(&route)),
                    other => kernel.take(other, tables, &mut ignored),
                }
            }
        }
        Ok(kernel)
    }

    /// Takes a notice, and notes what follows from it.
    pub(crate) fn take(&mut self, message: Message, tables: &[u32], pending: &mut Pending) {
        match message {
            Message::Link(link) => self.link(link, pending),
            Message::LinkGone(ifindex) => {
                let known = self.links.remove(&ifindex).is_some();
                pending.state |= known;
                pending.doubt |= known;
            }
            Message::Address(address) => match self.addresses.iter_mut().find(|own| same(own, &address)) {
                Some(own) if *own == address => {}
                Some(own) => {
                    *own = address;
                    pending.state = true;
                }
                None => {
                    self.addresses.push(address);
                    pending.state = true;
                }
            },
            Message::AddressGone(address) => {
                let before = self.addresses.len();
                self.addresses.retain(|own| !same(own, &address));
                if self.addresses.len() != before {
                    pending.state = true;
                    pending.doubt |= address.address.is_ipv4();
                }
            }
            Message::Route(mut route, place) if followed(&route, tables) => {
                self.next_hops.complete(&mut route);
                let net = route.destination;
                pending.note(net, self.routes.added(route, place));
            }
            Message::RouteGone(mut route) if followed(&route, tables) => {
                self.next_hops.complete(&mut route);
                pending.note(route.destination, self.routes.removed(&route));
            }
            Message::Route(route, _) => self.own_routes.extend(own(&route)),
            Message::RouteGone(route) => {
                if let Some(gone) = own(&route) {
                    self.own_routes.remove(&gone);
                }
            }
            // Routes that do not carry their paths lead elsewhere now.
            Message::NextHop(next_hop) => pending.doubt |= self.next_hops.set(next_hop),
            Message::NextHopGone(id) => {
                self.next_hops.remove(id);
                pending.doubt = true;
            }
            _ => {}
        }
    }

    fn link(&mut self, link: Link, pending: &mut Pending) {
        match self.links.get_mut(&link.ifindex) {
            // Some drivers tell of themselves in part.
            Some(_) if link.mtu == 0 => {}
            Some(known) if *known == link => {}
            Some(known) => {
                pending.doubt |= (known.up, known.running) != (link.up, link.running);
                pending.state = true;
                *known = link;
            }
            None => {
                self.links.insert(link.ifindex, link);
                pending.state = true;
            }
        }
    }

    /// Takes the place of `old`, which may have missed something. Unless it is `whole`, what is not in it
    /// may be there all the same.
    pub(crate) fn succeed(mut self, old: &mut Self, whole: bool, pending: &mut Pending) {
        if !whole {
            self.routes.keep(&old.routes);
            self.own_routes.extend(&old.own_routes);
        }
        pending.state |= self.links != old.links || self.addresses != old.addresses;
        pending.nets.extend(self.routes.differences(&old.routes));
        *old = self;
    }

    /// Whether some interface has the address.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }
}

impl Pending {
    fn note(&mut self, net: IpNet, heard: Heard) {
        match heard {
            Heard::Known => {}
            Heard::Changed => drop(self.nets.insert(net)),
            Heard::Doubt => self.doubt = true,
        }
    }
}

/// One and the same address, whatever its flags. Of IPv4 an interface may have one several times, with
/// different peers; of IPv6 once, and its peer may change.
fn same(one: &Address, other: &Address) -> bool {
    (one.ifindex, one.address, one.prefix_len) == (other.ifindex, other.address, other.prefix_len)
        && (one.address.is_ipv6() || one.peer == other.peer)
}

fn followed(route: &Route, tables: &[u32]) -> bool {
    tables.contains(&route.table) && route.protocol != RTPROT_SIXLANE
}

/// A route of our own: prefix and interface.
fn own(route: &Route) -> Option<(Ipv6Net, u32)> {
    let (IpNet::V6(net), Action::Paths(paths)) = (route.destination, &route.action) else { return None };
    let path = paths.first()?;
    (route.table == RT_TABLE_MAIN && route.protocol == RTPROT_SIXLANE).then_some((net, path.ifindex))
}

/// Reads the kernel's neighbours of both families.
pub(crate) fn read_neighbours(requests: &mut Requests) -> Result<Vec<Neighbour>, NetlinkError> {
    let mut found = Vec::new();
    for what in [Dump::Neighbours4, Dump::Neighbours6] {
        for message in requests.dump(what)? {
            if let Message::Neighbour(neighbour) = message {
                found.push(neighbour);
            }
        }
    }
    Ok(found)
}

/// Numbers of the configured tables, in their order.
///
/// # Errors
/// A sentence, when a name is unknown.
pub(crate) fn table_numbers(tables: &[RoutingTable]) -> Result<Vec<u32>, String> {
    tables.iter().map(table_number).collect()
}

fn table_number(table: &RoutingTable) -> Result<u32, String> {
    let name = match table {
        RoutingTable::Main => return Ok(RT_TABLE_MAIN),
        RoutingTable::Number(number) => return Ok(*number),
        RoutingTable::Name(name) => name,
    };
    let texts = NAME_FILES.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    texts.into_iter().find_map(|text| number_of(name, &text)).ok_or_else(|| {
        format!(
            "router.tables names the routing table \"{name}\", which no file knows: \
             add it to {} or give its number",
            NAME_FILES[0]
        )
    })
}

/// Looks a name up in the text of `rt_tables`: lines of number and name, `#` begins a comment.
fn number_of(name: &str, text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let number = words.next()?.parse().ok()?;
        (words.next()? == name).then_some(number)
    })
}

/// How many neighbours the kernel's table holds (`gc_thresh3`, one figure for all namespaces, which
/// only the first namespace shows); its default where it cannot be read.
pub(crate) fn neighbour_table_size() -> usize {
    let read = |family: &str| {
        let path = format!("/proc/sys/net/{family}/neigh/default/gc_thresh3");
        std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok()
    };
    [read("ipv4"), read("ipv6")].into_iter().flatten().min().unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_found_and_comments_are_not() {
        let text = "# reserved\n255\tlocal\n254 main # the usual\n100 isp\n";
        assert_eq!(number_of("isp", text), Some(100));
        assert_eq!(number_of("main", text), Some(254));
        assert_eq!(number_of("usual", text), None);
        assert_eq!(number_of("reserved", text), None);
    }

    #[test]
    fn an_address_with_two_peers_is_there_until_both_are_gone() {
        let own = |peer: &str| Address {
            ifindex: 3,
            address: "9.0.0.1".parse().unwrap(),
            prefix_len: 32,
            peer: Some(peer.parse().unwrap()),
            scope: 0,
            deprecated: false,
        };
        let (mut kernel, mut pending) = (Kernel::default(), Pending::default());
        for message in ["9.0.0.2", "9.0.0.3"].map(|peer| Message::Address(own(peer))) {
            kernel.take(message, &[], &mut pending);
        }
        kernel.take(Message::AddressGone(own("9.0.0.2")), &[], &mut pending);
        assert!(kernel.has_address("9.0.0.1".parse().unwrap()));
        kernel.take(Message::AddressGone(own("9.0.0.3")), &[], &mut pending);
        assert!(!kernel.has_address("9.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_unknown_table_is_a_sentence_with_a_remedy() {
        let error = table_numbers(&[RoutingTable::Name("no-such-table".into())]).unwrap_err();
        assert!(error.contains("\"no-such-table\"") && error.contains("give its number"), "{error}");
    }
}
