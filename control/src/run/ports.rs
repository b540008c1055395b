//! Ports whose interfaces are deleted and made again (FAIL-10).
//!
//! The kernel says that the interface of a port has gone, and later that there is one of its name: control
//! tells the keeper, which opens sockets on it; when the data plane works with them the keeper says so, and
//! only then the port's number in tables and sets is the new one.

use std::collections::BTreeMap;

use super::control::Control;
use crate::alarms::Alarm;
use crate::link::{PortFact, ToKeeper};

/// How long after a demand for a port's interface the next one follows, in nanoseconds.
const AGAIN_NS: u64 = 3_000_000_000;

/// The ports that the keeper was asked to bring back.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// By port: the interface that has its name now, and when that was told.
    told: BTreeMap<u8, (u32, u64)>,
    /// Why interfaces were refused.
    refused: BTreeMap<u8, String>,
}

impl Control {
    /// Tells the keeper of ports whose interfaces were deleted and made again: at once, and again while it
    /// does not help.
    pub(super) fn miss_ports(&mut self, now: u64) {
        let links = &self.parts.kernel.links;
        let mut away = BTreeMap::new();
        for port in &self.parts.plan.ports {
            if links.contains_key(&port.ifindex) {
                continue;
            }
            let named = links.values().find(|link| link.name == port.name);
            away.insert(port.index, named.map(|link| link.ifindex));
        }
        let Missing { told, refused } = &mut self.missing;
        told.retain(|port, _| away.contains_key(port));
        refused.retain(|port, _| matches!(away.get(port), Some(Some(_))));
        for (port, ifindex) in away.into_iter().filter_map(|(port, ifindex)| Some((port, ifindex?))) {
            let waits = told.get(&port).is_some_and(|&(to, at)| to == ifindex && now < at + AGAIN_NS);
            if !waits {
                told.insert(port, (ifindex, now));
                self.parts.messages.push_back(ToKeeper::PortMissing { port });
            }
        }
        self.refusals();
    }

    /// The keeper has brought a port back.
    pub(super) fn port_back(&mut self, fact: PortFact) {
        let known = self.parts.plan.ports.iter_mut().find(|port| port.index == fact.index);
        let Some(port) = known.filter(|port| **port != fact) else { return };
        let ifindex = fact.ifindex;
        *port = fact;
        self.missing.refused.remove(&port.index);
        self.refusals();
        // Routes over the interface were no one's until now.
        let routes = self.parts.kernel.routes.over(ifindex);
        self.follow.pending.nets.extend(routes);
        self.follow.pending.nets.extend(self.fpm.source.routes.nets());
        self.follow.pending.state = true;
        self.publish_followed();
        // The sets still name the deleted interface, and the kernel knows neighbours that were none of ours.
        self.follow.sets = true;
        self.mend_sets();
        self.read_neighbours();
    }

    /// The keeper cannot use the interface that has the name of a port.
    pub(super) fn port_refused(&mut self, port: u8, reason: String) {
        self.missing.refused.insert(port, reason);
        self.refusals();
    }

    fn refusals(&mut self) {
        let reasons: Vec<&str> = self.missing.refused.values().map(String::as_str).collect();
        let text = reasons.join("; ");
        if text.is_empty() {
            self.parts.alarms.clear(Alarm::PortRefused);
        } else {
            self.alarm(Alarm::PortRefused, text);
        }
    }
}
