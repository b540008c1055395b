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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{v4, v6};
    use proptest::prelude::*;

    #[test]
    fn sixtofour_examples() {
        // RFC 3056 §2, as the catalogue computes them (6TO4-02, 6TO4-19).
        assert_eq!(sixtofour(v4("192.1.2.3"), 0, 0), v6("2002:c001:203::"));
        assert_eq!(sixtofour(v4("9.254.253.252"), 1, 5), v6("2002:9fe:fdfc:1::5"));
        assert_eq!(sixtofour_v4(v6("2002:c058:6301::")), Some(v4("192.88.99.1")));
        assert_eq!(sixtofour_v4(v6("2001:c058:6301::")), None);
        assert_eq!(sixtofour_v4(v6("2003::")), None);
    }

    #[test]
    fn isatap_examples() {
        // RFC 5214 §6.1: both values of the universal bit, nothing else.
        assert_eq!(isatap_v4(v6("fe80::5efe:10.1.0.77")), Some(v4("10.1.0.77")));
        assert_eq!(isatap_v4(v6("2001:600:9:9:200:5efe:9.254.253.252")), Some(v4("9.254.253.252")));
        for other in
            ["2001:600::1:5efe:10.1.0.77", "2001:600::100:5efe:10.1.0.77", "2001:600::5eff:10.1.0.77"]
        {
            assert_eq!(isatap_v4(v6(other)), None, "{other}");
        }
    }

    #[test]
    fn teredo_examples() {
        // TRD-01: server 65.54.227.120, cone, client 192.0.2.45:40000.
        let fields =
            Teredo { server: v4("65.54.227.120"), flags: 0x8000, port: 40000, client: v4("192.0.2.45") };
        assert_eq!(fields.address(), v6("2001:0:4136:e378:8000:63bf:3fff:fdd2"));
        assert_eq!(teredo(v6("2001:0:4136:e378:8000:63bf:3fff:fdd2")), Some(fields));
        let plain = Teredo { server: v4("8.0.0.10"), flags: 0, port: 40000, client: v4("9.0.0.2") };
        assert_eq!(plain.address(), v6("2001:0:800:a:0:63bf:f6ff:fffd"));
        assert_eq!(teredo(v6("2001:1::")), None);
    }

    proptest! {
        #[test]
        fn extract_of_embed(address: u32, subnet: u16, identifier: u64, hi: u64, global: bool) {
            prop_assert_eq!(sixtofour_v4(sixtofour(address, subnet, identifier)), Some(address));
            prop_assert_eq!(isatap_v4(Address { hi, lo: isatap_identifier(address, global) }), Some(address));
        }

        #[test]
        fn embed_of_extract(lo: u64, server: u32) {
            let address = Address { hi: (u64::from(TEREDO_PREFIX) << 32) | u64::from(server), lo };
            prop_assert_eq!(teredo(address).map(Teredo::address), Some(address));
        }
    }
}
