//! Why a Teredo datagram is dropped.
//!
//! These are not rows of the table of reasons ([`crate::reason`]): there, each reason is one that a packet
//! can get in the data plane, and no packet can get these before the data plane takes Teredo. The names are
//! those that the rows will have.

use crate::Reason;

/// Why a Teredo datagram is dropped, always in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// For a reason that other packets have too.
    Common(Reason),
    /// The UDP checksum is wrong (RFC 768).
    OuterUdpCsum,
    /// Not in the form of RFC 4380 §5.1.1.
    Malformed(Malformation),
    /// The datagram comes from a service of this box (RFC 6324).
    ServerLoop,
    /// A trailer that is not known asks to discard the packet (RFC 6081 §4.1).
    TrailerDiscard,
    /// To the relay: the inner source is no Teredo address (RFC 4380 §5.4.2).
    SrcNotTeredo,
    /// To the relay: the inner source does not embed where the datagram came from (RFC 4380 §5.4.2).
    MapMismatch,
    /// To the relay: nobody has proved to be at this inner source (RFC 4380 §5.4.2).
    UnknownPeer,
    /// To the relay: the inner destination is none that it serves (RFC 4380 §5.4.2).
    DstNotServed,
    /// To the server: neither a bubble nor ICMPv6 (RFC 4380 §5.3.1(2)).
    ServerNotIcmpOrBubble,
    /// To the server: nothing that it relays or answers (RFC 4380 §5.3.1(7)).
    ServerPolicy,
    /// To the server: a solicitation without the authentication that is asked for, or with a wrong one
    /// (RFC 4380 §5.3.1(4)).
    ServerAuth,
}

/// What is not in the form of RFC 4380 §5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformation {
    /// The UDP header, or its length.
    Udp,
    /// The authentication header is not all there.
    Authentication,
    /// Neither a known indicator nor IPv6 where the packet should be, or too little of it.
    Packet,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal::Common(reason)
    }
}

impl Refusal {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Common(reason) => reason.name(),
            Refusal::OuterUdpCsum => "outer_udp_csum",
            Refusal::Malformed(_) => "teredo_malformed",
            Refusal::ServerLoop => "teredo_server_loop",
            Refusal::TrailerDiscard => "teredo_trailer_discard",
            Refusal::SrcNotTeredo => "teredo_src_not_teredo",
            Refusal::MapMismatch => "teredo_map_mismatch",
            Refusal::UnknownPeer => "teredo_unknown_peer",
            Refusal::DstNotServed => "teredo_dst_not_served",
            Refusal::ServerNotIcmpOrBubble => "teredo_server_not_icmp_or_bubble",
            Refusal::ServerPolicy => "teredo_server_policy",
            Refusal::ServerAuth => "teredo_server_auth",
        }
    }
}
