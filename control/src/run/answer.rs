//! Answers to the operator. Every key here is part of the interface: `show --json` prints these
//! objects, and a test freezes their keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sixlane_tables::adjacency::kind;
use sixlane_tunnel::Reason;

use super::control::{Control, Stage};
use crate::admin::{Query, Reply};
use crate::clock::now_ns;
use crate::compile::Target;
use crate::config::checked::{Bogons, SixToFourRole};
use crate::figures::Figures;
use crate::netlink::request::Key;
use crate::workers::{FRAME_STATES, STUCK_NS};

const MILLISECOND_NS: u64 = 1_000_000;

impl Control {
    /// Answers a question.
    pub(super) fn answer(&self, query: Query) -> Reply {
        let body = match query {
            Query::Status => self.status(),
            Query::Counters => self.counters(),
            Query::Drops => self.drops(),
            Query::Routes { limit } => self.routes(limit),
            Query::Neighbours => self.neighbours(),
            Query::Memory => self.memory(),
            Query::Alarms => json!({ "alarms": self.alarms() }),
            Query::Ports => self.ports_in_full(),
            Query::Workers => self.workers_in_full(),
            Query::Tables => return self.tables(),
        };
        Reply::plain(object(body))
    }

    fn status(&self) -> Value {
        let parts = &self.parts;
        let now = now_ns();
        let memory = parts.publisher.writer().memory();
        json!({
            "version": parts.options.version,
            "pid": std::process::id(),
            "uptime_seconds": now.saturating_sub(self.started_ns) / (1000 * MILLISECOND_NS),
            "dataplane": self.stage_name(),
            "dataplane_deaths": self.parts.workers.dead().incarnation,
            "control_deaths": self.deaths.control,
            "config": parts.path.display().to_string(),
            "configuration": self.configuration(),
            "generation": parts.publisher.writer().number(),
            "bogons": match parts.config.profile.bogons {
                Bogons::Internet => "internet",
                Bogons::Lab => "lab",
            },
            "router_ipv6": std::net::Ipv6Addr::from(parts.desired.settings.router_ipv6).to_string(),
            "sixtofour": self.sixtofour(),
            "ports": self.ports(),
            "workers": self.workers(now),
            "routes4": memory.routes4,
            "routes6": memory.routes6,
            "sources": self.sources(),
            "neighbours": parts.neighbours.shown().filter(|shown| shown.mac.is_some()).count(),
            "neighbours_refused": parts.neighbours.refused(),
            "memory": {
                "capacity_bytes": memory.capacity,
                "used_bytes": memory.used,
                "waiting": memory.waiting,
                "segments": memory.segments,
                "adjacencies": memory.adjacencies,
            },
            "door": self.door(),
            "alarms": self.alarms(),
        })
    }

    fn door(&self) -> Value {
        let Some(door) = &self.parts.door else { return Value::Null };
        let counts = door.counts;
        json!({
            "interface": "sixlane0",
            "routes": self.standing_routes().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "to_kernel": counts.to_kernel,
            "to_kernel_refused": counts.to_kernel_refused,
            "to_kernel_failed": counts.to_kernel_failed,
            "from_kernel": counts.from_kernel,
            "from_kernel_ignored": counts.from_kernel_ignored,
            "from_kernel_dropped": counts.from_kernel_dropped,
        })
    }

    fn alarms(&self) -> Vec<Value> {
        self.parts.alarms.standing().map(|(name, text)| json!({ "name": name, "text": text })).collect()
    }

    const fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Starting => "starting",
            Stage::Ready => "ready",
            Stage::Attached => "forwarding",
            Stage::Down => "down",
        }
    }

    fn sixtofour(&self) -> Value {
        self.parts.config.sixtofour.as_ref().map_or(Value::Null, |section| {
            json!({
                "role": match section.role {
                    SixToFourRole::Relay => "relay",
                    SixToFourRole::Router => "router",
                },
                "address": section.address.map(|address| address.to_string()),
                "mtu": section.encapsulation.mtu,
            })
        })
    }

    pub(super) fn ports(&self) -> Vec<Value> {
        let port = |fact: &crate::link::PortFact| {
            let settings = self.parts.desired.settings.port(fact.index).copied().unwrap_or_default();
            json!({
                "index": fact.index,
                "name": self.name_of(fact),
                "ifindex": settings.ifindex,
                "mac": mac(settings.mac),
                "mtu": settings.mtu,
                "driver": fact.driver,
                "queues": fact.queues,
                "mode": if fact.generic { "generic" } else if fact.zero_copy { "zero-copy" } else { "copy" },
            })
        };
        self.parts.plan.ports.iter().map(port).collect()
    }

    pub(super) fn workers(&self, now: u64) -> Vec<Value> {
        let worker = |shown: crate::workers::Shown| {
            let silence = now.saturating_sub(shown.heartbeat_ns);
            json!({
                "worker": shown.worker,
                "incarnation": shown.incarnation,
                "state": if !shown.alive {
                    "dead"
                } else if silence > STUCK_NS && shown.heartbeat_ns != 0 {
                    "stuck"
                } else if shown.offline {
                    "asleep"
                } else {
                    "running"
                },
                "heartbeat_age_ms": if shown.heartbeat_ns == 0 { Value::Null } else { json!(silence / MILLISECOND_NS) },
                "turns": shown.turns,
            })
        };
        self.parts.workers.shown().map(worker).collect()
    }

    fn counters(&self) -> Value {
        let totals = self.parts.workers.totals();
        let each: Vec<Value> = self
            .parts
            .workers
            .figures()
            .map(|(worker, figures)| {
                let mut body = object(json!({ "worker": worker }));
                body.extend(object(sums(&figures)));
                let census = self.parts.workers.census(worker);
                let frames = FRAME_STATES.iter().zip(census);
                body.insert("frames".into(), frames.map(|(state, count)| (*state, json!(count))).collect());
                Value::Object(body)
            })
            .collect();
        json!({
            "total": sums(&totals),
            "workers": each,
            "ports": self.port_counters(&totals),
            "dataplane_deaths": self.parts.workers.dead().incarnation,
        })
    }

    pub(super) fn port_counters(&self, totals: &Figures) -> Vec<Value> {
        let port = |fact: &crate::link::PortFact| {
            let figures = totals.ports.get(&fact.index).copied().unwrap_or_default();
            let xdp = self.parts.program.counters(fact.index).map_or(Value::Null, |xdp| {
                json!({
                    "seen": xdp.seen,
                    "passed": xdp.passed,
                    "redirected": xdp.redirected,
                    "no_socket": xdp.no_socket,
                    "not_our_mac": xdp.not_our_mac,
                })
            });
            let sockets = self.parts.workers.socket_losses(fact.index);
            json!({
                "index": fact.index,
                "name": self.name_of(fact),
                "sockets": BTreeMap::from(sockets.named()),
                "rx_packets": figures.rx_packets,
                "rx_bytes": figures.rx_bytes,
                "tx_packets": figures.tx_packets,
                "tx_bytes": figures.tx_bytes,
                "xdp": xdp,
            })
        };
        self.parts.plan.ports.iter().map(port).collect()
    }

    fn drops(&self) -> Value {
        let totals = self.parts.workers.totals();
        let reason = |reason: Reason| {
            json!({
                "reason": reason.name(),
                "packets": totals.dropped.get(reason.name()).copied().unwrap_or(0),
                "clause": reason.clause(),
                "text": reason.text(),
            })
        };
        json!({
            "total": totals.dropped_total(),
            "drops": Reason::ALL.iter().map(|&each| reason(each)).collect::<Vec<_>>(),
        })
    }

    fn routes(&self, limit: usize) -> Value {
        let memory = self.parts.publisher.writer().memory();
        let route = |(net, target): (ipnet::IpNet, Target)| {
            let mut body = object(json!({ "prefix": net.to_string(), "action": self.action(target) }));
            let adjacency = self.parts.publisher.adjacency(target);
            let port = match target {
                Target::Kind(_) => None,
                Target::Glean { port } => Some(port),
                Target::Neighbour(key) => self.parts.desired.ports.get(&key.ifindex).copied(),
            };
            body.insert("port".into(), json!(port.and_then(|port| self.port_name(port))));
            let key = match target {
                Target::Neighbour(key) => Some(key),
                _ => None,
            };
            body.insert("next_hop".into(), json!(key.map(|key| key.address.to_string())));
            let resolved = adjacency.filter(|adjacency| adjacency.kind == kind::REWRITE);
            body.insert("mac".into(), json!(resolved.map(|adjacency| mac(adjacency.dst_mac))));
            Value::Object(body)
        };
        json!({
            "routes4": memory.routes4,
            "routes6": memory.routes6,
            "truncated": memory.routes4 + memory.routes6 > limit,
            "routes": self.parts.publisher.routes(limit).map(route).collect::<Vec<_>>(),
        })
    }

    fn action(&self, target: Target) -> &'static str {
        let kind = self.parts.publisher.adjacency(target).map_or(kind::NO_ROUTE, |adjacency| adjacency.kind);
        match kind {
            kind::BLACKHOLE => "blackhole",
            kind::UNREACHABLE => "unreachable",
            kind::PROHIBIT => "prohibit",
            kind::LOCAL => "local",
            kind::BROADCAST => "broadcast",
            kind::GLEAN => "on_link",
            kind::UNRESOLVED => "unresolved",
            kind::REWRITE => "forward",
            kind::SIXTOFOUR => "sixtofour",
            _ => "no_route",
        }
    }

    pub(super) fn port_name(&self, index: u8) -> Option<String> {
        self.parts.plan.ports.iter().find(|fact| fact.index == index).map(|fact| self.name_of(fact))
    }

    /// What a port is called: its device by the name that it has now (it may have been renamed since the
    /// start), and its VLAN.
    pub(super) fn name_of(&self, fact: &crate::link::PortFact) -> String {
        let device = self.parts.kernel.links.get(&fact.ifindex).map_or(&fact.name, |link| &link.name);
        let vlan = self.parts.config.ports.get(usize::from(fact.index)).and_then(|port| port.vlan);
        vlan.map_or_else(|| device.clone(), |vlan| format!("{device}.{vlan}"))
    }

    fn neighbours(&self) -> Value {
        let neighbour = |shown: crate::neighbours::Shown| {
            let Key { ifindex, address } = shown.key;
            let port = self.parts.desired.ports.get(&ifindex).copied();
            let packets =
                self.parts.publisher.next_hop(shown.key).map_or(0, |id| self.parts.workers.packets(id));
            json!({
                "address": address.to_string(),
                "port": port.and_then(|port| self.port_name(port)),
                "state": shown.state,
                "mac": shown.mac.map(mac),
                "gateway": shown.gateway,
                "packets": packets,
            })
        };
        json!({
            "refused": self.parts.neighbours.refused(),
            "neighbours": self.parts.neighbours.shown().map(neighbour).collect::<Vec<_>>(),
        })
    }

    /// The read-only descriptors of the tables: whoever may ask may look packets up in them.
    fn tables(&self) -> Reply {
        let writer = self.parts.publisher.writer();
        let descriptors: Vec<_> =
            writer.segments().iter().map_while(|segment| segment.share().ok()).collect();
        let ports: Vec<_> = self.parts.plan.ports.iter().map(|fact| self.name_of(fact)).collect();
        let body = json!({
            "set": writer.generation().to_string(),
            "segments": writer.segments().len(),
            "ports": ports,
        });
        Reply { body: object(body), descriptors }
    }
}

/// All figures of one worker or of all, with the sum of drops and what the identity lacks.
fn sums(figures: &Figures) -> Value {
    let mut body: Map<String, Value> =
        figures.named.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    body.insert("dropped".into(), json!(figures.dropped_total()));
    body.insert("unaccounted".into(), json!(figures.unaccounted()));
    Value::Object(body)
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
