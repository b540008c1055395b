//! The anti-spoofing, bogon, loop and header rules, in one list: RFC 3964 §5, RFC 6324 §3.3, RFC 4890
//! §4.3.3 and RFC 9288 §3.5.
//!
//! Every rule set stands here as a *list*: checks in the order that decides which reason a packet gets
//! (sanity of each address first, then the correspondence between them, then loops). In front of a list
//! stands a *screen*: a few comparisons that recognise the packets about which no rule can have anything
//! to say. A packet that does not pass the screen is not refused, it is read against the list. So a screen
//! may be too strict, which costs time, but never too lenient; a property test holds the two together.

use crate::bogon::{is_never_forwarded, refused6};
use crate::embed::{ISATAP_GLOBAL, SIXTOFOUR_PREFIX, is_sixtofour, isatap_v4, sixtofour_v4, teredo};
use crate::reason::unlikely;
use crate::{Class4, Classes, Reason};
use sixlane_wire::extension::{self, Step, Walk};
use sixlane_wire::{ipv4, ipv6, ipv6::Address};
use zerocopy::transmute;

/// The 6to4 relay anycast address, 192.88.99.1 (RFC 3068 §2.4).
pub const ANYCAST_RELAY: u32 = 0xc058_6301;

/// An embedded IPv4 address with one of these is insane (RFC 3964 §5.3.1).
const EMBEDDED_INSANE: Class4 = Class4::EMBEDDED_BOGON.union(Class4::BROADCAST);
/// An outer source with one of these is refused by the 6to4 function.
const OUTER_REFUSED: Class4 = Class4::OUTER_BOGON
    .union(Class4::BROADCAST)
    .union(Class4::OWN)
    .union(Class4::KNOWN_RELAY)
    .union(Class4::NOT_ALLOWED);
/// Not a property of an address, and in no table: [`native`] says by it that the destination is a 6to4
/// address without properties and that the source has passed its screen, so that [`entering`] has nothing
/// left to ask.
const ENTERS: Class4 = Class4::from_bits(1 << 15);
/// Not a property of an address either: [`from_host`] says by it that the source is an address of this box
/// which embeds an IPv4 address of this box, as it may.
const HERE: Class4 = Class4::from_bits(1 << 14);

/// The outer source of a packet to the 6to4 address, and what it carries.
///
/// # Errors
/// `v4_src_bogon`, `own_source`, `icmp_quote_untrusted`, `no_tunnel`, `known_relay`, `not_allowed`.
#[inline]
pub fn outer_source(class: Class4, protocol: u8) -> Result<(), Reason> {
    if !class.intersects(OUTER_REFUSED) && protocol == ipv4::IPV6 {
        return Ok(());
    }
    Err(outer_source_list(class, protocol))
}

#[cold]
fn outer_source_list(class: Class4, protocol: u8) -> Reason {
    if class.intersects(Class4::OUTER_BOGON.union(Class4::BROADCAST)) {
        Reason::V4SrcBogon
    } else if class.contains(Class4::OWN) {
        Reason::OwnSource
    } else if protocol == ipv4::ICMP {
        Reason::IcmpQuoteUntrusted
    } else if protocol != ipv4::IPV6 {
        Reason::NoTunnel
    } else if class.contains(Class4::KNOWN_RELAY) {
        Reason::KnownRelay
    } else {
        Reason::NotAllowed
    }
}

/// The inner addresses of a packet that leaves the tunnel of a 6to4 relay (SEC-10 to SEC-19, LOOP-02).
/// `class` is what the tables say about the outer source.
///
/// # Errors
/// `v6_linklocal_on_6to4`, `v6_src_bogon`, `v6_dst_bogon`, `v4_embedded_bogon`, `v6_native_native`,
/// `sixto4_relay_native_src`, `sixto4_src_mismatch`, `v4_local_address`, `sixto4_to_6to4_via_relay`,
/// `loop_local_v4_in_dst`.
#[inline]
pub fn leaving<C: Classes>(
    inner: &ipv6::Header,
    outer: &ipv4::Header,
    class: Class4,
    classes: &C,
) -> Result<(), Reason> {
    // The outer source behind 2002, as both lie in the packet: no byte order is involved.
    let [prefix, high, low, ..]: [[u8; 2]; 8] = transmute!(inner.source);
    let embedded: [u8; 4] = transmute!([high, low]);
    let matches = prefix == SIXTOFOUR_PREFIX.to_be_bytes() && embedded == outer.source.to_bytes();
    if matches && !class.intersects(EMBEDDED_INSANE) && is_plain(inner.destination()) {
        return Ok(());
    }
    leaving_list(inner, outer, classes)
}

#[cold]
#[inline(never)]
fn leaving_list<C: Classes>(inner: &ipv6::Header, outer: &ipv4::Header, classes: &C) -> Result<(), Reason> {
    let (source, destination, outer) = (inner.source(), inner.destination(), outer.source.get());
    if source.is_link_local() || destination.is_link_local() {
        return Err(Reason::V6LinklocalOn6to4);
    }
    sane(source, destination, |address| refused6(address, classes.lab()))?;
    let from = sixtofour_v4(source);
    let to = sixtofour_v4(destination);
    // The anycast address is no bogon when it is the relay itself that speaks (RFC 7526 §6, SEC-12).
    if from.is_some_and(|v4| is_insane(v4, classes) && (v4, outer) != (ANYCAST_RELAY, ANYCAST_RELAY))
        || to.is_some_and(|v4| is_insane(v4, classes))
    {
        return Err(Reason::V4EmbeddedBogon);
    }
    match (from, to) {
        (None, None) => Err(Reason::V6NativeNative),
        (None, Some(_)) => Err(Reason::Sixto4RelayNativeSrc),
        (Some(v4), _) if v4 != outer => Err(Reason::Sixto4SrcMismatch),
        (Some(_), Some(v4)) if classes.class4(v4).contains(Class4::OWN) => Err(Reason::V4LocalAddress),
        (Some(_), Some(_)) => Err(Reason::Sixto4To6to4ViaRelay),
        (Some(_), None) if embeds_own(destination, classes) => Err(Reason::LoopLocalV4InDst),
        (Some(_), None) => Ok(()),
    }
}

/// The addresses of a packet from a port (SEC-03 if it is for the tunnel, else FWD-04). Gives the properties of the IPv4 address that a
/// 6to4 destination embeds, for [`entering`].
///
/// # Errors
/// `v6_src_bogon`, `v6_dst_bogon`, `v4_embedded_bogon`, `beyond_scope`, `own_source`.
#[inline]
pub fn native<C: Classes>(header: &ipv6::Header, classes: &C) -> Result<Class4, Reason> {
    let (source, destination) = (header.source(), header.destination());
    let Some(v4) = sixtofour_v4(destination) else {
        if is_plain(source) && is_plain(destination) && source != destination {
            return Ok(Class4::NONE);
        }
        return native_list(header, Class4::NONE, classes);
    };
    let embedded = classes.class4(v4);
    if is_plain(source) && embedded.is_empty() {
        return Ok(ENTERS);
    }
    native_list(header, embedded, classes)
}

#[cold]
#[inline(never)]
fn native_list<C: Classes>(header: &ipv6::Header, embedded: Class4, classes: &C) -> Result<Class4, Reason> {
    let (source, destination) = (header.source(), header.destination());
    let beyond = source.is_link_local();
    // A link-local source is judged last: it alone is answered.
    let judged = if beyond { Address { hi: 0x2000 << 48, lo: 0 } } else { source };
    // What enters the tunnel goes to the Internet and is held to the bogon table. What stays native is the
    // operator's own traffic: unique local addresses too (RFC 4193), and all that any router forwards. The
    // old site-local prefix is refused on 6to4, in `entering`, and global unicast elsewhere (RFC 4291 §2.5.7).
    let into_tunnel = is_sixtofour(destination);
    sane(judged, destination, |address| {
        if into_tunnel {
            refused6(address, classes.lab()) && !address.is_site_local()
        } else {
            is_never_forwarded(address)
        }
    })?;
    let from = sixtofour_v4(source).map_or(Class4::NONE, |v4| classes.class4(v4));
    if from.union(embedded).intersects(EMBEDDED_INSANE) {
        return Err(Reason::V4EmbeddedBogon);
    }
    if beyond {
        return Err(Reason::BeyondScope);
    }
    if from.contains(Class4::OWN) || source == destination {
        return Err(Reason::OwnSource);
    }
    Ok(embedded.without(ENTERS.union(HERE)))
}

/// The addresses of a packet that the kernel of this box sends or forwards into a tunnel: as [`native`],
/// but for a source of this box, which is no lie here. `relay` is the address (a number in host order) that
/// the outer header will name: a 6to4 source must embed it.
///
/// # Errors
/// `v6_src_bogon`, `v6_dst_bogon`, `v4_embedded_bogon`, `beyond_scope`, `own_source` for a packet to its
/// own source.
pub fn from_host<C: Classes>(header: &ipv6::Header, relay: u32, classes: &C) -> Result<Class4, Reason> {
    let (source, destination) = (header.source(), header.destination());
    let embedded = sixtofour_v4(destination).map_or(Class4::NONE, |v4| classes.class4(v4));
    let here = sixtofour_v4(source) == Some(relay) || embeds_own(source, classes);
    let judged = match native_list(header, embedded, classes) {
        Err(Reason::OwnSource) if source != destination => Ok(embedded.without(ENTERS.union(HERE))),
        judged => judged,
    };
    judged.map(|embedded| if here { embedded.union(HERE) } else { embedded })
}

/// Whether [`from_host`] found the source to be one of this box.
#[inline]
#[must_use]
pub const fn is_from_here(embedded: Class4) -> bool {
    embedded.contains(HERE)
}

/// A packet that is about to enter the 6to4 tunnel of a relay, after [`native`] (SEC-03, SEC-05 to SEC-07,
/// LOOP-01). `embedded` is what [`native`] said about the destination.
///
/// # Errors
/// `v6_src_bogon`, `v6_dst_bogon`, `sixto4_native_src_6to4`, `v6_native_native`, `v4_local_address`,
/// `known_relay`, `not_allowed`, `loop_local_v4_in_src`.
#[inline]
pub fn entering<C: Classes>(
    source: Address,
    destination: Address,
    embedded: Class4,
    classes: &C,
) -> Result<(), Reason> {
    if embedded == ENTERS {
        return Ok(());
    }
    entering_list(source, destination, embedded, classes)
}

#[cold]
#[inline(never)]
fn entering_list<C: Classes>(
    source: Address,
    destination: Address,
    embedded: Class4,
    classes: &C,
) -> Result<(), Reason> {
    sane(source, destination, Address::is_site_local)?;
    let foreign = !is_from_here(embedded);
    if foreign && is_sixtofour(source) {
        Err(Reason::Sixto4NativeSrc6to4)
    } else if !is_sixtofour(destination) {
        Err(Reason::V6NativeNative)
    } else if embedded.contains(Class4::OWN) {
        Err(Reason::V4LocalAddress)
    } else if embedded.contains(Class4::KNOWN_RELAY) {
        Err(Reason::KnownRelay)
    } else if embedded.contains(Class4::NOT_ALLOWED) {
        Err(Reason::NotAllowed)
    } else if foreign && embeds_own(source, classes) {
        Err(Reason::LoopLocalV4InSrc)
    } else {
        Ok(())
    }
}

/// Whether an ICMPv6 error may go to the source of a packet from a port: a 6to4 source is not checked
/// there against anything, so that an error would travel to whoever it embeds (RFC 3964 §4.1.4, ICMP-10).
#[inline]
#[must_use]
pub const fn is_answerable(source: Address) -> bool {
    !is_sixtofour(source)
}

/// The screen of addresses: global unicast, outside every special block, and no place for an IPv4 address
/// that anybody knows. Bogon and loop rules have nothing to say about such an address.
///
/// The blocks that are let pass are 2001:200::/23 to 2001:ffff::/32 without 2001:db8::/32, and 2003::/16 to
/// 3eff::/16. All of it is in the first 32 bits, and comparing 32 bits needs no long constants.
#[inline]
const fn is_plain(address: Address) -> bool {
    let head = (address.hi >> 32) as u32;
    let identifier = (address.lo >> 32) as u32;
    let recent = head.wrapping_sub(0x2003_0000) < 0x3f00_0000 - 0x2003_0000;
    let first = head.wrapping_sub(0x2001_0200) < 0x2002_0000 - 0x2001_0200 && head != 0x2001_0db8;
    (recent || first) && identifier | 0x0200_0000 != ISATAP_GLOBAL
}

/// Sanity of both addresses but for the IPv4 addresses in them (SEC-02).
fn sane(source: Address, destination: Address, refused: impl Fn(Address) -> bool) -> Result<(), Reason> {
    if refused(source) {
        return Err(Reason::V6SrcBogon);
    }
    if refused(destination) {
        return Err(Reason::V6DstBogon);
    }
    Ok(())
}

/// Whether no packet may be tunnelled to this IPv4 address, a number in host order (RFC 3964 §5.3.1).
pub(crate) fn is_insane<C: Classes>(v4: u32, classes: &C) -> bool {
    classes.class4(v4).intersects(EMBEDDED_INSANE)
}

/// Whether an address that is not of the tunnel in use embeds an IPv4 address of this box, in the ISATAP
/// or Teredo form (LOOP-03). Private addresses are ambiguous and do not count (LOOP-04).
pub(crate) fn embeds_own<C: Classes>(address: Address, classes: &C) -> bool {
    let own = |v4: u32| {
        let class = classes.class4(v4);
        class.contains(Class4::OWN) && !class.contains(Class4::EMBEDDED_BOGON)
    };
    isatap_v4(address).is_some_and(own)
        || teredo(address).is_some_and(|fields| own(fields.client) || own(fields.server))
}

/// The header chain of a packet in transit (FLT-01, FLT-03, FLT-04).
///
/// # Errors
/// `routing_header_type0`, `routing_header`, `nd_transit`, `ext_chain`.
#[inline]
pub fn header_chain(next_header: u8, payload: &[u8]) -> Result<(), Reason> {
    match next_header {
        ipv6::TCP | ipv6::UDP | ipv6::ESP => Ok(()),
        ipv6::ICMPV6 => icmpv6_in_transit(payload),
        _ => header_chain_walk(next_header, payload),
    }
}

/// The first ICMPv6 type of [`LINK_ONLY`].
const LINK_ONLY_FIRST: u8 = 130;

/// ICMPv6 types that never leave their link (RFC 4890 §4.3.3), one bit each from [`LINK_ONLY_FIRST`] on:
/// multicast listener discovery (130-132, 143), neighbour discovery (133-137), inverse discovery (141,
/// 142), SEND (148, 149), multicast router discovery (151-153).
const LINK_ONLY: u32 = {
    let types = [130_u8, 131, 132, 133, 134, 135, 136, 137, 141, 142, 143, 148, 149, 151, 152, 153];
    let (mut bits, mut at) = (0, 0);
    while at < types.len() {
        bits |= 1 << (types[at] - LINK_ONLY_FIRST);
        at += 1;
    }
    bits
};

#[inline]
fn icmpv6_in_transit(message: &[u8]) -> Result<(), Reason> {
    match message.first() {
        Some(kind) if LINK_ONLY.unbounded_shr(u32::from(kind.wrapping_sub(LINK_ONLY_FIRST))) & 1 != 0 => {
            Err(unlikely(Reason::NdTransit))
        }
        _ => Ok(()),
    }
}

#[cold]
#[inline(never)]
fn header_chain_walk(next_header: u8, payload: &[u8]) -> Result<(), Reason> {
    let mut walk = Walk::new(next_header, payload);
    loop {
        match walk.step() {
            Step::Routing { kind: extension::ROUTING_TYPE_SOURCE_ROUTE, .. } => {
                return Err(Reason::RoutingHeaderType0);
            }
            Step::Routing { kind: extension::ROUTING_TYPE_NIMROD | extension::ROUTING_TYPE_RPL, .. } => {
                return Err(Reason::RoutingHeader);
            }
            Step::Routing { .. } | Step::Extension(_) => {}
            Step::Upper(ipv6::ICMPV6, message) => return icmpv6_in_transit(message),
            // What cannot be read passes: it is for the destination to judge (FWD-10, RFC 7112 §5).
            Step::Upper(..) | Step::LaterFragment(_) | Step::Truncated => return Ok(()),
            Step::TooLong => return Err(Reason::ExtChain),
        }
    }
}

/// What a tunnel may deliver to this box: ICMPv6, and with `all` anything (security.md, ATK-23). Of a later
/// fragment its own word counts, because without the first one it comes to nothing; a first fragment that
/// hides its upper layer is refused (RFC 7112 §5).
///
/// # Errors
/// `mgmt_protected`.
pub fn delivery(next_header: u8, payload: &[u8], all: bool) -> Result<(), Reason> {
    if all {
        return Ok(());
    }
    let mut walk = Walk::new(next_header, payload);
    loop {
        match walk.step() {
            Step::Routing { .. } | Step::Extension(_) => {}
            Step::Upper(ipv6::ICMPV6, _) | Step::LaterFragment(ipv6::ICMPV6) => return Ok(()),
            Step::Upper(..) | Step::LaterFragment(_) | Step::Truncated | Step::TooLong => {
                return Err(Reason::MgmtProtected);
            }
        }
    }
}

#[cfg(test)]
mod tests;
