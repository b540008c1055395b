//! Namespaces, wires, addresses, routes, and a relay that runs in the middle.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use sixlane_lab::{End, Host, Lab, LabError, Relay, Wire};

use crate::rig;

/// The next routers behind r1.
const GATEWAY4: &str = "9.254.252.1";
const GATEWAY6: &str = "2001:601::1";
/// Ethernet addresses of r1 and g1.
pub(crate) const R1_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
pub(crate) const G1_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];

/// The relay's configuration. Native packets are forwarded too, one queue is one worker.
const CONFIGURATION: &str = r#"
version = 1

[[port]]
name = "r0"
forward = "all"

[[port]]
name = "r1"
forward = "all"

[router]
ipv6_address = "2001:600::fe"

[sixtofour]
role = "relay"
address = "9.254.253.252"

[admin]
group = "root"
"#;

/// The rig's world. Dropping it ends and removes everything.
#[derive(Debug)]
pub struct Ground {
    /// The relay; first here, so that it ends before its namespace.
    pub relay: Relay,
    /// Where g0 is.
    pub source: Host,
    /// Where g1 is.
    pub target: Host,
    /// The laboratory.
    pub lab: Lab,
}

impl Ground {
    /// Builds it and waits until the relay forwards.
    ///
    /// # Errors
    /// Not root, a tool is missing, or the relay did not start.
    pub fn build() -> Result<Self, LabError> {
        let lab = Lab::new()?;
        let (source, middle, target) = (lab.host("source")?, lab.host("relay")?, lab.host("target")?);
        let end = |host: &Host, interface: &str| End { host: host.clone(), interface: interface.to_owned() };
        Wire::lay(end(&source, "g0"), end(&middle, "r0"), 1)?;
        Wire::lay(end(&middle, "r1"), end(&target, "g1"), 1)?;
        let ends = [
            (&source, "g0", rig::THEIR_MAC),
            (&middle, "r0", rig::OUR_MAC),
            (&middle, "r1", R1_MAC),
            (&target, "g1", G1_MAC),
        ];
        for (host, interface, mac) in ends {
            host.ip(&format!("link set dev {interface} address {}", text(mac)))?;
        }
        // Tunnelled packets are no business of the far ends' kernels.
        for (host, address) in [
            (&source, "2001:600::1/64 dev g0".to_owned()),
            (&middle, format!("{}/64 dev r0", Ipv6Addr::from(rig::ROUTER))),
            (&middle, format!("{}/24 dev r0", Ipv4Addr::from(rig::RELAY))),
            (&middle, "2001:601::fe/64 dev r1".to_owned()),
            (&middle, "9.254.252.2/24 dev r1".to_owned()),
            (&target, format!("{GATEWAY6}/64 dev g1")),
            (&target, format!("{GATEWAY4}/24 dev g1")),
        ] {
            let nodad = if address.contains("::") { "nodad" } else { "" };
            host.ip(&format!("addr add {address} {nodad}"))?;
        }
        let file = lab.directory().join("routes");
        std::fs::write(&file, batch())
            .map_err(|error| LabError::Io { what: "routes".into(), source: error })?;
        middle.ip(&format!("-batch {}", file.display()))?;
        let relay = Relay::start(&lab, &middle, CONFIGURATION)?;
        Ok(Self { relay, source, target, lab })
    }
}

/// Static neighbours, and the routes of rig M by one gateway of each family, for `ip -batch`.
fn batch() -> String {
    let mut lines = format!(
        "neigh replace {} lladdr {} nud permanent dev r0\n",
        Ipv6Addr::from(rig::NATIVE),
        text(rig::THEIR_MAC)
    );
    for gateway in [GATEWAY4, GATEWAY6] {
        let _ = writeln!(lines, "neigh replace {gateway} lladdr {} nud permanent dev r1", text(G1_MAC));
    }
    for number in 0..rig::ROUTES {
        let native = Ipv6Addr::from(rig::native_route(number));
        let site = Ipv4Addr::from(rig::site_route(number));
        let _ = writeln!(lines, "route replace {native}/32 via {GATEWAY6} dev r1");
        let _ = writeln!(lines, "route replace {site}/20 via {GATEWAY4} dev r1");
    }
    lines
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
