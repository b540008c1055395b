//! What the running relay would do with a packet: the worker's own functions on the live tables, which
//! the admin socket hands out as read-only descriptors.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sixlane_dataplane::explain::{Explanation, Fate, explain, framed};
use sixlane_tables::{NextHopId, Tables};
use sixlane_wire::{ethernet, ipv4, ipv6};

use super::describe::describe;
use crate::admin::{self, Answer};
use crate::explain::Arguments;
use crate::failure::Failure;
use crate::output::{print, print_json};

pub(super) fn run(bytes: &[u8], arguments: &Arguments) -> Result<(), Failure> {
    let Answer { value, descriptors } = admin::ask(&arguments.runtime, "tables")?;
    let names = port_names(&value);
    let tables = Arc::new(attach(descriptors)?);
    let damaged = |error| Failure::failed(format!("{error}: restart sixlane to have its tables built anew"));
    let packet = payload(bytes);
    let port = match &arguments.port {
        Some(name) => place(&names, name)?,
        None => usual_port(&tables, packet).map_err(damaged)?,
    };
    let frame = if packet.len() == bytes.len() {
        framed(&tables, port, bytes).map_err(damaged)?
    } else {
        bytes.to_vec()
    };
    let explanation = explain(&tables, port, &frame).map_err(Failure::failed)?;
    let told = Told { names: &names, port, packet, explanation: &explanation };
    if arguments.json { print_json(&told.json()) } else { print(&told.text()) }
}

/// What is to be shown.
struct Told<'a> {
    names: &'a [String],
    port: u8,
    packet: &'a [u8],
    explanation: &'a Explanation,
}

impl Told<'_> {
    fn name(&self, port: u8) -> &str {
        self.names.get(usize::from(port)).map_or("?", String::as_str)
    }

    fn text(&self) -> String {
        let mut lines =
            vec![("packet", describe(self.packet)), ("arrives on", self.name(self.port).to_owned())];
        match self.explanation.fate {
            Fate::Forwarded => lines.push(("verdict", "forwarded".into())),
            Fate::Local => lines.push(("verdict", "local: given to the kernel of this box".into())),
            Fate::GivenBack => lines.push(("verdict", "not ours: given back to the kernel".into())),
            Fate::Dropped(reason) => {
                lines.push(("verdict", format!("dropped, {}", reason.name())));
                lines.push(("clause", reason.clause().into()));
                lines.push(("because", reason.text().into()));
            }
        }
        let what = if self.explanation.fate == Fate::Forwarded { "leaves on" } else { "answer on" };
        for departure in &self.explanation.departures {
            let inside = payload(&departure.frame);
            lines.push((what, format!("{}: {}", self.name(departure.port), describe(inside))));
            lines.push(("frame", hex(&departure.frame)));
        }
        lines.iter().map(|(name, value)| format!("{name:<10}  {value}\n")).collect()
    }

    fn json(&self) -> Value {
        let departures: Vec<Value> = self
            .explanation
            .departures
            .iter()
            .map(|departure| {
                json!({
                    "port": self.name(departure.port),
                    "packet": describe(payload(&departure.frame)),
                    "frame": hex(&departure.frame),
                })
            })
            .collect();
        let counters: Map<String, Value> = self
            .explanation
            .counters
            .iter()
            .map(|(name, count)| ((*name).to_owned(), json!(count)))
            .collect();
        let (verdict, reason) = match self.explanation.fate {
            Fate::Forwarded => ("forwarded", None),
            Fate::Local => ("local", None),
            Fate::GivenBack => ("given_back", None),
            Fate::Dropped(reason) => ("dropped", Some(reason)),
        };
        json!({
            "v": 1,
            "packet": describe(self.packet),
            "port": self.name(self.port),
            "verdict": verdict,
            "reason": reason.map(|reason| reason.name()),
            "clause": reason.map(|reason| reason.clause()),
            "text": reason.map(|reason| reason.text()),
            "departures": departures,
            "counters": counters,
        })
    }
}

fn port_names(answer: &Value) -> Vec<String> {
    let names = answer.get("ports").and_then(Value::as_array).into_iter().flatten();
    names.map(|name| name.as_str().unwrap_or("?").to_owned()).collect()
}

fn place(names: &[String], wanted: &str) -> Result<u8, Failure> {
    let place = names.iter().position(|name| name == wanted).and_then(|place| u8::try_from(place).ok());
    place.ok_or_else(|| {
        Failure::usage(format!("the relay has no port {wanted}: choose from {}", names.join(", ")))
    })
}

fn attach(descriptors: Vec<OwnedFd>) -> Result<Tables, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "the tables of the relay cannot be read ({error}): use the sixlane of the same version"
        ))
    };
    let mut descriptors = descriptors.into_iter();
    let first = descriptors.next().ok_or_else(|| failed(&"it sent none"))?;
    let tables = Tables::attach(first).map_err(|error| failed(&error))?;
    for (index, fd) in (1..).zip(descriptors) {
        tables.add_segment(index, fd).map_err(|error| failed(&error))?;
    }
    Ok(tables)
}

/// The IP packet of what was typed: the whole, or what follows an Ethernet header.
fn payload(bytes: &[u8]) -> &[u8] {
    if is_whole_packet(bytes) {
        return bytes;
    }
    match ethernet::link(bytes) {
        Ok(link) if matches!(link.ethertype, ethernet::IPV4 | ethernet::IPV6) => {
            bytes.get(link.packet_offset..).unwrap_or(bytes)
        }
        _ => bytes,
    }
}

/// Whether an IP header stands at the beginning whose length is that of the bytes.
fn is_whole_packet(bytes: &[u8]) -> bool {
    let length = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    match bytes.first().map(|first| first >> 4) {
        Some(4) => length(2) == Some(bytes.len()),
        Some(6) => length(4).map(|length| length + ipv6::HEADER_LEN) == Some(bytes.len()),
        _ => false,
    }
}

/// The port by which the packet's source is reached; the first one when it is reached by none.
fn usual_port(tables: &Tables, packet: &[u8]) -> Result<u8, sixlane_tables::Corrupt> {
    let view = tables.enter()?;
    let mut found = [NextHopId::NONE];
    if let Ok((header, _)) = ipv4::parse(packet) {
        view.lookup4_batch(&[header.source.get()], &mut found);
    } else if let Ok((header, _)) = ipv6::parse(packet) {
        let source = header.source();
        view.lookup6_batch(&[source.hi], &[source.lo], &mut found);
    }
    let port = view.adjacency(found[0]).map_or(0, |adjacency| adjacency.port);
    Ok(if u32::from(port) < view.settings().port_count { port } else { 0 })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use sixlane_dataplane::explain::Departure;

    use super::*;

    #[test]
    fn frames_and_packets_are_told_apart() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
        packet.extend([0; 32]);
        assert_eq!(payload(&packet).len(), 40);
        let mut frame = vec![0x60, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x86, 0xdd];
        frame.extend(&packet);
        assert_eq!(payload(&frame), packet);
        assert_eq!(payload(&[0xff; 30]).len(), 30);
        assert_eq!(payload(&[]).len(), 0);
    }

    /// The keys are part of the interface, and docs/json.md names them.
    #[test]
    fn the_keys_are_frozen_and_documented() {
        let departure = Departure { port: 0, frame: vec![0; 60] };
        let explanation = Explanation {
            fate: Fate::Dropped(sixlane_tunnel::Reason::HopLimit),
            departures: vec![departure],
            counters: vec![("received", 1)],
        };
        let told = Told { names: &["wan4".to_owned()], port: 0, packet: &[], explanation: &explanation };
        let json = told.json();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let whole = ["clause", "counters", "departures", "packet", "port", "reason", "text", "v", "verdict"];
        assert_eq!(keys(&json), whole);
        assert_eq!(keys(&json["departures"][0]), ["frame", "packet", "port"]);
        let document = include_str!("../../../../docs/json.md");
        let section = document.split("\n## `explain`\n").nth(1).unwrap().split("\n## ").next().unwrap();
        for key in whole.iter().filter(|key| **key != "v") {
            assert!(
                section.contains(&format!("`{key}`")) || section.contains(&format!("`{key}[]`")),
                "{key}"
            );
        }
    }

    #[test]
    fn a_port_is_found_by_its_name() {
        let names = ["wan4".to_owned(), "wan6".to_owned()];
        assert_eq!(place(&names, "wan6"), Ok(1));
        assert!(place(&names, "wan").is_err());
    }
}
