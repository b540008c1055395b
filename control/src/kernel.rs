//! The kernel's links, addresses and routes as they were read at the start.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::checked::RoutingTable;
use crate::netlink::message::{Address, Link, Message, Neighbour};
use crate::netlink::request::Dump;
use crate::netlink::route::Route;
use crate::netlink::socket::{NetlinkError, Requests};
use crate::netlink::uapi::{RT_TABLE_MAIN, RTPROT_SIXLANE};

/// Where iproute2 keeps the names of routing tables; the first that names it wins.
const NAME_FILES: [&str; 2] = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];

/// What the kernel knows, except neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) addresses: Vec<Address>,
    /// Routes of the followed tables only, without our own (protocol 73).
    pub(crate) routes: Vec<Route>,
}

impl Kernel {
    /// Reads everything; `tables` are the numbers of the tables to follow.
    pub(crate) fn read(requests: &mut Requests, tables: &[u32]) -> Result<Self, NetlinkError> {
        let mut kernel = Self::default();
        for what in [Dump::Links, Dump::Addresses, Dump::Routes4, Dump::Routes6] {
            for message in requests.dump(what)? {
                kernel.take(message, tables);
            }
        }
        Ok(kernel)
    }

    fn take(&mut self, message: Message, tables: &[u32]) {
        match message {
            Message::Link(link) => {
                self.links.insert(link.ifindex, link);
            }
            Message::Address(address) => self.addresses.push(address),
            Message::Route(route) if tables.contains(&route.table) && route.protocol != RTPROT_SIXLANE => {
                self.routes.push(route);
            }
            _ => {}
        }
    }

    /// Whether some interface has the address.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }
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
    fn an_unknown_table_is_a_sentence_with_a_remedy() {
        let error = table_numbers(&[RoutingTable::Name("no-such-table".into())]).unwrap_err();
        assert!(error.contains("\"no-such-table\"") && error.contains("give its number"), "{error}");
    }
}
