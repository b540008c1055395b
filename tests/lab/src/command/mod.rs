//! `sixlane lab up`, `down` and `demo`.

use crate::LabError;
use std::path::PathBuf;

/// What `sixlane lab up` is told.
#[derive(Debug, Default, Clone)]
pub struct UpOptions {
    /// A topology file instead of the built-in `first-light`.
    pub topology: Option<PathBuf>,
}

/// What `sixlane lab demo` is told.
#[derive(Debug, Default, Clone)]
pub struct DemoOptions {
    /// Line output even on a terminal.
    pub plain: bool,
}

/// Builds a laboratory that stays, and prints how to enter it.
///
/// # Errors
/// What could not be built; nothing is left behind then.
pub fn up(options: &UpOptions) -> Result<(), LabError> {
    let _ = options;
    Ok(())
}

/// Takes laboratories of `sixlane lab up` down: the named one, or all.
///
/// # Errors
/// No laboratory of that name, or something could not be removed.
pub fn down(name: Option<&str>) -> Result<(), LabError> {
    let _ = name;
    Ok(())
}

/// Shows the relay at work and what happens when its processes are killed.
///
/// # Errors
/// The step that did not show what it should.
pub fn demo(options: &DemoOptions) -> Result<(), LabError> {
    let _ = options;
    Ok(())
}
