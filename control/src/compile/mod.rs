//! From the checked configuration and the kernel's state to what the tables should say. Pure: the
//! same input gives the same [`Desired`]; [`crate::publish`] applies the difference.
//!
//! Changes are followed without compiling everything again ([`Desired::follow`]); a property test holds
//! both ways to the same answer.
//!
//! Of several paths of a route the first that leaves by a configured port is used, and the next while
//! its gateway has failed; equal-cost groups are not built.

mod classes;
pub(crate) mod ports;
mod reconfigure;
mod routes;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixlane_tables::{ClassRange, Settings};
use sixlane_tunnel::bogon;

use crate::alarms::Alarm;
use crate::config::Checked;
use crate::config::checked::Bogons;
use crate::fpm::Routes;
use crate::kernel::{Kernel, Pending};
use crate::link::PlanFacts;
use crate::neighbours::OnLink;
use crate::netlink::request::Key;

pub(crate) use reconfigure::{Before, refuse};

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

impl Sets {
    /// What is in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        Self {
            relay4: &self.relay4 | &other.relay4,
            local6: &self.local6 | &other.local6,
            served6: &self.served6 | &other.served6,
        }
    }
}

/// What the tables should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) routes4: BTreeMap<Ipv4Net, Target>,
    pub(crate) routes6: BTreeMap<Ipv6Net, Target>,
    pub(crate) classes: Vec<ClassRange>,
    pub(crate) settings: Settings,
    pub(crate) sets: Sets,
    /// Interface number to port index.
    pub(crate) ports: BTreeMap<u32, u8>,
    /// By which frames the program knows each port.
    pub(crate) entrances: Vec<ports::Entrance>,
    pub(crate) gateways: BTreeSet<Key>,
    pub(crate) on_link: Vec<OnLink>,
    /// What is not as it should be, yet no reason to refuse the start. Of [`STATE_ALARMS`] only.
    pub(crate) alarms: Vec<(Alarm, String)>,
    book: routes::Book,
}

/// The alarms that the kernel's links and addresses decide about.
pub(crate) const STATE_ALARMS: [Alarm; 4] =
    [Alarm::SitLoaded, Alarm::RouterAddress, Alarm::RelayAddress, Alarm::PortUnfit];

/// What has to be published.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Prefixes that lead elsewhere now.
    pub(crate) nets: BTreeSet<IpNet>,
    /// Settings, classes or sets are other ones.
    pub(crate) meaning: bool,
    /// Gateways or connected prefixes are other ones.
    pub(crate) topology: bool,
}

/// What the compiler looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) config: &'a Checked,
    pub(crate) plan: &'a PlanFacts,
    pub(crate) kernel: &'a Kernel,
    /// Numbers of the kernel's tables in the order of their authority.
    pub(crate) tables: &'a [u32],
    /// Gateways that the kernel has given up.
    pub(crate) failed: &'a BTreeSet<Key>,
    /// Secret of this start for keyed hashes.
    pub(crate) hash_key: [u64; 2],
    /// What zebra has told by FPM.
    pub(crate) fpm: &'a Routes,
}

impl Input<'_> {
    fn lab(&self) -> bool {
        self.config.profile.bogons == Bogons::Lab
    }
}

/// Compiles for a first start.
///
/// # Errors
/// One sentence with cause and remedy: the relay cannot start like this.
pub(crate) fn compile(input: Input<'_>) -> Result<Desired, String> {
    let mut alarms = Vec::new();
    check_ports(input)?;
    check_sixtofour(input)?;
    let router = settings::router_address(input, &mut alarms)?;
    Ok(build(input, router, alarms))
}

/// Compiles for a control that is started again while packets flow: whatever has become of interfaces and
/// addresses meanwhile is an alarm, as it would have been for the control before, and never a refusal, for
/// a relay without control is worse than either.
pub(crate) fn compile_again(input: Input<'_>) -> Desired {
    let mut alarms = Vec::new();
    let router = settings::router_address(input, &mut alarms).unwrap_or_else(|sentence| {
        alarms.push((Alarm::RouterAddress, sentence));
        Ipv6Addr::UNSPECIFIED
    });
    build(input, router, alarms)
}

fn build(input: Input<'_>, router: Ipv6Addr, mut alarms: Vec<(Alarm, String)>) -> Desired {
    state_alarms(input, &mut alarms);
    let mut desired = Desired {
        routes4: BTreeMap::new(),
        routes6: BTreeMap::new(),
        classes: classes::classes(input),
        settings: settings::settings(input, router),
        sets: sets(input),
        ports: ports::interfaces(input),
        entrances: ports::entrances(input),
        gateways: BTreeSet::new(),
        on_link: Vec::new(),
        alarms,
        book: routes::Book::default(),
    };
    let mut work: BTreeSet<IpNet> = input.kernel.routes.nets().chain(input.fpm.nets()).collect();
    work.extend(routes::overlay_changes(&mut desired, input));
    routes::update(&mut desired, input, work);
    desired
}

impl Desired {
    /// Brings everything to what has changed. What cannot be as it should is an alarm, never a refusal.
    pub(crate) fn follow(&mut self, input: Input<'_>, pending: Pending) -> Changes {
        if pending.state && ports::interfaces(input) != self.ports {
            return self.begin_anew(input);
        }
        let mut work = pending.nets;
        let meaning = pending.state && self.follow_state(input);
        if pending.state {
            work.extend(routes::overlay_changes(self, input));
        }
        let routes::Routed { changed, topology } = routes::update(self, input, work);
        Changes { nets: changed, meaning, topology }
    }

    /// A port's interface is another one, or has gone: nothing that was compiled holds.
    fn begin_anew(&mut self, input: Input<'_>) -> Changes {
        let mut alarms = Vec::new();
        let router = self.router(input, &mut alarms);
        let old = std::mem::replace(self, build(input, router, alarms));
        let mut nets: BTreeSet<IpNet> = old.routes4.into_keys().map(IpNet::V4).collect();
        nets.extend(old.routes6.into_keys().map(IpNet::V6));
        nets.extend(self.routes4.keys().copied().map(IpNet::V4));
        nets.extend(self.routes6.keys().copied().map(IpNet::V6));
        Changes { nets, meaning: true, topology: true }
    }

    /// The source of ICMPv6 errors; the old one while there is no better.
    fn router(&self, input: Input<'_>, alarms: &mut Vec<(Alarm, String)>) -> Ipv6Addr {
        settings::router_address(input, alarms).unwrap_or_else(|sentence| {
            alarms.push((Alarm::RouterAddress, sentence));
            Ipv6Addr::from(self.settings.router_ipv6)
        })
    }

    fn follow_state(&mut self, input: Input<'_>) -> bool {
        let mut alarms = Vec::new();
        let router = self.router(input, &mut alarms);
        state_alarms(input, &mut alarms);
        self.alarms = alarms;
        let settings = settings::settings(input, router);
        let (classes, sets) = (classes::classes(input), sets(input));
        let changed = (&settings, &classes, &sets) != (&self.settings, &self.classes, &self.sets);
        (self.settings, self.classes, self.sets) = (settings, classes, sets);
        changed
    }

    /// The prefixes that may lead elsewhere when the gateway fails or is back.
    pub(crate) fn depending_on(&self, key: Key) -> impl Iterator<Item = IpNet> + '_ {
        routes::depending_on(self, key)
    }

    /// Where a prefix leads.
    pub(crate) fn target(&self, net: IpNet) -> Option<Target> {
        match net {
            IpNet::V4(net) => self.routes4.get(&net).copied(),
            IpNet::V6(net) => self.routes6.get(&net).copied(),
        }
    }

    /// The interface of the link that leads to a prefix of full length, apart from its own route.
    pub(crate) fn link_to(&self, net: IpNet) -> Option<u32> {
        if net.prefix_len() != net.max_prefix_len() {
            return None;
        }
        let wider = (0..net.prefix_len()).rev().filter_map(|len| IpNet::new(net.addr(), len).ok());
        match wider.map(|net| net.trunc()).find_map(|net| self.target(net))? {
            Target::Glean { port } => {
                self.ports.iter().find(|&(_, &index)| index == port).map(|(&ifindex, _)| ifindex)
            }
            _ => None,
        }
    }

    fn set(&mut self, net: IpNet, target: Option<Target>) {
        match (net, target) {
            (IpNet::V4(net), Some(target)) => drop(self.routes4.insert(net, target)),
            (IpNet::V6(net), Some(target)) => drop(self.routes6.insert(net, target)),
            (IpNet::V4(net), None) => drop(self.routes4.remove(&net)),
            (IpNet::V6(net), None) => drop(self.routes6.remove(&net)),
        }
    }
}

fn state_alarms(input: Input<'_>, alarms: &mut Vec<(Alarm, String)>) {
    if input.kernel.links.values().any(|link| link.name == "sit0") {
        alarms.push((
            Alarm::SitLoaded,
            "the kernel's own tunnel driver sit is loaded and would answer tunnel packets if the XDP \
             program were gone: unload it with `rmmod sit`"
                .to_owned(),
        ));
    }
    if let Err(sentence) = check_sixtofour(input) {
        alarms.push((Alarm::RelayAddress, sentence));
    }
    if let Err(sentence) = check_ports(input) {
        alarms.push((Alarm::PortUnfit, sentence));
    }
}

fn check_ports(input: Input<'_>) -> Result<(), String> {
    for port in &input.plan.ports {
        let Some(link) = ports::link(input, port) else {
            return Err(ports::missing(input, port));
        };
        let mtu_max = ports::mtu_max(input, port);
        if link.mac == [0; 6] {
            return Err(format!(
                "the interface \"{}\" has no Ethernet address: a port must be an Ethernet interface",
                link.name
            ));
        }
        if link.mtu > mtu_max {
            return Err(format!(
                "the interface \"{name}\" has an MTU of {mtu}, and a port carries at most {mtu_max} bytes \
                 (longer packets would vanish without an answer): `ip link set dev {name} mtu {mtu_max}`",
                name = link.name,
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

/// The address at which all routers of a prefix answer (RFC 4291 §2.6.1): the kernel's, as long as it
/// forwards. Between two routers there is none (RFC 6164 §5.1).
fn subnet_router_anycast(address: Ipv6Addr, prefix_len: u8) -> Option<Ipv6Addr> {
    (prefix_len < 127).then(|| Ipv6Net::new(address, prefix_len).ok().map(|net| net.network())).flatten()
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
            sets.local6.extend(subnet_router_anycast(address, own.prefix_len));
        }
    }
    sets
}

#[cfg(test)]
pub(crate) mod tests;
