//! Ctrl-C, TERM and a terminal that goes away: remembered, so that the laboratory is taken down and
//! not left behind.

use crate::LabError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on Ctrl-C, TERM and HUP no longer end this process: every wait of the laboratory gives up
/// with [`LabError::Interrupted`] instead.
///
/// # Errors
/// The system refused the handlers.
pub fn watch() -> Result<(), LabError> {
    let flag = REQUESTED.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|error| LabError::io("watching for Ctrl-C", error))?;
    }
    Ok(())
}

/// Whether the user asked for the end.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Acquire))
}

/// A step between two waits: gives up when the user asked for the end.
///
/// # Errors
/// [`LabError::Interrupted`].
pub fn check() -> Result<(), LabError> {
    if requested() { Err(LabError::Interrupted) } else { Ok(()) }
}
