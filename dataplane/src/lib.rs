//! The per-core poll loop.
//!
//! Reading order: [`worker`] (one page), [`port`], [`batch`], `pipeline` (the stages of a pass),
//! `classify`, `relay`, `forward`, `rewrite`, `reply`, `door`, `tick`; then [`run`] (the process) and
//! [`explain`] (one packet through the same functions).
//!
//! Invariants: no verb of a turn allocates, locks, logs, panics or reads a clock; no packet is forgotten
//! (its frame is owned by a batch until it is handed on); every packet ends in one verdict and one
//! counter; tables are only read. All `unsafe` is in the crates below.

mod attach;
pub mod batch;
mod classify;
mod door;
pub mod explain;
mod flow;
mod forward;
pub mod ident;
pub mod link;
mod mailbox;
mod neighbour;
pub mod null;
mod pipeline;
pub mod port;
mod relay;
mod replace;
mod reply;
mod rewrite;
pub mod run;
mod scene;
mod tally;
mod tick;
mod vlan;
mod waiting;
pub mod worker;

pub use link::{FromKeeper, KeeperLink, ToKeeper};
pub use run::{Confinement, Idle, RunError, RunOptions, run};
pub use worker::Worker;
