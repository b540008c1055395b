//! What the keeper says to the observer; the command adapts the keeper's messages to these types.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Keeper to observer. Order at the start: [`FromKeeper::Listener`], the ports, sums and segments.
#[derive(Debug)]
pub enum FromKeeper {
    /// The TCP socket that listens on the configured address.
    Listener(OwnedFd),
    /// A port.
    Port {
        /// Its place in the configuration, from 0; at most 63.
        index: u8,
        /// Name of the interface.
        name: String,
    },
    /// A worker's segment, read-only.
    WorkerSegment {
        /// Number of the worker, from 0.
        worker: u16,
        /// Which start of the data plane it belongs to, from 1, always rising.
        incarnation: u32,
        /// The segment.
        fd: OwnedFd,
    },
    /// The data plane of this incarnation is dead: its figures are final.
    DataplaneDown {
        /// Which start of the data plane.
        incarnation: u32,
    },
    /// The sums over all dead workers that control has made.
    Totals(OwnedFd),
    /// A connection to control, on which it answers the reading admin protocol. Replaces the one before.
    Control(OwnedFd),
    /// End.
    Stop,
}

/// The connection to the keeper. The observer runs one thread and waits for the descriptor itself.
pub trait KeeperLink {
    /// The next message.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting, `UnexpectedEof` when the keeper has gone, else the socket's
    /// error.
    fn receive(&mut self) -> io::Result<FromKeeper>;

    /// Says that metrics are served.
    ///
    /// # Errors
    /// The socket's error.
    fn ready(&mut self) -> io::Result<()>;

    /// The descriptor to wait on for reading.
    fn descriptor(&self) -> BorrowedFd<'_>;
}
