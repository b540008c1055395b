//! `sixlane lab demo`.

use crate::LabError;

/// What `sixlane lab demo` is told.
#[derive(Debug, Default, Clone)]
pub struct DemoOptions {
    /// Line output even on a terminal.
    pub plain: bool,
}

/// Shows the relay at work and what happens when its processes are killed.
///
/// # Errors
/// The step that did not show what it should.
pub fn demo(options: &DemoOptions) -> Result<(), LabError> {
    let _ = options;
    Ok(())
}
