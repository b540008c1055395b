//! From the checked configuration and the kernel's state to what the tables should say. Pure: the
//! same input gives the same [`Desired`]; [`crate::publish`] applies the difference.
//!
//! Of several paths of a route the first that leaves by a configured port is used; equal-cost groups
//! are not built.

mod classes;
mod routes;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use sixlane_tables::settings::PORT_MTU_MAX;
use sixlane_tables::{ClassRange, Settings};
use sixlane_tunnel::bogon;

use crate::alarms::Alarm;
use crate::config::Checked;
use crate::config::checked::Bogons;
use crate::kernel::Kernel;
use crate::link::PlanFacts;
use crate::neighbours::OnLink;
use crate::netlink::request::Key;

/// Where a route leads, before it has a number in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A kind that needs nothing else (`sixlane_tables::adjacency::kind`).
    Kind(u8),
    /// On the link of this port: each destination is its own next hop.
    Glean {
        /// Index of the port.
        port: u8,
    },
    /// A neighbour: a gateway, or a host that is known.
    Neighbour(Key),
}

/// The sets of the XDP program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) relay4: BTreeSet<Ipv4Addr>,
    pub(crate) local6: BTreeSet<Ipv6Addr>,
    pub(crate) served6: BTreeSet<Ipv6Net>,
}

/// What the tables should say.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    pub(crate) routes4: BTreeMap<Ipv4Net, Target>,
    pub(crate) routes6: BTreeMap<Ipv6Net, Target>,
    pub(crate) classes: Vec<ClassRange>,
    pub(crate) settings: Settings,
    pub(crate) sets: Sets,
    /// Interface number to port index.
    pub(crate) ports: BTreeMap<u32, u8>,
    pub(crate) gateways: BTreeSet<Key>,
    pub(crate) on_link: Vec<OnLink>,
    /// What is not as it should be, yet no reason to refuse the start.
    pub(crate) alarms: Vec<(Alarm, String)>,
}

/// What the compiler looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) config: &'a Checked,
    pub(crate) plan: &'a PlanFacts,
    pub(crate) kernel: &'a Kernel,
    /// Numbers of the kernel's tables in the order of their authority.
    pub(crate) tables: &'a [u32],
    /// Secret of this start for keyed hashes.
    pub(crate) hash_key: [u64; 2],
}

impl Input<'_> {
    fn lab(&self) -> bool {
        self.config.profile.bogons == Bogons::Lab
    }
}

/// Compiles.
///
/// # Errors
/// One sentence with cause and remedy: the relay cannot start like this.
pub(crate) fn compile(input: Input<'_>) -> Result<Desired, String> {
    check_ports(input)?;
    check_sixtofour(input)?;
    let ports: BTreeMap<u32, u8> = input.plan.ports.iter().map(|port| (port.ifindex, port.index)).collect();
    let mut alarms = Vec::new();
    let settings = settings::settings(input, &mut alarms)?;
    let routed = routes::routes(input, &ports);
    if input.kernel.links.values().any(|link| link.name == "sit0") {
        alarms.push((
            Alarm::SitLoaded,
            "the kernel's own tunnel driver sit is loaded and would answer tunnel packets if the XDP \
             program were gone: unload it with `rmmod sit`"
                .to_owned(),
        ));
    }
    Ok(Desired {
        routes4: routed.routes4,
        routes6: routed.routes6,
        classes: classes::classes(input),
        settings,
        sets: sets(input),
        ports,
        gateways: routed.gateways,
        on_link: routed.on_link,
        alarms,
    })
}

fn check_ports(input: Input<'_>) -> Result<(), String> {
    for port in &input.plan.ports {
        let Some(link) = input.kernel.links.get(&port.ifindex) else {
            return Err(format!(
                "the interface \"{}\" has gone since its port was opened: bring it back and start sixlane again",
                port.name
            ));
        };
        if link.mac == [0; 6] {
            return Err(format!(
                "the interface \"{}\" has no Ethernet address: a port must be an Ethernet interface",
                port.name
            ));
        }
        if link.mtu > PORT_MTU_MAX {
            return Err(format!(
                "the interface \"{name}\" has an MTU of {mtu}, and a port carries at most {PORT_MTU_MAX} bytes \
                 (longer packets would vanish without an answer): `ip link set dev {name} mtu {PORT_MTU_MAX}`",
                name = port.name,
                mtu = link.mtu,
            ));
        }
    }
    Ok(())
}

/// 6TO4-01 (RFC 3056 §2: a globally unique address), 6TO4-03 and 6TO4-30 (on an interface, no NAT).
fn check_sixtofour(input: Input<'_>) -> Result<(), String> {
    let Some(section) = &input.config.sixtofour else { return Ok(()) };
    let Some(address) = section.address else {
        return Err("sixtofour.address = \"auto\" is not built yet: name the address of a port".to_owned());
    };
    if !bogon::class4(u32::from(address), input.lab()).is_empty() {
        return Err(format!(
            "sixtofour.address = \"{address}\" is not a global unicast address (RFC 3056 section 2): \
             use a public address of this box; for documentation and benchmarking ranges set \
             profile.bogons = \"lab\""
        ));
    }
    if !input.kernel.has_address(IpAddr::V4(address)) {
        return Err(format!(
            "sixtofour.address = \"{address}\" is not on an interface of this box (RFC 3056 section 3; \
             a relay behind NAT cannot work, RFC 6343 section 4.4): add it with \
             `ip address add {address}/32 dev INTERFACE` or name another address"
        ));
    }
    Ok(())
}

fn sets(input: Input<'_>) -> Sets {
    let mut sets = Sets::default();
    if let Some(address) = input.config.sixtofour.as_ref().and_then(|section| section.address) {
        sets.relay4.insert(address);
        sets.served6.insert(routes::SIXTOFOUR_PREFIX);
    }
    for own in &input.kernel.addresses {
        if let IpAddr::V6(address) = own.address
            && !address.is_unicast_link_local()
            && !address.is_loopback()
        {
            sets.local6.insert(address);
        }
    }
    sets
}

#[cfg(test)]
pub(crate) mod tests;
