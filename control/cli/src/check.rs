//! `sixlane check`: validates a configuration without touching anything.

use std::path::PathBuf;

use sixlane_control::config;

use crate::failure::Failure;
use crate::output::print;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let checked = config::load(&arguments.file).map_err(Failure::usage)?;
    let mut text = String::new();
    for warning in &checked.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    for unbuilt in &checked.unbuilt {
        text.push_str(&format!("note: {unbuilt}\n"));
    }
    text.push_str(&format!("{} is valid\n", arguments.file.display()));
    print(&text)
}
