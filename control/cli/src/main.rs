//! The sixlane command.
fn main() {}
