//! The kernel's numbers and headers, in host byte order.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct nlmsghdr`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct MessageHeader {
    /// Bytes of the message with this header, without padding.
    pub(crate) length: u32,
    /// RTM_ or NLMSG_ number.
    pub(crate) kind: u16,
    /// NLM_F_ flags.
    pub(crate) flags: u16,
    /// The request's number, 0 in notifications.
    pub(crate) sequence: u32,
    /// The socket the answer is for, 0 in requests.
    pub(crate) port: u32,
}

/// `struct ifinfomsg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct LinkHeader {
    pub(crate) family: u8,
    pub(crate) pad: u8,
    pub(crate) kind: u16,
    pub(crate) ifindex: u32,
    pub(crate) flags: u32,
    pub(crate) change: u32,
}

/// `struct ifaddrmsg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct AddressHeader {
    pub(crate) family: u8,
    pub(crate) prefix_len: u8,
    pub(crate) flags: u8,
    pub(crate) scope: u8,
    pub(crate) ifindex: u32,
}

/// `struct rtmsg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RouteHeader {
    pub(crate) family: u8,
    pub(crate) dst_len: u8,
    pub(crate) src_len: u8,
    pub(crate) tos: u8,
    pub(crate) table: u8,
    pub(crate) protocol: u8,
    pub(crate) scope: u8,
    pub(crate) kind: u8,
    pub(crate) flags: u32,
}

/// `struct rtnexthop`: one path of RTA_MULTIPATH.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PathHeader {
    /// Bytes of the path with this header and its attributes.
    pub(crate) length: u16,
    pub(crate) flags: u8,
    pub(crate) hops: u8,
    pub(crate) ifindex: u32,
}

/// `struct nhmsg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct NextHopHeader {
    pub(crate) family: u8,
    pub(crate) scope: u8,
    pub(crate) protocol: u8,
    pub(crate) pad: u8,
    pub(crate) flags: u32,
}

/// `struct nexthop_grp`: one member of NHA_GROUP.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct MemberHeader {
    pub(crate) id: u32,
    /// The weight less 1, its lower half and (Linux 6.12) its upper one.
    pub(crate) weight: u8,
    pub(crate) weight_high: u8,
    pub(crate) pad: u16,
}

/// `struct ndmsg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct NeighbourHeader {
    pub(crate) family: u8,
    pub(crate) pad1: u8,
    pub(crate) pad2: u16,
    pub(crate) ifindex: u32,
    pub(crate) state: u16,
    pub(crate) flags: u8,
    pub(crate) kind: u8,
}

/// `struct nlattr` (and `struct rtattr`, which is the same).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct AttributeHeader {
    /// Bytes of the attribute with this header, without padding.
    pub(crate) length: u16,
    /// The attribute's number; the two top bits are flags.
    pub(crate) kind: u16,
}

/// The bits of an attribute's number that are the number (NLA_TYPE_MASK).
pub(crate) const ATTRIBUTE_KIND: u16 = 0x3fff;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSG_OVERRUN: u16 = 4;

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_SETLINK: u16 = 19;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_NEWNEXTHOP: u16 = 104;
pub(crate) const RTM_DELNEXTHOP: u16 = 105;
pub(crate) const RTM_GETNEXTHOP: u16 = 106;
pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_DELNEIGH: u16 = 29;
pub(crate) const RTM_GETNEIGH: u16 = 30;

pub(crate) const NLM_F_REQUEST: u16 = 0x01;
/// One of the many messages of a dump.
pub(crate) const NLM_F_MULTI: u16 = 0x02;
pub(crate) const NLM_F_ACK: u16 = 0x04;
/// The dump was interrupted by a change and may lack something.
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
/// In a notification: nothing like it was there before.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// In a notification: it stands behind those that were there.
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// In an attribute's number: it holds attributes (NLA_F_NESTED).
pub(crate) const NESTED: u16 = 1 << 15;

/// All multicast groups that are followed (RTMGRP_): links, neighbours, addresses and routes of both
/// families, next-hop objects.
pub(crate) const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400 | 1 << 31;

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

pub(crate) const IFF_UP: u32 = 0x1;
/// The link has a carrier.
pub(crate) const IFF_RUNNING: u32 = 0x40;

pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_MTU: u16 = 4;
pub(crate) const IFLA_LINK: u16 = 5;
pub(crate) const IFLA_LINKINFO: u16 = 18;
/// The parent is in another network namespace.
pub(crate) const IFLA_LINK_NETNSID: u16 = 37;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_DATA: u16 = 2;
pub(crate) const IFLA_VLAN_ID: u16 = 1;
pub(crate) const IFLA_VLAN_PROTOCOL: u16 = 5;
/// The tag of IEEE 802.1Q, in network order as the kernel tells it.
pub(crate) const ETH_P_8021Q: [u8; 2] = [0x81, 0x00];
/// Settings by family, each in an attribute numbered as its family.
pub(crate) const IFLA_AF_SPEC: u16 = 26;
/// In the IPv4 part: attributes numbered as `IPV4_DEVCONF_`.
pub(crate) const IFLA_INET_CONF: u16 = 1;
pub(crate) const IPV4_DEVCONF_ACCEPT_REDIRECTS: u16 = 4;
pub(crate) const IPV4_DEVCONF_RP_FILTER: u16 = 8;
/// In the IPv6 part: how the link-local address is made.
pub(crate) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// Not at all.
pub(crate) const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

pub(crate) const IFA_ADDRESS: u16 = 1;
pub(crate) const IFA_LOCAL: u16 = 2;
pub(crate) const IFA_FLAGS: u16 = 8;

/// The address lost duplicate address detection.
pub(crate) const IFA_F_DADFAILED: u32 = 0x08;
pub(crate) const IFA_F_DEPRECATED: u32 = 0x20;

pub(crate) const RTA_DST: u16 = 1;
pub(crate) const RTA_OIF: u16 = 4;
pub(crate) const RTA_GATEWAY: u16 = 5;
pub(crate) const RTA_PRIORITY: u16 = 6;
pub(crate) const RTA_METRICS: u16 = 8;
pub(crate) const RTA_MULTIPATH: u16 = 9;
pub(crate) const RTA_TABLE: u16 = 15;
pub(crate) const RTA_VIA: u16 = 18;
pub(crate) const RTA_ENCAP_TYPE: u16 = 21;
pub(crate) const RTA_NH_ID: u16 = 30;
/// In RTA_METRICS.
pub(crate) const RTAX_MTU: u16 = 2;

pub(crate) const NHA_ID: u16 = 1;
pub(crate) const NHA_GROUP: u16 = 2;
pub(crate) const NHA_BLACKHOLE: u16 = 4;
pub(crate) const NHA_OIF: u16 = 5;
pub(crate) const NHA_GATEWAY: u16 = 6;
pub(crate) const NHA_ENCAP_TYPE: u16 = 7;
/// For bridges, not for routes.
pub(crate) const NHA_FDB: u16 = 11;

pub(crate) const RTN_UNICAST: u8 = 1;
pub(crate) const RTN_BLACKHOLE: u8 = 6;
pub(crate) const RTN_UNREACHABLE: u8 = 7;
pub(crate) const RTN_PROHIBIT: u8 = 8;

/// A copy that the kernel made for one destination, not a route of its table.
pub(crate) const RTM_F_CLONED: u32 = 0x200;
/// The path's device is down or has no carrier.
pub(crate) const RTNH_F_DEAD: u32 = 0x01;
pub(crate) const RTNH_F_LINKDOWN: u32 = 0x10;

pub(crate) const RT_TABLE_MAIN: u32 = 254;
/// Routes that sixlane itself installs (design: `proto 73`).
pub(crate) const RTPROT_SIXLANE: u8 = 73;

pub(crate) const NDA_DST: u16 = 1;
pub(crate) const NDA_LLADDR: u16 = 2;
/// Who made the entry, one byte, as with routes (Linux 5.0).
pub(crate) const NDA_PROTOCOL: u16 = 12;
pub(crate) const NDA_FLAGS_EXT: u16 = 15;

/// Resolve now, as if a packet had been sent.
pub(crate) const NTF_USE: u8 = 0x01;
/// A proxy entry: not a neighbour.
pub(crate) const NTF_PROXY: u8 = 0x08;
/// In NDA_FLAGS_EXT: the kernel resolves and keeps probing the entry without traffic (Linux 5.16).
pub(crate) const NTF_EXT_MANAGED: u32 = 0x01;

pub(crate) const NUD_REACHABLE: u16 = 0x02;
pub(crate) const NUD_STALE: u16 = 0x04;
pub(crate) const NUD_DELAY: u16 = 0x08;
pub(crate) const NUD_PROBE: u16 = 0x10;
pub(crate) const NUD_FAILED: u16 = 0x20;
pub(crate) const NUD_NOARP: u16 = 0x40;
pub(crate) const NUD_PERMANENT: u16 = 0x80;
