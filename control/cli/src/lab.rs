//! `sixlane lab`: the laboratory of `sixlane-lab`.

use std::path::PathBuf;

use clap::Subcommand;
use sixlane_lab::{DemoOptions, UpOptions};

use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build a laboratory that stays, with a relay in it
    Up {
        /// A topology file instead of `first-light`
        topology: Option<PathBuf>,
    },
    /// Take laboratories down
    Down {
        /// Its name; all when absent
        name: Option<String>,
    },
    /// Show the relay at work, kill its processes, clean up
    Demo {
        /// Plain lines even on a terminal
        #[arg(long)]
        plain: bool,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let outcome = match &arguments.verb {
        Verb::Up { topology } => sixlane_lab::up(&UpOptions { topology: topology.clone() }),
        Verb::Down { name } => sixlane_lab::down(name.as_deref()),
        Verb::Demo { plain } => sixlane_lab::demo(&DemoOptions { plain: *plain }),
    };
    outcome.map_err(Failure::failed)
}
