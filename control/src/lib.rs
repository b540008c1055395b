//! Control: the process that holds policy and protocol. It reads the configuration and the kernel's
//! links, addresses, routes and neighbours, compiles them into tables, publishes these to the data
//! plane, and answers the operator.
//!
//! One thread, one event loop ([`run()`]); everything that decides is a plain function or a machine
//! that takes `now`, so that tests need neither kernel nor clock.

mod admin;
mod alarms;
mod clock;
mod compile;
pub mod config;
mod door;
mod fence;
mod figures;
mod fpm;
mod kernel;
mod link;
mod names;
mod neighbours;
mod netlink;
mod publish;
mod run;
mod sets;
pub mod teredo;
mod workers;

#[cfg(fuzzing)]
pub use admin::judge_line;
#[cfg(fuzzing)]
pub use fpm::judge_fpm;
pub use link::{Child, ChildDeaths, FromKeeper, KeeperLink, PlanFacts, PortFact, ToKeeper};
pub use run::{RunError, RunOptions, run};
