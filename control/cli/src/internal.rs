//! `sixlane internal`: what the keeper executes. Confines the process first, then adapts the keeper's
//! messages to the process's own types and runs it.

mod control;
mod data_plane;
mod estate;
mod observer;

use std::path::PathBuf;

use clap::Subcommand;
use sixlane_keeper::Channel;
use sixlane_keeper::users::Identity;

use crate::failure::Failure;
use crate::trace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Policy and protocol
    Control {
        #[command(flatten)]
        user: User,
        /// Directory of the admin socket
        #[arg(long)]
        runtime: PathBuf,
        /// Where the configuration came from
        #[arg(long)]
        config: PathBuf,
    },
    /// The poll loops
    Dataplane {
        #[command(flatten)]
        user: User,
    },
    /// Metrics
    Observer {
        #[command(flatten)]
        user: User,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct User {
    #[arg(long)]
    uid: u32,
    #[arg(long)]
    gid: u32,
    #[arg(long)]
    extra_group: Option<u32>,
}

impl User {
    fn identity(self) -> Identity {
        Identity { uid: self.uid, gid: self.gid, extra_group: self.extra_group }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // First of all: nothing may have opened a descriptor before.
    let channel = Channel::inherited().map_err(|_| {
        Failure::usage(
            "`sixlane internal` is for the keeper alone: start the relay with `sixlane run CONFIG`",
        )
    })?;
    trace::start();
    match &arguments.role {
        Role::Control { user, runtime, config } => {
            control::run(channel, user.identity(), runtime, config.clone())
        }
        Role::Dataplane { user } => data_plane::run(channel, user.identity()),
        Role::Observer { user } => observer::run(channel, user.identity()),
    }
}

/// What `ps` and `top` call this process; `exe` otherwise, after the link it was executed by.
fn name_process(name: &std::ffi::CStr) {
    let _ = rustix::thread::set_name(name);
}
