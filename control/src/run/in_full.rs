//! `show ports` and `show workers`: what `status` says of them, and all that belongs to it.

use serde_json::{Value, json};

use super::answer::object;
use super::control::Control;
use crate::clock::now_ns;

impl Control {
    /// `show ports`.
    pub(super) fn ports_in_full(&self) -> Value {
        let counters = self.port_counters(&self.parts.workers.totals());
        let ports = self.parts.plan.ports.iter().zip(self.ports()).zip(counters);
        let ports: Vec<Value> = ports
            .map(|((fact, shown), counters)| {
                let mut body = object(shown);
                let links = &self.parts.kernel.links;
                let device = links.get(&fact.ifindex);
                let name = device.map_or(fact.name.as_str(), |link| link.name.as_str());
                let vlan = self.parts.config.ports.get(usize::from(fact.index)).and_then(|port| port.vlan);
                let own =
                    self.parts.desired.settings.port(fact.index).and_then(|port| links.get(&port.ifindex));
                let state = match (device, own) {
                    (None, _) | (_, None) => "absent",
                    (Some(device), Some(own)) if device.running && own.up && own.running => "up",
                    _ => "down",
                };
                body.insert("device".into(), json!(name));
                body.insert("vlan".into(), json!(vlan));
                body.insert("interface".into(), json!(own.map(|link| link.name.as_str())));
                body.insert("state".into(), json!(state));
                body.insert("no_zero_copy".into(), json!(fact.no_zero_copy));
                body.insert("offloads".into(), json!(self.offloads.shown(fact.index, name)));
                for key in ["xdp", "sockets"] {
                    body.insert(key.into(), counters.get(key).cloned().unwrap_or(Value::Null));
                }
                Value::Object(body)
            })
            .collect();
        json!({ "ports": ports })
    }

    /// `show workers`.
    pub(super) fn workers_in_full(&self) -> Value {
        let now = now_ns();
        let plan = &self.parts.plan;
        let workers = self.workers(now).into_iter().zip(self.parts.workers.shown());
        let workers: Vec<Value> = workers
            .map(|(shown, worker)| {
                let mut body = object(shown);
                let mut queues = Vec::new();
                let carriers = plan.ports.iter().filter(|fact| self.carries(fact.index));
                for fact in carriers {
                    // Queue q belongs to worker q mod W.
                    let own = (0..fact.queues).filter(|queue| queue % plan.workers.max(1) == worker.worker);
                    queues.extend(own.map(|queue| json!({ "device": fact.name, "queue": queue })));
                }
                let figures = self.parts.workers.figures().find(|(number, _)| *number == worker.worker);
                let figure = |name: &str| figures.as_ref().map_or(0, |(_, figures)| figures.get(name));
                body.insert("core".into(), json!(plan.cores.get(usize::from(worker.worker))));
                body.insert("idle".into(), json!(if plan.spin { "spin" } else { "sleep" }));
                body.insert("parked".into(), json!(worker.alive && worker.offline));
                body.insert("queues".into(), json!(queues));
                body.insert("received".into(), json!(figure("received")));
                body.insert("transmitted".into(), json!(figure("transmitted")));
                Value::Object(body)
            })
            .collect();
        json!({ "workers": workers })
    }

    /// Whether a port is the first of its device: the sockets are the device's.
    fn carries(&self, index: u8) -> bool {
        let ports = &self.parts.plan.ports;
        let own = ports.iter().find(|fact| fact.index == index);
        own.is_some_and(|own| ports.iter().find(|fact| fact.ifindex == own.ifindex) == Some(own))
    }
}
