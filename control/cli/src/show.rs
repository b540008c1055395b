//! `sixlane show`: what the running relay knows. With `--json` it is the admin socket's own object.

mod people;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::admin;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::run::DEFAULT_RUNTIME;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to show
    what: What,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Directory of the relay
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME)]
    runtime: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Processes, ports and alarms
    Status,
    /// What happened to packets, and whether the sums agree
    Counters,
    /// Why packets were dropped, with the clause of the RFC
    Drops,
    /// The routes in use
    Routes,
    /// The neighbours in use
    Neighbours,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Counters => "counters",
            Self::Drops => "drops",
            Self::Routes => "routes",
            Self::Neighbours => "neighbours",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let answer = admin::ask(&arguments.runtime, arguments.what.word())?;
    if arguments.json {
        return print_json(&answer.value);
    }
    let text = match arguments.what {
        What::Status => people::status(&answer.value),
        What::Counters => people::counters(&answer.value),
        What::Drops => people::drops(&answer.value),
        What::Routes => people::routes(&answer.value),
        What::Neighbours => people::neighbours(&answer.value),
    };
    print(&text)
}
