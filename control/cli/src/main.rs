//! The `sixlane` command: one binary, which is also every process of a running relay.
//!
//! One file per verb. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not running.

mod admin;
mod check;
mod explain;
mod failure;
mod internal;
mod lab;
mod output;
mod reload;
mod run;
mod show;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Carries IPv6 across IPv4: a transition relay.
#[derive(Debug, Parser)]
#[command(name = "sixlane", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the relay in the foreground until TERM or Ctrl-C
    Run(run::Arguments),
    /// Validate a configuration without touching anything
    Check(check::Arguments),
    /// Put the changed configuration in force, all of it or nothing, without losing a packet
    Reload(reload::Arguments),
    /// Decode an address, or say what the running relay would do with a packet
    Explain(explain::Arguments),
    /// Show what the running relay knows
    Show(show::Arguments),
    /// Build a laboratory of network namespaces around a relay
    Lab(lab::Arguments),
    /// The processes of a running relay
    #[command(hide = true)]
    Internal(internal::Arguments),
}

fn main() -> ExitCode {
    abort_on_panic();
    let outcome = match Arguments::parse().verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Reload(arguments) => reload::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Show(arguments) => show::run(&arguments),
        Verb::Lab(arguments) => lab::run(&arguments),
        Verb::Internal(arguments) => internal::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// A panic ends the whole process in every build, as it does in a release: the keeper replaces a dead
/// process, but not one that lacks a thread.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_grammar_of_the_command_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
