//! Routes by FRR's Forwarding Plane Manager interface: zebra (`-M dplane_fpm_nl`, or the older `-M fpm`)
//! connects to us and tells its routes as netlink messages in frames. A full table is told faster than
//! by the kernel, and need not be in the kernel at all.
//!
//! `frame` splits the stream, `object` and `routes` keep what was told, `source` is the machine over them,
//! without socket and clock; `port` is the socket and `peer` says whose the other end is.
//!
//! **One table with the kernel's routes.** A route told here stands among those of the kernel's table of
//! the same number, by its metric (FRR's is 20), before the kernel's of the same metric. Connected prefixes
//! stay the kernel's: zebra's word for those is not taken, nor any that would take a prefix from a link.

mod frame;
mod object;
mod peer;
mod port;
mod routes;
mod source;

#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub use fuzz::take as judge_fpm;
pub(crate) use port::{Event, Port};
#[cfg(test)]
pub(crate) use routes::NOBODY;
pub(crate) use routes::Routes;
pub(crate) use source::{Settings, Source};

#[cfg(fuzzing)]
mod fuzz;
