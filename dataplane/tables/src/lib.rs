//! Meaning in shared memory.
//!
//! Control writes tables with a [`TableWriter`]; workers map them read-only as [`Tables`] and look at
//! them through a [`View`]; what workers must write lies in their own [`WorkerSegment`]s. Reading order:
//! [`layout`], [`segment`], [`quiescence`], `arena`, [`settings`], [`adjacency`], [`group`], [`classes`], `fib`,
//! [`reader`], [`writer`], [`counters`], [`spsc`], [`punt`], [`packets`], [`worker`].

#[cfg(not(loom))]
pub mod adjacency;
#[cfg(not(loom))]
mod arena;
#[cfg(not(loom))]
pub mod classes;
#[cfg(not(loom))]
pub mod counters;
#[cfg(not(loom))]
mod fib;
#[cfg(not(loom))]
pub mod group;
#[cfg(not(loom))]
pub mod layout;
#[cfg(not(loom))]
pub mod packets;
#[cfg(not(loom))]
pub mod punt;
pub mod quiescence;
#[cfg(not(loom))]
pub mod reader;
#[cfg(not(loom))]
pub mod segment;
#[cfg(not(loom))]
pub mod settings;
pub mod spsc;
pub mod sync;
#[cfg(not(loom))]
pub mod worker;
#[cfg(not(loom))]
pub mod writer;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(not(loom))]
pub use crate::{
    adjacency::{Adjacency, NextHopId},
    classes::ClassRange,
    counters::{CounterSnapshot, Counters, PortCounters, PortSnapshot, SocketCounters, SocketSnapshot},
    packets::{Injector, PacketKind, PuntedPacket},
    quiescence::{EpochLine, WorkerEpoch},
    reader::{Corrupt, Tables, View},
    segment::{Pages, Segment, SegmentError},
    settings::{PortSettings, Settings},
    worker::{WorkerLayout, WorkerSegment, WorkerView},
    writer::{Limits, Memory, TableError, TableWriter},
};
