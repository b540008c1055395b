//! Which packets pass the door, one way and the other. Pure.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use sixlane_tables::packets::PACKET_MAX;
use sixlane_wire::extension::{Step, Walk, is_extension};
use sixlane_wire::{icmpv6, ipv4, ipv6};

/// ICMPv4 errors: unreachable, source quench, time exceeded, parameter problem (RFC 792).
const ICMPV4_ERRORS: [u8; 4] = [3, 4, 11, 12];

/// What belongs to this box.
pub(crate) struct Own<'a> {
    /// Its IPv6 addresses, without link-local ones.
    pub(crate) six: &'a BTreeSet<Ipv6Addr>,
    /// Its IPv4 addresses.
    pub(crate) four: &'a BTreeSet<Ipv4Addr>,
    /// Whether the operator allows every protocol to it out of a tunnel, and not ICMPv6 alone.
    pub(crate) all: bool,
}

/// The packet that the kernel may see of what a worker handed over: to an address of this box, from
/// somebody else, and of a kind that has business here. The worker has judged all this already; here it is
/// judged again, because a worker that an attacker has taken over could speak to the kernel as a neighbour
/// on the link otherwise.
pub(crate) fn for_kernel<'p>(bytes: &'p [u8], own: &Own<'_>) -> Option<&'p [u8]> {
    match bytes.first()? >> 4 {
        4 => icmpv4_error(bytes, own),
        6 => for_box(bytes, own),
        _ => None,
    }
}

/// An ICMPv4 error that was about a packet of this box and not of a tunnel.
fn icmpv4_error<'p>(bytes: &'p [u8], own: &Own<'_>) -> Option<&'p [u8]> {
    let (header, _) = ipv4::parse(bytes).ok()?;
    let packet = bytes.get(..usize::from(header.total_len.get()))?;
    let message = packet.get(header.header_len()..)?;
    let (from, to) = (Ipv4Addr::from(header.source.get()), Ipv4Addr::from(header.destination.get()));
    let stranger =
        !own.four.contains(&from) && !from.is_multicast() && !from.is_loopback() && !from.is_unspecified();
    let fits = header.protocol == ipv4::ICMP && !header.is_fragment() && own.four.contains(&to) && stranger;
    (fits && ICMPV4_ERRORS.contains(message.first()?)).then_some(packet)
}

/// An IPv6 packet to an address of this box. From one there come only the errors that the relay itself
/// sends about what the kernel had sent.
fn for_box<'p>(bytes: &'p [u8], own: &Own<'_>) -> Option<&'p [u8]> {
    let (header, _) = ipv6::parse(bytes).ok()?;
    let packet = bytes.get(..ipv6::HEADER_LEN + usize::from(header.payload_len.get()))?;
    let payload = packet.get(ipv6::HEADER_LEN..)?;
    let address = |address: ipv6::Address| Ipv6Addr::from(address.octets());
    let (from, to) = (address(header.source()), address(header.destination()));
    let business = if own.six.contains(&from) {
        header.next_header == ipv6::ICMPV6 && payload.first().is_some_and(|kind| is_error(*kind))
    } else {
        from_afar(from) && has_business(header.next_header, payload, own.all)
    };
    (own.six.contains(&to) && business).then_some(packet)
}

/// Whether an address can be the source of a packet that came from beyond a link.
fn from_afar(from: Ipv6Addr) -> bool {
    !from.is_unspecified()
        && !from.is_loopback()
        && !from.is_multicast()
        && !from.is_unicast_link_local()
        && from.to_ipv4_mapped().is_none()
}

/// Errors and echoes of ICMPv6 always, other protocols when the operator allows them; never what is said
/// between neighbours (ND, MLD): the door is no link.
fn has_business(next_header: u8, payload: &[u8], all: bool) -> bool {
    let mut walk = Walk::new(next_header, payload);
    loop {
        return match walk.step() {
            Step::Routing { segments_left, .. } if segments_left != 0 => false,
            Step::Routing { .. } | Step::Extension(_) => continue,
            Step::Upper(ipv6::ICMPV6, message) => message.first().is_some_and(|kind| answered(*kind)),
            Step::Upper(..) => all,
            // The first fragment has the header that counts, and is judged by it.
            Step::LaterFragment(next) => all || next == ipv6::ICMPV6 || is_extension(next),
            Step::Truncated | Step::TooLong => false,
        };
    }
}

const fn answered(kind: u8) -> bool {
    is_error(kind) || matches!(kind, icmpv6::ECHO_REQUEST | icmpv6::ECHO_REPLY)
}

const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        icmpv6::UNREACHABLE | icmpv6::PACKET_TOO_BIG | icmpv6::TIME_EXCEEDED | icmpv6::PARAMETER_PROBLEM
    )
}

/// Whether a packet of the kernel is for a tunnel: IPv6, whole, and to a served prefix.
pub(crate) fn for_tunnel(packet: &[u8], served: &BTreeSet<Ipv6Net>) -> bool {
    let Ok((header, _)) = ipv6::parse(packet) else { return false };
    let whole = packet.len() == ipv6::HEADER_LEN + usize::from(header.payload_len.get());
    let to = Ipv6Addr::from(header.destination().octets());
    let from = Ipv6Addr::from(header.source().octets());
    whole && packet.len() <= PACKET_MAX && from_afar(from) && served.iter().any(|net| net.contains(&to))
}
