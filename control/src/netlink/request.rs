//! Requests: typed asks become bytes.

use std::net::IpAddr;

use zerocopy::IntoBytes;

use super::uapi::{self, AttributeHeader, MessageHeader, NeighbourHeader};

/// What is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dump {
    Links,
    Addresses,
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

pub(super) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = size_of::<MessageHeader>() + body.len();
    let header =
        MessageHeader { length: u32::try_from(length).unwrap_or(u32::MAX), kind, flags, sequence, port: 0 };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(size_of::<AttributeHeader>() + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(AttributeHeader { length, kind }.as_bytes());
    body.extend_from_slice(value);
    while !body.len().is_multiple_of(4) {
        body.push(0);
    }
}
