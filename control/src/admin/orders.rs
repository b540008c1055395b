//! The changing socket's requests: `{"v":1,"do":"<name>"}`, answered by `{"v":1,"done":true,…}` or by
//! a sentence. What is ordered is done or refused as a whole.

use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::CHANGE_PATIENCE;
use super::protocol::{VERSION, refusal, version_refused};
use super::server::Request;

/// What a client orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The configuration is read again.
    Reload,
}

/// The names of all orders, for the sentence about an unknown one.
const KNOWN: [&str; 1] = ["reload"];

/// What became of an order: more keys of the answer, or why it was refused.
pub(crate) type Done = Result<Map<String, Value>, Refused>;

/// Why an order was refused; nothing is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Cause and remedy.
    pub(crate) sentence: String,
    /// It is the configuration's fault: the report of `sixlane check`.
    pub(crate) report: Option<String>,
}

impl From<String> for Refused {
    fn from(sentence: String) -> Self {
        Self { sentence, report: None }
    }
}

/// An order on its way to the event loop, and where its outcome goes. The loop may keep the sender
/// until it knows.
pub(crate) type Ordered = (Order, oneshot::Sender<Done>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    #[serde(rename = "do")]
    what: String,
}

impl Request for Order {
    type Answer = Done;
    const PATIENCE: Option<Duration> = Some(CHANGE_PATIENCE);

    fn parse(line: &[u8]) -> Result<Self, String> {
        let request: Line = serde_json::from_slice(line)
            .map_err(|error| format!("not an order ({error}): send {{\"v\":1,\"do\":\"NAME\"}}"))?;
        if request.v != VERSION {
            return Err(version_refused(request.v));
        }
        match request.what.as_str() {
            "reload" => Ok(Self::Reload),
            other => Err(unknown(other)),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Reload => "reload",
        }
    }

    fn line(_name: &'static str, outcome: Done) -> (String, Vec<OwnedFd>) {
        let line = match outcome {
            Ok(more) => {
                let mut whole = Map::new();
                whole.insert("v".into(), json!(VERSION));
                whole.insert("done".into(), json!(true));
                whole.extend(more);
                format!("{}\n", Value::Object(whole))
            }
            Err(Refused { sentence, report: None }) => refusal(&sentence),
            Err(Refused { sentence, report }) => {
                format!("{}\n", json!({ "v": VERSION, "error": sentence, "report": report }))
            }
        };
        (line, Vec::new())
    }
}

/// The sentence about an order that does not exist.
fn unknown(name: &str) -> String {
    let name: String = name.chars().take(40).collect();
    let known = KNOWN.join(", ");
    format!("there is no \"{name}\": what can be done is {known}")
}
