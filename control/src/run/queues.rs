//! Queues that appear while the relay runs. Sockets are opened at the start, one for each receive queue of
//! a port; the program drops what comes by another (`no_socket`), for the kernel would answer it.

use super::control::Control;
use crate::alarms::Alarm;
use crate::link::PortFact;
use crate::netlink::ethtool::{Channels, Ethtool};

/// Who asks the kernel for them.
#[derive(Debug, Default)]
pub(super) enum Queues {
    /// Not asked yet.
    #[default]
    New,
    /// Asked once a second.
    Open(Ethtool),
    /// This kernel cannot tell.
    Untold,
}

impl Queues {
    pub(super) fn ethtool(&mut self) -> Option<&mut Ethtool> {
        if matches!(self, Self::New) {
            *self = match Ethtool::open() {
                Ok(ethtool) => Self::Open(ethtool),
                Err(error) => {
                    tracing::info!("this kernel does not tell how many queues a port has ({error})");
                    Self::Untold
                }
            };
        }
        match self {
            Self::Open(ethtool) => Some(ethtool),
            Self::New | Self::Untold => None,
        }
    }
}

impl Control {
    /// Once a second: an alarm while a port has more queues than sockets.
    pub(super) fn watch_queues(&mut self) {
        let Some(ethtool) = self.queues.ethtool() else { return };
        let mut sentences = Vec::new();
        for fact in &self.parts.plan.ports {
            // An interface that has gone has no queues; another alarm says so.
            let Ok(Some(channels)) = ethtool.channels(fact.ifindex) else { continue };
            let link = self.parts.kernel.links.get(&fact.ifindex);
            let name = link.map_or(fact.name.as_str(), |link| link.name.as_str());
            sentences.extend(sentence(name, fact, channels));
        }
        if sentences.is_empty() {
            self.parts.alarms.clear(Alarm::QueueWithoutSocket);
        } else {
            self.alarm(Alarm::QueueWithoutSocket, sentences.join("; "));
        }
    }
}

/// What is wrong with the queues of a port called `name` now, if anything is, and what mends it.
fn sentence(name: &str, fact: &PortFact, channels: Channels) -> Option<String> {
    let (sockets, queues) = (u32::from(fact.queues), channels.rx.saturating_add(channels.combined));
    if queues <= sockets {
        return None;
    }
    // Of a driver that has both kinds, the combined ones are taken back as far as that goes.
    let (kind, count) = match channels {
        Channels { rx, combined: 0 } => ("rx", sockets.min(rx)),
        Channels { rx, .. } if rx < sockets => ("combined", sockets - rx),
        Channels { .. } => ("combined", 1),
    };
    Some(format!(
        "{name} has {queues} receive queues and sockets for {sockets} of them, so what comes by the others is \
         dropped: `ethtool -L {name} {kind} {count}`, or restart sixlane to use them all"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(queues: u16, rx: u32, combined: u32) -> Option<String> {
        let fact = PortFact {
            index: 0,
            name: "old".into(),
            ifindex: 2,
            queues,
            driver: String::new(),
            zero_copy: false,
            generic: false,
            no_zero_copy: false,
        };
        sentence("wan4", &fact, Channels { rx, combined })
    }

    #[test]
    fn only_queues_without_sockets_are_an_alarm_with_its_command() {
        for (queues, rx, combined) in [(1, 1, 0), (2, 1, 0), (4, 0, 4), (4, 2, 2), (1, 0, 0)] {
            assert_eq!(said(queues, rx, combined), None, "{queues} {rx} {combined}");
        }
        for (queues, rx, combined, command) in [
            (1, 2, 0, "`ethtool -L wan4 rx 1`"),
            (4, 0, 8, "`ethtool -L wan4 combined 4`"),
            (4, 2, 4, "`ethtool -L wan4 combined 2`"),
        ] {
            let said = said(queues, rx, combined).unwrap();
            assert!(said.contains(command) && said.contains("dropped"), "{said}");
        }
    }
}
