//! Typed messages: links, addresses, routes, neighbours, and the protocol's own ends and errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::attribute::{RawMessage, attributes};
use super::next_hop::{NextHop, parse_next_hop};
use super::route::{Place, Route, parse_route};
use super::uapi::{self, AddressHeader, LinkHeader, NeighbourHeader};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    /// Zero for interfaces without a six-byte address.
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// It has a carrier.
    pub(crate) running: bool,
    /// Number of its parent and its id, if it is an 802.1Q VLAN of an interface of this namespace.
    pub(crate) vlan: Option<(u32, u16)>,
}

/// An address of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) ifindex: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
    /// The other end of a point-to-point address, `None` on ordinary links.
    pub(crate) peer: Option<IpAddr>,
    /// RT_SCOPE_: 0 is global.
    pub(crate) scope: u8,
    pub(crate) deprecated: bool,
}

/// What the kernel knows of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) ifindex: u32,
    pub(crate) address: IpAddr,
    /// NUD_ state.
    pub(crate) state: u16,
    pub(crate) mac: Option<[u8; 6]>,
    /// The kernel keeps it resolved because a control of sixlane asked for that.
    pub(crate) managed_for_us: bool,
}

/// One message from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Link(Link),
    LinkGone(u32),
    Address(Address),
    AddressGone(Address),
    Route(Route, Place),
    RouteGone(Route),
    Neighbour(Neighbour),
    NeighbourGone(Neighbour),
    NextHop(NextHop),
    /// The next-hop object of this number has gone, and with it, in silence, the IPv4 routes that used it.
    NextHopGone(u32),
    /// End of a dump; not 0: the dump failed with this (negative) errno.
    Done(i32),
    /// Answer to a request: 0 or a negative errno.
    Answer(i32),
    /// The kernel lost messages.
    Overrun,
    /// Something that a relay does not need.
    Other,
}

/// Reads one message. `None`: its bytes are not what its number says.
pub(crate) fn parse(raw: &RawMessage<'_>) -> Option<Message> {
    let payload = raw.payload;
    Some(match raw.header.kind {
        uapi::NLMSG_DONE => Message::Done(leading_i32(payload).unwrap_or(0)),
        uapi::NLMSG_ERROR => Message::Answer(leading_i32(payload)?),
        uapi::NLMSG_OVERRUN => Message::Overrun,
        uapi::RTM_NEWLINK => parse_link(payload)?.map_or(Message::Other, Message::Link),
        uapi::RTM_DELLINK => {
            parse_link(payload)?.map_or(Message::Other, |link| Message::LinkGone(link.ifindex))
        }
        uapi::RTM_NEWADDR => match parse_address(payload)? {
            Some((address, true)) => Message::Address(address),
            Some((address, false)) => Message::AddressGone(address),
            None => Message::Other,
        },
        uapi::RTM_DELADDR => {
            parse_address(payload)?.map_or(Message::Other, |(address, _)| Message::AddressGone(address))
        }
        uapi::RTM_NEWROUTE => {
            let place = Place::of(raw.header.flags);
            parse_route(payload)?.map_or(Message::Other, |route| Message::Route(route, place))
        }
        uapi::RTM_DELROUTE => parse_route(payload)?.map_or(Message::Other, Message::RouteGone),
        uapi::RTM_NEWNEIGH => parse_neighbour(payload)?.map_or(Message::Other, Message::Neighbour),
        uapi::RTM_DELNEIGH => parse_neighbour(payload)?.map_or(Message::Other, Message::NeighbourGone),
        uapi::RTM_NEWNEXTHOP => parse_next_hop(payload)?.map_or(Message::Other, Message::NextHop),
        uapi::RTM_DELNEXTHOP => {
            parse_next_hop(payload)?.map_or(Message::Other, |gone| Message::NextHopGone(gone.id))
        }
        _ => Message::Other,
    })
}

pub(super) fn leading_i32(payload: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(*payload.first_chunk()?))
}

/// An address of `family` from exactly its bytes.
pub(crate) fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        uapi::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        uapi::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

/// `Some(None)`: what a bridge says of its ports, which is not about the link itself.
fn parse_link(payload: &[u8]) -> Option<Option<Link>> {
    let (header, rest) = LinkHeader::read_from_prefix(payload).ok()?;
    if header.family != 0 {
        return Some(None);
    }
    let mut link = Link {
        ifindex: header.ifindex,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: header.flags & uapi::IFF_UP != 0,
        running: header.flags & uapi::IFF_RUNNING != 0,
        vlan: None,
    };
    let (mut parent, mut id, mut elsewhere) = (None, None, false);
    for attribute in attributes(rest) {
        match attribute.kind {
            uapi::IFLA_IFNAME => link.name = attribute.name()?,
            uapi::IFLA_ADDRESS => link.mac = attribute.mac().unwrap_or([0; 6]),
            uapi::IFLA_MTU => link.mtu = attribute.u32()?,
            uapi::IFLA_LINK => parent = attribute.u32(),
            uapi::IFLA_LINKINFO => id = vlan_id(attribute.value),
            uapi::IFLA_LINK_NETNSID => elsewhere = true,
            _ => {}
        }
    }
    link.vlan = parent.zip(id).filter(|_| !elsewhere);
    Some(Some(link))
}

/// The id of an 802.1Q VLAN, from what a link says of its kind.
fn vlan_id(info: &[u8]) -> Option<u16> {
    let (mut is_vlan, mut id, mut customer) = (false, None, true);
    for attribute in attributes(info) {
        match attribute.kind {
            uapi::IFLA_INFO_KIND => is_vlan = attribute.value.strip_suffix(&[0]) == Some(b"vlan"),
            uapi::IFLA_INFO_DATA => {
                for property in attributes(attribute.value) {
                    match property.kind {
                        uapi::IFLA_VLAN_ID => id = property.value.try_into().ok().map(u16::from_ne_bytes),
                        uapi::IFLA_VLAN_PROTOCOL => customer = property.value == uapi::ETH_P_8021Q,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    id.filter(|_| is_vlan && customer)
}

/// An address, and whether it can be used (not if duplicate address detection found another owner).
/// `Some(None)`: another family than IPv4 and IPv6.
fn parse_address(payload: &[u8]) -> Option<Option<(Address, bool)>> {
    let (header, rest) = AddressHeader::read_from_prefix(payload).ok()?;
    let longest = match header.family {
        uapi::AF_INET => 32,
        uapi::AF_INET6 => 128,
        _ => return Some(None),
    };
    if header.prefix_len > longest {
        return None;
    }
    let (mut local, mut far, mut flags) = (None, None, u32::from(header.flags));
    for attribute in attributes(rest) {
        match attribute.kind {
            uapi::IFA_LOCAL => local = Some(ip(header.family, attribute.value)?),
            uapi::IFA_ADDRESS => far = Some(ip(header.family, attribute.value)?),
            uapi::IFA_FLAGS => flags = attribute.u32()?,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL ours; else they are equal
    // (IPv4) or only IFA_ADDRESS is there (IPv6).
    let address = local.or(far)?;
    let found = Address {
        ifindex: header.ifindex,
        address,
        prefix_len: header.prefix_len,
        peer: far.filter(|&far| far != address),
        scope: header.scope,
        deprecated: flags & uapi::IFA_F_DEPRECATED != 0,
    };
    Some(Some((found, flags & uapi::IFA_F_DADFAILED == 0)))
}

/// `Some(None)`: not a neighbour of ours (bridge entries, proxies).
fn parse_neighbour(payload: &[u8]) -> Option<Option<Neighbour>> {
    let (header, rest) = NeighbourHeader::read_from_prefix(payload).ok()?;
    if !matches!(header.family, uapi::AF_INET | uapi::AF_INET6) || header.flags & uapi::NTF_PROXY != 0 {
        return Some(None);
    }
    let (mut address, mut mac) = (None, None);
    let (mut ours, mut managed) = (false, false);
    for attribute in attributes(rest) {
        match attribute.kind {
            uapi::NDA_DST => address = Some(ip(header.family, attribute.value)?),
            uapi::NDA_LLADDR => mac = attribute.mac(),
            uapi::NDA_PROTOCOL => ours = attribute.value.first() == Some(&uapi::RTPROT_SIXLANE),
            uapi::NDA_FLAGS_EXT => {
                managed = attribute.u32().is_some_and(|flags| flags & uapi::NTF_EXT_MANAGED != 0);
            }
            _ => {}
        }
    }
    let address = address?;
    let managed_for_us = ours && managed;
    Some(Some(Neighbour { ifindex: header.ifindex, address, state: header.state, mac, managed_for_us }))
}
