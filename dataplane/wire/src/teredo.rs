//! What stands around an IPv6 packet in a Teredo datagram (RFC 4380 §5.1.1): authentication, then origin
//! indication, then the packet, then trailers ([`crate::teredo_trailer`]).

use crate::{Malformed, ipv6};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The UDP port of servers (RFC 4380 §2.7).
pub const SERVER_PORT: u16 = 3544;
/// The first two bytes of an origin indication.
const ORIGIN: [u8; 2] = [0, 0];
/// The first two bytes of an authentication header.
const AUTHENTICATION: [u8; 2] = [0, 1];
/// Length of an origin indication in bytes.
pub const ORIGIN_LEN: usize = 8;
/// Length in bytes of an authentication header with neither identifier nor value.
pub const AUTHENTICATION_LEN_MIN: usize = 13;

/// An origin indication: the address and port that a server has seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Origin {
    /// Zero.
    indicator: [u8; 2],
    /// The complement of the port.
    port: U16,
    /// The complement of the IPv4 address.
    address: U32,
}

const _: () = assert!(size_of::<Origin>() == ORIGIN_LEN);

impl Origin {
    /// The indication of an IPv4 address (a number in host order) and a port.
    #[must_use]
    pub fn new(address: u32, port: u16) -> Origin {
        Origin { indicator: ORIGIN, port: (!port).into(), address: (!address).into() }
    }

    /// The IPv4 address, a number in host order.
    #[must_use]
    pub fn address(&self) -> u32 {
        !self.address.get()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        !self.port.get()
    }
}

/// The fixed front of an authentication header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct AuthenticationFront {
    /// 0, 1.
    pub indicator: [u8; 2],
    /// Length of the client's identifier in bytes.
    pub identifier_len: u8,
    /// Length of the authentication value in bytes.
    pub value_len: u8,
}

impl AuthenticationFront {
    /// The front of a header with these lengths in bytes.
    #[must_use]
    pub const fn new(identifier_len: u8, value_len: u8) -> AuthenticationFront {
        AuthenticationFront { indicator: AUTHENTICATION, identifier_len, value_len }
    }
}

/// An authentication header (RFC 4380 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authentication<'a> {
    /// The client's identifier, 0..=255 bytes.
    pub identifier: &'a [u8],
    /// The authentication value, 0..=255 bytes.
    pub value: &'a [u8],
    /// The nonce of the exchange.
    pub nonce: &'a [u8; 8],
    /// 0: the client's key is valid; else it needs a new one.
    pub confirmation: u8,
}

impl Authentication<'_> {
    /// Length of the header in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        AUTHENTICATION_LEN_MIN + self.identifier.len() + self.value.len()
    }

    /// Whether the header has only a nonce, and authenticates nobody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.identifier.is_empty() && self.value.is_empty()
    }
}

/// A datagram's payload, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Authentication, if there is any.
    pub authentication: Option<Authentication<'a>>,
    /// Origin indication, if there is one.
    pub origin: Option<&'a Origin>,
    /// The carried header.
    pub header: &'a ipv6::Header,
    /// What the carried header says follows it.
    pub payload: &'a [u8],
    /// Header and payload as they lie.
    pub packet: &'a [u8],
    /// What lies behind the packet (RFC 6081 §4).
    pub trailers: &'a [u8],
}

/// Takes a datagram's payload apart: authentication before origin, each at most once, then an IPv6 packet
/// that is no longer than what is there (RFC 4380 §5.1.1, RFC 6081 §4).
///
/// # Errors
/// [`Malformed::HeaderLength`] for an authentication header that is not all there, then those of
/// [`ipv6::parse`]; where an indicator stands that is not allowed there, [`Malformed::Version`].
pub fn parse(payload: &[u8]) -> Result<Message<'_>, Malformed> {
    let (authentication, rest) = match payload {
        [0, 1, ..] => {
            let (authentication, rest) = authentication(payload).ok_or(Malformed::HeaderLength)?;
            (Some(authentication), rest)
        }
        _ => (None, payload),
    };
    let (origin, carried) = match rest {
        [0, 0, ..] => {
            let (origin, rest) = Origin::ref_from_prefix(rest).map_err(|_| Malformed::Truncated)?;
            (Some(origin), rest)
        }
        _ => (None, rest),
    };
    let (header, payload) = ipv6::parse(carried)?;
    let (packet, trailers) =
        carried.split_at_checked(ipv6::HEADER_LEN + payload.len()).ok_or(Malformed::TotalLength)?;
    Ok(Message { authentication, origin, header, payload, packet, trailers })
}

/// Splits off an authentication header; `None` if it is not all there.
fn authentication(bytes: &[u8]) -> Option<(Authentication<'_>, &[u8])> {
    let (front, rest) = AuthenticationFront::ref_from_prefix(bytes).ok()?;
    let (identifier, rest) = rest.split_at_checked(front.identifier_len.into())?;
    let (value, rest) = rest.split_at_checked(front.value_len.into())?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (&confirmation, rest) = rest.split_first()?;
    Some((Authentication { identifier, value, nonce, confirmation }, rest))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    /// A bubble: nothing follows the header.
    fn bubble() -> Vec<u8> {
        let mut bytes = vec![0; ipv6::HEADER_LEN];
        (bytes[0], bytes[6]) = (0x60, ipv6::NO_NEXT_HEADER);
        bytes
    }

    fn authenticated(identifier: &[u8], value: &[u8], nonce: [u8; 8], confirmation: u8) -> Vec<u8> {
        let front = AuthenticationFront::new(identifier.len() as u8, value.len() as u8);
        [front.as_bytes(), identifier, value, &nonce, &[confirmation]].concat()
    }

    /// TRD-05: 1.2.3.4:337.
    #[test]
    fn the_origin_indication_of_the_catalogue() {
        let origin = Origin::new(0x0102_0304, 337);
        assert_eq!(origin.as_bytes(), [0, 0, 0xfe, 0xae, 0xfe, 0xfd, 0xfc, 0xfb]);
        assert_eq!((origin.address(), origin.port()), (0x0102_0304, 337));
    }

    #[test]
    fn in_this_order_and_once() {
        let (nonce, origin) = (authenticated(&[], &[], [7; 8], 0), Origin::new(1, 2));
        assert_eq!(nonce.len(), AUTHENTICATION_LEN_MIN);
        let [nonce, origin, packet] = [&nonce[..], origin.as_bytes(), &bubble()[..]];
        for (parts, expected) in [
            (vec![packet], Ok((false, false))),
            (vec![nonce, packet], Ok((true, false))),
            (vec![origin, packet], Ok((false, true))),
            (vec![nonce, origin, packet], Ok((true, true))),
            (vec![origin, nonce, packet], Err(Malformed::Version)),
            (vec![nonce, nonce, packet], Err(Malformed::Version)),
            (vec![origin, origin, packet], Err(Malformed::Version)),
            (vec![nonce, origin], Err(Malformed::Truncated)),
            (vec![&[0, 2, 0, 0][..], packet], Err(Malformed::Version)),
            (vec![&[1, 0, 0, 0][..], packet], Err(Malformed::Version)),
        ] {
            let bytes = parts.concat();
            let found =
                parse(&bytes).map(|message| (message.authentication.is_some(), message.origin.is_some()));
            assert_eq!(found, expected, "{parts:?}");
        }
    }

    #[test]
    fn authentication_lengths_that_lie() {
        for (identifier, value) in [(255, 255), (0, 255), (255, 0), (41, 0)] {
            let bytes = [&[0, 1, identifier, value][..], &[0; 9], &bubble()[..40 - 9]].concat();
            assert!(parse(&bytes).is_err(), "{identifier} {value}");
        }
        assert_eq!(parse(&[0, 1, 0, 0]), Err(Malformed::HeaderLength));
        assert_eq!(parse(&[0, 1]), Err(Malformed::HeaderLength));
        assert_eq!(parse(&[0, 0]), Err(Malformed::Truncated));
        assert_eq!(parse(&[]), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn round_trip(
            identifier in proptest::collection::vec(any::<u8>(), 0..256),
            value in proptest::collection::vec(any::<u8>(), 0..256),
            nonce: [u8; 8], confirmation: u8, ends: Option<(u32, u16)>,
            payload in proptest::collection::vec(any::<u8>(), 0..64), trailers: Vec<u8>,
        ) {
            let mut packet = [&bubble()[..], &payload].concat();
            packet[5] = payload.len() as u8;
            let front = authenticated(&identifier, &value, nonce, confirmation);
            let origin = ends.map(|(address, port)| Origin::new(address, port));
            let indication = origin.as_ref().map_or(&[][..], IntoBytes::as_bytes);
            let bytes = [&front[..], indication, &packet, &trailers].concat();
            let message = parse(&bytes).unwrap();
            let found = message.authentication.unwrap();
            prop_assert_eq!((found.identifier, found.value), (&identifier[..], &value[..]));
            prop_assert_eq!((*found.nonce, found.confirmation), (nonce, confirmation));
            prop_assert_eq!(found.len(), front.len());
            prop_assert_eq!(message.origin.map(|origin| (origin.address(), origin.port())), ends);
            prop_assert_eq!((message.packet, message.payload), (&packet[..], &payload[..]));
            prop_assert_eq!(message.trailers, &trailers[..]);
            // No part of it is enough.
            let whole = bytes.len() - trailers.len();
            for cut in 0..whole {
                prop_assert!(parse(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn noise_never_panics(start in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let front = [&[][..], &[0, 1], &[0, 0]][start];
            let bytes = [front, &bytes].concat();
            if let Ok(message) = parse(&bytes) {
                prop_assert_eq!(message.packet.len(), ipv6::HEADER_LEN + message.payload.len());
                prop_assert!(message.packet.len() + message.trailers.len() <= bytes.len());
            }
        }
    }
}
