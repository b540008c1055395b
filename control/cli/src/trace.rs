//! Logs: to stderr, which a terminal shows and the journal takes.

use std::io::IsTerminal;

use tracing::Level;

/// Starts logging for this process. `SIXLANE_LOG` may name a level: error, warn, info, debug, trace.
pub(crate) fn start() {
    let level = std::env::var("SIXLANE_LOG").ok().and_then(|name| name.parse().ok());
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Only the first call of a process counts; a second one is harmless.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(Level::INFO))
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .try_init();
}
