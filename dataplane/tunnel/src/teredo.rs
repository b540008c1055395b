//! Teredo: IPv6 in UDP over IPv4, through NATs (RFC 4380, RFC 5991, RFC 6081), as relay and server do it.
//!
//! Reading order: [`refusal`] (why a datagram is dropped), [`address`], [`receive`] (what a datagram is),
//! [`relay`] and its [`cookie`] and [`bubble`], [`server`] and its [`authentication`] and
//! [`advertisement`], [`outer`] (the headers around what is sent).

pub mod address;
pub mod advertisement;
pub mod authentication;
pub mod bubble;
pub mod cookie;
pub mod outer;
pub mod receive;
pub mod refusal;
pub mod relay;
pub mod server;

pub use refusal::{Malformation, Refusal};

use sixlane_wire::teredo::SERVER_PORT;

/// An IPv4 address, a number in host order, and a UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// IPv4 address.
    pub address: u32,
    /// UDP port.
    pub port: u16,
}

impl Endpoint {
    /// The port of servers at this address.
    #[must_use]
    pub const fn server(address: u32) -> Endpoint {
        Endpoint { address, port: SERVER_PORT }
    }
}

/// Where this box takes Teredo datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// The relay's address and port, if there is a relay.
    pub relay: Option<Endpoint>,
    /// The server's primary and secondary address, numbers in host order, if there is a server.
    pub server: Option<[u32; 2]>,
}

impl Services {
    /// Whether a datagram may come here, and so never from here (LOOP-10).
    #[inline]
    #[must_use]
    pub fn takes(&self, endpoint: Endpoint) -> bool {
        self.relay == Some(endpoint) || endpoint.port == SERVER_PORT && self.is_server(endpoint.address)
    }

    /// Whether an address is one of a service here.
    #[inline]
    #[must_use]
    pub fn has(&self, address: u32) -> bool {
        self.relay.is_some_and(|relay| relay.address == address) || self.is_server(address)
    }

    fn is_server(&self, address: u32) -> bool {
        self.server.is_some_and(|addresses| addresses.contains(&address))
    }
}

#[cfg(test)]
mod tests;
