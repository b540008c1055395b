//! The atomics of this crate: those of the standard library, or loom's when its models are run
//! (`RUSTFLAGS="--cfg loom"`, which leaves out everything that needs real shared memory).

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
