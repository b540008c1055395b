//! What can go wrong in the laboratory, each as a sentence with its cause.

use std::time::Duration;

/// A failure of the laboratory itself (not of what is tested in it).
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A command ended with a failure.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote, trimmed.
        output: String,
    },
    /// Something did not happen in its time.
    #[error("{what} did not happen within {waited:?}{detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// More to read (a log, a console), empty or beginning with a line feed.
        detail: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The guest did not start or gave up; its console follows.
    #[error("the Linux guest {what}; its console:\n{console}")]
    Guest {
        /// What happened.
        what: String,
        /// All that it printed.
        console: String,
    },
    /// A program that the laboratory needs is not installed.
    #[error("{program} is not installed; `make deps` or `apt-get install {package}` brings it")]
    Missing {
        /// The program or file.
        program: String,
        /// The Debian package.
        package: &'static str,
    },
    /// The laboratory makes namespaces and interfaces and so needs root.
    #[error("the laboratory makes network namespaces and needs root; run it with sudo")]
    NotRoot,
    /// A topology file that says something impossible.
    #[error("topology: {0}")]
    Topology(String),
    /// The relay under test is not as it should be; its log follows.
    #[error("the relay {what}; its log:\n{log}")]
    Relay {
        /// What happened.
        what: String,
        /// All that it wrote.
        log: String,
    },
    /// A step of the demonstration did not show what it should.
    #[error("{0}")]
    Shown(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// Wraps an operating system error with what was attempted.
    pub fn io(what: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }
}
