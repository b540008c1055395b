//! The laboratory: network namespaces, wires, a real Linux guest, senders and sinks.
//!
//! `make demo`, `sixlane lab` and every end-to-end test build their world with this crate. All that
//! it makes carries one random prefix, is released in `Drop`, and what a killed run left behind is
//! removed at the next start.

mod command;
mod error;

pub use command::{DemoOptions, UpOptions, demo, down, up};
pub use error::LabError;
