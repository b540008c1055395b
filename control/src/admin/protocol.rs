//! Requests and answers as text.

use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::server::Request;

/// Version of the protocol: in every line, both ways.
pub(crate) const VERSION: u32 = 1;
/// Routes of one answer, unless the request says less.
const ROUTES_MAX: usize = 10_000;

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    Status,
    Counters,
    Drops,
    Routes {
        /// Most routes that the answer names.
        limit: usize,
    },
    Neighbours,
    Tables,
    Memory,
    Alarms,
    Ports,
    Workers,
}

/// What a client gets.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The object; its keys `v` and `get` are added here.
    pub(crate) body: Map<String, Value>,
    /// Descriptors that travel with the line.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Reply {
    /// An answer without descriptors.
    pub(crate) const fn plain(body: Map<String, Value>) -> Self {
        Self { body, descriptors: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    get: String,
    limit: Option<usize>,
}

impl Request for Query {
    type Answer = Reply;
    const PATIENCE: Option<Duration> = None;

    fn parse(line: &[u8]) -> Result<Self, String> {
        let request: Line = serde_json::from_slice(line)
            .map_err(|error| format!("not a request ({error}): send {{\"v\":1,\"get\":\"status\"}}"))?;
        if request.v != VERSION {
            return Err(version_refused(request.v));
        }
        Ok(match request.get.as_str() {
            "status" => Self::Status,
            "counters" => Self::Counters,
            "drops" => Self::Drops,
            "routes" => Self::Routes { limit: request.limit.unwrap_or(ROUTES_MAX).min(ROUTES_MAX) },
            "neighbours" => Self::Neighbours,
            "tables" => Self::Tables,
            "memory" => Self::Memory,
            "alarms" => Self::Alarms,
            "ports" => Self::Ports,
            "workers" => Self::Workers,
            other => {
                return Err(format!(
                    "there is no \"{}\": get status, ports, workers, counters, drops, routes, neighbours, memory, alarms or tables",
                    other.chars().take(40).collect::<String>()
                ));
            }
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Counters => "counters",
            Self::Drops => "drops",
            Self::Routes { .. } => "routes",
            Self::Neighbours => "neighbours",
            Self::Tables => "tables",
            Self::Memory => "memory",
            Self::Alarms => "alarms",
            Self::Ports => "ports",
            Self::Workers => "workers",
        }
    }

    fn line(name: &'static str, reply: Reply) -> (String, Vec<OwnedFd>) {
        let mut whole = Map::new();
        whole.insert("v".into(), json!(VERSION));
        whole.insert("get".into(), json!(name));
        whole.extend(reply.body);
        (format!("{}\n", Value::Object(whole)), reply.descriptors)
    }
}

/// The line that refuses.
pub(crate) fn refusal(sentence: &str) -> String {
    let mut line = json!({ "v": VERSION, "error": sentence }).to_string();
    line.push('\n');
    line
}

/// The sentence about a protocol of another version.
pub(super) fn version_refused(version: u32) -> String {
    format!("version {version} of the protocol is not spoken here: use \"v\": {VERSION}")
}
