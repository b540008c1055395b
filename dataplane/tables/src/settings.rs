//! What the data plane must know besides routes; one immutable record per generation.

use sixlane_tunnel::sixinfour::RelayParams;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most ports of one data plane.
pub const PORTS: usize = 64;

/// The greatest MTU of a port in bytes: what a frame of 2,048 bytes holds behind the 256 that stay free
/// for headers and the Ethernet header. The kernel drops longer packets before anybody can answer them.
pub const PORT_MTU_MAX: u32 = 2048 - 256 - 14;

/// Packets punted per second unless said otherwise: control spends a few microseconds on each, so that a
/// flood costs it a small part of a core (TGT-14).
pub const PUNTS_PER_SECOND: u32 = 5000;
/// Packets punted at once unless said otherwise.
pub const PUNTS_BURST: u32 = 500;

/// A port as the data plane sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PortSettings {
    /// MTU of the interface in bytes, without the Ethernet header.
    pub mtu: u32,
    /// The kernel's index of the interface that has the port's addresses and routes: of a VLAN port the
    /// VLAN's.
    pub ifindex: u32,
    /// [`PortSettings::FORWARD_ALL`] and others to come.
    pub flags: u32,
    /// The port's MAC address.
    pub mac: [u8; 6],
    /// The VLAN id in the one tag of its frames (1..=4094); 0: they have none.
    pub vlan: u16,
    /// The kernel's index of the device whose sockets carry its frames; 0: `ifindex`.
    pub device: u32,
}

impl PortSettings {
    /// `forward = "all"`: native IPv6 of this port is forwarded by sixlane too.
    pub const FORWARD_ALL: u32 = 1;

    /// The kernel's index of the device whose sockets carry the port's frames.
    #[inline]
    #[must_use]
    pub const fn carrier(&self) -> u32 {
        if self.device == 0 { self.ifindex } else { self.device }
    }
}

/// The settings of a generation, as they lie in shared memory: any bytes are valid.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Settings {
    /// Raised by the writer with each publication; what the caller puts here is replaced.
    pub generation: u64,
    /// Secret key of the IPv4 identification hash.
    pub hash_key: [u64; 2],
    /// Source of ICMPv6 errors.
    pub router_ipv6: [u8; 16],
    /// 1: bogon profile `lab`.
    pub lab: u32,
    /// ICMPv6 errors per second, all workers together.
    pub errors_per_second: u32,
    /// Errors that may be sent at once.
    pub errors_burst: u32,
    /// Packet Too Big per second, all workers together; their own budget.
    pub ptb_per_second: u32,
    /// Packets Too Big that may be sent at once.
    pub ptb_burst: u32,
    /// 1: the 6to4 function is served.
    pub sixtofour_enabled: u32,
    /// Its parameters.
    pub sixtofour: RelayParams,
    /// Ports in use (0..=64).
    pub port_count: u32,
    /// Workers among which rates are divided (at least 1).
    pub worker_count: u32,
    /// 1: control serves the door, so that packets for this box and packets that are not ours are punted.
    pub door: u32,
    /// Packets that may be punted per second, all workers together.
    pub punts_per_second: u32,
    /// Packets that may be punted at once, all workers together.
    pub punts_burst: u32,
    /// Zero.
    pub reserved: [u32; 23],
    /// The ports; those from `port_count` on are unused.
    pub ports: [PortSettings; PORTS],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            generation: 0,
            hash_key: [0; 2],
            router_ipv6: [0; 16],
            lab: 0,
            errors_per_second: 1000,
            errors_burst: 1000,
            ptb_per_second: 1000,
            ptb_burst: 1000,
            sixtofour_enabled: 0,
            sixtofour: RelayParams::default(),
            port_count: 0,
            worker_count: 1,
            door: 0,
            punts_per_second: PUNTS_PER_SECOND,
            punts_burst: PUNTS_BURST,
            reserved: [0; 23],
            ports: [PortSettings::default(); PORTS],
        }
    }
}

impl Settings {
    /// The settings of a port, if it is in use.
    #[inline]
    #[must_use]
    pub fn port(&self, index: u8) -> Option<&PortSettings> {
        if u32::from(index) < self.port_count { self.ports.get(usize::from(index)) } else { None }
    }

    /// The port whose frames arrive at the sockets of port `index` with this VLAN id in their one tag; id 0
    /// is a priority tag and stands for no VLAN (IEEE 802.1Q §6.9).
    #[must_use]
    pub fn port_of_tag(&self, index: u8, vlan: u16) -> Option<u8> {
        let carrier = self.port(index)?.carrier();
        let ports = self.ports.get(..self.port_count as usize).unwrap_or(&self.ports);
        let found = ports.iter().position(|port| port.vlan == vlan && port.carrier() == carrier)?;
        u8::try_from(found).ok()
    }
}
