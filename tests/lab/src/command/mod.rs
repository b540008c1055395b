//! `sixlane lab up`, `down` and `demo`.

mod demo;
mod rates;
mod screen;
mod stay;

pub use demo::{DemoOptions, demo};
pub use stay::{UpOptions, down, up};
