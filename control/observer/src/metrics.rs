//! The figures as text: OpenMetrics, which Prometheus reads. The names are the keys of
//! `sixlane show … --json`, with the prefix `sixlane_` and the endings that the format asks for.
//!
//! Label sets are fixed by the configuration: ports, workers, reasons, alarms; never an address
//! (ATK-54).

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::Value;
use sixlane_tables::CounterSnapshot;
use sixlane_tunnel::Reason;

use crate::control::Known;
use crate::figures::{Figures, PortFigures};
use crate::workers::Shown;

/// The content type of [`Scene::text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is known at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scene {
    pub(crate) version: String,
    /// Names of the ports by their place.
    pub(crate) ports: BTreeMap<u8, String>,
    pub(crate) total: Figures,
    pub(crate) workers: Vec<Shown>,
    /// CLOCK_MONOTONIC.
    pub(crate) now_ns: u64,
    /// What control said, if it answered.
    pub(crate) control: Option<Known>,
}

impl Scene {
    /// The exposition.
    ///
    /// # Errors
    /// Never in practice: a string takes everything.
    pub(crate) fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("sixlane");
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

/// Names and values of one sample's labels.
type Labels = Vec<(&'static str, String)>;

impl Collector for Scene {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        self.packets(&mut out)?;
        self.port_figures(&mut out)?;
        self.worker_figures(&mut out)?;
        let build = (vec![("version", self.version.clone())], 1);
        out.gauge("build_info", "The version of sixlane.", [build])?;
        let answers = u8::from(self.control.is_some());
        out.gauge(
            "control_answers",
            "Whether control answered; what it alone knows is absent otherwise.",
            [(Labels::new(), answers.into())],
        )?;
        self.control.as_ref().map_or(Ok(()), |known| self.known(known, &mut out))
    }
}

impl Scene {
    fn packets(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        for &(name, help) in CounterSnapshot::TEXTS {
            let value = self.total.get(name);
            // The one figure that falls.
            if name == "held" {
                out.gauge(name, help, [(Labels::new(), value.cast_signed())])?;
            } else {
                out.counter(name, help, [(Labels::new(), value)])?;
            }
        }
        let unaccounted = (Labels::new(), self.total.unaccounted());
        out.gauge("unaccounted", "Packets under way: what came in minus what became of it.", [unaccounted])?;
        let drops = Reason::ALL
            .into_iter()
            .map(|reason| (vec![("reason", reason.name().to_owned())], self.total.dropped(reason)));
        out.counter("dropped", "Packets dropped, by reason.", drops)
    }

    fn port_figures(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        type Pick = fn(&PortFigures) -> u64;
        let figures: [(&str, &str, Pick); 4] = [
            ("port_rx_packets", "Packets received.", |port| port.rx_packets),
            ("port_rx_bytes", "Bytes received, Ethernet header included, FCS not.", |port| port.rx_bytes),
            ("port_tx_packets", "Packets put into the TX ring.", |port| port.tx_packets),
            ("port_tx_bytes", "Their bytes.", |port| port.tx_bytes),
        ];
        for (name, help, pick) in figures {
            let value = |(index, name): (&u8, &String)| {
                let port = self.total.ports.get(index).copied().unwrap_or_default();
                (port_label(name), pick(&port))
            };
            out.counter(name, help, self.ports.iter().map(value))?;
        }
        self.socket_figures(out)
    }

    /// What the kernel counts for the sockets. These outlive the data plane, so the living know it all;
    /// while none lives nothing is said.
    fn socket_figures(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let mut sums = BTreeMap::new();
        for (index, sockets) in self.workers.iter().flat_map(|worker| &worker.sockets) {
            sums.entry(*index).or_insert_with(sixlane_tables::SocketSnapshot::default).add(sockets);
        }
        for (at, (name, _)) in sixlane_tables::SocketSnapshot::default().named().into_iter().enumerate() {
            let samples = self.ports.iter().filter_map(|(index, port)| {
                let (_, value) = *sums.get(index)?.named().get(at)?;
                Some((port_label(port), value))
            });
            out.counter(
                &format!("port_sockets_{name}"),
                "As the kernel counts for the AF_XDP sockets.",
                samples,
            )?;
        }
        Ok(())
    }

    fn worker_figures(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let label = |shown: &Shown| vec![("worker", shown.worker.to_string())];
        for name in ["received", "transmitted"] {
            let samples = self.workers.iter().map(|shown| (label(shown), shown.figures.get(name)));
            out.counter(&format!("worker_{name}"), "Packets since this worker started.", samples)?;
        }
        let turns = self.workers.iter().map(|shown| (label(shown), shown.turns));
        out.counter("worker_turns", "Turns since this worker started.", turns)?;
        let started = self.workers.iter().filter(|shown| shown.heartbeat_ns != 0);
        let ages = started.map(|shown| {
            let silence = self.now_ns.saturating_sub(shown.heartbeat_ns) / 1_000_000;
            (label(shown), silence.cast_signed())
        });
        out.gauge("worker_heartbeat_age_ms", "Milliseconds since the worker last ended a turn.", ages)
    }

    /// What control said.
    fn known(&self, known: &Known, out: &mut Out<'_, '_>) -> fmt::Result {
        for (name, help, pointer) in GAUGES {
            let value = known.status.pointer(pointer).and_then(Value::as_i64);
            out.gauge(name, help, value.map(|value| (Labels::new(), value)))?;
        }
        for (name, help, pointer) in COUNTERS {
            let value = known.status.pointer(pointer).and_then(Value::as_u64);
            out.counter(name, help, value.map(|value| (Labels::new(), value)))?;
        }
        let forwarding = known.status["dataplane"] == "forwarding";
        let forwarding = (Labels::new(), i64::from(forwarding));
        out.gauge("forwarding", "Whether packets are taken and forwarded.", [forwarding])?;
        let alarms = known.status["alarms"].as_array().into_iter().flatten();
        let alarms = alarms.filter_map(|alarm| Some((vec![("name", alarm["name"].as_str()?.to_owned())], 1)));
        out.gauge("alarms", "The alarms that stand.", alarms)?;
        for (key, help) in XDP {
            let ports = known.counters["ports"].as_array().into_iter().flatten();
            let samples = ports
                .filter_map(|port| Some((port_label(port["name"].as_str()?), port["xdp"][key].as_u64()?)));
            out.counter(&format!("port_xdp_{key}"), help, samples)?;
        }
        Ok(())
    }
}

/// Gauges of control: name, help, where they stand in `status`.
const GAUGES: [(&str, &str, &str); 9] = [
    ("uptime_seconds", "Seconds since the control process started.", "/uptime_seconds"),
    ("generation", "Number of the table generation in force.", "/generation"),
    ("routes4", "IPv4 routes in the tables.", "/routes4"),
    ("routes6", "IPv6 routes in the tables.", "/routes6"),
    ("neighbours", "Neighbours that are resolved.", "/neighbours"),
    ("memory_capacity_bytes", "Bytes of the tables' segments.", "/memory/capacity_bytes"),
    ("memory_used_bytes", "Bytes of the tables in use.", "/memory/used_bytes"),
    ("memory_segments", "Segments of the tables.", "/memory/segments"),
    ("memory_waiting", "Retired records that a worker may still read.", "/memory/waiting"),
];

/// Counters of control, likewise.
const COUNTERS: [(&str, &str, &str); 5] = [
    ("control_deaths", "How often control has died.", "/control_deaths"),
    ("dataplane_deaths", "How often a data plane has died.", "/dataplane_deaths"),
    ("reloads", "Configurations put in force since control started.", "/configuration/reloads"),
    ("reloads_refused", "Configurations refused since control started.", "/configuration/reloads_refused"),
    ("neighbours_refused", "Neighbour requests over the budget.", "/neighbours_refused"),
];

/// What the XDP program counts for a port.
const XDP: [(&str, &str); 5] = [
    ("seen", "Frames that the XDP program saw."),
    ("passed", "Frames that it left to the kernel."),
    ("redirected", "Frames that it gave to a socket."),
    ("no_socket", "Frames that were ours and had no live socket."),
    ("not_our_mac", "Frames to another MAC address."),
];

fn port_label(name: &str) -> Labels {
    vec![("port", name.to_owned())]
}

/// Writes families; one without samples is left out.
struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                family.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
            } else {
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, i64)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_labels_and_types_are_as_documented() {
        let status = json!({
            "dataplane": "forwarding", "generation": 7, "dataplane_deaths": 2, "control_deaths": 3,
            "memory": {"used_bytes": 96}, "alarms": [{"name": "fence_missing", "text": "x"}],
        });
        let counters = json!({"ports": [{"name": "wan\"4", "xdp": {"seen": 9}}]});
        let scene = Scene {
            version: "1.2".into(),
            ports: BTreeMap::from([(0, "wan\"4".to_owned())]),
            control: Some(Known { status, counters }),
            ..Scene::default()
        };
        let text = scene.text().unwrap();
        for line in [
            "# HELP sixlane_received Taken from RX rings.",
            "# TYPE sixlane_received counter",
            "sixlane_received_total 0",
            "# TYPE sixlane_held gauge",
            "sixlane_held 0",
            "sixlane_dropped_total{reason=\"no_route\"} 0",
            "sixlane_port_rx_bytes_total{port=\"wan\\\"4\"} 0",
            "sixlane_port_xdp_seen_total{port=\"wan\\\"4\"} 9",
            "sixlane_build_info{version=\"1.2\"} 1",
            "sixlane_control_answers 1",
            "sixlane_generation 7",
            "sixlane_memory_used_bytes 96",
            "sixlane_dataplane_deaths_total 2",
            "sixlane_control_deaths_total 3",
            "sixlane_forwarding 1",
            "sixlane_alarms{name=\"fence_missing\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    /// Operators alarm on these names: one may be added, none may go or change.
    #[test]
    fn the_names_are_frozen() {
        let number = |key: &str| (key.to_owned(), json!(1));
        let mut status = json!({
            "memory": {"used_bytes": 1, "capacity_bytes": 1, "segments": 1, "waiting": 1},
            "configuration": {"reloads": 1, "reloads_refused": 1}, "alarms": [{"name": "x"}],
        });
        let more = [
            "uptime_seconds",
            "generation",
            "routes4",
            "routes6",
            "neighbours",
            "dataplane_deaths",
            "control_deaths",
            "neighbours_refused",
        ];
        status.as_object_mut().unwrap().extend(more.map(number));
        let xdp: serde_json::Map<String, Value> =
            ["seen", "passed", "redirected", "no_socket", "not_our_mac"].map(number).into_iter().collect();
        let counters = json!({"ports": [{"name": "wan4", "xdp": xdp}]});
        let shown = Shown {
            worker: 0,
            figures: Figures::default(),
            sockets: BTreeMap::from([(0, sixlane_tables::SocketSnapshot::default())]),
            turns: 1,
            heartbeat_ns: 1,
        };
        let scene = Scene {
            ports: BTreeMap::from([(0, "wan4".to_owned())]),
            workers: vec![shown],
            control: Some(Known { status, counters }),
            ..Scene::default()
        };
        let text = scene.text().unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE sixlane_"));
        assert_eq!(types.collect::<Vec<_>>().join("\n"), include_str!("metrics/names.txt").trim_end());
    }

    #[test]
    fn answers_of_any_shape_are_no_panic() {
        for odd in
            [json!(null), json!([]), json!({"alarms": 1, "memory": []}), json!({"ports": [7, {"name": 1}]})]
        {
            let control = Some(Known { status: odd.clone(), counters: odd });
            assert!(Scene { control, ..Scene::default() }.text().is_ok());
        }
    }
}
