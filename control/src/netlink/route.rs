//! Routes: the kernel's answer to "where to", in the form that the tables need.
//!
//! Of several paths with equal cost (RTA_MULTIPATH) all are read; how many are used is the
//! compiler's decision. Routes that point at nexthop objects (RTA_NH_ID) carry their paths too while the
//! kernel's `nexthop_compat_mode` is on; otherwise, and in FRR's stream, [`super::next_hop`] has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use zerocopy::FromBytes;

use super::attribute::{Attribute, attributes};
use super::message::ip;
use super::uapi::{self, PathHeader, RouteHeader};

/// Most paths that are read of one route (the kernel itself allows more; a relay has 64 ports).
const PATHS_MAX: usize = 64;

/// One way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Path {
    pub(crate) ifindex: u32,
    /// `None`: the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// The kernel wraps packets for this path itself (lightweight tunnels): not ours to forward.
    pub(crate) foreign: bool,
    /// Its share among the paths of a route: 1 by default, at most 65,536.
    pub(crate) weight: u32,
}

impl Path {
    /// Whether both lead the same way, whatever their shares.
    pub(crate) fn leads_as(&self, other: &Self) -> bool {
        Self { weight: 1, ..*self } == Self { weight: 1, ..*other }
    }
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Forward over one of the live paths; never empty.
    Paths(Vec<Path>),
    /// Drop silently.
    Blackhole,
    /// Drop and say "unreachable".
    Unreachable,
    /// Drop and say "administratively prohibited".
    Prohibit,
    /// Not for a relay to use: all paths are dead, or of a kind that is the kernel's own.
    Unusable,
}

/// Where a route stands among those of the same prefix and metric, as the kernel's notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the only one.
    Alone,
    /// It takes the place of another.
    Instead,
    /// Before the others.
    First,
    /// After the others.
    Last,
}

impl Place {
    /// From the flags of a message about a new route.
    pub(crate) const fn of(flags: u16) -> Self {
        if flags & uapi::NLM_F_MULTI != 0 {
            // A dump tells them in order.
            Self::Last
        } else if flags & uapi::NLM_F_REPLACE != 0 {
            Self::Instead
        } else if flags & uapi::NLM_F_EXCL != 0 {
            Self::Alone
        } else if flags & uapi::NLM_F_APPEND != 0 {
            Self::Last
        } else {
            Self::First
        }
    }
}

/// A route of a kernel table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpNet,
    pub(crate) table: u32,
    /// RTPROT_: who installed it.
    pub(crate) protocol: u8,
    /// The metric: the smallest wins.
    pub(crate) priority: u32,
    /// Longest packet in bytes that this route takes (RTAX_MTU); 0: as its links do.
    pub(crate) mtu: u32,
    /// Number of the nexthop object that it points at; 0: none. Its paths may be said there alone.
    pub(crate) next_hop: u32,
    pub(crate) action: Action,
}

/// Reads a route. `None`: malformed. `Some(None)`: a route that has no place among those of a table (of
/// another family, copies, source-specific and ToS routes).
pub(crate) fn parse_route(payload: &[u8]) -> Option<Option<Route>> {
    let (header, rest) = RouteHeader::read_from_prefix(payload).ok()?;
    let any: IpAddr = match header.family {
        uapi::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        uapi::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Some(None),
    };
    if header.src_len != 0 || header.tos != 0 || header.flags & uapi::RTM_F_CLONED != 0 {
        return Some(None);
    }
    let parts = read_parts(&header, rest)?;
    let action = action(header.kind, parts.paths);
    let destination = IpNet::new(parts.destination.unwrap_or(any), header.dst_len).ok()?.trunc();
    Some(Some(Route {
        destination,
        table: parts.table,
        protocol: header.protocol,
        priority: parts.priority,
        mtu: parts.mtu,
        next_hop: parts.next_hop,
        action,
    }))
}

/// The attributes of a route.
struct Parts {
    destination: Option<IpAddr>,
    table: u32,
    priority: u32,
    mtu: u32,
    next_hop: u32,
    paths: Vec<Path>,
}

fn read_parts(header: &RouteHeader, rest: &[u8]) -> Option<Parts> {
    let mut parts = Parts {
        destination: None,
        table: u32::from(header.table),
        priority: 0,
        mtu: 0,
        next_hop: 0,
        paths: Vec::new(),
    };
    let mut single = PathParts::default();
    for attribute in attributes(rest) {
        match attribute.kind {
            uapi::RTA_DST => parts.destination = Some(ip(header.family, attribute.value)?),
            uapi::RTA_TABLE => parts.table = attribute.u32()?,
            uapi::RTA_PRIORITY => parts.priority = attribute.u32()?,
            uapi::RTA_METRICS => parts.mtu = mtu(attribute.value),
            uapi::RTA_NH_ID => parts.next_hop = attribute.u32()?,
            uapi::RTA_OIF => single.ifindex = attribute.u32()?,
            uapi::RTA_MULTIPATH => read_paths(header.family, attribute.value, &mut parts.paths),
            _ => single.read(header.family, &attribute),
        }
    }
    if parts.paths.is_empty() && single.ifindex != 0 && !dead(header.flags) {
        parts.paths.push(single.finish());
    }
    Some(parts)
}

/// The MTU among a route's metrics.
fn mtu(metrics: &[u8]) -> u32 {
    let mtu = attributes(metrics).find(|metric| metric.kind == uapi::RTAX_MTU);
    mtu.and_then(|metric| metric.u32()).unwrap_or(0)
}

pub(super) fn dead(flags: u32) -> bool {
    flags & (uapi::RTNH_F_DEAD | uapi::RTNH_F_LINKDOWN) != 0
}

/// The attributes that describe one path.
#[derive(Default)]
struct PathParts {
    ifindex: u32,
    gateway: Option<IpAddr>,
    foreign: bool,
    /// The weight less 1, as the kernel tells it.
    hops: u8,
}

impl PathParts {
    fn read(&mut self, family: u8, attribute: &Attribute<'_>) {
        match attribute.kind {
            uapi::RTA_GATEWAY => self.gateway = ip(family, attribute.value),
            uapi::RTA_VIA => self.gateway = via(attribute.value),
            uapi::RTA_ENCAP_TYPE => self.foreign = true,
            _ => {}
        }
    }

    fn finish(self) -> Path {
        let Self { ifindex, gateway, foreign, hops } = self;
        Path { ifindex, gateway, foreign, weight: u32::from(hops) + 1 }
    }
}

/// `struct rtvia`: a gateway of another family (an IPv4 route over an IPv6 neighbour).
fn via(value: &[u8]) -> Option<IpAddr> {
    let (family, address) = value.split_first_chunk::<2>()?;
    ip(u8::try_from(u16::from_ne_bytes(*family)).ok()?, address)
}

fn read_paths(family: u8, mut bytes: &[u8], paths: &mut Vec<Path>) {
    while let Ok((header, _)) = PathHeader::read_from_prefix(bytes) {
        let length = usize::from(header.length);
        let Some(inner) = bytes.get(size_of::<PathHeader>()..length) else { return };
        if !dead(u32::from(header.flags)) && paths.len() < PATHS_MAX {
            let mut parts = PathParts { ifindex: header.ifindex, hops: header.hops, ..PathParts::default() };
            for attribute in attributes(inner) {
                parts.read(family, &attribute);
            }
            paths.push(parts.finish());
        }
        bytes = bytes.get((length + 3) & !3..).unwrap_or(&[]);
    }
}

fn action(kind: u8, paths: Vec<Path>) -> Action {
    match kind {
        uapi::RTN_UNICAST if !paths.is_empty() => Action::Paths(paths),
        uapi::RTN_BLACKHOLE => Action::Blackhole,
        uapi::RTN_UNREACHABLE => Action::Unreachable,
        uapi::RTN_PROHIBIT => Action::Prohibit,
        _ => Action::Unusable,
    }
}
