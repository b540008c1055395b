//! The addresses and routes of the golden packets, and some that end badly.

use super::{WAN4, WAN6};
use ipnet::{Ipv4Net, Ipv6Net};
use sixlane_tables::adjacency::kind;
use sixlane_tables::{Adjacency, ClassRange, Limits, NextHopId, PortSettings, Settings, TableWriter, Tables};
use sixlane_tunnel::Class4;
use sixlane_tunnel::bogon::BLOCKS4;
use sixlane_tunnel::field_copy::ECN_COMPATIBILITY;
use sixlane_tunnel::sixinfour::RelayParams;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock};

/// MAC addresses: ours, the native host's, the IPv4 gateway's.
pub const OUR_MAC6: [u8; 6] = [2, 0, 0, 0, 0, 6];
pub const OUR_MAC4: [u8; 6] = [2, 0, 0, 0, 0, 4];
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 1, 6];
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 1, 4];

/// The relay's addresses.
pub const ROUTER: [u8; 16] = [0x20, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe];
pub const RELAY: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 252);

/// The settings of the golden packets.
pub fn settings() -> Settings {
    let mut settings = Settings {
        hash_key: [0x1357_9bdf_0246_8ace, 0xfedc_ba98_7654_3210],
        router_ipv6: ROUTER,
        errors_per_second: 1_000_000,
        errors_burst: 1_000_000,
        ptb_per_second: 1_000_000,
        ptb_burst: 1_000_000,
        sixtofour_enabled: 1,
        sixtofour: RelayParams {
            address: RELAY.to_bits(),
            mtu: 1280,
            ttl: 64,
            ecn: ECN_COMPATIBILITY,
            ..RelayParams::default()
        },
        port_count: 2,
        ..Settings::default()
    };
    settings.ports[usize::from(WAN6)] =
        PortSettings { mtu: 1500, ifindex: 6, mac: OUR_MAC6, ..Default::default() };
    settings.ports[usize::from(WAN4)] =
        PortSettings { mtu: 1500, ifindex: 4, mac: OUR_MAC4, ..Default::default() };
    settings
}

/// A resolved neighbour behind a port.
pub fn neighbour(port: u8, mtu: u32) -> Adjacency {
    let (dst_mac, src_mac) = if port == WAN4 { (GATEWAY_MAC, OUR_MAC4) } else { (HOST_MAC, OUR_MAC6) };
    Adjacency { port, mtu, dst_mac, src_mac, ..Adjacency::of_kind(kind::REWRITE) }
}

/// The classes that control would publish: the bogon table of the profile, own and broadcast
/// addresses, another relay, and a network outside the access list.
pub fn classes(lab: bool) -> Vec<ClassRange> {
    let bogons =
        BLOCKS4.iter().map(|block| ClassRange::new(block.first, block.last(), block.class_under(lab)));
    let own = |address: [u8; 4], class| ClassRange::of_prefix(u32::from_be_bytes(address), 32, class);
    bogons
        .chain([
            own([9, 254, 253, 252], Class4::OWN),
            own([9, 254, 253, 0], Class4::BROADCAST),
            own([9, 254, 253, 255], Class4::BROADCAST),
            own([8, 0, 0, 66], Class4::KNOWN_RELAY),
            ClassRange::of_prefix(u32::from_be_bytes([8, 9, 0, 0]), 16, Class4::NOT_ALLOWED),
        ])
        .collect()
}

fn add(writer: &mut TableWriter, adjacency: &Adjacency) -> NextHopId {
    writer.add_adjacency(adjacency).expect("room for an adjacency")
}

/// Sets an IPv6 route to a new adjacency.
pub fn route6(writer: &mut TableWriter, prefix: &str, adjacency: &Adjacency) -> NextHopId {
    let id = add(writer, adjacency);
    let prefix: Ipv6Net = prefix.parse().expect("a prefix");
    writer.set_route6(prefix, id).expect("room for a route");
    id
}

/// Sets an IPv4 route to a new adjacency.
pub fn route4(writer: &mut TableWriter, prefix: &str, adjacency: &Adjacency) -> NextHopId {
    let id = add(writer, adjacency);
    let prefix: Ipv4Net = prefix.parse().expect("a prefix");
    writer.set_route4(prefix, id).expect("room for a route");
    id
}

/// A writer with the routes of the topology.
pub fn writer(settings: &Settings) -> TableWriter {
    let limits = Limits { routes4: 5000, routes6: 1000, adjacencies: 200, segments: 1, ..Limits::default() };
    let mut writer = TableWriter::create(&limits, settings).expect("table memory");
    writer.set_classes(&classes(settings.lab != 0)).expect("room for classes");
    let tables = &mut writer;
    let neighbour = |port, mtu| {
        let vlan = settings.port(port).map_or(0, |port| port.vlan);
        Adjacency { vlan, ..neighbour(port, mtu) }
    };
    let of = Adjacency::of_kind;
    let on_link = |kind, port, mtu| Adjacency { port, mtu, ifindex: 6, ..of(kind) };

    route6(tables, "2001:600::/64", &on_link(kind::GLEAN, WAN6, 1500));
    route6(tables, "2001:600::1/128", &neighbour(WAN6, 1500));
    route6(tables, "2001:600::fe/128", &of(kind::LOCAL));
    route6(tables, "2002::/16", &Adjacency { mtu: 1280, ..of(kind::SIXTOFOUR) });
    route6(tables, "2001:600:1::/48", &neighbour(WAN6, 1280));
    // Destinations that end badly.
    route6(tables, "2001:600:b1::/48", &of(kind::BLACKHOLE));
    route6(tables, "2001:600:b2::/48", &of(kind::UNREACHABLE));
    route6(tables, "2001:600:b3::/48", &of(kind::PROHIBIT));
    let gateway = Adjacency { next_hop: *b"gateway-address!", ..on_link(kind::UNRESOLVED, WAN6, 1500) };
    route6(tables, "2001:600:b4::/48", &gateway);
    route6(tables, "2001:600:b5::/48", &of(kind::SIXTOFOUR));
    route6(tables, "2001:600:b6::/48", &neighbour(9, 1500));
    route6(tables, "2001:600:b7::/48", &of(200));

    // Nothing leads to the rest of IPv4: `outer_no_route`.
    for prefix in ["192.0.0.0/8", "8.0.0.0/8", "9.0.0.0/8", "198.0.0.0/8", "203.0.0.0/8"] {
        route4(tables, prefix, &neighbour(WAN4, 1500));
    }
    route4(tables, "9.254.253.0/24", &Adjacency { ifindex: 4, ..on_link(kind::GLEAN, WAN4, 1500) });
    route4(tables, "9.254.253.252/32", &of(kind::LOCAL));
    route4(tables, "8.1.0.0/16", &neighbour(WAN4, 1200));
    route4(tables, "8.2.0.0/16", &of(kind::LOCAL));
    route4(tables, "8.3.0.0/16", &of(kind::BROADCAST));
    route4(tables, "8.4.0.0/16", &of(kind::BLACKHOLE));
    route4(tables, "8.5.0.0/16", &of(kind::PROHIBIT));
    route4(tables, "8.6.0.0/16", &of(kind::SIXTOFOUR));
    writer
}

/// The read-only side of a writer's tables.
pub fn attach(writer: &TableWriter) -> Arc<Tables> {
    let mut segments = writer.segments().iter();
    let first = segments.next().expect("a first segment").share().expect("a descriptor");
    Arc::new(Tables::attach(first).expect("sealed tables of our layout"))
}

/// The topology's tables; the writer lives as long as the process.
pub fn tables() -> Arc<Tables> {
    static TABLES: OnceLock<(Mutex<TableWriter>, Arc<Tables>)> = OnceLock::new();
    let (_, tables) = TABLES.get_or_init(|| {
        let writer = writer(&settings());
        let tables = attach(&writer);
        (Mutex::new(writer), tables)
    });
    Arc::clone(tables)
}

/// Tables under other settings; the writer comes along because it owns them.
pub fn tables_with(change: impl FnOnce(&mut Settings)) -> (TableWriter, Arc<Tables>) {
    let mut settings = settings();
    change(&mut settings);
    let writer = writer(&settings);
    let tables = attach(&writer);
    (writer, tables)
}
