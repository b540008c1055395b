//! The chain of IPv6 extension headers (RFC 8200 §4), walked to the upper layer within a bound.

use crate::ipv6::HOP_BY_HOP;

/// Routing header (RFC 8200 §4.4).
pub const ROUTING: u8 = 43;
/// Fragment header (RFC 8200 §4.5).
pub const FRAGMENT: u8 = 44;
/// Authentication header (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// Destination options (RFC 8200 §4.6).
pub const DESTINATION_OPTIONS: u8 = 60;
/// Mobility header (RFC 6275 §6.1.1).
pub const MOBILITY: u8 = 135;
/// Host Identity Protocol (RFC 7401 §5.1).
pub const HIP: u8 = 139;
/// Shim6 (RFC 5533 §5.1).
pub const SHIM6: u8 = 140;

/// Routing type 0, the source route (deprecated by RFC 5095).
pub const ROUTING_TYPE_SOURCE_ROUTE: u8 = 0;
/// Routing type 1, Nimrod (deprecated, RFC 9288 §3.5.2).
pub const ROUTING_TYPE_NIMROD: u8 = 1;
/// Routing type 3, RPL source route (RFC 6554: not for the Internet).
pub const ROUTING_TYPE_RPL: u8 = 3;

/// The longest chain that is walked, in headers. RFC 8200 §4.1 knows seven places, one header each.
pub const CHAIN_MAX: u8 = 8;

/// One step along a header chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A routing header with its routing type; the walk goes on.
    Routing {
        /// Routing type.
        kind: u8,
        /// Number of listed nodes still to be visited.
        segments_left: u8,
    },
    /// Any other extension header, by its number; the walk goes on.
    Extension(u8),
    /// The upper layer: its protocol and what is there of it. The walk is over.
    Upper(u8, &'a [u8]),
    /// A fragment that is not the first: what follows is data, of a packet whose first fragment goes on
    /// with this next-header value. The walk is over.
    LaterFragment(u8),
    /// A header of the chain is not all there (RFC 7112). The walk is over.
    Truncated,
    /// More than [`CHAIN_MAX`] headers. The walk is over.
    TooLong,
}

/// A walk along the header chain of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    next_header: u8,
    rest: &'a [u8],
    left: u8,
}

/// Whether a next-header value is an extension header that a walk goes through.
///
/// (ESP is not: nothing behind it can be read.)
#[inline]
#[must_use]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6
    )
}

impl<'a> Walk<'a> {
    /// Starts behind the IPv6 header, with its next-header value and its payload.
    #[inline]
    #[must_use]
    pub const fn new(next_header: u8, payload: &'a [u8]) -> Walk<'a> {
        Walk { next_header, rest: payload, left: CHAIN_MAX }
    }

    /// Takes one step. Calling on after the walk is over repeats the last answer.
    pub fn step(&mut self) -> Step<'a> {
        if !is_extension(self.next_header) {
            return Step::Upper(self.next_header, self.rest);
        }
        if self.left == 0 {
            return Step::TooLong;
        }
        let &[next_header, len, third, fourth, ..] = self.rest else {
            return Step::Truncated;
        };
        let header_len = match self.next_header {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        let Some(rest) = self.rest.get(header_len..) else {
            return Step::Truncated;
        };
        let number = self.next_header;
        if number == FRAGMENT && u16::from_be_bytes([third, fourth]) & 0xfff8 != 0 {
            return Step::LaterFragment(next_header);
        }
        *self = Walk { next_header, rest, left: self.left - 1 };
        match number {
            ROUTING => Step::Routing { kind: third, segments_left: fourth },
            _ => Step::Extension(number),
        }
    }
}
