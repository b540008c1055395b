//! Addresses that must not appear where they appear: the registries of RFC 6890 and RFC 8190 and the lists
//! of RFC 3964, RFC 4380 and RFC 3056, as one table per family.
//!
//! The tables are the definition. The data path uses faster forms of them, and a test walks every edge of
//! every block through both: [`refused6`] here, and for IPv4 the classes that the shared tables were built
//! with.

use crate::class::Class4;
use sixlane_wire::ipv6::Address;

/// One IPv4 block of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block4 {
    /// First address, as a number in host order.
    pub first: u32,
    /// Prefix length in bits.
    pub len: u8,
    /// Where the block is refused.
    pub class: Class4,
    /// Whether the profile `lab` permits the block.
    pub lab_permits: bool,
    /// What the block is, and who says so.
    pub note: &'static str,
}

impl Block4 {
    /// Last address of the block.
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.first | (u32::MAX as u64 >> self.len) as u32
    }

    /// Where the block is refused under a profile (`lab` or not).
    #[must_use]
    pub const fn class_under(&self, lab: bool) -> Class4 {
        if lab && self.lab_permits { Class4::NONE } else { self.class }
    }
}

/// Refused everywhere.
const ALL: Class4 = Class4::OUTER_BOGON.union(Class4::EMBEDDED_BOGON).union(Class4::PRIVATE_BOGON);
/// Refused on the public mechanisms, normal inside a private one.
const PUBLIC: Class4 = Class4::OUTER_BOGON.union(Class4::EMBEDDED_BOGON);
/// Fine as outer source of 6to4, refused elsewhere.
const ANYCAST: Class4 = Class4::EMBEDDED_BOGON.union(Class4::PRIVATE_BOGON);

const fn block(octets: [u8; 4], len: u8, class: Class4, note: &'static str) -> Block4 {
    Block4 { first: u32::from_be_bytes(octets), len, class, lab_permits: false, note }
}

const fn lab(octets: [u8; 4], len: u8, class: Class4, note: &'static str) -> Block4 {
    Block4 { first: u32::from_be_bytes(octets), len, class, lab_permits: true, note }
}

/// The IPv4 bogons, sorted, without overlap. Own addresses and the broadcast addresses of attached
/// networks are added by whoever builds the tables.
pub const BLOCKS4: &[Block4] = &[
    block([0, 0, 0, 0], 8, ALL, "this network (RFC 6890)"),
    block([10, 0, 0, 0], 8, PUBLIC, "private use (RFC 1918)"),
    block([100, 64, 0, 0], 10, PUBLIC, "shared address space (RFC 6598)"),
    block([127, 0, 0, 0], 8, ALL, "loopback (RFC 6890)"),
    block([169, 254, 0, 0], 16, ALL, "link-local (RFC 3927)"),
    block([172, 16, 0, 0], 12, PUBLIC, "private use (RFC 1918)"),
    block([192, 0, 0, 0], 24, ALL, "IETF protocol assignments (RFC 6890)"),
    lab([192, 0, 2, 0], 24, ALL, "documentation (RFC 5737)"),
    block([192, 88, 99, 0], 24, ANYCAST, "6to4 relay anycast (RFC 7526)"),
    block([192, 168, 0, 0], 16, PUBLIC, "private use (RFC 1918)"),
    lab([198, 18, 0, 0], 15, PUBLIC, "benchmarking (RFC 2544)"),
    lab([198, 51, 100, 0], 24, ALL, "documentation (RFC 5737)"),
    lab([203, 0, 113, 0], 24, ALL, "documentation (RFC 5737)"),
    block([224, 0, 0, 0], 4, ALL, "multicast (RFC 5771)"),
    block([240, 0, 0, 0], 4, ALL, "reserved and broadcast (RFC 1112)"),
];

/// The block of the table that holds an IPv4 address.
#[must_use]
pub fn block4(address: u32) -> Option<&'static Block4> {
    BLOCKS4.iter().find(|block| block.first <= address && address <= block.last())
}

/// Where the table refuses an IPv4 address, under a profile (`lab` or not).
#[must_use]
pub fn class4(address: u32, lab: bool) -> Class4 {
    block4(address).map_or(Class4::NONE, |block| block.class_under(lab))
}

/// One IPv6 block of the table. Blocks nest: the longest one that holds an address counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block6 {
    /// First address.
    pub first: Address,
    /// Prefix length in bits.
    pub len: u8,
    /// Whether the block is refused, as source and as destination.
    pub refused: bool,
    /// Whether the profile `lab` permits the block.
    pub lab_permits: bool,
    /// What the block is, and who says so.
    pub note: &'static str,
}

impl Block6 {
    /// Last address of the block.
    #[must_use]
    pub const fn last(&self) -> Address {
        let first = u128::from_be_bytes(self.first.octets());
        let host = if self.len >= 128 { 0 } else { u128::MAX >> self.len };
        Address::from_octets((first | host).to_be_bytes())
    }

    /// Whether the block is refused under a profile (`lab` or not).
    #[must_use]
    pub const fn refused_under(&self, lab: bool) -> bool {
        self.refused && !(lab && self.lab_permits)
    }
}

const fn six(groups: [u16; 4], len: u8, refused: bool, note: &'static str) -> Block6 {
    let [a, b, c, d] = groups;
    let hi = (a as u64) << 48 | (b as u64) << 32 | (c as u64) << 16 | d as u64;
    Block6 { first: Address { hi, lo: 0 }, len, refused, lab_permits: false, note }
}

const fn refuse(groups: [u16; 4], len: u8, note: &'static str) -> Block6 {
    six(groups, len, true, note)
}

const fn accept(groups: [u16; 4], len: u8, note: &'static str) -> Block6 {
    six(groups, len, false, note)
}

const fn in_lab(block: Block6) -> Block6 {
    Block6 { lab_permits: true, ..block }
}

const fn single(groups: [u16; 4], last: u64, note: &'static str) -> Block6 {
    let block = accept(groups, 128, note);
    Block6 { first: Address { hi: block.first.hi, lo: last }, ..block }
}

/// The IPv6 special blocks. 2002::/16 is not judged by this table: what counts there is the embedded
/// address ([`crate::guard`]).
pub const BLOCKS6: &[Block6] = &[
    refuse([0, 0, 0, 0], 16, "unspecified, loopback, IPv4-compatible, IPv4-mapped (RFC 3964 §5.3.2)"),
    accept([0x64, 0xff9b, 0, 0], 96, "IPv4-IPv6 translation (RFC 6052)"),
    refuse([0x64, 0xff9b, 1, 0], 48, "local translation prefix (RFC 8215)"),
    refuse([0x100, 0, 0, 0], 64, "discard-only (RFC 6666)"),
    refuse([0x100, 0, 0, 1], 64, "dummy prefix (RFC 9780)"),
    refuse([0x2001, 0, 0, 0], 23, "IETF protocol assignments (RFC 2928)"),
    accept([0x2001, 0, 0, 0], 32, "Teredo (RFC 4380)"),
    single([0x2001, 1, 0, 0], 1, "port control anycast (RFC 7723)"),
    single([0x2001, 1, 0, 0], 2, "TURN anycast (RFC 8155)"),
    in_lab(refuse([0x2001, 2, 0, 0], 48, "benchmarking (RFC 5180)")),
    accept([0x2001, 3, 0, 0], 32, "AMT (RFC 7450)"),
    accept([0x2001, 4, 0x112, 0], 48, "AS112 (RFC 7535)"),
    refuse([0x2001, 0x10, 0, 0], 28, "ORCHID, returned (RFC 4843)"),
    accept([0x2001, 0x20, 0, 0], 28, "ORCHIDv2 (RFC 7343)"),
    accept([0x2001, 0x30, 0, 0], 28, "drone identifiers (RFC 9374)"),
    in_lab(refuse([0x2001, 0xdb8, 0, 0], 32, "documentation (RFC 3849)")),
    accept([0x2002, 0, 0, 0], 16, "6to4 (RFC 3056)"),
    accept([0x2620, 0x4f, 0x8000, 0], 48, "AS112 (RFC 7534)"),
    refuse([0x3ffe, 0, 0, 0], 16, "6bone, returned (RFC 3701)"),
    in_lab(refuse([0x3fff, 0, 0, 0], 20, "documentation (RFC 9637)")),
    refuse([0x5f00, 0, 0, 0], 16, "segment identifiers (RFC 9602)"),
    refuse([0xfc00, 0, 0, 0], 7, "unique local (RFC 4193)"),
    refuse([0xfe80, 0, 0, 0], 10, "link-local (RFC 4291 §2.5.6)"),
    refuse([0xfec0, 0, 0, 0], 10, "site-local (RFC 3879)"),
    refuse([0xff00, 0, 0, 0], 8, "multicast (RFC 4291 §2.7)"),
];

/// The longest block of the table that holds an IPv6 address.
#[must_use]
pub fn block6(address: Address) -> Option<&'static Block6> {
    let holds = |block: &&Block6| block.first <= address && address <= block.last();
    BLOCKS6.iter().filter(holds).max_by_key(|block| block.len)
}

/// Whether an IPv6 address is refused as source or destination: [`BLOCKS6`], compiled by hand.
#[inline]
#[must_use]
pub const fn refused6(address: Address, lab: bool) -> bool {
    match (address.hi >> 48) as u16 {
        0x2001 => refused_2001(address, lab),
        0x3ffe => true,
        0x3fff => address.hi >> 44 == 0x3fff0 && !lab,
        0x2000..0x4000 => false,
        top => refused_elsewhere(top, address),
    }
}

/// Whether no router forwards packets from or to this address, into tunnels or elsewhere: unspecified,
/// loopback, IPv4-compatible and -mapped (all of ::/16, RFC 4291 §2.5.2 to §2.5.5), link-local (§2.5.6)
/// and multicast (§2.7; this product forwards none).
#[inline]
#[must_use]
pub const fn is_never_forwarded(address: Address) -> bool {
    let top = (address.hi >> 48) as u16;
    top == 0 || top & 0xffc0 == 0xfe80 || top >= 0xff00
}

/// 2001::/16: the protocol assignments of 2001::/23, and the documentation prefix.
const fn refused_2001(address: Address, lab: bool) -> bool {
    let group = (address.hi >> 32) as u16;
    match group {
        0 | 3 | 0x20..=0x3f => false,
        1 => address.hi as u32 != 0 || !matches!(address.lo, 1 | 2),
        2 => !(lab && (address.hi >> 16) as u16 == 0),
        4 => (address.hi >> 16) as u16 != 0x112,
        0xdb8 => !lab,
        _ => group < 0x200,
    }
}

/// Outside 2000::/3.
#[cold]
const fn refused_elsewhere(top: u16, address: Address) -> bool {
    match top {
        0 | 0x5f00 | 0xfc00.. => !matches!(top, 0xfe00..0xfe80),
        0x64 => address.hi >> 16 == 0x64_ff9b_0001,
        0x100 => address.hi << 16 >> 17 == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testing::{v4, v6};
    use proptest::prelude::*;
    use std::format;

    /// First, last and their neighbours outside (BOG-03).
    fn edges4(block: &Block4) -> [u32; 4] {
        [block.first, block.last(), block.first.wrapping_sub(1), block.last().wrapping_add(1)]
    }

    fn edges6(block: &Block6) -> [Address; 4] {
        let number = |address: Address| u128::from_be_bytes(address.octets());
        let address = |number: u128| Address::from_octets(number.to_be_bytes());
        let (first, last) = (number(block.first), number(block.last()));
        [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(address)
    }

    /// The table of the catalogue, column by column, written as an operator would read it: block, refused
    /// as outer source, as embedded address, in private mechanisms, and whether `lab` permits it.
    const EXPECTED4: [(&str, &str, bool, bool, bool, bool); 16] = [
        ("0.0.0.0", "0.255.255.255", true, true, true, false),
        ("10.0.0.0", "10.255.255.255", true, true, false, false),
        ("172.16.0.0", "172.31.255.255", true, true, false, false),
        ("192.168.0.0", "192.168.255.255", true, true, false, false),
        ("100.64.0.0", "100.127.255.255", true, true, false, false),
        ("127.0.0.0", "127.255.255.255", true, true, true, false),
        ("169.254.0.0", "169.254.255.255", true, true, true, false),
        ("192.0.0.0", "192.0.0.255", true, true, true, false),
        ("192.0.2.0", "192.0.2.255", true, true, true, true),
        ("198.51.100.0", "198.51.100.255", true, true, true, true),
        ("203.0.113.0", "203.0.113.255", true, true, true, true),
        ("192.88.99.0", "192.88.99.255", false, true, true, false),
        ("198.18.0.0", "198.19.255.255", true, true, false, true),
        ("224.0.0.0", "239.255.255.255", true, true, true, false),
        ("240.0.0.0", "255.255.255.255", true, true, true, false),
        ("192.31.196.0", "192.31.196.255", false, false, false, false),
    ];

    #[test]
    fn ipv4_blocks_are_sorted_and_apart() {
        assert!(BLOCKS4.windows(2).all(|pair| pair[0].last() < pair[1].first));
        assert!(BLOCKS4.iter().all(|block| block.first & (block.last() - block.first) == 0));
    }

    #[test]
    fn every_edge_of_every_ipv4_block_in_every_column() {
        let expected = |address: u32, lab: bool| {
            let row = EXPECTED4.iter().find(|row| (v4(row.0)..=v4(row.1)).contains(&address));
            let columns =
                row.map_or([false; 3], |row| if lab && row.5 { [false; 3] } else { [row.2, row.3, row.4] });
            let bits = [Class4::OUTER_BOGON, Class4::EMBEDDED_BOGON, Class4::PRIVATE_BOGON];
            columns
                .into_iter()
                .zip(bits)
                .filter(|(set, _)| *set)
                .fold(Class4::NONE, |all, (_, bit)| all.union(bit))
        };
        for (first, last) in EXPECTED4.iter().map(|row| (v4(row.0), v4(row.1))) {
            for edge in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                for lab in [false, true] {
                    assert_eq!(class4(edge, lab), expected(edge, lab), "{edge:#x} lab={lab}");
                }
            }
        }
        for edge in BLOCKS4.iter().flat_map(edges4) {
            assert_eq!(class4(edge, false), expected(edge, false), "{edge:#x}");
        }
    }

    #[test]
    fn the_addresses_that_naive_tables_refuse() {
        for text in ["192.31.196.1", "192.52.193.1", "192.175.48.1", "192.88.98.255", "9.254.253.252"] {
            assert_eq!(class4(v4(text), false), Class4::NONE, "{text}");
        }
        assert_eq!(class4(v4("192.88.99.1"), false), ANYCAST);
    }

    /// What the table means, in words of the catalogue (BOG-03): address, refused, refused in the lab.
    #[test]
    fn ipv6_addresses_by_hand() {
        for (text, refused, refused_in_lab) in [
            ("::", true, true),
            ("::1", true, true),
            ("::192.1.2.3", true, true),
            ("::ffff:192.1.2.3", true, true),
            ("0:ffff::", true, true),
            ("1::", false, false),
            ("64:ff9b::192.1.2.3", false, false),
            ("64:ff9b:1::1", true, true),
            ("64:ff9b:2::", false, false),
            ("100::1", true, true),
            ("100:0:0:1::1", true, true),
            ("100:0:0:2::", false, false),
            ("2000:ffff::", false, false),
            ("2001::1", false, false),
            ("2001:1::", true, true),
            ("2001:1::1", false, false),
            ("2001:1::2", false, false),
            ("2001:1::3", true, true),
            ("2001:2::1", true, false),
            ("2001:2:1::", true, true),
            ("2001:3::1", false, false),
            ("2001:4::", true, true),
            ("2001:4:112::1", false, false),
            ("2001:5::", true, true),
            ("2001:10::1", true, true),
            ("2001:1f:ffff::", true, true),
            ("2001:20::1", false, false),
            ("2001:3f:ffff::", false, false),
            ("2001:40::", true, true),
            ("2001:1ff:ffff::", true, true),
            ("2001:200::", false, false),
            ("2001:600::1", false, false),
            ("2001:db8::1", true, false),
            ("2001:db9::", false, false),
            ("2002:c001:203::1", false, false),
            ("2620:4f:8000::1", false, false),
            ("3ffe:831f::1", true, true),
            ("3fff:0fff::1", true, false),
            ("3fff:1000::", false, false),
            ("4000::", false, false),
            ("5f00::1", true, true),
            ("5f01::", false, false),
            ("fbff::", false, false),
            ("fc00::1", true, true),
            ("fdff::1", true, true),
            ("fe00::", false, false),
            ("fe80::1", true, true),
            ("fec0::1", true, true),
            ("ff02::1", true, true),
        ] {
            assert_eq!(refused6(v6(text), false), refused, "{text}");
            assert_eq!(refused6(v6(text), true), refused_in_lab, "{text} in the lab");
        }
    }

    fn by_table(address: Address, lab: bool) -> bool {
        block6(address).is_some_and(|block| block.refused_under(lab))
    }

    #[test]
    fn every_edge_of_every_ipv6_block_agrees_with_the_table() {
        for edge in BLOCKS6.iter().flat_map(edges6) {
            for lab in [false, true] {
                assert_eq!(refused6(edge, lab), by_table(edge, lab), "{edge:x?} lab={lab}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_ipv6_address_agrees_with_the_table(
            hi: u64, lo: u64, top in prop::sample::select(&[
                None, Some(0_u16), Some(0x64), Some(0x100), Some(0x2001), Some(0x3ffe), Some(0x3fff), Some(0x5f00),
                Some(0xfc00), Some(0xfe80), Some(0xfe00), Some(0xff02)][..]),
            zeros in 0_u32..48, lab: bool,
        ) {
            let hi = match top {
                Some(top) => (u64::from(top) << 48) | (hi >> 16 >> zeros.min(47)),
                None => hi,
            };
            let address = Address { hi, lo };
            prop_assert_eq!(refused6(address, lab), by_table(address, lab), "{}", format!("{address:x?}"));
        }
    }
}
