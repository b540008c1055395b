//! A wire between two hosts: a veth pair without offloads.

use crate::{Host, LabError, run};
use std::process::Command;

/// One end of a wire.
#[derive(Debug, Clone)]
pub struct End {
    /// Whose interface it is.
    pub host: Host,
    /// The interface's name.
    pub interface: String,
}

/// A wire between two hosts. It ends with them.
#[derive(Debug, Clone)]
pub struct Wire {
    ends: [End; 2],
}

impl Wire {
    /// Lays a wire between two ends: up, with `queues` queues in each direction, and every offload
    /// off (else a veth hands over half-made checksums and bundles of packets).
    ///
    /// # Errors
    /// A name is taken, or a tool is missing.
    pub fn lay(a: End, b: End, queues: u16) -> Result<Self, LabError> {
        let queues = queues.to_string();
        let counts = ["numrxqueues", &queues, "numtxqueues", &queues];
        run::run(
            Command::new("ip")
                .args(["link", "add", "name", &a.interface, "netns", a.host.namespace()])
                .args(counts)
                .args(["type", "veth", "peer", "name", &b.interface, "netns", b.host.namespace()])
                .args(counts),
        )?;
        for end in [&a, &b] {
            let offloads = "tx off rx off tso off gso off gro off rxvlan off txvlan off";
            end.host.run(&format!("ethtool -K {} {offloads}", end.interface))?;
            end.set("up")?;
        }
        Ok(Self { ends: [a, b] })
    }

    /// Whether one of its ends is this interface of this host.
    pub fn touches(&self, host: &str, interface: &str) -> bool {
        self.ends.iter().any(|end| end.host.name() == host && end.interface == interface)
    }

    /// Pulls the plug at the end of this host: both ends lose their carrier.
    ///
    /// # Errors
    /// The wire has no end there.
    pub fn unplug(&self, host: &str) -> Result<(), LabError> {
        self.end(host)?.set("down")
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// The wire has no end there.
    pub fn plug(&self, host: &str) -> Result<(), LabError> {
        self.end(host)?.set("up")
    }

    fn end(&self, host: &str) -> Result<&End, LabError> {
        let found = self.ends.iter().find(|end| end.host.name() == host);
        found.ok_or_else(|| LabError::Topology(format!("the wire has no end at `{host}`")))
    }
}

impl End {
    fn set(&self, state: &str) -> Result<(), LabError> {
        self.host.ip(&format!("link set dev {} {state}", self.interface)).map(drop)
    }
}
