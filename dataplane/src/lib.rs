//! The per-core poll loop.

pub mod ident;
pub mod link;
pub mod run;

pub use link::{FromKeeper, KeeperLink, ToKeeper};
pub use run::{Idle, RunError, RunOptions, run};
