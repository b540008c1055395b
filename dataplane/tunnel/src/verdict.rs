//! What may happen to a packet.

use crate::reason::Reason;
use sixlane_wire::{icmpv6, ipv6::MTU_MIN};

/// The one outcome of a packet. A packet answered by an ICMPv6 error is `Reply`: it counts as dropped
/// under its own reason, whether or not the error is sent in the end.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent on.
    Forward,
    /// For the box itself.
    Local,
    /// Handed to the control process.
    Punt(PuntReason),
    /// Dropped, and the sender may be told.
    Reply(IcmpError, Reason),
    /// Dropped in silence.
    Drop(Reason),
}

impl From<Reason> for Verdict {
    /// The verdict of a reason: with the answer that its row in the table names. (The reason `too_big`
    /// is answered by [`crate::mtu::too_big`], which knows the MTU.)
    #[inline]
    fn from(reason: Reason) -> Verdict {
        match reason.answer() {
            Some(error) => Verdict::Reply(error, reason),
            None => Verdict::Drop(reason),
        }
    }
}

/// What the control process is asked for.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PuntReason {
    /// Resolve the link-layer address of a next hop.
    NeighbourWanted,
    /// Give the packet back to the kernel: the program took it, but it is not ours.
    GivenBack,
}

/// An ICMPv6 error (RFC 4443 §3) that the data plane can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Hop limit exceeded in transit (3/0).
    TimeExceeded,
    /// No route to destination (1/0).
    NoRoute,
    /// Communication administratively prohibited (1/1).
    AdminProhibited,
    /// Beyond scope of source address (1/2).
    BeyondScope,
    /// Address unreachable (1/3).
    AddressUnreachable,
    /// Reject route to destination (1/6).
    RejectRoute,
    /// Packet too big (2/0).
    PacketTooBig {
        /// MTU of the next hop's link in bytes, never below 1280 in what is sent.
        mtu: u32,
    },
}

impl IcmpError {
    /// ICMPv6 type.
    #[must_use]
    pub const fn kind(self) -> u8 {
        match self {
            IcmpError::TimeExceeded => icmpv6::TIME_EXCEEDED,
            IcmpError::PacketTooBig { .. } => icmpv6::PACKET_TOO_BIG,
            _ => icmpv6::UNREACHABLE,
        }
    }

    /// ICMPv6 code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            IcmpError::TimeExceeded | IcmpError::NoRoute | IcmpError::PacketTooBig { .. } => 0,
            IcmpError::AdminProhibited => 1,
            IcmpError::BeyondScope => 2,
            IcmpError::AddressUnreachable => 3,
            IcmpError::RejectRoute => 6,
        }
    }

    /// The four bytes behind the checksum: the MTU, or unused. Never an MTU below 1280 (ICMP-08).
    #[must_use]
    pub const fn word(self) -> u32 {
        match self {
            IcmpError::PacketTooBig { mtu } if mtu > MTU_MIN => mtu,
            IcmpError::PacketTooBig { .. } => MTU_MIN,
            _ => 0,
        }
    }
}
