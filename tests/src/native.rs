//! A laboratory for native traffic.

use sixlane_lab::{HostSettings, Topology, WireSettings};

/// First light with one host more, `core` (2001:601::1) behind the relay's port `core6` (2001:601::fe); this
/// port and `wan6` forward all native IPv6. The relay's kernel would forward, too.
///
/// # Panics
/// The topology in the source tree is damaged.
pub fn two_native_sides() -> Topology {
    let Ok(mut topology) = Topology::first_light() else { panic!("deploy/lab/first-light.toml") };
    let forwarding = || ("net.ipv6.conf.all.forwarding".to_owned(), "1".to_owned());
    topology.hosts.push(HostSettings {
        name: "core".to_owned(),
        about: "a native router on the relay's other side".to_owned(),
        addresses: vec!["eth0 2001:601::1/64".to_owned()],
        routes: vec!["default via 2001:601::fe".to_owned()],
        sysctl: [forwarding()].into(),
    });
    let ends = ["core eth0".to_owned(), "relay core6".to_owned()];
    topology.wires.push(WireSettings { ends, queues: 1 });
    for relay in topology.hosts.iter_mut().filter(|host| host.name == "relay") {
        relay.addresses.push("core6 2001:601::fe/64".to_owned());
        relay.sysctl.extend([forwarding()]);
    }
    let all = "[[port]]\nname = \"wan6\"\nforward = \"all\"\n[[port]]\nname = \"core6\"\nforward = \"all\"\n";
    topology.relay.config = topology.relay.config.replace("[[port]]\nname = \"wan6\"\n", all);
    topology
}
