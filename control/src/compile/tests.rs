//! The compiler on kernels made by hand.

use sixlane_tables::adjacency::kind;
use sixlane_tunnel::Class4;

use super::*;
use crate::config;
use crate::fpm::NOBODY;
use crate::kernel::Rib;
use crate::link::PortFact;
use crate::netlink::message::{Address, Link};
use crate::netlink::route::{Action, Path, Route};

pub(crate) const WAN4: u32 = 3;
pub(crate) const WAN6: u32 = 4;
pub(crate) const TRUNK: u32 = 40;
const ETH0: u32 = 2;

pub(crate) const TEXT: &str = r#"
version = 1
[[port]]
name = "wan4"
[[port]]
name = "wan6"
[router]
ipv6_address = "2001:600::fe"
[profile]
bogons = "internet"
[sixtofour]
role = "relay"
address = "9.254.253.252"
"#;

pub(crate) fn checked(text: &str) -> Checked {
    config::parse("test.toml", text).unwrap()
}

pub(crate) fn address(ifindex: u32, text: &str) -> Address {
    let (address, len) = text.split_once('/').unwrap();
    Address {
        ifindex,
        address: address.parse().unwrap(),
        prefix_len: len.parse().unwrap(),
        peer: None,
        scope: 0,
        deprecated: false,
    }
}

pub(crate) fn route(net: &str, ifindex: u32, gateway: Option<&str>) -> Route {
    let gateway = gateway.map(|text| text.parse().unwrap());
    Route {
        destination: net.parse().unwrap(),
        table: 254,
        protocol: 3,
        priority: 0,
        mtu: 0,
        next_hop: 0,
        action: Action::Paths(vec![Path { ifindex, gateway, foreign: false, weight: 1 }]),
    }
}

/// The relay of the first laboratory, with a management interface.
pub(crate) fn kernel() -> Kernel {
    let link = |ifindex, name: &str| Link {
        ifindex,
        name: name.into(),
        mac: [2, 0, 0, 0, 0, u8::try_from(ifindex).unwrap()],
        mtu: 1500,
        up: true,
        running: true,
        vlan: None,
    };
    let mut routes = Rib::default();
    routes.extend([
        route("9.254.253.0/24", WAN4, None),
        route("0.0.0.0/0", WAN4, Some("9.254.253.1")),
        route("172.16.0.0/24", ETH0, None),
        route("2001:600::/64", WAN6, None),
        route("2001:700::/32", WAN6, Some("fe80::9")),
        route("fe80::/64", WAN6, None),
    ]);
    Kernel {
        links: [link(ETH0, "eth0"), link(WAN4, "wan4"), link(WAN6, "wan6")]
            .into_iter()
            .map(|link| (link.ifindex, link))
            .collect(),
        addresses: vec![
            address(1, "127.0.0.1/8"),
            address(1, "::1/128"),
            address(ETH0, "172.16.0.9/24"),
            address(WAN4, "9.254.253.252/24"),
            address(WAN6, "2001:600::fe/64"),
            address(WAN6, "fe80::1/64"),
        ],
        routes,
        ..Kernel::default()
    }
}

pub(crate) fn plan() -> PlanFacts {
    let port = |index, name: &str, ifindex| PortFact {
        index,
        name: name.into(),
        ifindex,
        queues: 1,
        driver: "veth".into(),
        zero_copy: false,
        generic: false,
        no_zero_copy: false,
    };
    PlanFacts {
        ports: vec![port(0, "wan4", WAN4), port(1, "wan6", WAN6)],
        workers: 1,
        door: true,
        cores: vec![1],
        spin: false,
    }
}

pub(crate) fn compiled(text: &str, kernel: &Kernel) -> Result<Desired, String> {
    compile(Input {
        config: &checked(text),
        plan: &plan(),
        kernel,
        tables: &[254],
        failed: &BTreeSet::new(),
        hash_key: [1, 2],
        fpm: &NOBODY,
    })
}

/// The same relay with wan6 as VLAN 600 of the device [`TRUNK`]: configuration, plan and kernel.
pub(crate) fn with_vlan() -> (Checked, PlanFacts, Kernel) {
    let config = checked(&TEXT.replace("\"wan6\"", "\"trunk\"\nvlan = 600"));
    let (mut plan, mut kernel) = (plan(), kernel());
    (plan.ports[1].name, plan.ports[1].ifindex) = ("trunk".into(), TRUNK);
    let trunk = Link { ifindex: TRUNK, name: "trunk".into(), ..kernel.links[&WAN4].clone() };
    kernel.links.insert(TRUNK, trunk);
    if let Some(link) = kernel.links.get_mut(&WAN6) {
        link.vlan = Some((TRUNK, 600));
    }
    (config, plan, kernel)
}

fn target4(desired: &Desired, net: &str) -> Option<Target> {
    desired.routes4.get(&net.parse().unwrap()).copied()
}

fn target6(desired: &Desired, net: &str) -> Option<Target> {
    desired.routes6.get(&net.parse().unwrap()).copied()
}

fn class(desired: &Desired, address: &str) -> Class4 {
    let address = u32::from(address.parse::<Ipv4Addr>().unwrap());
    let holds = |range: &&ClassRange| (range.first..=range.last).contains(&address);
    desired.classes.iter().filter(holds).fold(Class4::NONE, |all, range| all.union(range.class))
}

#[test]
fn a_port_for_packets_that_no_frame_holds_is_refused() {
    let mut kernel = kernel();
    for (mtu, is_fine) in [(1280, true), (1500, true), (1778, true), (1779, false), (9000, false)] {
        kernel.links.get_mut(&WAN6).unwrap().mtu = mtu;
        let answer = compiled(TEXT, &kernel);
        assert_eq!(answer.is_ok(), is_fine, "{mtu}");
        let said = answer.err().unwrap_or_default();
        assert!(is_fine || said.contains("`ip link set dev wan6 mtu 1778`"), "{said}");
    }
}

#[test]
fn every_kind_of_route_finds_its_place() {
    let desired = compiled(TEXT, &kernel()).unwrap();
    let gateway = Key { ifindex: WAN4, address: "9.254.253.1".parse().unwrap() };
    let far = Key { ifindex: WAN6, address: "fe80::9".parse().unwrap() };
    for (net, target) in [
        ("0.0.0.0/0", Target::Neighbour(gateway)),
        ("9.254.253.1/32", Target::Neighbour(gateway)),
        ("9.254.253.0/24", Target::Glean { port: 0 }),
        ("9.254.253.252/32", Target::Kind(kind::LOCAL)),
        ("9.254.253.255/32", Target::Kind(kind::BROADCAST)),
        ("9.254.253.0/32", Target::Kind(kind::BROADCAST)),
        ("172.16.0.0/24", Target::Kind(kind::NO_ROUTE)),
        ("172.16.0.9/32", Target::Kind(kind::LOCAL)),
    ] {
        assert_eq!(target4(&desired, net), Some(target), "{net}");
    }
    for (net, target) in [
        ("2002::/16", Target::Kind(kind::SIXTOFOUR)),
        ("2001:600::/64", Target::Glean { port: 1 }),
        ("2001:600::fe/128", Target::Kind(kind::LOCAL)),
        ("2001:600::/128", Target::Kind(kind::LOCAL)),
        ("2001:700::/32", Target::Neighbour(far)),
    ] {
        assert_eq!(target6(&desired, net), Some(target), "{net}");
    }
    assert_eq!(target6(&desired, "fe80::/64"), None, "link-local is never forwarded");
    assert_eq!(desired.gateways, BTreeSet::from([gateway, far]));
    assert_eq!(desired.on_link.len(), 2, "the management network is not ours");
}

#[test]
fn metrics_decide_and_then_the_order_of_tables() {
    let mut kernel = kernel();
    let mut better = route("2001:800::/32", WAN6, Some("fe80::2"));
    let mut worse = route("2001:800::/32", WAN6, Some("fe80::3"));
    (better.priority, worse.priority) = (10, 20);
    kernel.routes.extend([worse.clone(), better.clone()]);
    let desired = compiled(TEXT, &kernel).unwrap();
    let near = Key { ifindex: WAN6, address: "fe80::2".parse().unwrap() };
    assert_eq!(target6(&desired, "2001:800::/32"), Some(Target::Neighbour(near)));
    // A table that comes first in router.tables wins whatever the metric.
    worse.table = 100;
    kernel.routes.push(worse);
    let config = checked(TEXT);
    let input = Input {
        config: &config,
        plan: &plan(),
        kernel: &kernel,
        tables: &[100, 254],
        failed: &BTreeSet::new(),
        hash_key: [0; 2],
        fpm: &NOBODY,
    };
    let desired = compile(input).unwrap();
    let far = Key { ifindex: WAN6, address: "fe80::3".parse().unwrap() };
    assert_eq!(target6(&desired, "2001:800::/32"), Some(Target::Neighbour(far)));
}

#[test]
fn refusing_routes_and_multipath() {
    let mut kernel = kernel();
    for (net, action) in [
        ("8.1.0.0/16", Action::Blackhole),
        ("8.2.0.0/16", Action::Unreachable),
        ("8.3.0.0/16", Action::Prohibit),
        (
            "8.4.0.0/16",
            Action::Paths(vec![
                Path {
                    ifindex: ETH0,
                    gateway: Some("172.16.0.1".parse().unwrap()),
                    foreign: false,
                    weight: 1,
                },
                Path {
                    ifindex: WAN4,
                    gateway: Some("9.254.253.2".parse().unwrap()),
                    foreign: true,
                    weight: 1,
                },
                Path {
                    ifindex: WAN4,
                    gateway: Some("9.254.253.3".parse().unwrap()),
                    foreign: false,
                    weight: 1,
                },
            ]),
        ),
    ] {
        kernel.routes.push(Route { action, ..route(net, WAN4, None) });
    }
    let desired = compiled(TEXT, &kernel).unwrap();
    let third = Key { ifindex: WAN4, address: "9.254.253.3".parse().unwrap() };
    assert_eq!(target4(&desired, "8.1.0.0/16"), Some(Target::Kind(kind::BLACKHOLE)));
    assert_eq!(target4(&desired, "8.2.0.0/16"), Some(Target::Kind(kind::UNREACHABLE)));
    assert_eq!(target4(&desired, "8.3.0.0/16"), Some(Target::Kind(kind::PROHIBIT)));
    assert_eq!(target4(&desired, "8.4.0.0/16"), Some(Target::Neighbour(third)));
}

#[test]
fn a_kernel_route_to_2002_does_not_displace_the_tunnel_and_own_addresses_displace_all() {
    let mut kernel = kernel();
    kernel.routes.push(route("2002::/16", WAN6, Some("fe80::9")));
    kernel.routes.push(route("9.254.253.252/32", WAN4, Some("9.254.253.1")));
    let desired = compiled(TEXT, &kernel).unwrap();
    assert_eq!(target6(&desired, "2002::/16"), Some(Target::Kind(kind::SIXTOFOUR)));
    assert_eq!(target4(&desired, "9.254.253.252/32"), Some(Target::Kind(kind::LOCAL)));
}

#[test]
fn classes_name_own_broadcast_bogon_relay_and_stranger() {
    let text = TEXT.replace(
        "[[port]]\nname = \"wan4\"",
        "known_relays = [\"8.8.0.0/16\"]\naliases = [\"7.7.7.7\"]\n[[port]]\nname = \"wan4\"",
    ) + "allow = [\"9.0.0.0/8\", \"8.0.0.0/7\", \"255.255.255.255/32\"]\n";
    let desired = compiled(&text, &kernel()).unwrap();
    assert!(class(&desired, "9.254.253.252").contains(Class4::OWN));
    assert!(class(&desired, "172.16.0.9").contains(Class4::OWN.union(Class4::OUTER_BOGON)));
    assert!(class(&desired, "7.7.7.7").contains(Class4::OWN.union(Class4::NOT_ALLOWED)));
    assert!(class(&desired, "9.254.253.0").contains(Class4::BROADCAST));
    assert!(class(&desired, "9.254.253.255").contains(Class4::BROADCAST));
    assert!(class(&desired, "8.8.1.1").contains(Class4::KNOWN_RELAY));
    assert_eq!(class(&desired, "9.1.1.1"), Class4::NONE);
    for stranger in ["0.0.0.1", "7.255.255.255", "10.0.0.0", "255.255.255.254"] {
        assert!(class(&desired, stranger).contains(Class4::NOT_ALLOWED), "{stranger}");
    }
    for friend in ["8.0.0.0", "9.255.255.255", "255.255.255.255"] {
        assert!(!class(&desired, friend).intersects(Class4::NOT_ALLOWED), "{friend}");
    }
}

/// `ip address add 9.1.0.1 peer 9.2.0.0/24`: the network on the link is the peer's.
#[test]
fn broadcast_addresses_are_those_of_the_peers_network() {
    let mut kernel = kernel();
    let peer = Some("9.2.0.0".parse().unwrap());
    kernel.addresses.push(Address { peer, ..address(WAN4, "9.1.0.1/24") });
    let desired = compiled(TEXT, &kernel).unwrap();
    for (there, text) in [(true, "9.2.0.255"), (true, "9.2.0.0"), (false, "9.1.0.255"), (false, "9.1.0.0")] {
        assert_eq!(class(&desired, text).contains(Class4::BROADCAST), there, "{text}");
        let target = there.then_some(Target::Kind(kind::BROADCAST));
        assert_eq!(target4(&desired, &format!("{text}/32")), target, "{text}");
    }
}

#[test]
fn the_lab_profile_permits_documentation_ranges_and_nothing_else() {
    let mut kernel = kernel();
    kernel.addresses.push(address(WAN4, "192.0.2.1/24"));
    let text = TEXT.replace("9.254.253.252", "192.0.2.1").replace("internet", "lab");
    let mut config = checked(&text);
    let compiled = |config: &Checked| {
        compile(Input {
            config,
            plan: &plan(),
            kernel: &kernel,
            tables: &[254],
            failed: &BTreeSet::new(),
            hash_key: [0; 2],
            fpm: &NOBODY,
        })
    };
    let desired = compiled(&config).unwrap();
    assert_eq!(desired.settings.lab, 1);
    assert_eq!(class(&desired, "198.18.0.1"), Class4::NONE);
    assert!(class(&desired, "10.0.0.1").contains(Class4::OUTER_BOGON));
    // The configuration's own check says the same; the compiler does not rely on it.
    config.profile.bogons = Bogons::Internet;
    let error = compiled(&config).unwrap_err();
    assert!(error.contains("192.0.2.1") && error.contains("RFC 3056"), "{error}");
}

#[test]
fn an_address_on_no_interface_is_a_sentence_with_a_remedy() {
    let mut kernel = kernel();
    kernel.addresses.retain(|own| own.address != "9.254.253.252".parse::<IpAddr>().unwrap());
    let error = compiled(TEXT, &kernel).unwrap_err();
    assert!(
        error.contains("not on an interface") && error.contains("ip address add 9.254.253.252/32"),
        "{error}"
    );
}

/// A control that is started again while packets flow refuses nothing that has become of the kernel's state.
#[test]
fn what_has_gone_since_the_first_start_is_an_alarm_and_no_refusal() {
    let (config, plan) = (checked(TEXT), plan());
    let again = |config: &Checked, kernel: &Kernel| {
        let failed = BTreeSet::new();
        compile_again(Input {
            config,
            plan: &plan,
            kernel,
            tables: &[254],
            failed: &failed,
            hash_key: [1, 2],
            fpm: &NOBODY,
        })
    };
    let names = |desired: &Desired| desired.alarms.iter().map(|(alarm, _)| *alarm).collect::<Vec<_>>();
    let mut long = kernel();
    long.links.get_mut(&WAN6).unwrap().mtu = 9000;
    long.addresses.retain(|own| own.address.is_ipv6());
    assert!(compiled(TEXT, &long).is_err());
    assert_eq!(names(&again(&config, &long)), [Alarm::RelayAddress, Alarm::PortUnfit]);
    let mut away = kernel();
    away.links.remove(&WAN6);
    away.addresses.retain(|own| own.address.is_ipv4());
    let config = checked(&TEXT.replace("[router]", "").replace("ipv6_address = \"2001:600::fe\"", ""));
    let desired = again(&config, &away);
    assert_eq!(names(&desired), [Alarm::RouterAddress, Alarm::PortUnfit]);
    assert!(desired.alarms.iter().any(|(_, text)| text.contains("\"wan6\"")), "{:?}", desired.alarms);
    assert_eq!((desired.settings.errors_per_second, desired.settings.ptb_per_second), (0, 0));
}

#[test]
fn settings_say_what_the_configuration_says() {
    let text = TEXT.replace("name = \"wan6\"", "name = \"wan6\"\nforward = \"all\"")
        + "mtu = 1400\nttl = 40\ndf = \"always\"\ndscp = 10\necn = \"compatibility\"\n";
    let desired = compiled(&text, &kernel()).unwrap();
    let settings = desired.settings;
    assert_eq!(settings.router_ipv6, "2001:600::fe".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!((settings.port_count, settings.worker_count, settings.sixtofour_enabled), (2, 1, 1));
    assert_eq!(settings.sixtofour.address, u32::from(Ipv4Addr::new(9, 254, 253, 252)));
    let wrap = settings.sixtofour;
    assert_eq!((wrap.mtu, wrap.ttl, wrap.df, wrap.dscp, wrap.ecn), (1400, 40, 1, 10, 1));
    assert_eq!(settings.ports[0].flags, 0);
    assert_eq!(settings.ports[1].flags, sixlane_tables::PortSettings::FORWARD_ALL);
    assert_eq!((settings.ports[1].ifindex, settings.ports[1].mac), (WAN6, [2, 0, 0, 0, 0, 4]));
    assert_eq!(settings.hash_key, [1, 2]);
}

#[test]
fn the_router_address_is_chosen_native_before_sixtofour_and_port_before_other() {
    let text = TEXT.replace("ipv6_address = \"2001:600::fe\"", "");
    let mut kernel = kernel();
    kernel.addresses.insert(0, address(WAN6, "2002:9fe:fdfc::1/64"));
    kernel.addresses.insert(0, address(ETH0, "2001:900::1/64"));
    let chosen =
        |kernel: &Kernel| compiled(&text, kernel).map(|desired| Ipv6Addr::from(desired.settings.router_ipv6));
    assert_eq!(chosen(&kernel), Ok("2001:600::fe".parse().unwrap()));
    kernel.addresses.retain(|own| !own.address.is_ipv6() || own.scope != 0);
    kernel.addresses.push(address(1, "::1/128"));
    let error = chosen(&kernel).unwrap_err();
    assert!(error.contains("router.ipv6_address"), "{error}");
}

#[test]
fn the_programs_sets_hold_relay_own_addresses_and_prefix() {
    let desired = compiled(TEXT, &kernel()).unwrap();
    assert_eq!(desired.sets.relay4, BTreeSet::from([Ipv4Addr::new(9, 254, 253, 252)]));
    assert_eq!(
        desired.sets.local6,
        BTreeSet::from(["2001:600::fe", "2001:600::"].map(|address| address.parse().unwrap()))
    );
    assert_eq!(desired.sets.served6, BTreeSet::from(["2002::/16".parse().unwrap()]));
}

#[test]
fn what_is_odd_but_works_is_an_alarm() {
    let mut kernel = kernel();
    let mut sit = kernel.links[&ETH0].clone();
    (sit.ifindex, sit.name) = (9, "sit0".into());
    kernel.links.insert(9, sit);
    let text = TEXT.replace("2001:600::fe", "2001:600::99");
    let desired = compiled(&text, &kernel).unwrap();
    let names: Vec<_> = desired.alarms.iter().map(|(alarm, _)| *alarm).collect();
    assert_eq!(names, [Alarm::RouterAddress, Alarm::SitLoaded]);
}
