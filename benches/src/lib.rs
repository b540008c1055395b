//! What the benchmarks have in common.
//!
//! [`goals`] is the one table of floors and aims, [`abx`] compares two things on a noisy machine,
//! [`results`] says what came of it, [`machine`] where. [`rig`] is the worker over frames in memory,
//! [`callgrind`] counts its instructions, [`turns`] shows the tail of its times. [`wire`] is the worker over
//! real sockets, between a generator and a sink.

pub mod abx;
pub mod callgrind;
pub mod goals;
pub mod machine;
pub mod results;
pub mod rig;
pub mod turns;
pub mod wire;
