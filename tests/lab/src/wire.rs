//! A wire between two hosts: a veth pair without offloads.

use crate::{Host, LabError, run};
use std::process::Command;

/// One end of a wire.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Whose interface it is.
    pub host: &'a Host,
    /// The interface's name.
    pub interface: &'a str,
}

/// Lays a wire between two ends: up, with `queues` queues in each direction, and every offload
/// off (else a veth hands over half-made checksums and bundles of packets).
///
/// # Errors
/// A name is taken, or a tool is missing.
pub fn lay(a: End<'_>, b: End<'_>, queues: u16) -> Result<(), LabError> {
    let queues = queues.to_string();
    let counts = ["numrxqueues", &queues, "numtxqueues", &queues];
    run::run(
        Command::new("ip")
            .args(["link", "add", "name", a.interface, "netns", a.host.namespace()])
            .args(counts)
            .args(["type", "veth", "peer", "name", b.interface, "netns", b.host.namespace()])
            .args(counts),
    )?;
    for end in [a, b] {
        let offloads = "tx off rx off tso off gso off gro off rxvlan off txvlan off";
        end.host.run(&format!("ethtool -K {} {offloads}", end.interface))?;
        end.host.ip(&format!("link set dev {} up", end.interface))?;
    }
    Ok(())
}
