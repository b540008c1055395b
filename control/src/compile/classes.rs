//! Who may speak: classes of IPv4 addresses (RFC 3964 §5.3, RFC 6324 §3, the registries of RFC 6890).
//!
//! The bogon table is never overridden in silence (BOG-01): of this version's mechanisms none may use
//! a private range, so the profile is the only thing that changes it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use sixlane_tables::ClassRange;
use sixlane_tunnel::{Class4, bogon};

use super::Input;
use crate::netlink::message::Address;

/// All ranges, in no order; where they overlap, their classes add up.
pub(super) fn classes(input: Input<'_>) -> Vec<ClassRange> {
    let lab = input.lab();
    let mut ranges: Vec<ClassRange> = bogon::BLOCKS4
        .iter()
        .map(|block| ClassRange::new(block.first, block.last(), block.class_under(lab)))
        .collect();
    for own in &input.kernel.addresses {
        if let IpAddr::V4(address) = own.address {
            ranges.push(single(address, Class4::OWN));
            for broadcast in broadcasts(own) {
                ranges.push(single(broadcast, Class4::BROADCAST));
            }
        }
    }
    ranges.extend(input.config.aliases.iter().map(|&alias| single(alias, Class4::OWN)));
    ranges.extend(input.config.known_relays.iter().map(|net| prefix(*net, Class4::KNOWN_RELAY)));
    let allow = input.config.sixtofour.as_ref().and_then(|section| section.encapsulation.allow.as_ref());
    if let Some(allow) = allow {
        ranges.extend(outside(allow));
    }
    ranges.retain(|range| !range.class.is_empty());
    ranges
}

fn single(address: Ipv4Addr, class: Class4) -> ClassRange {
    ClassRange::new(address.into(), address.into(), class)
}

fn prefix(net: Ipv4Net, class: Class4) -> ClassRange {
    ClassRange::new(net.network().into(), net.broadcast().into(), class)
}

/// Broadcast addresses of an attached network: all ones, and the all zeros of old (SEC-01). Networks
/// of one or two addresses have none (RFC 3021).
/// With a peer, the network is the peer's.
pub(super) fn broadcasts(own: &Address) -> Vec<Ipv4Addr> {
    let IpAddr::V4(on_link) = own.peer.unwrap_or(own.address) else { return Vec::new() };
    match Ipv4Net::new(on_link, own.prefix_len) {
        Ok(net) if (1..=30).contains(&own.prefix_len) => vec![net.network(), net.broadcast()],
        _ => Vec::new(),
    }
}

/// Everything outside an access list (6TO4-12).
fn outside(allow: &[Ipv4Net]) -> Vec<ClassRange> {
    let mut inside: Vec<(u64, u64)> = allow
        .iter()
        .map(|net| (u64::from(u32::from(net.network())), u64::from(u32::from(net.broadcast()))))
        .collect();
    inside.sort_unstable();
    let mut ranges = Vec::new();
    let mut next = 0_u64;
    let end = u64::from(u32::MAX) + 1;
    for (first, last) in inside.into_iter().chain([(end, end)]) {
        if first > next
            && let (Ok(from), Ok(to)) = (u32::try_from(next), u32::try_from(first - 1))
        {
            ranges.push(ClassRange::new(from, to, Class4::NOT_ALLOWED));
        }
        next = next.max(last + 1);
    }
    ranges
}
