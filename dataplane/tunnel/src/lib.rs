//! Headers become meaning: pure functions from packet and record to a [`Verdict`].
//!
//! Nothing here knows a socket, a clock, a file or a global. Time arrives as an argument, tables arrive
//! behind the trait [`Classes`], and what is decided leaves as a value: a packet is refused with exactly
//! one [`Reason`].
//!
//! Reading order: [`reason`] and [`verdict`] (what may happen to a packet), [`class`] and [`bogon`] (who
//! may speak), [`embed`] (the IPv4 addresses inside IPv6 ones), [`guard`] (all address and header rules
//! in one list), [`sixinfour`] (protocol 41 in and out), [`teredo`] (UDP in and out, not yet used by the
//! data plane), [`field_copy`], [`mtu`], [`icmp`], [`quote`], [`bucket`].
#![no_std]
#![forbid(unsafe_code)]

pub mod bogon;
pub mod bucket;
pub mod class;
pub mod embed;
pub mod field_copy;
pub mod guard;
pub mod icmp;
pub mod mtu;
mod outer_header;
pub mod quote;
pub mod reason;
pub mod sixinfour;
pub mod teredo;
pub mod verdict;

pub use class::{Class4, Classes};
pub use reason::Reason;
pub use verdict::{IcmpError, PuntReason, Verdict};

#[cfg(test)]
mod testing;
