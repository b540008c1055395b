//! Classes of IPv4 addresses: what the tables know about who may speak.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A set of properties of an IPv4 address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Class4(u16);

impl Class4 {
    /// No property: an ordinary global unicast address.
    pub const NONE: Class4 = Class4(0);
    /// Refused as outer source of 6to4 (column OS of the bogon table).
    pub const OUTER_BOGON: Class4 = Class4(1 << 0);
    /// Refused inside a 6to4 or Teredo address (column EM).
    pub const EMBEDDED_BOGON: Class4 = Class4(1 << 1);
    /// Refused in 6rd, ISATAP and configured tunnels too, where private addresses are normal (column PR).
    pub const PRIVATE_BOGON: Class4 = Class4(1 << 2);
    /// An address of this box (RFC 3964 §5.1, RFC 6324 §3.3).
    pub const OWN: Class4 = Class4(1 << 3);
    /// A broadcast address of an attached network (RFC 3964 §5.3.1).
    pub const BROADCAST: Class4 = Class4(1 << 4);
    /// Another tunnel router, from which nothing may come by a tunnel (RFC 6324 §3.2.3).
    pub const KNOWN_RELAY: Class4 = Class4(1 << 5);
    /// Outside the access list of the 6to4 function (RFC 3056 §5.2).
    pub const NOT_ALLOWED: Class4 = Class4(1 << 6);

    /// Whether all properties of `other` are in `self`.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Class4) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the two sets share a property.
    #[inline]
    #[must_use]
    pub const fn intersects(self, other: Class4) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Class4) -> Class4 {
        Class4(self.0 | other.0)
    }

    /// The properties of `self` that are not in `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Class4) -> Class4 {
        Class4(self.0 & !other.0)
    }

    /// Whether there is no property.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as it lies in the tables.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set from the tables; unknown bits are kept and mean nothing.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Class4 {
        Class4(bits)
    }
}

/// What the checks ask of the tables.
pub trait Classes {
    /// The properties of an IPv4 address (as a number in host order).
    fn class4(&self, address: u32) -> Class4;

    /// Whether the profile `lab` permits the documentation and benchmarking ranges.
    fn lab(&self) -> bool;
}
