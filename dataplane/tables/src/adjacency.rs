//! Adjacencies: what to do with a packet once its destination is known.
//!
//! A FIB leaf holds a [`NextHopId`], the index of a word in the adjacency index; the word holds the
//! offset of an immutable 64-byte [`Adjacency`]. So a neighbour's new MAC address is one new record and
//! one store, however many routes use it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a FIB look-up answers.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct NextHopId(pub u32);

impl NextHopId {
    /// No route.
    pub const NONE: Self = Self(0);
    /// The tables are damaged: the look-up left mapped memory. Counted as `table_corrupt`.
    pub const CORRUPT: Self = Self(0x7fff_ffff);

    /// Whether there is a route.
    #[inline]
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// What [`Adjacency::kind`] may be. A kind not listed here is treated as a damaged table.
pub mod kind {
    /// No adjacency: what a look-up without a route stands for.
    pub const NO_ROUTE: u8 = 0;
    /// Dropped in silence (`blackhole`).
    pub const BLACKHOLE: u8 = 1;
    /// Answered with "reject route" (type 1 code 6, RFC 4443 §3.1).
    pub const UNREACHABLE: u8 = 2;
    /// Answered with "administratively prohibited" (type 1 code 1).
    pub const PROHIBIT: u8 = 3;
    /// An address of this box.
    pub const LOCAL: u8 = 4;
    /// A broadcast address of an attached network.
    pub const BROADCAST: u8 = 5;
    /// On-link, but the host behind the address is not known yet: each destination is its own next hop.
    pub const GLEAN: u8 = 6;
    /// A gateway whose MAC address is not known (yet).
    pub const UNRESOLVED: u8 = 7;
    /// Sent to `dst_mac` by `port`.
    pub const REWRITE: u8 = 8;
    /// Encapsulated by the 6to4 function; the outer destination has its own look-up.
    pub const SIXTOFOUR: u8 = 9;
    /// Several next hops: a flow's hash chooses among them ([`crate::group`]). None of them is a group.
    pub const GROUP: u8 = 10;
}

/// What happens to packets of a next hop. One cache line, immutable once published.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Adjacency {
    /// One of [`kind`].
    pub kind: u8,
    /// Index of the egress port (REWRITE, GLEAN, UNRESOLVED).
    pub port: u8,
    /// For the users of the tables; 0 by default.
    pub flags: u16,
    /// MTU of the egress interface (or tunnel) in bytes.
    pub mtu: u32,
    /// Destination MAC (REWRITE).
    pub dst_mac: [u8; 6],
    /// Source MAC (REWRITE).
    pub src_mac: [u8; 6],
    /// Egress interface of the kernel.
    pub ifindex: u32,
    /// The gateway's address, IPv4-mapped for IPv4; zero where the destination is its own next hop.
    pub next_hop: [u8; 16],
    /// VLAN id to write into a tag (REWRITE, 1..=4094); 0: frames leave without one.
    pub vlan: u16,
    /// Zero.
    pub reserved: [u8; 22],
}

impl Adjacency {
    /// An adjacency that has nothing but a kind.
    #[must_use]
    pub const fn of_kind(kind: u8) -> Self {
        Self {
            kind,
            port: 0,
            flags: 0,
            mtu: 0,
            dst_mac: [0; 6],
            src_mac: [0; 6],
            ifindex: 0,
            next_hop: [0; 16],
            vlan: 0,
            reserved: [0; 22],
        }
    }
}
