//! `sixlane show`: what the running relay knows. With `--json` it is the admin socket's own object.

mod people;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::admin;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::run::DEFAULT_RUNTIME;
use people::Since;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to show
    what: What,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Again every SECONDS (1 unless given), with rates, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = watch::seconds)]
    watch: Option<Duration>,
    /// Directory of the relay
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME)]
    runtime: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Processes, ports and alarms
    Status,
    /// Devices, VLANs, modes, queues, and offloads that break a port
    Ports,
    /// Cores, queues and what they are doing
    Workers,
    /// What happened to packets, and whether the sums agree
    Counters,
    /// Why packets were dropped, with the clause of the RFC
    Drops,
    /// The routes in use
    Routes,
    /// The neighbours in use
    Neighbours,
    /// What the tables and the processes take of it
    Memory,
    /// What needs somebody's attention
    Alarms,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Ports => "ports",
            Self::Workers => "workers",
            Self::Counters => "counters",
            Self::Drops => "drops",
            Self::Routes => "routes",
            Self::Neighbours => "neighbours",
            Self::Memory => "memory",
            Self::Alarms => "alarms",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let what = arguments.what;
    let look = || admin::ask(&arguments.runtime, what.word()).map(|answer| answer.value);
    match arguments.watch {
        Some(interval) => {
            let title = format!("sixlane show {}, every {} s", what.word(), interval.as_secs_f64());
            watch::run(interval, arguments.json, &title, look, |value, since| text(what, value, since))
        }
        None if arguments.json => print_json(&look()?),
        None => print(&text(what, &look()?, None)),
    }
}

/// An answer as people read it; with rates if there is an earlier one.
fn text(what: What, value: &Value, since: Option<Since<'_>>) -> String {
    match what {
        What::Status => people::status(value),
        What::Ports => people::ports(value),
        What::Workers => people::workers(value),
        What::Counters => people::counters(value, since),
        What::Drops => people::drops(value, since),
        What::Routes => people::routes(value),
        What::Neighbours => people::neighbours(value),
        What::Memory => people::memory(value),
        What::Alarms => people::alarms(value),
    }
}
