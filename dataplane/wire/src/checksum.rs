//! The Internet checksum (RFC 1071).
//!
//! # Why nothing here swaps bytes
//!
//! The checksum is a sum of 16-bit words modulo 65535, where a carry out of the top re-enters at the
//! bottom. Swapping the two bytes of a word is a rotation by 8 bits, and a rotation is a multiplication by
//! 256 modulo 65535. Multiplication distributes over the sum: summing swapped words gives the swapped
//! sum. So it does not matter in which byte order the words are loaded, as long as all are loaded in the
//! *same* one and the result is stored in that same one (RFC 1071 §2(B)). A little-endian machine loads
//! packet bytes as they lie, adds them, and stores the result as it lies: correct, with no swap.
//!
//! What breaks this is mixing: adding a *number* (a length, a protocol, a port) to a sum of *bytes as they
//! lie*. Therefore the two meanings have two types. [`Sum`] holds the rolling sum in memory order; bytes
//! enter by [`Sum::bytes`], and numbers enter by [`Sum::number16`] and [`Sum::number32`], which first turn
//! them into what they would look like in the packet. [`Sum::field`] gives the two bytes to store, again
//! in memory order, as the big-endian type that header structs have.
//!
//! Two more properties are used. A wider word may be summed like two 16-bit halves, because 65536 is 1
//! modulo 65535, and so are 2^32 and 2^64: packets are added 64 bits at a time, with one fold at the end.
//! And the sum of a packet *including* its correct checksum is zero modulo 65535. Folded, that
//! is 0xffff (all ones, "negative zero"), because a sum with any non-zero term never folds to plain 0.

use zerocopy::big_endian::U16;

/// A rolling ones'-complement sum, in memory byte order, not yet folded.
///
/// It is kept modulo 2^64 - 1: a carry out of the top re-enters at the bottom at once, so that no length
/// can overflow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Sum = Sum(0);

    /// Adds bytes as they lie in the packet; an odd last byte is padded with zero (RFC 1071 §4.1).
    ///
    /// Pieces of a packet may be added one after the other only where each but the last has even length.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks::<8>();
        let sum = words.iter().fold(self, |sum, word| sum.plus(Sum(u64::from_ne_bytes(*word))));
        if rest.is_empty() { sum } else { sum.plus(Sum(last_word(rest))) }
    }

    /// Adds a 16-bit number, as it would stand in the packet.
    #[inline]
    #[must_use]
    pub const fn number16(self, number: u16) -> Sum {
        self.plus(Sum(number.to_be() as u64))
    }

    /// Adds a 32-bit number, as it would stand in the packet.
    #[inline]
    #[must_use]
    pub const fn number32(self, number: u32) -> Sum {
        self.plus(Sum(number.to_be() as u64))
    }

    /// Adds another sum.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Sum) -> Sum {
        let (sum, carry) = self.0.overflowing_add(other.0);
        Sum(sum.wrapping_add(carry as u64))
    }

    /// The sum folded to 16 bits, in memory order.
    #[inline]
    const fn fold(self) -> u16 {
        fold(self.0 as u32, (self.0 >> 32) as u32)
    }

    /// The checksum field that makes the summed bytes correct: the complement, ready to store.
    #[inline]
    #[must_use]
    pub fn field(self) -> U16 {
        U16::from_bytes((!self.fold()).to_ne_bytes())
    }

    /// Whether bytes that include their checksum field are correct: their sum is a multiple of 65535.
    ///
    /// (Nothing but zeros counts as correct too. No header that has a checksum is all zero.)
    #[inline]
    #[must_use]
    pub const fn is_correct(self) -> bool {
        // A remainder that is compared with zero compiles to one multiplication: cheaper than folding.
        self.0.is_multiple_of(0xffff)
    }
}

/// The last bytes of a packet, fewer than eight, padded with zeros.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    if let Ok(four) = bytes.try_into() {
        return u64::from(u32::from_ne_bytes(four));
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_ne_bytes(word)
}

/// The sum of two words of 32 bits, folded to 16 bits.
///
/// The 32-bit sum is added to itself with its halves swapped: then the upper half is the sum of both
/// halves, and the lower one has sent its carry there.
#[inline]
const fn fold(a: u32, b: u32) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    let sum = sum.wrapping_add(carry as u32);
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The checksum of plain *numbers*, as a number too, which goes into the packet by a big-endian type: of
/// 16-bit numbers that are already summed up, and of one of 32 bits. For headers that are made from
/// numbers, such as a tunnel's outer header, this saves turning each of them into memory order.
#[inline]
#[must_use]
pub const fn of_numbers(sum: u32, last: u32) -> u16 {
    !fold(sum, last)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// RFC 1071 §1, word by word, as it is told there.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::ZERO.bytes(&bytes).field().get(), !0xddf2);
    }

    #[test]
    fn nothing_sums_to_all_ones() {
        assert_eq!(Sum::ZERO.field().get(), 0xffff);
    }

    proptest! {
        #[test]
        fn any_bytes_sum_by_the_book(bytes: Vec<u8>) {
            prop_assert_eq!(Sum::ZERO.bytes(&bytes).field().get(), by_the_book(&bytes));
        }

        #[test]
        fn pieces_sum_like_the_whole(bytes: Vec<u8>, at: usize) {
            let (a, b) = bytes.split_at((at % (bytes.len() + 1)) & !1);
            let whole = Sum::ZERO.bytes(&bytes);
            prop_assert_eq!(Sum::ZERO.bytes(a).bytes(b).field(), whole.field());
            prop_assert_eq!(Sum::ZERO.bytes(a).plus(Sum::ZERO.bytes(b)).field(), whole.field());
        }

        #[test]
        fn numbers_sum_like_their_bytes(a: u16, b: u32) {
            let bytes = [a.to_be_bytes().to_vec(), b.to_be_bytes().to_vec()].concat();
            prop_assert_eq!(Sum::ZERO.number16(a).number32(b).field(), Sum::ZERO.bytes(&bytes).field());
            prop_assert_eq!(of_numbers(a.into(), b), by_the_book(&bytes));
        }

        #[test]
        fn a_stored_checksum_is_correct(mut bytes in proptest::collection::vec(any::<u8>(), 2..200)) {
            bytes[..2].fill(0);
            prop_assume!(bytes.iter().any(|&byte| byte != 0));
            let field = Sum::ZERO.bytes(&bytes).field();
            bytes[..2].copy_from_slice(&field.get().to_be_bytes());
            prop_assert!(Sum::ZERO.bytes(&bytes).is_correct());
        }
    }
}
