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
