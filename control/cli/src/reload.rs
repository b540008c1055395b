//! `sixlane reload`: the running relay reads its configuration again.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::run::DEFAULT_RUNTIME;

/// How long it may take: the relay itself gives up after a minute.
const PATIENCE: Duration = Duration::from_secs(65);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One JSON object instead of a sentence
    #[arg(long)]
    json: bool,
    /// Directory of the relay
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME)]
    runtime: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let answer = admin::order(&arguments.runtime, "reload", PATIENCE)?;
    if arguments.json {
        return print_json(&answer.value);
    }
    let generation = answer.value.get("generation").map(ToString::to_string).unwrap_or_default();
    print(&format!("reloaded: generation {generation} of the tables is in force\n"))
}
