//! Nexthop objects: ways out with numbers, and groups of them with weights (Linux 5.3; FRR's stream speaks
//! of them too). Routes point at them by number (RTA_NH_ID).

use std::net::IpAddr;

use zerocopy::FromBytes;

use super::attribute::attributes;
use super::message::ip;
use super::route::{Path, dead};
use super::uapi::{self, MemberHeader, NextHopHeader};

/// Most members that are read of one group, as of one route.
const MEMBERS_MAX: usize = 64;

/// A nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// Its number; never 0.
    pub(crate) id: u32,
    pub(crate) what: What,
}

/// What a nexthop object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Path(Path),
    /// Numbers of other objects with their weights (1 to 65,536).
    Group(Vec<(u32, u32)>),
    Blackhole,
    /// Nothing that a route of ours can use: its link is down, or it is a bridge's.
    Unusable,
}

/// Reads a nexthop object. `None`: malformed. `Some(None)`: without a number.
pub(crate) fn parse_next_hop(payload: &[u8]) -> Option<Option<NextHop>> {
    let (header, rest) = NextHopHeader::read_from_prefix(payload).ok()?;
    let (mut id, mut ifindex, mut gateway, mut foreign) = (0, 0, None, false);
    let (mut group, mut blackhole, mut unusable) = (None, false, dead(header.flags));
    for attribute in attributes(rest) {
        match attribute.kind {
            uapi::NHA_ID => id = attribute.u32()?,
            uapi::NHA_OIF => ifindex = attribute.u32()?,
            uapi::NHA_GATEWAY => gateway = Some(gateway_of(header.family, attribute.value)?),
            uapi::NHA_GROUP => group = Some(members(attribute.value)),
            uapi::NHA_BLACKHOLE => blackhole = true,
            uapi::NHA_ENCAP_TYPE => foreign = true,
            uapi::NHA_FDB => unusable = true,
            _ => {}
        }
    }
    let what = match group {
        _ if unusable => What::Unusable,
        Some(members) => What::Group(members),
        None if blackhole => What::Blackhole,
        None if ifindex != 0 => What::Path(Path { ifindex, gateway, foreign, weight: 1 }),
        None => What::Unusable,
    };
    Some((id != 0).then_some(NextHop { id, what }))
}

/// Of the object's own family; FRR leaves that out now and then, and the length tells.
fn gateway_of(family: u8, value: &[u8]) -> Option<IpAddr> {
    let by_length = if value.len() == 4 { uapi::AF_INET } else { uapi::AF_INET6 };
    ip(family, value).or_else(|| ip(by_length, value))
}

fn members(mut bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut members = Vec::new();
    while let Ok((member, rest)) = MemberHeader::read_from_prefix(bytes) {
        if members.len() < MEMBERS_MAX {
            let weight = u32::from(u16::from_le_bytes([member.weight, member.weight_high])) + 1;
            members.push((member.id, weight));
        }
        bytes = rest;
    }
    members
}
