//! Teredo's machines, without sockets and clocks: they are told what arrived and when, and say what is to be
//! sent. Nothing runs them yet.

pub mod relay;
mod sketch;
mod waiting;
