//! Numbers and layouts that the kernel or the XDP program define.
//!
//! `bpf/abi.h` is the contract with the XDP program; its sizes are asserted here and there. The
//! layouts are plain integers without padding, so any bytes are a value.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Ports of a box at most: `SIXLANE_PORTS_MAX`.
pub const PORTS_MAX: u32 = 64;
/// RX queues of a port at most: `SIXLANE_QUEUES_MAX`.
pub const QUEUES_MAX: u32 = 64;
/// Prefixes in the served set at most: `SIXLANE_PREFIXES_MAX`.
pub const PREFIXES_MAX: u32 = 4096;
/// Addresses in each address set at most: `SIXLANE_ADDRESSES_MAX`.
pub const ADDRESSES_MAX: u32 = 4096;
/// Slot of the counters for frames on an interface that is no port: `SIXLANE_NO_PORT`.
pub const NO_PORT: u32 = PORTS_MAX;

/// Entry of an RX or TX ring: `struct xdp_desc` of `linux/if_xdp.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Offset of the first byte in the arena.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// `XDP_PKT_CONTD` and friends; 0 here.
    pub options: u32,
}

/// Key of the map of ports: `struct sixlane_port_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PortKey {
    /// Interface that the program is attached to.
    pub ifindex: u32,
    /// 0 for frames without a tag, else [`TAGGED`] and the VLAN id.
    pub tag: u16,
    /// 0.
    pub reserved: u16,
}

/// Set in [`PortKey::tag`] for a tagged port: `SIXLANE_TAGGED`.
pub const TAGGED: u16 = 0x1000;

/// Value of the map of ports: `struct sixlane_port`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Port {
    /// Number of the port, below [`PORTS_MAX`].
    pub index: u8,
    /// [`FORWARD_ALL`] or 0.
    pub flags: u8,
    /// Own hardware address.
    pub mac: [u8; 6],
}

/// Port flag: every unicast IPv6 packet is ours, not only those to served prefixes:
/// `SIXLANE_FORWARD_ALL`.
pub const FORWARD_ALL: u8 = 1;

/// Service bit of a relay address: protocol 41: `SIXLANE_SERVES_SIXINFOUR`.
pub const SERVES_SIXINFOUR: u32 = 1;
/// Service bit of a relay address: Teredo, reserved: `SIXLANE_SERVES_TEREDO`.
pub const SERVES_TEREDO: u32 = 2;

/// Key of the served set: `struct sixlane_prefix6`, the kernel's layout of an LPM key.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Prefix6 {
    /// Bits.
    pub length: u32,
    /// Network address.
    pub address: [u8; 16],
}

/// Counters of the XDP program, per CPU and port: `struct sixlane_xdp_counters`.
///
/// `seen = passed + redirected + no_socket`; `not_our_mac` is a part of `passed`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct XdpCounters {
    /// Frames that reached the program.
    pub seen: u64,
    /// Frames left to the kernel.
    pub passed: u64,
    /// Frames given to a socket.
    pub redirected: u64,
    /// Frames of ours that found no socket and were dropped.
    pub no_socket: u64,
    /// Frames left to the kernel because they carry another unicast hardware address.
    pub not_our_mac: u64,
}

const _: () = {
    assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());
    assert!(size_of::<Descriptor>() == 16);
    assert!(size_of::<PortKey>() == 8);
    assert!(size_of::<Port>() == 8);
    assert!(size_of::<Prefix6>() == 20);
    assert!(size_of::<XdpCounters>() == 40);
};
