//! Requests: typed asks become bytes.

use std::net::IpAddr;

use ipnet::Ipv6Net;
use zerocopy::IntoBytes;

use super::uapi::{self, AttributeHeader, MessageHeader, NeighbourHeader};

/// What is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dump {
    Links,
    Addresses,
    NextHops,
    Routes4,
    Routes6,
    Neighbours4,
    Neighbours6,
}

/// How a neighbour is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Resolve it and keep it resolved without traffic: gateways.
    Managed,
    /// Resolve it, or confirm it, once: hosts on the link.
    Use,
    /// Forget it: an entry that we asked for and that failed.
    Forget,
}

/// A neighbour's name: where, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) ifindex: u32,
    pub(crate) address: IpAddr,
}

/// Bytes of the request for a whole table.
pub(crate) fn dump(what: Dump, sequence: u32) -> Vec<u8> {
    // Each family header of these dumps begins with the family, all else 0.
    let (kind, family, header_len) = match what {
        Dump::Links => (uapi::RTM_GETLINK, 0, size_of::<uapi::LinkHeader>()),
        Dump::Addresses => (uapi::RTM_GETADDR, 0, size_of::<uapi::AddressHeader>()),
        Dump::NextHops => (uapi::RTM_GETNEXTHOP, 0, size_of::<uapi::NextHopHeader>()),
        Dump::Routes4 => (uapi::RTM_GETROUTE, uapi::AF_INET, size_of::<uapi::RouteHeader>()),
        Dump::Routes6 => (uapi::RTM_GETROUTE, uapi::AF_INET6, size_of::<uapi::RouteHeader>()),
        Dump::Neighbours4 => (uapi::RTM_GETNEIGH, uapi::AF_INET, size_of::<NeighbourHeader>()),
        Dump::Neighbours6 => (uapi::RTM_GETNEIGH, uapi::AF_INET6, size_of::<NeighbourHeader>()),
    };
    let mut body = vec![0; header_len];
    if let Some(first) = body.first_mut() {
        *first = family;
    }
    message(kind, uapi::NLM_F_REQUEST | uapi::NLM_F_DUMP, sequence, &body)
}

/// Bytes of the request for one neighbour. The kernel answers it (NLM_F_ACK) under `sequence`.
pub(crate) fn neighbour(ask: Ask, key: Key, sequence: u32) -> Vec<u8> {
    let (family, address): (u8, Vec<u8>) = match key.address {
        IpAddr::V4(address) => (uapi::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (uapi::AF_INET6, address.octets().to_vec()),
    };
    let header = NeighbourHeader {
        family,
        pad1: 0,
        pad2: 0,
        ifindex: key.ifindex,
        state: 0,
        flags: if ask == Ask::Use { uapi::NTF_USE } else { 0 },
        kind: 0,
    };
    let mut body = header.as_bytes().to_vec();
    push_attribute(&mut body, uapi::NDA_DST, &address);
    if ask == Ask::Managed {
        push_attribute(&mut body, uapi::NDA_FLAGS_EXT, &uapi::NTF_EXT_MANAGED.to_ne_bytes());
        push_attribute(&mut body, uapi::NDA_PROTOCOL, &[uapi::RTPROT_SIXLANE]);
    }
    let (kind, extra) = match ask {
        Ask::Managed | Ask::Use => (uapi::RTM_NEWNEIGH, uapi::NLM_F_CREATE | uapi::NLM_F_REPLACE),
        Ask::Forget => (uapi::RTM_DELNEIGH, 0),
    };
    message(kind, uapi::NLM_F_REQUEST | uapi::NLM_F_ACK | extra, sequence, &body)
}

/// What is asked of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkAsk {
    /// No link-local address, and no filter of IPv4 sources.
    Plain,
    /// This MTU in bytes.
    Mtu(u32),
    /// Up.
    Up,
}

/// Bytes of the request to change an interface.
pub(crate) fn link(ask: LinkAsk, ifindex: u32, sequence: u32) -> Vec<u8> {
    let up = if ask == LinkAsk::Up { uapi::IFF_UP } else { 0 };
    let header = uapi::LinkHeader { family: 0, pad: 0, kind: 0, ifindex, flags: up, change: up };
    let mut body = header.as_bytes().to_vec();
    match ask {
        LinkAsk::Plain => push_attribute(&mut body, uapi::IFLA_AF_SPEC | uapi::NESTED, &plain_families()),
        LinkAsk::Mtu(mtu) => push_attribute(&mut body, uapi::IFLA_MTU, &mtu.to_ne_bytes()),
        LinkAsk::Up => {}
    }
    message(uapi::RTM_SETLINK, uapi::NLM_F_REQUEST | uapi::NLM_F_ACK, sequence, &body)
}

/// Any filter of sources, loose ones too, refuses all that comes by an interface without an IPv4 address
/// and does not go back by it.
fn plain_families() -> Vec<u8> {
    let (mut ipv4, mut conf, mut ipv6) = (Vec::new(), Vec::new(), Vec::new());
    push_attribute(&mut conf, uapi::IPV4_DEVCONF_RP_FILTER, &0_u32.to_ne_bytes());
    push_attribute(&mut conf, uapi::IPV4_DEVCONF_ACCEPT_REDIRECTS, &0_u32.to_ne_bytes());
    push_attribute(&mut ipv4, uapi::IFLA_INET_CONF | uapi::NESTED, &conf);
    push_attribute(&mut ipv6, uapi::IFLA_INET6_ADDR_GEN_MODE, &[uapi::IN6_ADDR_GEN_MODE_NONE]);
    let mut families = Vec::new();
    push_attribute(&mut families, u16::from(uapi::AF_INET) | uapi::NESTED, &ipv4);
    push_attribute(&mut families, u16::from(uapi::AF_INET6) | uapi::NESTED, &ipv6);
    families
}

/// What is asked for an own route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteAsk {
    /// Install it; one of the same prefix and metric is not replaced (`EEXIST`).
    Install,
    /// Take it away.
    Remove,
}

/// Bytes of the request for a route of our own in the main table: out of an interface, no gateway.
pub(crate) fn own_route(ask: RouteAsk, net: Ipv6Net, ifindex: u32, sequence: u32) -> Vec<u8> {
    let header = uapi::RouteHeader {
        family: uapi::AF_INET6,
        dst_len: net.prefix_len(),
        src_len: 0,
        tos: 0,
        table: u8::try_from(uapi::RT_TABLE_MAIN).unwrap_or(0),
        protocol: uapi::RTPROT_SIXLANE,
        scope: 0,
        kind: uapi::RTN_UNICAST,
        flags: 0,
    };
    let mut body = header.as_bytes().to_vec();
    push_attribute(&mut body, uapi::RTA_DST, &net.network().octets());
    push_attribute(&mut body, uapi::RTA_OIF, &ifindex.to_ne_bytes());
    let (kind, extra) = match ask {
        RouteAsk::Install => (uapi::RTM_NEWROUTE, uapi::NLM_F_CREATE | uapi::NLM_F_EXCL),
        RouteAsk::Remove => (uapi::RTM_DELROUTE, 0),
    };
    message(kind, uapi::NLM_F_REQUEST | uapi::NLM_F_ACK | extra, sequence, &body)
}

pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = size_of::<MessageHeader>() + body.len();
    let header =
        MessageHeader { length: u32::try_from(length).unwrap_or(u32::MAX), kind, flags, sequence, port: 0 };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(size_of::<AttributeHeader>() + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(AttributeHeader { length, kind }.as_bytes());
    body.extend_from_slice(value);
    while !body.len().is_multiple_of(4) {
        body.push(0);
    }
}
