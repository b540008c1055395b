//! Why `sixlane run` ends other than by an orderly stop: each is one sentence with cause and remedy.

use std::io;

use crate::confine::ConfineError;
use crate::host::HostError;
use crate::name::NameError;
use crate::plan::CoreError;
use crate::runtime::RuntimeError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The machine or the caller's rights do not suffice.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another instance, or no directory to work in.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Privileges could not be given up.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// No cores for the workers.
    #[error(transparent)]
    Cores(#[from] CoreError),
    /// A configured interface does not exist.
    #[error(
        "interface {name} does not exist in this network namespace: create it, or correct `name` of that [[port]]"
    )]
    NoInterface {
        /// The name in the configuration.
        name: String,
    },
    /// Another instance runs in this network namespace, or somebody keeps its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The program, the memory or a socket could not be made; the sentence comes from `diagnose`.
    #[error("{0}")]
    Resource(String),
    /// The interface of the door could not be made; the sentence names cause and remedy.
    #[error("{0}")]
    Door(String),
    /// A child could not be started at all.
    #[error("cannot start the {role} process ({cause}): raise the limits of processes and open files")]
    Spawn {
        /// Which child.
        role: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
    /// A child refused to start and said why.
    #[error("{0}")]
    Refused(String),
    /// A child ended during the start without a word.
    #[error("the {role} process ended during the start ({how}): its last lines above say why")]
    Died {
        /// Which child.
        role: &'static str,
        /// Exit code or signal.
        how: String,
    },
    /// The event loop or a signal handler could not be made.
    #[error("cannot set up the event loop ({0}): raise the limit of open files")]
    Loop(io::Error),
}
