//! How the command fails: an exit code and a sentence.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// The verb could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Exit code 1: it was tried and failed.
    pub(crate) fn failed(text: impl Display) -> Self {
        Self { code: 1, text: text.to_string() }
    }

    /// Exit code 2: the command line or the configuration is wrong.
    pub(crate) fn usage(text: impl Display) -> Self {
        Self { code: 2, text: text.to_string() }
    }

    /// Exit code 3: there is no relay to ask.
    pub(crate) fn not_running(runtime: &Path) -> Self {
        let text = format!(
            "sixlane is not running in {}: start it with `sixlane run CONFIG`, or name its directory with --runtime",
            runtime.display()
        );
        Self { code: 3, text }
    }

    /// Exit code 1, and the sentence has been said elsewhere.
    pub(crate) fn told() -> Self {
        Self { code: 1, text: String::new() }
    }

    /// The sentence.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Says it on stderr and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if self.text.is_empty() {
            return ExitCode::from(self.code);
        }
        // Several lines are a report that brings its own headings.
        let prefix = if self.text.contains('\n') { "" } else { "sixlane: " };
        // Nobody is left to be told when stderr is closed.
        let _ = writeln!(std::io::stderr(), "{prefix}{}", self.text.trim_end());
        ExitCode::from(self.code)
    }
}
