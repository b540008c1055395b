//! The XDP program, run by the kernel on single frames (`BPF_PROG_TEST_RUN`): fixtures with their
//! answers, and a million random packets against the rules written a second time.
//!
//! These tests need root, and neither an interface nor traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // these are tests

mod differential;
mod fixtures;
mod packets;
mod reference;
mod runner;
