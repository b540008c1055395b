//! `sixlane lab up`, `down` and `demo`.

mod demo;
mod rates;
mod screen;
mod stay;

pub use demo::{DemoOptions, demo};
pub use stay::{UpOptions, down, up};

use crate::LabError;
use crate::relay::program;

/// Says no before anything is begun.
fn need_root() -> Result<(), LabError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

/// This program as it can be typed from where the user is.
fn typed() -> Result<String, LabError> {
    let program = program()?;
    let here = std::env::current_dir().unwrap_or_default();
    Ok(program.strip_prefix(here).unwrap_or(&program).display().to_string())
}
