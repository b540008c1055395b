//! The laboratory: network namespaces, wires, a real Linux guest, senders and sinks.
//!
//! `make demo`, `sixlane lab` and every end-to-end test build their world with this crate. All that
//! it makes carries one random prefix, is released in `Drop`, and what a killed run left behind is
//! removed at the next start.

mod bird;
mod command;
mod deadline;
mod error;
mod frr;
mod guest;
mod host;
pub mod interrupt;
mod lab;
pub mod packet;
mod radvd;
mod registry;
mod relay;
mod run;
pub mod socket;
pub mod stream;
mod topology;
pub mod transfer;
mod wire;

pub use bird::Bird;
pub use command::{DemoOptions, UpOptions, demo, down, up};
pub use deadline::{Deadline, eventually, readable};
pub use error::LabError;
pub use frr::Frr;
pub use guest::{Answer, Guest, Machine};
pub use host::Host;
pub use lab::{Lab, require};
pub use radvd::Radvd;
pub use registry::{kept, reap};
pub use relay::{Part, Relay, program};
pub use run::{Output, Process, output, run, wait};
pub use topology::{FarEnd, HostSettings, RelaySettings, Topology, WireSettings, World};
pub use wire::{End, Wire};
