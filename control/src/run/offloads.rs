//! Offloads that break a relay: the device changes frames before the program sees them. Each is said once,
//! when it is found, and stands in `show ports` with the command that mends it while it is on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::control::Control;

/// An offload, by the kernel's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offload {
    name: &'static str,
    /// The word that `ethtool -K` takes.
    word: &'static str,
    harm: &'static str,
    /// Only where the device carries tagged frames of ours.
    of_vlans: bool,
}

const HARMFUL: [Offload; 3] = [
    Offload {
        name: "rx-vlan-hw-parse",
        word: "rxvlan",
        harm: "the device takes VLAN tags off, and the port never sees its frames",
        of_vlans: true,
    },
    Offload {
        name: "rx-lro",
        word: "lro",
        harm: "the device merges packets into longer ones, which cannot be forwarded",
        of_vlans: false,
    },
    Offload {
        name: "rx-gro-hw",
        word: "rx-gro-hw",
        harm: "the device merges packets into longer ones, which cannot be forwarded",
        of_vlans: false,
    },
];

/// What was found last, by port.
#[derive(Debug, Default)]
pub(super) struct Offloads(BTreeMap<u8, Vec<Offload>>);

impl Offloads {
    /// Those of a port, as `show ports` has them; `device` is the name of its device.
    pub(super) fn shown(&self, port: u8, device: &str) -> Vec<Value> {
        let found = self.0.get(&port).into_iter().flatten();
        found
            .map(
                |offload| json!({ "name": offload.name, "harm": offload.harm, "mend": offload.mend(device) }),
            )
            .collect()
    }
}

impl Offload {
    fn mend(&self, device: &str) -> String {
        format!("ethtool -K {device} {} off", self.word)
    }
}

/// Those of the features that are on which break a port.
fn harmful(active: &[String], has_vlans: bool) -> Vec<Offload> {
    let on = |offload: &Offload| active.iter().any(|name| name == offload.name);
    HARMFUL.into_iter().filter(|offload| (has_vlans || !offload.of_vlans) && on(offload)).collect()
}

impl Control {
    /// Once a second: looks for offloads that break a port, and says what is new.
    pub(super) fn watch_offloads(&mut self) {
        let Some(ethtool) = self.queues.ethtool() else { return };
        let Self { parts, offloads, .. } = self;
        for fact in &parts.plan.ports {
            let entrances = &parts.desired.entrances;
            let has_vlans =
                entrances.iter().any(|entrance| entrance.device == fact.ifindex && entrance.vlan.is_some());
            // An interface that has gone has no offloads; another alarm says so.
            let Ok(active) = ethtool.features(fact.ifindex) else { continue };
            let found = harmful(&active, has_vlans);
            let link = parts.kernel.links.get(&fact.ifindex);
            let device = link.map_or(fact.name.as_str(), |link| link.name.as_str());
            let before = offloads.0.get(&fact.index).cloned().unwrap_or_default();
            for offload in found.iter().filter(|offload| !before.contains(offload)) {
                tracing::warn!(
                    "{device}: {} is on: {}; `{}`",
                    offload.name,
                    offload.harm,
                    offload.mend(device)
                );
            }
            offloads.0.insert(fact.index, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_matter_to_ports_with_tags_alone() {
        let active = ["rx-vlan-hw-parse", "rx-gro", "rx-lro"].map(str::to_owned);
        let names = |vlans| harmful(&active, vlans).iter().map(|offload| offload.name).collect::<Vec<_>>();
        assert_eq!(names(false), ["rx-lro"]);
        assert_eq!(names(true), ["rx-vlan-hw-parse", "rx-lro"]);
        assert_eq!(harmful(&[], true), []);
        let offload = harmful(&active, true)[0];
        assert_eq!(offload.mend("wan6"), "ethtool -K wan6 rxvlan off");
    }
}
