//! The observer: metrics over HTTP, in a process that has no privilege and that nobody needs.
//!
//! It maps the workers' counters read-only, as it gets them from the keeper, so that figures come
//! whether control answers or not. What control alone knows (tables, alarms, the XDP program's
//! counters) it asks through a connection to the reading admin protocol that the keeper makes; it can
//! open nothing itself. Read `run` first, then `workers` and `metrics`.

mod control;
mod figures;
mod http;
mod link;
mod metrics;
mod run;
mod workers;

pub use link::{FromKeeper, KeeperLink};
pub use run::{Confine, RunError, run};

/// Most connections at one time (ATK-56).
pub const CLIENTS_MAX: usize = 16;
/// How long a connection may last, from its start to its end.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Most bytes of a request's head.
pub const HEAD_MAX: usize = 8 << 10;
