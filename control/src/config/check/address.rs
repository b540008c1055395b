//! Which addresses may serve as what.

use std::net::{Ipv4Addr, Ipv6Addr};

use sixlane_tunnel::{Class4, bogon};

use super::Judge;
use crate::config::checked::Bogons;
use crate::config::raw::Text;

impl Judge<'_> {
    /// An IPv4 address that strangers must be able to reach (6TO4-01): global unicast under the
    /// profile. `column` is the use that the table of bogons is asked about.
    pub(super) fn global4(&mut self, key: &str, text: &Text, column: Class4) -> Option<Ipv4Addr> {
        let address = self.ipv4(key, text)?;
        if self.is_bogon4(address, column) {
            let (cause, remedy) = match self.bogons {
                Bogons::Internet if !is_bogon(address, column, true) => (
                    "is a documentation or benchmarking address",
                    "use a public address, or set bogons = \"lab\" in [profile] for a laboratory",
                ),
                _ => ("is not a global unicast address", "use a public address of this router"),
            };
            self.reject(text.span(), format!("{key} = \"{address}\" {cause}"), remedy);
            return None;
        }
        Some(address)
    }

    /// An IPv4 address of a private mechanism (6rd, ISATAP, 6in4), which may lie in private space
    /// but must be one that a host can have.
    pub(super) fn host4(&mut self, key: &str, text: &Text) -> Option<Ipv4Addr> {
        let address = self.ipv4(key, text)?;
        if self.is_bogon4(address, Class4::PRIVATE_BOGON) {
            let cause = format!("{key} = \"{address}\" is not an address that a tunnel can end at");
            self.reject(text.span(), cause, "use a unicast address of the IPv4 network");
            return None;
        }
        Some(address)
    }

    pub(super) fn is_bogon4(&self, address: Ipv4Addr, column: Class4) -> bool {
        is_bogon(address, column, self.bogons == Bogons::Lab)
    }

    /// An IPv6 address of the box: one that can be the source of a packet to the Internet.
    pub(super) fn unicast6(&mut self, key: &str, text: &Text, address: Ipv6Addr) -> Option<Ipv6Addr> {
        let head = address.segments()[0];
        let refused = if address.is_multicast() {
            "a multicast address"
        } else if head & 0xffc0 == 0xfe80 {
            "a link-local address"
        } else if head == 0 {
            "not a unicast address that can be routed"
        } else {
            return Some(address);
        };
        let remedy = "use a global address of this router, or leave the key out to have one chosen";
        self.reject(text.span(), format!("{key} = \"{address}\" is {refused}"), remedy);
        None
    }
}

/// Whether the one table of bogons refuses the address in a column.
fn is_bogon(address: Ipv4Addr, column: Class4, lab: bool) -> bool {
    bogon::class4(address.to_bits(), lab).intersects(column)
}
