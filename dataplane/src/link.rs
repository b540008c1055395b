//! What data plane and keeper say to each other: the types, and the trait that carries them.
//!
//! The messages on the wire (`repr(C)` over SOCK_SEQPACKET) are the keeper's matter; the command
//! adapts one to the other, so that data plane and keeper never import each other.
//!
//! Order at the start: for each worker [`FromKeeper::Umem`] and its [`FromKeeper::Queue`]s, the
//! segments of the newest set of tables ([`FromKeeper::Tables`], from index 0), then
//! [`FromKeeper::Start`]. The data plane answers with one [`ToKeeper::WorkerSegment`] per worker,
//! [`ToKeeper::TablesMapped`] per segment and [`ToKeeper::Ready`] once every worker turns. Later only
//! `Tables`, `Stop`, and `Queue` follow: the last when an interface that was deleted has been made again.
//! It names a queue that the start had, and is answered with [`ToKeeper::SocketTaken`].

use sixlane_xsk::RingSizes;
use std::io;
use std::os::fd::OwnedFd;

/// Keeper to data plane.
#[derive(Debug)]
pub enum FromKeeper {
    /// The frames of a worker.
    Umem {
        /// Number of the worker, from 0.
        worker: u16,
        /// How many frames of 2,048 bytes the memory holds.
        frames: u32,
        /// The memory, shared with the kernel.
        fd: OwnedFd,
        /// The segment of the worker that had these frames before and died: its ledger says which
        /// frames it owned. Absent at the first start.
        predecessor: Option<OwnedFd>,
    },
    /// An AF_XDP socket of a worker; comes after the worker's `Umem`.
    Queue {
        /// Number of the worker, from 0.
        worker: u16,
        /// The port's place in the configuration, from 0; at most 63.
        port: u8,
        /// The port's receive queue.
        queue: u16,
        /// The bound socket.
        fd: OwnedFd,
        /// The sizes its rings were made with.
        sizes: RingSizes,
        /// The keeper's number of this socket: no other ever has it.
        number: u32,
    },
    /// A segment of tables. A new set replaces the set before it when its last segment is mapped.
    Tables {
        /// Identity of the set: rises with every start of control.
        set: u64,
        /// Which segment of the set, from 0.
        segment: u32,
        /// The sealed segment.
        fd: OwnedFd,
        /// Another segment of the same set follows at once.
        more: bool,
    },
    /// Everything is here: recover the frames, start the workers.
    Start,
    /// Orderly stop: the workers end, frames stay where they are.
    Stop,
}

/// Data plane to keeper.
#[derive(Debug)]
pub enum ToKeeper {
    /// A worker's segment: counters, epoch, ledger, rings to control. Kept by the keeper also for
    /// recovery after a crash.
    WorkerSegment {
        /// Number of the worker, from 0.
        worker: u16,
        /// The segment.
        fd: OwnedFd,
    },
    /// The data plane has mapped a segment of tables: control may publish into it.
    TablesMapped {
        /// The set it belongs to.
        set: u64,
        /// Which segment of the set.
        segment: u32,
    },
    /// The data plane refused a segment of tables (a foreign layout, a bad size) and goes on with
    /// what it has.
    TablesRefused {
        /// The set it belongs to.
        set: u64,
        /// Which segment of the set.
        segment: u32,
        /// One sentence for the log.
        reason: String,
    },
    /// All workers run.
    Ready,
    /// A worker turns with the socket that was sent for this queue, and has given up the one before it.
    SocketTaken {
        /// The port's place in the configuration, from 0.
        port: u8,
        /// The port's receive queue.
        queue: u16,
    },
}

/// The connection to the keeper.
///
/// Only the attach thread uses it; it may block.
pub trait KeeperLink: Send {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// `UnexpectedEof` when the keeper has gone (the data plane then forwards on with what it has),
    /// else the socket's error.
    fn receive(&mut self) -> io::Result<FromKeeper>;

    /// Sends one message.
    ///
    /// # Errors
    /// The socket's error; `BrokenPipe` when the keeper has gone.
    fn send(&mut self, message: ToKeeper) -> io::Result<()>;
}
