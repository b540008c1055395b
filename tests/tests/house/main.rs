//! The rules of the house, checked by machine: who may import whom, which licences are linked,
//! where unsafe may live, what every requirement's state rests on, and manners of the text.
//! Needs no privileges.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

mod imports;
mod licences;
mod requirements;
mod tidy;
mod tree;
