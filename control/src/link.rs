//! What control and keeper say to each other: the types, and the trait that carries them.
//!
//! The messages on the wire (`repr(C)` over SOCK_SEQPACKET) are the keeper's matter; the command
//! adapts one to the other, so that control and keeper never import each other.
//!
//! Order at the start: [`FromKeeper::Config`], [`FromKeeper::Plan`], [`FromKeeper::Maps`],
//! [`FromKeeper::Door`], then, if
//! there was a control before this one, [`FromKeeper::Totals`] and the worker segments that the
//! totals do not contain yet, [`FromKeeper::Attached`] if packets flow already, then
//! [`FromKeeper::Start`]. Control answers with
//! [`ToKeeper::TablesSegment`], [`ToKeeper::Fenced`] and [`ToKeeper::Ready`], or with
//! [`ToKeeper::Failed`].

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use sixlane_xsk::maps::Maps;

/// A port as the keeper found and opened it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFact {
    /// Its place in the configuration, from 0; at most 63.
    pub index: u8,
    /// Name of the interface.
    pub name: String,
    /// The kernel's number of the interface.
    pub ifindex: u32,
    /// Receive queues; each has a socket.
    pub queues: u16,
    /// The kernel's driver, such as `veth` or `ice`; empty when unknown.
    pub driver: String,
    /// Whether the sockets were bound in zero-copy mode.
    pub zero_copy: bool,
    /// Whether the program is attached in generic mode.
    pub generic: bool,
    /// Whether its driver is why all ports run in copy mode.
    pub no_zero_copy: bool,
}

/// What the keeper opened: plain facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanFacts {
    /// The ports in the order of the configuration.
    pub ports: Vec<PortFact>,
    /// Number of workers.
    pub workers: u16,
    /// Whether there is a door; control sees by [`FromKeeper::Door`].
    pub door: bool,
    /// Core of each worker.
    pub cores: Vec<u16>,
    /// Idle workers spin; else they sleep.
    pub spin: bool,
}

/// A child of the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// Control.
    Control,
    /// The data plane.
    DataPlane,
}

/// How often a child has died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildDeaths {
    /// Which.
    pub child: Child,
    /// Since the start of the instance.
    pub total: u32,
    /// In the minute before the last death, that one included.
    pub recent: u32,
    /// How it ended last, in words.
    pub last: String,
}

/// Keeper to control.
#[derive(Debug)]
pub enum FromKeeper {
    /// The configuration's text in a sealed memory file, and the path it was read from.
    Config {
        /// The text, UTF-8.
        text: OwnedFd,
        /// Where the operator keeps it: for messages only, control does not open it.
        path: PathBuf,
    },
    /// What the keeper opened.
    Plan(PlanFacts),
    /// The program's maps (`Maps::from_fds`, in the order of `sixlane_xsk::maps::MAP_NAMES`).
    Maps(Maps),
    /// The door: the TUN device `sixlane0`, non-blocking, down and without an address.
    Door {
        /// Reads and writes packets that begin with their IP header.
        fd: OwnedFd,
        /// The kernel's number of the interface.
        ifindex: u32,
    },
    /// The sums over all dead workers that an earlier control had made ([`ToKeeper::Totals`]).
    Totals(OwnedFd),
    /// A worker's segment: counters, epoch and punt ring, read-only.
    WorkerSegment {
        /// Number of the worker, from 0.
        worker: u16,
        /// Which start of the data plane it belongs to, from 1, always rising.
        incarnation: u32,
        /// The segment.
        fd: OwnedFd,
    },
    /// All facts are sent: build, publish, fence, say ready.
    Start,
    /// The data plane of this incarnation is dead (pidfd). Its segments are final.
    DataplaneDown {
        /// Which start of the data plane.
        incarnation: u32,
    },
    /// The data plane has mapped everything and its workers run.
    DataplaneReady {
        /// Which start of the data plane.
        incarnation: u32,
    },
    /// The data plane has mapped a segment of tables.
    TablesMapped {
        /// Which set of tables ([`ToKeeper::TablesSegment`]).
        set: u64,
        /// Which segment of it.
        segment: u32,
    },
    /// The sockets are in the map and the program is attached to every port.
    Attached,
    /// A connection on which the observer asks what the reading admin socket answers.
    Observer(OwnedFd),
    /// A child of the keeper has died: the data plane, or, before its start, this control's predecessor.
    Deaths(ChildDeaths),
    /// The keeper had died, and another one has taken over: it has to hear what this control has
    /// published, and may have missed what was sent last to the one before.
    Adopted,
    /// A port whose interface was deleted works again, on the interface that has its name now.
    PortBack(PortFact),
    /// The interface that has the name of a deleted one cannot be the port: one sentence why.
    PortRefused {
        /// Index of the port.
        port: u8,
        /// Cause and remedy.
        reason: String,
    },
    /// The configuration's text, read again ([`ToKeeper::ReloadWanted`], or a signal), in a sealed memory
    /// file. Control answers with [`ToKeeper::Accepted`] or [`ToKeeper::NotAccepted`].
    Reload {
        /// The order that it answers; 0: a signal.
        order: u64,
        /// The keeper's number for this text.
        number: u32,
        /// The text.
        text: OwnedFd,
    },
    /// The configuration could not be read again.
    Unreadable {
        /// The order that it answers; 0: a signal.
        order: u64,
        /// One sentence with cause and remedy.
        sentence: String,
    },
    /// Before this control started a changed configuration was refused, and none was accepted since.
    RefusedBefore(String),
    /// Orderly stop: the program is detached and the data plane has ended. Take the fence away, end.
    Stop,
}

/// Control to keeper.
#[derive(Debug)]
pub enum ToKeeper {
    /// A sealed segment of tables, for the data plane (now and after each of its restarts).
    /// A new `set` replaces all segments of the sets before it.
    TablesSegment {
        /// Identity of the set of tables: rises with every start of control.
        set: u64,
        /// Which segment of the set, from 0.
        index: u32,
        /// The read-only descriptor.
        fd: OwnedFd,
    },
    /// The kernel's own answer to tunnel packets is fenced off (or cannot be, and an alarm says so).
    Fenced,
    /// Tables are published and the program's sets are filled: the data plane can start.
    Ready,
    /// Control cannot start: one sentence with cause and remedy. Control ends after it.
    Failed(String),
    /// Sums over the dead up to and with this incarnation: keep it for the next control, and let
    /// the segments of these dead go.
    Totals {
        /// The last incarnation whose counters are inside.
        incarnation: u32,
        /// The sums in a sealed memory file.
        fd: OwnedFd,
    },
    /// The interface of a port was deleted, and there is another of its name: open sockets on it. Answered
    /// with [`FromKeeper::PortBack`] or [`FromKeeper::PortRefused`].
    PortMissing {
        /// Index of the port.
        port: u8,
    },
    /// A worker has shown no sign of life for `stuck_seconds`: kill and restart the data plane.
    RestartDataplane {
        /// One sentence for the log.
        reason: String,
    },
    /// Read the configuration again and send its text.
    ReloadWanted {
        /// Comes back with the answer; not 0.
        order: u64,
    },
    /// This text is in force: keep it for the next control, and let the one before go.
    Accepted {
        /// The keeper's number of the text.
        number: u32,
    },
    /// To a keeper that has taken over, which may have missed [`ToKeeper::Accepted`]: the text in force.
    Configuration {
        /// The text in a sealed memory file.
        text: OwnedFd,
    },
    /// This text is refused, the one before stays in force.
    NotAccepted {
        /// The keeper's number of the text.
        number: u32,
        /// Why.
        sentence: String,
    },
}

/// The connection to the keeper.
///
/// Control runs one thread: it sets the descriptor to non-blocking and waits for it itself.
pub trait KeeperLink: Send {
    /// The next message. After the keeper has gone, which is said once, this waits for another keeper:
    /// [`FromKeeper::Adopted`] is the first that it says.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting, `UnexpectedEof` when the keeper has gone, else the
    /// socket's error.
    fn receive(&mut self) -> io::Result<FromKeeper>;

    /// Sends one message.
    ///
    /// # Errors
    /// The socket's error; `BrokenPipe` when the keeper has gone.
    fn send(&mut self, message: ToKeeper) -> io::Result<()>;

    /// The descriptor to wait on for reading.
    ///
    /// # Errors
    /// There is none any more.
    fn descriptor(&self) -> io::Result<BorrowedFd<'_>>;

    /// Whether the descriptor has become another one since this was asked last.
    fn moved(&mut self) -> bool;
}
