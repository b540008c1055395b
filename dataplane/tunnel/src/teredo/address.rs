//! Teredo addresses beyond their fields ([`crate::embed::Teredo`]): flags, link-local identifiers, and
//! whether a packet may be sent to where an address leads.

use super::Endpoint;
use crate::embed::Teredo;
use crate::{Class4, Classes, Reason, guard};
use sixlane_wire::ipv6::Address;
use sixlane_wire::teredo::SERVER_PORT;

/// The flag "behind a cone NAT" (RFC 4380 §4).
pub const CONE: u16 = 0x8000;
/// The flags that are random (RFC 5991 §3.1). Those in neither constant are zero.
pub const RANDOM: u16 = 0x3cff;
/// fe80::/64.
const LINK_LOCAL: u64 = 0xfe80 << 48;

/// The flags of an address that is made here: random but for the cone bit and those that are zero (RFC 5991
/// §3.1). What a received address has there means nothing, and is never checked.
#[must_use]
pub const fn flags(cone: bool, random: u16) -> u16 {
    random & RANDOM | if cone { CONE } else { 0 }
}

impl Teredo {
    /// Where the client is to be found.
    #[inline]
    #[must_use]
    pub const fn mapped(&self) -> Endpoint {
        Endpoint { address: self.client, port: self.port }
    }

    /// Whether the client says that it is behind a cone NAT. Relays do not believe it (RFC 5991 §3.2).
    #[inline]
    #[must_use]
    pub const fn is_cone(&self) -> bool {
        self.flags & CONE != 0
    }
}

/// Whether a link-local source has the cone bit: a client that solicits a router asks by it to be answered
/// from the server's other address (RFC 4380 §5.3.2).
#[inline]
#[must_use]
pub const fn asks_as_cone(address: Address) -> bool {
    address.lo >> 48 & CONE as u64 != 0
}

/// The link-local address of a server at this IPv4 address (a number in host order; RFC 4380 §5.3.2).
#[must_use]
pub const fn server_link_local(server: u32) -> Address {
    let identifier = (CONE as u64) << 48 | (!SERVER_PORT as u64) << 32 | !server as u64;
    Address { hi: LINK_LOCAL, lo: identifier }
}

/// Whether nothing may be sent to an IPv4 address that a Teredo address names: neither global unicast (RFC
/// 4380 §5.2.4) nor anybody else's.
///
/// # Errors
/// `v4_embedded_bogon`, `v4_local_address`.
pub fn may_be_sent_to<C: Classes>(endpoint: Endpoint, classes: &C) -> Result<(), Reason> {
    if guard::is_insane(endpoint.address, classes) || endpoint.port == 0 {
        return Err(Reason::V4EmbeddedBogon);
    }
    if classes.class4(endpoint.address).contains(Class4::OWN) {
        return Err(Reason::V4LocalAddress);
    }
    Ok(())
}
