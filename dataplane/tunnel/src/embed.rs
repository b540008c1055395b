//! IPv4 addresses inside IPv6 addresses: the codecs of 6to4, ISATAP and Teredo.

use sixlane_wire::ipv6::Address;

/// The first 16 bits of a 6to4 address (RFC 3056 §2).
pub const SIXTOFOUR_PREFIX: u16 = 0x2002;
/// The first 32 bits of a Teredo address (RFC 4380 §2.6).
pub const TEREDO_PREFIX: u32 = 0x2001_0000;
/// The first 32 bits of an ISATAP interface identifier whose universal bit is clear (RFC 5214 §6.1).
pub const ISATAP_PRIVATE: u32 = 0x0000_5efe;
/// The first 32 bits of an ISATAP interface identifier whose universal bit is set (RFC 5214 §6.1).
pub const ISATAP_GLOBAL: u32 = 0x0200_5efe;

/// Whether an address is in 2002::/16.
#[inline]
#[must_use]
pub const fn is_sixtofour(address: Address) -> bool {
    address.hi >> 48 == SIXTOFOUR_PREFIX as u64
}

/// The IPv4 address inside a 6to4 address: bits 16..=47 (RFC 3056 §2).
#[inline]
#[must_use]
pub const fn sixtofour_v4(address: Address) -> Option<u32> {
    if is_sixtofour(address) { Some((address.hi >> 16) as u32) } else { None }
}

/// The 6to4 address of a site: prefix 2002:V4::/48, with a subnet and an interface identifier.
#[inline]
#[must_use]
pub const fn sixtofour(v4: u32, subnet: u16, identifier: u64) -> Address {
    Address { hi: ((SIXTOFOUR_PREFIX as u64) << 48) | ((v4 as u64) << 16) | subnet as u64, lo: identifier }
}

/// The IPv4 address inside an ISATAP interface identifier, under any prefix (RFC 5214 §6.1).
#[inline]
#[must_use]
pub const fn isatap_v4(address: Address) -> Option<u32> {
    let head = (address.lo >> 32) as u32;
    if head | 0x0200_0000 == ISATAP_GLOBAL { Some(address.lo as u32) } else { None }
}

/// The ISATAP interface identifier of an IPv4 address.
#[inline]
#[must_use]
pub const fn isatap_identifier(v4: u32, global: bool) -> u64 {
    let head = if global { ISATAP_GLOBAL } else { ISATAP_PRIVATE };
    ((head as u64) << 32) | v4 as u64
}

/// What a Teredo address says (RFC 4380 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teredo {
    /// IPv4 address of the client's server.
    pub server: u32,
    /// Flags, as they stand: the cone bit and the random bits of RFC 5991 §3.1.
    pub flags: u16,
    /// The client's port as the Internet sees it.
    pub port: u16,
    /// The client's IPv4 address as the Internet sees it.
    pub client: u32,
}

/// Reads a Teredo address (2001::/32).
#[inline]
#[must_use]
pub const fn teredo(address: Address) -> Option<Teredo> {
    if address.hi >> 32 != TEREDO_PREFIX as u64 {
        return None;
    }
    Some(Teredo {
        server: address.hi as u32,
        flags: (address.lo >> 48) as u16,
        port: !((address.lo >> 32) as u16),
        client: !(address.lo as u32),
    })
}

impl Teredo {
    /// The address that says this.
    #[must_use]
    pub const fn address(self) -> Address {
        Address {
            hi: ((TEREDO_PREFIX as u64) << 32) | self.server as u64,
            lo: ((self.flags as u64) << 48) | ((!self.port as u64) << 32) | !self.client as u64,
        }
    }
}
