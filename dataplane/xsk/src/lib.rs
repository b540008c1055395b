//! The kernel's rings: AF_XDP sockets, the frames they carry, and the XDP program that feeds them.
//!
//! This crate knows no packets. It moves ownership of fixed-size frames between a worker and the
//! kernel, and does so in an order that survives the death of the worker at any instruction
//! (see [`handover`]).
//!
//! Who uses what:
//! - the keeper, with privileges: [`umem`], [`socket`], [`program`], [`diagnose`];
//! - the data plane, without any: [`queue`], [`pool`], [`handover`];
//! - control: [`maps`] alone.
//!
//! `unsafe` is allowed in the modules that say so; `docs/UNSAFE.md` lists their invariants.

mod area;
mod crash;
pub mod diagnose;
#[cfg(test)]
mod fake;
pub mod handover;
pub mod interface;
pub mod ledger;
pub mod maps;
pub mod pool;
pub mod program;
pub mod queue;
#[cfg(test)]
mod recovery_tests;
mod ring;
pub mod socket;
#[cfg(test)]
mod stall_tests;
pub mod uapi;
pub mod umem;

pub use handover::{Handed, Predecessor, TakeOver};
pub use ledger::{FrameState, Ledger};
pub use pool::{Census, FramePool};
pub use queue::{Parting, Queue, QueueStatistics, Received, Rings, Seat, WakeError};
pub use socket::RingSizes;
pub use umem::{FRAME_BYTES, Frame, Memory, Umem};
