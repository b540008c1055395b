//! What a datagram is: from the outer header to the carried IPv6 header, for relay and server alike.

use super::{Endpoint, Malformation, Refusal, Services};
use crate::{Class4, Classes, Reason, outer_header};
use sixlane_wire::teredo::Message;
use sixlane_wire::{Malformed, icmpv6, ipv4, ipv6, teredo, udp};

/// An outer source with one of these is refused: Teredo comes from global unicast addresses alone (RFC 4380
/// §5.2.4), and unlike 6to4 not from the anycast prefix of its relays.
const OUTER_REFUSED: Class4 = Class4::OUTER_BOGON.union(Class4::EMBEDDED_BOGON).union(Class4::BROADCAST);

/// What a carried packet is, of which kind alone its receiver judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bubble (RFC 4380 §2.8): an IPv6 header and nothing behind it.
    Bubble,
    /// A bubble with an origin indication: it came by a server.
    IndirectBubble,
    /// A router solicitation.
    RouterSolicitation,
    /// A router advertisement.
    RouterAdvertisement,
    /// Another ICMPv6 message.
    Icmpv6,
    /// Anything else.
    Data,
}

/// A sound datagram for a service of this box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The outer header.
    pub outer: &'a ipv4::Header,
    /// Where it comes from.
    pub source: Endpoint,
    /// The service that it is for.
    pub destination: Endpoint,
    /// What it carries.
    pub message: Message<'a>,
    /// What that is.
    pub kind: Kind,
}

/// Judges an IPv4 packet up to the carried IPv6 header (CHK-00). `l3` starts with the outer header and may
/// be longer than the packet.
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub fn receive<'a, C: Classes>(
    l3: &'a [u8],
    services: &Services,
    classes: &C,
) -> Result<Received<'a>, Refusal> {
    let (outer, carried) = outer_header::sound(l3)?;
    if !services.has(outer.destination.get()) {
        return Err(Reason::NotForUs.into());
    }
    let class = classes.class4(outer.source.get());
    if class.intersects(OUTER_REFUSED) {
        return Err(Reason::V4SrcBogon.into());
    }
    let datagram = udp::parse(carried);
    let source_port = datagram.map_or(0, |(header, _)| header.source.get());
    let source = Endpoint { address: outer.source.get(), port: source_port };
    let is_udp = outer.protocol == ipv4::UDP;
    if class.contains(Class4::OWN) {
        let ours = is_udp && services.takes(source);
        return Err(if ours { Refusal::ServerLoop } else { Reason::OwnSource.into() });
    }
    match outer.protocol {
        ipv4::UDP => {}
        ipv4::ICMP => return Err(Reason::IcmpQuoteUntrusted.into()),
        _ => return Err(Reason::NoTunnel.into()),
    }
    let (header, payload) = datagram.map_err(|_| Refusal::Malformed(Malformation::Udp))?;
    let destination = Endpoint { address: outer.destination.get(), port: header.destination.get() };
    if !services.takes(destination) {
        return Err(Reason::NoTunnel.into());
    }
    if !udp::checksum_is_correct(outer, header, payload) {
        return Err(Refusal::OuterUdpCsum);
    }
    let message = message(payload)?;
    Ok(Received { outer, source, destination, message, kind: kind(&message) })
}

/// A datagram's payload, taken apart.
fn message(payload: &[u8]) -> Result<Message<'_>, Refusal> {
    let message = teredo::parse(payload).map_err(|malformed| match malformed {
        Malformed::HeaderLength => Refusal::Malformed(Malformation::Authentication),
        Malformed::TotalLength => Reason::InnerLength.into(),
        Malformed::Truncated | Malformed::Version => Refusal::Malformed(Malformation::Packet),
    })?;
    // A length of zero in front of hop-by-hop options: the length is said to be in an option (RFC 2675 §3).
    if message.payload.is_empty() && message.header.next_header == ipv6::HOP_BY_HOP {
        return Err(Reason::InnerLength.into());
    }
    Ok(message)
}

/// What a message carries. Trailers and hop limits say nothing about it.
fn kind(message: &Message<'_>) -> Kind {
    match (message.header.next_header, message.payload) {
        (ipv6::NO_NEXT_HEADER, []) if message.origin.is_some() => Kind::IndirectBubble,
        (ipv6::NO_NEXT_HEADER, []) => Kind::Bubble,
        (ipv6::ICMPV6, [icmpv6::ROUTER_SOLICITATION, ..]) => Kind::RouterSolicitation,
        (ipv6::ICMPV6, [icmpv6::ROUTER_ADVERTISEMENT, ..]) => Kind::RouterAdvertisement,
        (ipv6::ICMPV6, _) => Kind::Icmpv6,
        _ => Kind::Data,
    }
}
