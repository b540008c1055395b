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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ipv6::{ICMPV6, NO_NEXT_HEADER, TCP};
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    fn steps(next_header: u8, payload: &[u8]) -> Vec<Step<'_>> {
        let mut walk = Walk::new(next_header, payload);
        let mut steps = vec![walk.step()];
        while matches!(steps.last(), Some(Step::Routing { .. } | Step::Extension(_))) {
            steps.push(walk.step());
        }
        assert_eq!(steps.last(), Some(&walk.step()), "the last answer repeats");
        steps
    }

    /// A chain of headers of eight bytes each in front of `last`, and its first next-header value.
    fn chain(headers: &[u8], last: u8) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        for (at, number) in headers.iter().enumerate() {
            let next = headers.get(at + 1).copied().unwrap_or(last);
            // An authentication header counts words of four, less two; this one has eight bytes.
            bytes.extend([next, 0, 0, 0, 0, 0, 0, u8::from(*number == ROUTING)]);
        }
        (headers.first().copied().unwrap_or(last), bytes)
    }

    #[test]
    fn every_kind_of_header_is_gone_through() {
        let kinds =
            [HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING, FRAGMENT, AUTHENTICATION, MOBILITY, HIP, SHIM6];
        let (first, mut bytes) = chain(&kinds, TCP);
        bytes.extend([0xa5; 3]);
        let steps = steps(first, &bytes);
        assert_eq!(steps.len(), 9);
        assert_eq!(steps[0], Step::Extension(HOP_BY_HOP));
        assert_eq!(steps[2], Step::Routing { kind: 0, segments_left: 0 });
        assert_eq!(steps[4], Step::Extension(AUTHENTICATION));
        assert_eq!(steps[8], Step::Upper(TCP, &[0xa5; 3]));
    }

    #[test]
    fn a_chain_has_an_end() {
        let (first, bytes) = chain(&[DESTINATION_OPTIONS; 8], NO_NEXT_HEADER);
        assert_eq!(steps(first, &bytes).last(), Some(&Step::Upper(NO_NEXT_HEADER, &[])));
        let (first, bytes) = chain(&[DESTINATION_OPTIONS; 9], NO_NEXT_HEADER);
        assert_eq!(steps(first, &bytes).last(), Some(&Step::TooLong));
    }

    #[test]
    fn fragments() {
        let fragment = |offset_flags: u16| {
            let [high, low] = offset_flags.to_be_bytes();
            [ICMPV6, 0, high, low, 0, 0, 0, 1, 0x80]
        };
        assert_eq!(
            steps(FRAGMENT, &fragment(0x0001)),
            [Step::Extension(FRAGMENT), Step::Upper(ICMPV6, &[0x80])]
        );
        assert_eq!(steps(FRAGMENT, &fragment(0x0008)), [Step::LaterFragment(ICMPV6)]);
    }

    /// RFC 4302 §2.2: the length counts words of four bytes, less two; with a 96-bit check value it is 4.
    #[test]
    fn an_authentication_header_counts_in_other_units() {
        let mut bytes = [0; 24].to_vec();
        bytes[..2].copy_from_slice(&[TCP, 4]);
        assert_eq!(steps(AUTHENTICATION, &bytes[..23]), [Step::Truncated]);
        bytes.push(0xa5);
        assert_eq!(
            steps(AUTHENTICATION, &bytes),
            [Step::Extension(AUTHENTICATION), Step::Upper(TCP, &[0xa5])]
        );
    }

    #[test]
    fn headers_that_are_not_all_there() {
        let routing = [TCP, 2, 0, 1, 0, 0, 0, 0];
        assert_eq!(steps(ROUTING, &routing), [Step::Truncated]);
        assert_eq!(steps(ROUTING, &[]), [Step::Truncated]);
        assert_eq!(steps(HOP_BY_HOP, &[TCP, 0, 0]), [Step::Truncated]);
    }

    proptest! {
        #[test]
        fn noise_never_panics_and_ends(next_header: u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(steps(next_header, &bytes).len() <= usize::from(CHAIN_MAX) + 1);
        }

        #[test]
        fn chains_of_known_headers_end_too(
            headers in proptest::collection::vec(
                prop::sample::select(&[HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS][..]), 0..12),
            cut: usize,
        ) {
            let (first, bytes) = chain(&headers, TCP);
            prop_assert_eq!(steps(first, &bytes).len(), headers.len().min(usize::from(CHAIN_MAX)) + 1);
            let bytes = &bytes[..cut % (bytes.len() + 1)];
            prop_assert!(steps(first, bytes).len() <= usize::from(CHAIN_MAX) + 1);
        }
    }
}
