//! Rig M: the real worker over frames in memory, beside the null forwarder over the same port.
//!
//! The port restores the first cache line of each packet on arrival and takes back what is sent, so the
//! same packets go round for ever. The tables hold 1,024 routes of each family by one gateway, and the
//! whole bogon table.

use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use sixlane_dataplane::Worker;
use sixlane_dataplane::null::NullForwarder;
use sixlane_dataplane::port::MemoryPort;
use sixlane_tables::adjacency::kind;
use sixlane_tables::{
    Adjacency, ClassRange, CounterSnapshot, Limits, PortSettings, Settings, TableError, TableWriter, Tables,
    WorkerLayout, WorkerSegment,
};
use sixlane_tunnel::Class4;
use sixlane_tunnel::bogon::BLOCKS4;
use sixlane_tunnel::sixinfour::RelayParams;
use sixlane_wire::checksum::Sum;
use sixlane_xsk::{FramePool, Ledger, Memory, Umem};

use crate::abx::{Side, Work};

/// The relay's IPv4 address: 9.254.253.252.
pub(crate) const RELAY: u32 = 0x09fe_fdfc;
/// The native host: 2001:600::1.
pub(crate) const NATIVE: u128 = 0x2001_0600 << 96 | 1;
/// Our own IPv6 address: 2001:600::fe.
pub(crate) const ROUTER: u128 = 0x2001_0600 << 96 | 0xfe;

pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const THEIR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Bytes of an IPv6 packet that makes a frame of 84 bytes, with Ethernet header and FCS.
const PACKET_LEN: u16 = 84 - 14 - 4;

/// What the worker does with the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Native IPv6 to native IPv6.
    Native,
    /// Native IPv6 into the 6to4 tunnel.
    Encap,
    /// Out of the 6to4 tunnel to native IPv6.
    Decap,
}

impl Case {
    /// All cases.
    pub const ALL: [Self; 3] = [Self::Native, Self::Encap, Self::Decap];

    /// The name in reports. The 84 bytes are those of the frame on the IPv6 side.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native-84",
            Self::Encap => "encap-84",
            Self::Decap => "decap-84",
        }
    }
}

/// How many frames go round, and to how many destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// The name in notes.
    pub name: &'static str,
    /// Frames of 2 KiB.
    pub frames: u32,
    /// Destinations, over which the frames are spread.
    pub destinations: usize,
}

/// 512 KiB of frames: everything stays in the second-level cache.
pub const HOT: Set = Set { name: "L2-hot", frames: 256, destinations: 256 };
/// 8 MiB of frames: their headers come from beyond it.
pub const WIDE: Set = Set { name: "8 MB", frames: 4096, destinations: 20_000 };

/// Splitmix64: the numbers behind the destinations.
fn scatter(index: u64) -> u64 {
    let mut value = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Routes of each family.
pub(crate) const ROUTES: u64 = 1024;

/// The prefix of a native route, a /32 of 2400::/12.
pub(crate) fn native_route(number: u64) -> u128 {
    0x2400_u128 << 112 | u128::from(scatter(number) & 0xf_ffff) << 96
}

/// The prefix of an IPv4 route, a /20 of 80.0.0.0/4.
pub(crate) fn site_route(number: u64) -> u32 {
    0x5000_0000 | (scatter(number) as u32 & 0xffff) << 12
}

/// A native destination: a host in a /48 of its own.
pub(crate) fn native(index: usize) -> u128 {
    let number = index as u64;
    native_route(number % ROUTES) | u128::from(scatter(number ^ 0x6a6a_0000) & 0xffff) << 80 | 1
}

/// A 6to4 site.
pub(crate) fn site(index: usize) -> u32 {
    let number = index as u64;
    site_route(number % ROUTES) | scatter(number ^ 0x6040_0000) as u32 & 0xfff
}

/// The 6to4 address of a site's first host.
pub(crate) fn sixtofour(site: u32) -> u128 {
    0x2002_u128 << 112 | u128::from(site) << 80 | 1
}

/// An IPv6 packet with UDP in it.
fn ipv6(source: u128, destination: u128) -> Vec<u8> {
    let payload = PACKET_LEN - 40;
    let mut packet = (6u32 << 28).to_be_bytes().to_vec();
    packet.extend(payload.to_be_bytes());
    packet.extend([17, 64]);
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend([0x12, 0x34, 0, 9]);
    packet.extend(payload.to_be_bytes());
    packet.resize(usize::from(PACKET_LEN), 0x5a);
    packet
}

/// Protocol 41 from a site to the relay.
fn in_tunnel(site: u32, inner: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 20];
    let len = (20 + inner.len()) as u16;
    header[0] = 0x45;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    header[8..10].copy_from_slice(&[64, 41]);
    header[12..16].copy_from_slice(&site.to_be_bytes());
    header[16..20].copy_from_slice(&RELAY.to_be_bytes());
    let checksum = Sum::default().bytes(&header).field().get();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header, inner].concat()
}

/// The packet of a case to (or from) destination `index`, from the Ethernet header on.
#[must_use]
pub fn packet(case: Case, index: usize) -> Vec<u8> {
    let (ethertype, packet) = match case {
        Case::Native => (0x86dd_u16, ipv6(NATIVE, native(index))),
        Case::Encap => (0x86dd, ipv6(NATIVE, sixtofour(site(index)))),
        Case::Decap => (0x0800, in_tunnel(site(index), &ipv6(sixtofour(site(index)), native(index)))),
    };
    [&OUR_MAC[..], &THEIR_MAC, &ethertype.to_be_bytes(), &packet].concat()
}

/// The settings of the rig.
#[must_use]
pub fn settings() -> Settings {
    let mut settings = Settings {
        hash_key: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
        router_ipv6: ROUTER.to_be_bytes(),
        errors_per_second: 1_000_000,
        errors_burst: 1_000_000,
        sixtofour_enabled: 1,
        sixtofour: RelayParams { address: RELAY, mtu: 1280, ttl: 64, ..RelayParams::default() },
        port_count: 1,
        ..Settings::default()
    };
    settings.ports[0] = PortSettings { mtu: 1500, ifindex: 1, mac: OUR_MAC, ..PortSettings::default() };
    settings
}

/// Tables with a route to every destination: 1,024 of each family, by one gateway as in a network with
/// one way out.
///
/// # Errors
/// What the writer refuses.
pub fn tables() -> Result<Arc<Tables>, TableError> {
    let mut writer = TableWriter::create(&Limits::default(), &settings())?;
    let bogons =
        BLOCKS4.iter().map(|block| ClassRange::new(block.first, block.last(), block.class_under(false)));
    let own = ClassRange::of_prefix(RELAY, 32, Class4::OWN);
    writer.set_classes(&bogons.chain([own]).collect::<Vec<_>>())?;
    let adjacency =
        Adjacency { mtu: 1500, dst_mac: THEIR_MAC, src_mac: OUR_MAC, ..Adjacency::of_kind(kind::REWRITE) };
    let gateway = writer.add_adjacency(&adjacency)?;
    let tunnel = writer.add_adjacency(&Adjacency { mtu: 1280, ..Adjacency::of_kind(kind::SIXTOFOUR) })?;
    writer.set_route6(Ipv6Net::new_assert((0x2002_u128 << 112).into(), 16), tunnel)?;
    for number in 0..ROUTES {
        writer.set_route6(Ipv6Net::new_assert(native_route(number).into(), 32), gateway)?;
        writer.set_route4(Ipv4Net::new_assert(site_route(number).into(), 20), gateway)?;
        writer.collect(&[]);
    }
    let first = writer.segments().first().map(sixlane_tables::Segment::share);
    let first = first.and_then(Result::ok).ok_or(TableError::ArenaFull)?;
    Ok(Arc::new(Tables::attach(first)?))
}

/// What a side stands on. It lives as long as the process: there are few of them.
struct Ground {
    segment: &'static WorkerSegment,
    pool: FramePool<'static>,
}

impl Ground {
    fn new(frames: u32) -> Result<Self, String> {
        let umem: &Umem =
            Box::leak(Box::new(Umem::create(frames, Memory::Heap).map_err(|error| error.to_string())?));
        let layout =
            WorkerLayout { worker: 0, adjacencies: 64, frames, ports: 1, punt_slots: 64, packet_slots: 64 };
        let segment = WorkerSegment::create(layout).map_err(|error| error.to_string())?;
        let segment: &WorkerSegment = Box::leak(Box::new(segment));
        Ok(Self { segment, pool: FramePool::new(umem, Ledger::new(segment.ledger())) })
    }

    fn port(&mut self, packets: &[Vec<u8>], spare: usize) -> Result<MemoryPort, String> {
        MemoryPort::new(0, packets, &mut self.pool, spare)
            .ok_or_else(|| "the port refuses the packets".to_owned())
    }
}

/// CLOCK_MONOTONIC in nanoseconds, as the worker's loop reads it once a turn.
pub(crate) fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The relay as one side of a comparison.
pub struct Relay {
    worker: Worker<'static, MemoryPort>,
    segment: &'static WorkerSegment,
    seen: CounterSnapshot,
    real_time: bool,
    now: u64,
}

impl Relay {
    /// A worker with these packets going round in `frames` frames, some of which are spare. With
    /// `real_time` it reads the clock once a turn, as it does in the data plane; else every run is the
    /// same.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(
        tables: Arc<Tables>,
        packets: &[Vec<u8>],
        frames: u32,
        real_time: bool,
    ) -> Result<Self, String> {
        const SPARE: u32 = 128;
        let mut ground = Ground::new(frames + SPARE)?;
        let port = ground.port(packets, SPARE as usize)?;
        let Ground { segment, pool } = ground;
        let now = if real_time { clock() } else { 1 };
        let worker = Worker::new(vec![port], pool, segment, tables, now);
        Ok(Self { worker, segment, seen: CounterSnapshot::default(), real_time, now })
    }

    /// The figures.
    #[must_use]
    pub fn counters(&self) -> CounterSnapshot {
        self.segment.counters().snapshot()
    }
}

impl Side for Relay {
    #[inline]
    fn work(&mut self) -> u64 {
        self.now = if self.real_time { clock() } else { self.now + 1_000 };
        self.worker.turn(self.now) as u64
    }

    /// Every packet was forwarded; none was dropped, none was made.
    fn check(&mut self, work: u64) -> Result<Work, String> {
        let now = self.counters();
        let moved = now.transmitted.wrapping_sub(self.seen.transmitted);
        if moved != work || now.dropped_total() != self.seen.dropped_total() {
            return Err(format!("of {work} packets {moved} were forwarded, {} dropped", now.dropped_total()));
        }
        now.identity().map_err(|error| error.to_string())?;
        self.seen = now;
        Ok(Work::undisturbed(work))
    }
}

/// The null forwarder as the other side.
pub struct Null(NullForwarder<'static, MemoryPort>);

impl Null {
    /// A null forwarder with the same packets going round.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(packets: &[Vec<u8>], frames: u32) -> Result<Self, String> {
        let mut ground = Ground::new(frames)?;
        let port = ground.port(packets, 0)?;
        Ok(Self(NullForwarder::new(port, ground.pool)))
    }
}

impl Side for Null {
    #[inline]
    fn work(&mut self) -> u64 {
        self.0.turn() as u64
    }
}

/// The packets of a case for a set: one a frame, spread over its destinations.
#[must_use]
pub fn packets(case: Case, set: &Set) -> Vec<Vec<u8>> {
    let step = set.destinations / set.frames as usize;
    (0..set.frames as usize).map(|index| packet(case, index * step)).collect()
}
