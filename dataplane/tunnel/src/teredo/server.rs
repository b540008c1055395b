//! The rules of a server (RFC 4380 §5.3): whom it answers, and what it hands on. It remembers nothing.

use super::address::{asks_as_cone, may_be_sent_to, server_link_local};
use super::advertisement::{Advertisement, Signature};
use super::authentication::{Secrets, is_correct};
use super::receive::{Kind, Received};
use super::relay::{embeds_own, sane};
use super::{Endpoint, Refusal};
use crate::embed::{Teredo, teredo};
use crate::{Classes, Reason, guard};
use sixlane_wire::ipv6::Address;
use sixlane_wire::{icmpv6, icmpv6::pseudo_header};

/// All routers on the link (RFC 4291 §2.7.1).
const ALL_ROUTERS: Address = Address { hi: 0xff02 << 48, lo: 2 };
/// Length in bytes of the fixed part of a router solicitation (RFC 4861 §4.1).
const SOLICITATION_LEN: usize = 8;
/// The payload of the longest ICMPv6 message that is handed on, unless it is set otherwise. Connectivity is
/// tested by short messages; a server is no relay for anything else.
pub const ICMPV6_LEN_MAX: usize = 88;

/// The settings of a server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Primary and secondary address, numbers in host order.
    pub addresses: [u32; 2],
    /// Whether solicitations must be authenticated.
    pub secure: bool,
    /// The longest ICMPv6 message that is handed on, in bytes ([`ICMPV6_LEN_MAX`]).
    pub icmpv6_len_max: usize,
}

/// What the server does with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task<'a> {
    /// Answers a solicitation.
    Advertise(Advertisement<'a>),
    /// Hands the packet with its trailers, unchanged, to a client; from the primary address.
    ToClient {
        /// Where the client is.
        to: Endpoint,
        /// Whether an origin indication of the sender goes in front: the client is one of this server.
        origin: Option<Endpoint>,
    },
    /// Forwards the packet, without trailers, to the IPv6 side as any router does.
    ToNative(Address),
    /// Answers an echo request to itself.
    Echo,
}

/// Judges a datagram to the server (RFC 4380 §5.3.1). An origin indication in front of the packet means
/// nothing here.
///
/// # Errors
/// The reason of the first check that fails.
pub fn judge<'a, C: Classes>(
    received: &Received<'a>,
    server: &Server,
    secrets: &'a impl Secrets,
    classes: &C,
) -> Result<Task<'a>, Refusal> {
    let is_bubble = matches!(received.kind, Kind::Bubble | Kind::IndirectBubble);
    if received.kind == Kind::Data {
        return Err(Refusal::ServerNotIcmpOrBubble);
    }
    let header = received.message.header;
    let (source, destination) = (header.source(), header.destination());
    if source.is_link_local() {
        return solicited(received, server, secrets).map(Task::Advertise);
    }
    let here = server.addresses.map(server_link_local).contains(&destination) || destination == ALL_ROUTERS;
    // The server's own link-local address, for which there is no other place in the tables.
    sane(source, if here { source } else { destination }, classes)?;
    accept(source, destination, received.source, server)?;
    if !is_bubble && received.message.payload.len() > server.icmpv6_len_max {
        return Err(Refusal::ServerPolicy);
    }
    if here {
        let asks = received.message.payload.first() == Some(&icmpv6::ECHO_REQUEST);
        return if asks && destination != ALL_ROUTERS { Ok(Task::Echo) } else { Err(Refusal::ServerPolicy) };
    }
    guard::header_chain(header.next_header, received.message.payload)?;
    match teredo(destination) {
        Some(client) => {
            may_be_sent_to(client.mapped(), classes)?;
            let ours = client.server == server.addresses[0];
            Ok(Task::ToClient { to: client.mapped(), origin: ours.then_some(received.source) })
        }
        None if embeds_own(destination, classes) => Err(Reason::LoopLocalV4InDst.into()),
        None => Ok(Task::ToNative(destination)),
    }
}

/// Who may use the server (RFC 4380 §5.3.1(5), (6)): a client which is where it says, to anybody; and
/// anybody else to the server's own clients.
fn accept(source: Address, destination: Address, from: Endpoint, server: &Server) -> Result<(), Refusal> {
    let is_client = |fields: Teredo| fields.server == server.addresses[0];
    let accepted = match teredo(source) {
        Some(fields) => fields.mapped() == from,
        None => teredo(destination).is_some_and(is_client),
    };
    if accepted { Ok(()) } else { Err(Refusal::ServerPolicy) }
}

/// Judges a router solicitation (RFC 4380 §5.3.1(4), RFC 4861 §6.1.1). The source is a link-local address,
/// which is not compared with anything: it may embed what a client takes for its own address.
fn solicited<'a>(
    received: &Received<'a>,
    server: &Server,
    secrets: &'a impl Secrets,
) -> Result<Advertisement<'a>, Refusal> {
    let header = received.message.header;
    if received.kind != Kind::RouterSolicitation
        || header.destination() != ALL_ROUTERS
        || header.hop_limit != 255
        || !is_solicitation(received)
    {
        return Err(Refusal::ServerPolicy);
    }
    let signature = signature(received, secrets)?;
    if server.secure && !matches!(signature, Some(Signature::Signed { .. })) {
        return Err(Refusal::ServerAuth);
    }
    let asked = received.destination.address;
    let [primary, secondary] = server.addresses;
    let other = if asked == primary { secondary } else { primary };
    Ok(Advertisement {
        from: if asks_as_cone(header.source()) { other } else { asked },
        to: received.source,
        asked,
        primary,
        client: header.source(),
        signature,
    })
}

/// Code, checksum, length and options of a solicitation (RFC 4861 §6.1.1).
fn is_solicitation(received: &Received<'_>) -> bool {
    let (header, payload) = (received.message.header, received.message.payload);
    let Some((fixed, options)) = payload.split_at_checked(SOLICITATION_LEN) else { return false };
    fixed[1] == 0
        && pseudo_header(header, payload.len() as u32).bytes(payload).is_correct()
        && are_options(options)
}

/// Whether options can be read to their end, each of a length above zero.
fn are_options(mut options: &[u8]) -> bool {
    while let &[_, len, ..] = options {
        let Some(rest) = options.get(usize::from(len) * 8..).filter(|_| len != 0) else { return false };
        options = rest;
    }
    options.is_empty()
}

/// How a solicitation is authenticated.
fn signature<'a>(
    received: &Received<'a>,
    secrets: &'a impl Secrets,
) -> Result<Option<Signature<'a>>, Refusal> {
    let Some(authentication) = received.message.authentication else { return Ok(None) };
    let (nonce, identifier) = (*authentication.nonce, authentication.identifier);
    if authentication.is_empty() {
        return Ok(Some(Signature::Nonce(nonce)));
    }
    match secrets.key(identifier) {
        None => Ok(Some(Signature::UnknownKey { nonce, identifier })),
        Some(key) if is_correct(key, &authentication, &received.message) => {
            Ok(Some(Signature::Signed { nonce, identifier, key }))
        }
        Some(_) => Err(Refusal::ServerAuth),
    }
}
