//! Trailers behind the IPv6 packet in a Teredo datagram (RFC 6081 §4): type, length, value.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Nonce (RFC 6081 §4.2).
pub const NONCE: u8 = 0x01;
/// Alternate addresses (RFC 6081 §4.3).
pub const ALTERNATE_ADDRESS: u8 = 0x03;
/// Neighbour discovery option (RFC 6081 §4.4).
pub const NEIGHBOUR_DISCOVERY: u8 = 0x04;
/// Random port (RFC 6081 §4.5; the table in its §9 prints 0x02, which is skipped as unknown).
pub const RANDOM_PORT: u8 = 0x05;
/// The bits of a type that say what one does who does not know it.
const ACTION_MASK: u8 = 0xc0;
/// Discard the packet. Any other action is to skip the trailer.
const ACTION_DISCARD: u8 = 0x40;
/// Bytes in front of the list of alternate addresses.
const ALTERNATE_RESERVED_LEN: usize = 2;

/// One alternate address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Alternate {
    /// IPv4 address.
    pub address: U32,
    /// Port.
    pub port: U16,
}

/// The value of a neighbour discovery option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The receiver is asked to answer.
    Solicitation,
    /// The answer.
    Advertisement,
}

/// One trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailer<'a> {
    /// A nonce.
    Nonce([u8; 4]),
    /// One to four addresses at which the sender may be reached too, as it says.
    AlternateAddresses(&'a [Alternate]),
    /// A neighbour discovery option.
    NeighbourDiscovery(Discovery),
    /// The sender's next port, as it predicts.
    RandomPort(u16),
    /// Of a type that is to be skipped, or of a known type with another value than it may have.
    Skipped(u8),
    /// Of an unknown type with which the whole packet is to be discarded.
    Discard(u8),
}

/// A walk over trailers, in their order. It ends at the first one that is not all there: the packet itself
/// stands (RFC 6081 §4.1).
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Starts with what lies behind the IPv6 packet.
    #[must_use]
    pub const fn new(trailers: &'a [u8]) -> Walk<'a> {
        Walk { rest: trailers }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Trailer<'a>;

    fn next(&mut self) -> Option<Trailer<'a>> {
        let &[kind, len, ref rest @ ..] = self.rest else { return None };
        let (value, rest) = rest.split_at_checked(len.into())?;
        self.rest = rest;
        Some(trailer(kind, value))
    }
}

fn trailer(kind: u8, value: &[u8]) -> Trailer<'_> {
    let known = match kind {
        NONCE => value.try_into().ok().map(Trailer::Nonce),
        ALTERNATE_ADDRESS => alternates(value).map(Trailer::AlternateAddresses),
        NEIGHBOUR_DISCOVERY => match *value {
            [0, _, _, _] => Some(Trailer::NeighbourDiscovery(Discovery::Solicitation)),
            [1, _, _, _] => Some(Trailer::NeighbourDiscovery(Discovery::Advertisement)),
            _ => None,
        },
        RANDOM_PORT => value.try_into().ok().map(|port| Trailer::RandomPort(u16::from_be_bytes(port))),
        _ if kind & ACTION_MASK == ACTION_DISCARD => Some(Trailer::Discard(kind)),
        _ => None,
    };
    known.unwrap_or(Trailer::Skipped(kind))
}

/// Two reserved bytes and one to four addresses (RFC 6081 §4.3: 8, 14, 20 or 26 bytes), each of which has a
/// port. Whether an address is a unicast one is for whoever sends there.
fn alternates(value: &[u8]) -> Option<&[Alternate]> {
    let list = <[Alternate]>::ref_from_bytes(value.get(ALTERNATE_RESERVED_LEN..)?).ok()?;
    let ports = list.iter().all(|alternate| alternate.port.get() != 0);
    (matches!(list.len(), 1..=4) && ports).then_some(list)
}

/// Whether a trailer asks everybody who does not know it to discard the packet.
#[must_use]
pub fn asks_to_discard(trailers: &[u8]) -> bool {
    Walk::new(trailers).any(|trailer| matches!(trailer, Trailer::Discard(_)))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn walk(bytes: &[u8]) -> Vec<Trailer<'_>> {
        Walk::new(bytes).collect()
    }

    #[test]
    fn the_known_ones() {
        assert_eq!(walk(&[1, 4, 0xde, 0xad, 0xbe, 0xef]), [Trailer::Nonce([0xde, 0xad, 0xbe, 0xef])]);
        assert_eq!(walk(&[5, 2, 0x9c, 0x40]), [Trailer::RandomPort(40000)]);
        for (kind, discovery) in [(0, Discovery::Solicitation), (1, Discovery::Advertisement)] {
            assert_eq!(walk(&[4, 4, kind, 0xa5, 0, 0]), [Trailer::NeighbourDiscovery(discovery)]);
        }
        assert_eq!(walk(&[4, 4, 2, 0, 0, 0]), [Trailer::Skipped(4)]);
        // The other number of the random port (RFC 6081 §9).
        assert_eq!(walk(&[2, 2, 0x9c, 0x40]), [Trailer::Skipped(2)]);
    }

    #[test]
    fn alternate_addresses_have_one_of_four_lengths() {
        for len in 0..=40_u8 {
            let value: Vec<u8> = (1..=len).collect();
            let bytes = [&[3, len][..], &value].concat();
            let count = match len {
                8 => 1,
                14 => 2,
                20 => 3,
                26 => 4,
                _ => 0,
            };
            match walk(&bytes)[..] {
                [Trailer::AlternateAddresses(list)] => {
                    assert_eq!(list.len(), count, "{len}");
                    assert_eq!((list[0].address.get(), list[0].port.get()), (0x0304_0506, 0x0708));
                }
                [Trailer::Skipped(3)] => assert_eq!(count, 0, "{len}"),
                ref other => panic!("{len}: {other:?}"),
            }
        }
        assert_eq!(walk(&[3, 8, 0, 0, 9, 0, 0, 2, 0, 0]), [Trailer::Skipped(3)], "port 0");
    }

    /// TRX-03: the two top bits say it; 01 alone discards.
    #[test]
    fn unknown_ones_by_their_top_bits() {
        for kind in (0..=255).filter(|kind| ![1, 3, 4, 5].contains(kind)) {
            let bytes = [kind, 1, 0xa5, NONCE, 4, 1, 2, 3, 4];
            let discard = kind >> 6 == 1;
            let first = if discard { Trailer::Discard(kind) } else { Trailer::Skipped(kind) };
            assert_eq!(walk(&bytes), [first, Trailer::Nonce([1, 2, 3, 4])]);
            assert_eq!(asks_to_discard(&bytes), discard);
        }
    }

    #[test]
    fn the_walk_ends_at_the_first_one_that_is_not_all_there() {
        assert_eq!(walk(&[]), []);
        assert_eq!(walk(&[1]), []);
        assert_eq!(walk(&[0x41, 2, 0xaa]), [], "not even this one discards");
        assert_eq!(
            walk(&[5, 2, 0, 1, 1, 4, 1, 2, 3, 0x41, 0]),
            [Trailer::RandomPort(1), Trailer::Nonce([1, 2, 3, 0x41])]
        );
        assert_eq!(walk(&[0x80, 255, 0, 0x41, 0]), []);
        assert_eq!(walk(&[0, 0, 0, 0, 0]), [Trailer::Skipped(0), Trailer::Skipped(0)]);
    }

    proptest! {
        #[test]
        fn noise_never_panics_and_ends(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(walk(&bytes).len() <= bytes.len() / 2);
        }

        #[test]
        fn each_is_found(kinds in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..30)), 0..10)) {
            let bytes: Vec<u8> = kinds
                .iter()
                .flat_map(|(kind, value)| [&[*kind, value.len() as u8][..], value].concat())
                .collect();
            prop_assert_eq!(walk(&bytes).len(), kinds.len());
        }
    }
}
