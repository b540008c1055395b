//! What a configuration means: plain values, every rule of the grammar already checked.
//!
//! The rest of the product reads only these types. They hold no text positions and no raw strings
//! where a type says more.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Unbuilt;

/// A configuration that has passed `sixlane check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// `[dataplane]`: workers, rings and memory.
    pub dataplane: Dataplane,
    /// `[[port]]`: the interfaces, in the order of the file; at most 64.
    pub ports: Vec<Port>,
    /// `[router]`: the box as an IPv6 router.
    pub router: Router,
    /// `[profile]`: which addresses are refused as bogons.
    pub profile: Profile,
    /// `[icmp]`: budgets of ICMPv6 errors.
    pub icmp: Icmp,
    /// `[limits]`: sizes of the tables.
    pub limits: Limits,
    /// `[process]`: users and directories.
    pub process: Process,
    /// `[admin]`: who may talk to a running relay.
    pub admin: Admin,
    /// `[sixtofour]`, absent = off (RFC 7526 §5).
    pub sixtofour: Option<SixToFour>,
    /// `[[advertise]]`: router advertisements on LAN ports.
    pub advertise: Vec<Advertise>,
    /// `[[sixrd]]`: the domains.
    pub sixrd: Vec<SixRd>,
    /// `[teredo.relay]`, absent = off.
    pub teredo_relay: Option<TeredoRelay>,
    /// `[teredo.server]`, absent = off.
    pub teredo_server: Option<TeredoServer>,
    /// `[isatap]`, absent = off.
    pub isatap: Option<Isatap>,
    /// `[[sixinfour]]`: the configured tunnels.
    pub sixinfour: Vec<SixInFour>,
    /// IPv4 prefixes of other tunnel routers (RFC 6324 §3.2.3).
    pub known_relays: Vec<Ipv4Net>,
    /// Own IPv4 addresses as the outside sees them, behind a NAT.
    pub aliases: Vec<Ipv4Addr>,
    /// `[fpm]`, absent = off.
    pub fpm: Option<Fpm>,
    /// `[status]`, absent = off.
    pub status: Option<SocketAddr>,
    /// `[metrics]`, absent = off.
    pub metrics: Option<SocketAddr>,
    /// Sentences that `check` prints although the file is valid.
    pub warnings: Vec<String>,
    /// What this version understands but cannot do yet; see [`super::refuse_unbuilt`].
    pub unbuilt: Vec<Unbuilt>,
}

/// `[dataplane]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataplane {
    /// How many workers, and on which cores.
    pub workers: Workers,
    /// How the AF_XDP sockets are bound.
    pub mode: Mode,
    /// What a worker does with empty turns.
    pub idle: Idle,
    /// Entries of each receive ring: a power of two, 64..=32768. Default 2048.
    pub rx_ring: u32,
    /// Entries of each transmit ring: a power of two, 64..=32768. Default 2048.
    pub tx_ring: u32,
    /// Entries of each fill ring: a power of two, 64..=32768. Default 2048.
    pub fill_ring: u32,
    /// Entries of each completion ring: a power of two, 64..=32768. Default 2048.
    pub completion_ring: u32,
    /// Frames of 2048 bytes per worker; `None` = as many as its rings can hold.
    pub frames: Option<u32>,
    /// After this many seconds without a heartbeat a worker is replaced; 0 = never. Default 1.
    pub stuck_seconds: u32,
    /// Whether ports without zero-copy may forward inside the XDP program.
    pub fast_path: FastPath,
}

/// `dataplane.workers`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workers {
    /// The smallest queue count of the ports, at most the allowed cores.
    Auto,
    /// One worker on each of these cores, none twice, 1..=64 of them.
    Cores(Vec<u32>),
}

/// `dataplane.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Zero-copy when every port of a worker accepts it, else copy.
    Auto,
    /// Zero-copy or not at all.
    ZeroCopy,
    /// Copy mode with the driver's own XDP.
    Copy,
    /// Generic XDP, for drivers that have none.
    Generic,
}

/// `dataplane.idle`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Sleep when the workers leave at most one core to the rest of the machine.
    Auto,
    /// Wait in `poll` after 1,000 empty turns.
    Sleep,
    /// Never wait.
    Spin,
}

/// `dataplane.fast_path`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastPath {
    /// Where it is the faster way.
    Auto,
    /// Every packet through user space.
    Off,
}

/// `[[port]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name of the interface that carries the XDP program, 1..=15 bytes.
    pub name: String,
    /// The VLAN served on it, 1..=4094; `None` = untagged frames.
    pub vlan: Option<u16>,
    /// Which native IPv6 is forwarded here.
    pub forward: Forward,
}

/// `port.forward`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Only packets to served tunnel prefixes.
    Tunnels,
    /// All native IPv6 that is not for the box.
    All,
}

/// `[router]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Source of ICMPv6 errors; `None` = chosen by RFC 6724 from the addresses of the ports.
    pub ipv6_address: Option<Ipv6Addr>,
    /// Kernel routing tables to follow, none twice, at least one.
    pub tables: Vec<RoutingTable>,
}

/// A kernel routing table, by number or by its name in `rt_tables`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutingTable {
    /// Table 254, `main`.
    Main,
    /// A number, 1..=4294967295.
    Number(u32),
    /// A name that the kernel's tools know from `/etc/iproute2/rt_tables`.
    Name(String),
}

/// `[profile]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Which table of bogons applies.
    pub bogons: Bogons,
}

/// `profile.bogons`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bogons {
    /// The registries of RFC 6890 and 8190.
    Internet,
    /// The same, with documentation and benchmarking ranges permitted.
    Lab,
}

/// `[icmp]`: token buckets (RFC 4443 §2.4(f)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// ICMPv6 errors a second other than Packet Too Big, 1..=10,000,000. Default 1000.
    pub errors_per_second: u32,
    /// Errors that may leave at once, 1..=10,000,000. Default a tenth of the rate, at least 10.
    pub errors_burst: u32,
    /// Packet Too Big a second, its own bucket, 1..=10,000,000. Default 1000.
    pub packet_too_big_per_second: u32,
    /// Packet Too Big that may leave at once. Default a tenth of the rate, at least 10.
    pub packet_too_big_burst: u32,
}

/// `[limits]`: sizes fixed at the start, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 routes, 1..=16,000,000. Default 2,000,000.
    pub routes4: u32,
    /// IPv6 routes, 1..=16,000,000. Default 600,000.
    pub routes6: u32,
    /// Adjacencies and next hops, 16..=16,000,000. Default 65,536.
    pub adjacencies: u32,
    /// 6in4 tunnels, 1..=16,000,000. Default 131,072.
    pub tunnels: u32,
    /// 6rd domains, 1..=65,536. Default 1,024.
    pub domains: u32,
    /// Teredo peers, 1..=16,777,216. Default 1,048,576.
    pub peers: u32,
}

/// `[process]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// User of the control process. Default `sixlane-control`.
    pub control_user: String,
    /// User of the data plane. Default `sixlane-data`.
    pub dataplane_user: String,
    /// User of the observer. Default `sixlane-observer`.
    pub observer_user: String,
    /// Where state survives a reboot. Default `/var/lib/sixlane`.
    pub state_directory: PathBuf,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Group that may open the admin sockets. Default `sixlane`.
    pub group: String,
}

/// What every mechanism may set for its encapsulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encapsulation {
    /// Time to live of the outer header, 1..=255. Default 64.
    pub ttl: u8,
    /// Don't Fragment of the outer header.
    pub df: Df,
    /// DSCP of the outer header (RFC 2983).
    pub dscp: Dscp,
    /// ECN of the outer header (RFC 6040 §4.1).
    pub ecn: Ecn,
    /// Tunnel MTU in bytes of inner packet, 1280..=65515 (RFC 4213 §3.2). Default 1280.
    pub mtu: u32,
    /// Another automatic mechanism may use the same address.
    pub shared_address: bool,
    /// Outer addresses that may use the mechanism; `None` = all.
    pub allow: Option<Vec<Ipv4Net>>,
    /// What goes to the box itself out of the tunnel.
    pub deliver: Deliver,
    /// What happens to an inner packet above the MTU.
    pub oversize: Oversize,
}

/// `df`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Df {
    /// As the mechanism's RFC says: clear with a static MTU.
    Rfc,
    /// Always set.
    Always,
}

/// `dscp`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dscp {
    /// Outer DSCP 0 (pipe model).
    Zero,
    /// Outer DSCP = inner DSCP (uniform model).
    Copy,
    /// This code point, 0..=63.
    Fixed(u8),
}

/// `ecn`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecn {
    /// Outer ECN = inner ECN.
    Normal,
    /// Outer ECN = Not-ECT.
    Compatibility,
}

/// `deliver`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Only ICMPv6.
    Icmp,
    /// TCP and UDP too, such as a BGP session.
    All,
}

/// `oversize`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// Packet Too Big.
    TooBig,
    /// Outer fragments.
    Fragment,
    /// Silent drop.
    Drop,
}

/// `[sixtofour]` (RFC 3056, 3068, 7526)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SixToFour {
    /// Which of the two roles of RFC 3056.
    pub role: SixToFourRole,
    /// The IPv4 address that is served; `None` = followed from a port (`"auto"`, role router).
    pub address: Option<Ipv4Addr>,
    /// Also serve 192.88.99.1.
    pub anycast: bool,
    /// Outer source is 192.88.99.1 instead of the unicast address.
    pub anycast_source: bool,
    /// Role router: the relay for native traffic.
    pub relay: Option<Ipv4Addr>,
    /// The encapsulation.
    pub encapsulation: Encapsulation,
}

/// `sixtofour.role`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SixToFourRole {
    /// Between 6to4 sites and the native IPv6 Internet.
    Relay,
    /// The router of one 6to4 site.
    Router,
}

/// `[[sixrd]]` (RFC 5969)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SixRd {
    /// Name of the domain, `[a-z0-9._-]{1,32}`.
    pub name: String,
    /// The 6rd prefix.
    pub prefix: Ipv6Net,
    /// The common IPv4 prefix of the domain.
    pub ipv4_prefix: Ipv4Net,
    /// IPv4 address of the border relay.
    pub br_address: Ipv4Addr,
    /// The border relay's address is an anycast address.
    pub anycast: bool,
    /// Refuse sources of the 6rd prefix that come from the native side.
    pub native_source_check: bool,
    /// The encapsulation.
    pub encapsulation: Encapsulation,
}

/// `[teredo.relay]` (RFC 4380 §5.4)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeredoRelay {
    /// IPv4 address of the service.
    pub address: Ipv4Addr,
    /// UDP port of the service.
    pub port: u16,
    /// The /64 that sources of our bubbles are made in.
    pub cookie_prefix: Ipv6Net,
    /// Refuse Teredo sources that come from the native side.
    pub native_source_check: bool,
    /// Trust the cone bit (RFC 5991 §3.2 advises not to).
    pub honour_cone_bit: bool,
    /// The encapsulation.
    pub encapsulation: Encapsulation,
}

/// `[teredo.server]` (RFC 4380 §5.3)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeredoServer {
    /// First IPv4 address.
    pub primary: Ipv4Addr,
    /// Second IPv4 address, another one.
    pub secondary: Ipv4Addr,
    /// Secrets of clients.
    pub secrets_file: Option<PathBuf>,
    /// The encapsulation.
    pub encapsulation: Encapsulation,
}

/// `[isatap]` (RFC 5214)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isatap {
    /// Our locator.
    pub address: Ipv4Addr,
    /// The /64 of the site.
    pub prefix: Ipv6Net,
    /// The potential router list.
    pub potential_routers: Vec<PotentialRouter>,
    /// The encapsulation.
    pub encapsulation: Encapsulation,
}

/// An entry of `isatap.potential_routers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PotentialRouter {
    /// By address.
    Address(Ipv4Addr),
    /// By DNS name, resolved by the control process.
    Name(String),
}

/// `[[sixinfour]]` (RFC 4213)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SixInFour {
    /// Name of the tunnel, `[a-z0-9._-]{1,32}`.
    pub name: String,
    /// Our end.
    pub local: Ipv4Addr,
    /// The other end.
    pub remote: Ipv4Addr,
    /// What lies behind it.
    pub routes: Vec<Ipv6Net>,
    /// Only sources inside `routes` may come out of it.
    pub strict_source: bool,
    /// The encapsulation.
    pub encapsulation: Encapsulation,
}

/// `[[advertise]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// Name of a configured port.
    pub port: String,
    /// The /64 to advertise; `None` = the next free one of the 6to4 prefix.
    pub prefix: Option<Ipv6Net>,
    /// Default router preference (RFC 4191).
    pub preference: Preference,
}

/// `advertise.preference`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// 11
    Low,
    /// 00
    Medium,
    /// 01
    High,
}

/// `[fpm]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fpm {
    /// Where zebra connects. Default 127.0.0.1:2620.
    pub listen: SocketAddr,
    /// User that the routing daemon must run as. Default `frr`.
    pub user: String,
    /// How long routes stay after the connection is lost, in seconds, 0 to 3,600. Default 120.
    pub keep_seconds: u32,
    /// Most IPv4 routes, at most `limits.routes4`. Default nine tenths of that.
    pub routes4: u32,
    /// Most IPv6 routes, at most `limits.routes6`. Default nine tenths of that.
    pub routes6: u32,
}
