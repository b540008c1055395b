//! A laboratory as data: the files of `deploy/lab`.

use crate::{Guest, Host, Lab, LabError, Relay, Wire, guest, wire::End};
use serde::Deserialize;
use std::collections::BTreeMap;

const FIRST_LIGHT: &str = include_str!("../../../deploy/lab/first-light.toml");

/// Hosts, wires, addresses and the relay's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Its name.
    pub name: String,
    /// What it shows, one sentence.
    pub about: String,
    /// The hosts, each a network namespace.
    #[serde(rename = "host")]
    pub hosts: Vec<HostSettings>,
    /// The wires between them.
    #[serde(rename = "wire")]
    pub wires: Vec<WireSettings>,
    /// The far end of the tunnel with Linux's own `sit`.
    pub guest: guest::Settings,
    /// The relay.
    pub relay: RelaySettings,
}

/// One host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSettings {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub about: String,
    /// `INTERFACE ADDRESS/LENGTH`, in order.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `PREFIX via GATEWAY`, in order.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Kernel parameters of the namespace.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
}

/// One wire.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireSettings {
    /// Its two ends, each `HOST INTERFACE`.
    pub ends: [String; 2],
    /// Queues in each direction.
    #[serde(default = "one")]
    pub queues: u16,
}

fn one() -> u16 {
    1
}

/// The relay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySettings {
    /// The host that it runs on.
    pub host: String,
    /// Its configuration, as it would stand in `/etc/sixlane/sixlane.toml`.
    pub config: String,
}

impl Topology {
    /// The built-in laboratory.
    ///
    /// # Errors
    /// Never, unless the file in the source tree is damaged.
    pub fn first_light() -> Result<Self, LabError> {
        Self::parse(FIRST_LIGHT)
    }

    /// Reads a topology.
    ///
    /// # Errors
    /// What does not belong there, by line.
    pub fn parse(text: &str) -> Result<Self, LabError> {
        toml::from_str(text).map_err(|error| LabError::Topology(error.to_string()))
    }
}

/// What is at the far end of the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FarEnd {
    /// Linux with `sit`, as the topology says.
    Linux,
    /// The bare address in its namespace: a test's own raw socket sends and counts there.
    RawSocket,
}

/// A topology that stands: hosts, wires and addresses, not yet the relay.
///
/// The fields are dropped in this order: the guest ends before its namespace.
#[derive(Debug)]
pub struct World {
    /// The far end, when it is Linux.
    pub guest: Option<Guest>,
    /// The hosts by name.
    hosts: BTreeMap<String, Host>,
    wires: Vec<Wire>,
    /// What it was built from.
    pub topology: Topology,
    /// Owner of it all.
    pub lab: Lab,
}

impl World {
    /// Builds the built-in laboratory.
    ///
    /// # Errors
    /// What could not be built; nothing is left behind then.
    pub fn first_light(far_end: FarEnd) -> Result<Self, LabError> {
        Self::build(Topology::first_light()?, far_end)
    }

    /// Builds a topology.
    ///
    /// # Errors
    /// What could not be built; nothing is left behind then.
    pub fn build(topology: Topology, far_end: FarEnd) -> Result<Self, LabError> {
        let lab = Lab::new()?;
        let mut world = Self { guest: None, hosts: BTreeMap::new(), wires: Vec::new(), topology, lab };
        for settings in &world.topology.hosts {
            world.hosts.insert(settings.name.clone(), world.lab.host(&settings.name)?);
        }
        world.lay_wires()?;
        for settings in &world.topology.hosts {
            world.address(settings)?;
        }
        let far = world.topology.guest.clone();
        let host = world.host(&far.host)?.clone();
        match far_end {
            FarEnd::Linux => world.guest = Some(Guest::start(&world.lab, &host, &far)?),
            FarEnd::RawSocket => {
                host.ip(&format!("addr add {} dev {}", far.ipv4, far.interface))?;
                host.ip(&format!("route add default via {}", far.gateway))?;
            }
        }
        Ok(world)
    }

    /// A host by name.
    ///
    /// # Errors
    /// The topology has none of that name.
    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.hosts.get(name).ok_or_else(|| LabError::Topology(format!("there is no host `{name}`")))
    }

    /// The wire of an interface.
    ///
    /// # Errors
    /// The topology has none there.
    pub fn wire(&self, host: &str, interface: &str) -> Result<&Wire, LabError> {
        let found = self.wires.iter().find(|wire| wire.touches(host, interface));
        found.ok_or_else(|| LabError::Topology(format!("no wire at {interface} of {host}")))
    }

    /// The far end's Linux.
    ///
    /// # Errors
    /// The world was built without.
    pub fn guest(&mut self) -> Result<&mut Guest, LabError> {
        self.guest.as_mut().ok_or_else(|| LabError::Topology("this laboratory has no guest".to_owned()))
    }

    /// Starts the relay with the topology's configuration.
    ///
    /// # Errors
    /// It did not become ready (with its log).
    pub fn relay(&self) -> Result<Relay, LabError> {
        let settings = &self.topology.relay;
        Relay::start(&self.lab, self.host(&settings.host)?, &settings.config)
    }

    /// Leaves everything running for `sixlane lab down` to remove.
    pub(crate) fn keep(self) -> Result<(), LabError> {
        if let Some(guest) = self.guest {
            guest.keep();
        }
        self.lab.keep()
    }

    /// Deletes the wire at an interface: both ends are gone.
    ///
    /// # Errors
    /// There is none.
    pub fn cut(&mut self, host: &str, interface: &str) -> Result<(), LabError> {
        self.wires.retain(|wire| !wire.touches(host, interface));
        self.host(host)?.ip(&format!("link del dev {interface}")).map(drop)
    }

    /// Lays a wire that was cut again, with the addresses of its ends and the routes that need them.
    ///
    /// # Errors
    /// The topology has none there, or it cannot be made.
    pub fn lay_again(&mut self, host: &str, interface: &str, queues: u16) -> Result<(), LabError> {
        let name = format!("{host} {interface}");
        let found = self.topology.wires.iter().find(|wire| wire.ends.contains(&name));
        let missing = || LabError::Topology(format!("no wire at {interface} of {host}"));
        let [a, b] = found.map(|wire| wire.ends.clone()).ok_or_else(missing)?;
        self.wires.push(Wire::lay(self.end(&a)?, self.end(&b)?, queues)?);
        for end in [a, b] {
            let (name, interface) = pair(&end)?;
            let host = self.host(name)?;
            let settings = self.topology.hosts.iter().find(|settings| settings.name == name);
            let settings = settings.ok_or_else(missing)?;
            for line in settings.addresses.iter().filter(|line| line.starts_with(interface)) {
                self.assign(host, line)?;
            }
            for line in &settings.routes {
                // One that does not need this interface is there.
                let _ = host.ip(&format!("route add {line}"));
            }
        }
        Ok(())
    }

    fn assign(&self, host: &Host, line: &str) -> Result<(), LabError> {
        let (interface, address) = pair(line)?;
        let nodad = if address.contains(':') { " nodad" } else { "" };
        host.ip(&format!("addr add {address} dev {interface}{nodad}")).map(drop)
    }

    fn lay_wires(&mut self) -> Result<(), LabError> {
        for settings in &self.topology.wires {
            let [a, b] = &settings.ends;
            self.wires.push(Wire::lay(self.end(a)?, self.end(b)?, settings.queues)?);
        }
        Ok(())
    }

    fn end(&self, text: &str) -> Result<End, LabError> {
        let (host, interface) = pair(text)?;
        Ok(End { host: self.host(host)?.clone(), interface: interface.to_owned() })
    }

    fn address(&self, settings: &HostSettings) -> Result<(), LabError> {
        let host = self.host(&settings.name)?;
        for (name, value) in &settings.sysctl {
            host.sysctl(name, value)?;
        }
        for line in &settings.addresses {
            self.assign(host, line)?;
        }
        for line in &settings.routes {
            host.ip(&format!("route add {line}"))?;
        }
        Ok(())
    }
}

fn pair(text: &str) -> Result<(&str, &str), LabError> {
    text.split_once(' ').ok_or_else(|| LabError::Topology(format!("`{text}` is not two words")))
}

#[cfg(test)]
mod tests {
    use super::Topology;

    #[test]
    fn the_built_in_topology_reads() {
        let topology = Topology::first_light().expect("deploy/lab/first-light.toml");
        assert_eq!(topology.hosts.len(), 4);
        assert!(Topology::parse("name = 1").is_err());
    }
}
