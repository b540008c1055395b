//! The rules of a relay (RFC 4380 §5.4): what may leave the tunnel, what may enter it, and on which way.

use super::cookie::Cookies;
use super::receive::{Kind, Received};
use super::{Endpoint, Refusal, address};
use crate::bogon::refused6;
use crate::embed::{Teredo, is_sixtofour, sixtofour_v4, teredo};
use crate::{Class4, Classes, Reason, field_copy, guard};
use sixlane_wire::ipv6::{self, Address};
use sixlane_wire::teredo_trailer::asks_to_discard;

/// How long a peer is trusted after its last packet, in nanoseconds (RFC 4380 §5.2.4).
pub const TRUST_NS: u64 = 30_000_000_000;

/// The settings of a relay.
#[derive(Clone, Copy, Debug)]
pub struct Relay {
    /// Its address and port.
    pub endpoint: Endpoint,
    /// The first half of the addresses that carry its cookies: a /64 of its own.
    pub cookie_prefix: u64,
    /// The maker of its cookies.
    pub cookies: Cookies,
    /// Whether a peer that says it is behind a cone NAT is believed (RFC 4380 §5.4.1(2), against RFC 5991
    /// §3.2).
    pub honour_cone_bit: bool,
    /// Whether Teredo sources from the IPv6 side are refused: they can only come by UDP.
    pub native_source_check: bool,
}

/// What a datagram to the relay is, after all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A packet of a peer for the IPv6 side. The peer has been heard.
    Forward(Decapped),
    /// A bubble of a peer: consumed. The peer has been heard.
    Heard,
    /// A bubble that answers a cookie: consumed. It makes its source a peer.
    Proof,
}

/// A packet that may leave the tunnel. It is cut behind `inner_len`: trailers are never forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decapped {
    /// Length of the inner packet in bytes, header included.
    pub inner_len: usize,
    /// Traffic class to write into the inner header (RFC 6040 §4.2).
    pub traffic_class: u8,
    /// Hop limit as received.
    pub hop_limit: u8,
    /// Inner destination.
    pub destination: Address,
}

/// Judges a datagram to the relay (RFC 4380 §5.4.2). Authentication and origin indication in front of the
/// packet mean nothing here.
///
/// `known` is whether the inner source is a peer, trusted or not; `minute` is the cookies' clock; `served`
/// says whether the relay serves an IPv6 destination.
///
/// # Errors
/// The reason of the first check that fails. A datagram that is refused changes no peer.
pub fn leaving<C: Classes>(
    received: &Received<'_>,
    relay: &Relay,
    known: bool,
    minute: u64,
    served: impl Fn(Address) -> bool,
    classes: &C,
) -> Result<Arrival, Refusal> {
    let message = &received.message;
    let (source, destination) = (message.header.source(), message.header.destination());
    sane(source, destination, classes)?;
    correspond(source, received.source, classes)?;
    if asks_to_discard(message.trailers) {
        return Err(Refusal::TrailerDiscard);
    }
    if matches!(received.kind, Kind::Bubble | Kind::IndirectBubble) {
        return match known {
            true => Ok(Arrival::Heard),
            false if is_proof(relay, source, destination, minute) => Ok(Arrival::Proof),
            false => Err(Refusal::UnknownPeer),
        };
    }
    if embeds_own(destination, classes) {
        return Err(Reason::LoopLocalV4InDst.into());
    }
    if !known {
        return Err(Refusal::UnknownPeer);
    }
    if teredo(destination).is_some() || destination.hi == relay.cookie_prefix || !served(destination) {
        return Err(Refusal::DstNotServed);
    }
    let received_class = message.header.traffic_class();
    let traffic_class =
        field_copy::decapsulated(received_class, received.outer.tos).ok_or(Reason::EcnNotEctCe)?;
    guard::header_chain(message.header.next_header, message.payload)?;
    Ok(Arrival::Forward(Decapped {
        inner_len: ipv6::HEADER_LEN + message.payload.len(),
        traffic_class,
        hop_limit: message.header.hop_limit,
        destination,
    }))
}

/// Whether the destination of a bubble is the cookie of its source.
fn is_proof(relay: &Relay, source: Address, destination: Address, minute: u64) -> bool {
    destination.hi == relay.cookie_prefix && relay.cookies.are(destination.lo, source, minute)
}

/// The inner source is a Teredo address which embeds where the datagram came from, and whose server may be
/// sent to (RFC 4380 §5.4.2).
fn correspond<C: Classes>(source: Address, from: Endpoint, classes: &C) -> Result<(), Refusal> {
    let fields = teredo(source).ok_or(Refusal::SrcNotTeredo)?;
    if guard::is_insane(fields.server, classes) {
        return Err(Reason::V4EmbeddedBogon.into());
    }
    if fields.mapped() != from {
        return Err(Refusal::MapMismatch);
    }
    Ok(())
}

/// Sanity of the addresses of a carried packet (SEC-02, BOG-02), but for what a Teredo address embeds.
pub(super) fn sane<C: Classes>(source: Address, destination: Address, classes: &C) -> Result<(), Reason> {
    if refused6(source, classes.lab()) {
        return Err(Reason::V6SrcBogon);
    }
    if refused6(destination, classes.lab()) {
        return Err(Reason::V6DstBogon);
    }
    let insane = |address| sixtofour_v4(address).is_some_and(|v4| guard::is_insane(v4, classes));
    if insane(source) || insane(destination) {
        return Err(Reason::V4EmbeddedBogon);
    }
    Ok(())
}

/// Whether an address embeds an IPv4 address of this box, in any form (LOOP-03).
pub(super) fn embeds_own<C: Classes>(address: Address, classes: &C) -> bool {
    let own = |v4| classes.class4(v4).contains(Class4::OWN);
    guard::embeds_own(address, classes) || sixtofour_v4(address).is_some_and(own)
}

/// Judges an IPv6 packet that is about to enter the tunnel of the relay (RFC 4380 §5.4.1) and gives what its
/// destination says. `own_server` is the primary address of this box's own server, if there is one: a client
/// of that server is as good as any.
///
/// # Errors
/// The reason of the first check that fails; `no_tunnel` for a destination that is no Teredo address.
pub fn entering<C: Classes>(
    source: Address,
    destination: Address,
    relay: &Relay,
    own_server: Option<u32>,
    classes: &C,
) -> Result<Teredo, Reason> {
    sane(source, destination, classes)?;
    if relay.native_source_check && teredo(source).is_some() {
        return Err(Reason::V6SrcBogon);
    }
    let fields = teredo(destination).ok_or(Reason::NoTunnel)?;
    let server = Endpoint::server(fields.server);
    // Sanity of both before anything else about either, so that the reason does not depend on their order.
    if guard::is_insane(fields.server, classes) {
        return Err(Reason::V4EmbeddedBogon);
    }
    address::may_be_sent_to(fields.mapped(), classes)?;
    if own_server != Some(fields.server) {
        address::may_be_sent_to(server, classes)?;
    }
    if is_sixtofour(source) && embeds_own(source, classes) || guard::embeds_own(source, classes) {
        return Err(Reason::LoopLocalV4InSrc);
    }
    Ok(fields)
}

/// On which way a packet that may enter goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the client's mapped address and port.
    Direct(Endpoint),
    /// It waits; the client is asked for an answer first, by bubbles.
    SetUp,
}

/// Whether a peer last heard at `heard_ns` is trusted at `now_ns`, of a clock that does not go backward. (A
/// time of reception that lies ahead was written by another worker an instant ago.) What is sent to a peer
/// does not make it trusted any longer.
#[inline]
#[must_use]
pub const fn is_trusted(heard_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(heard_ns) < TRUST_NS
}

/// On which way a packet goes (RFC 4380 §5.4.1, RFC 5991 §3.2). `heard_ns` is when the client was last heard,
/// if it is a peer.
#[inline]
#[must_use]
pub fn way(client: &Teredo, heard_ns: Option<u64>, now_ns: u64, honour_cone_bit: bool) -> Way {
    let trusted = heard_ns.is_some_and(|heard_ns| is_trusted(heard_ns, now_ns));
    if trusted || honour_cone_bit && client.is_cone() { Way::Direct(client.mapped()) } else { Way::SetUp }
}
