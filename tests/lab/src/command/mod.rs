//! `sixlane lab up`, `down` and `demo`.

mod demo;
mod stay;

pub use demo::{DemoOptions, demo};
pub use stay::{UpOptions, down, up};
