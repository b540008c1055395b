//! The messages between keeper and children: fixed `repr(C)` records, at most [`MAX_DESCRIPTORS`]
//! descriptors each.
//!
//! Every record carries magic, version and a hash of the layout of all bodies, so that a keeper and
//! a child of different builds refuse each other in words instead of misreading each other. Numbers
//! are in the byte order of the machine: both ends run on it.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::mix;

/// Most descriptors that one message carries.
pub const MAX_DESCRIPTORS: usize = 8;
/// Most worker threads; also the length of [`Plan::cores`].
pub const MAX_WORKERS: usize = 64;
/// Version of the protocol; raised with every change of meaning.
pub const VERSION: u16 = 1;
/// First word of every message: "6lan".
const MAGIC: u32 = 0x366c_616e;
/// Bytes of a message on the wire.
pub const MESSAGE_BYTES: usize = size_of::<Envelope>();
/// Bytes of the largest body.
const BODY_BYTES: usize = 448;
/// Bytes of the largest body inside a [`Keep`].
const KEPT_BYTES: usize = 256;
/// Bytes of a sentence inside a message; longer ones are cut at a character's border.
pub const TEXT_BYTES: usize = 400;

/// What every message starts with.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: u32,
    version: u16,
    kind: u16,
    layout: u64,
    descriptors: u32,
    reserved: u32,
}

/// A message as it travels: all kinds have the same length.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Envelope {
    header: Header,
    body: [u8; BODY_BYTES],
}

/// Bytes of UTF-8 with a length: a sentence or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Text<const N: usize> {
    // Bytes, so that the record has no padding for any N.
    len: [u8; 4],
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// Keeps as many whole characters of `text` as fit.
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(N);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; N];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Self { len: u32::try_from(end).unwrap_or(0).to_ne_bytes(), bytes }
    }

    /// The text; bytes that are not UTF-8 become the replacement character.
    pub fn get(&self) -> String {
        let end = usize::try_from(u32::from_ne_bytes(self.len)).map_or(N, |len| len.min(N));
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }
}

/// Sizes of the four rings of a socket, in entries (powers of two).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rings {
    /// Receive ring.
    pub rx: u32,
    /// Transmit ring.
    pub tx: u32,
    /// Fill ring.
    pub fill: u32,
    /// Completion ring.
    pub completion: u32,
}

/// The shape of everything that follows. To control with one descriptor: the configuration's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Plan {
    /// Worker threads, 1..=[`MAX_WORKERS`].
    pub workers: u16,
    /// Ports, 1..=64.
    pub ports: u16,
    /// Sockets that will be sent.
    pub sockets: u32,
    /// Frames of each worker's UMEM.
    pub frames: u32,
    /// 0: park an idle worker; 1: spin.
    pub spin: u32,
    /// Which start of this child it is, from 1, always rising.
    pub incarnation: u32,
    /// Seconds without a heartbeat after which a worker counts as stuck; 0: never.
    pub stuck_seconds: u32,
    /// Core of each worker.
    pub cores: [u16; MAX_WORKERS],
}

/// A port. To the data plane once for each queue with the socket; to control once, without. Again, for
/// a port whose interface was deleted and made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Port {
    /// Place in the configuration, from 0.
    pub port: u16,
    /// Receive queue of the socket.
    pub queue: u16,
    /// Worker that owns the queue.
    pub worker: u16,
    /// Receive queues of the port.
    pub queues: u16,
    /// The kernel's number of the interface.
    pub ifindex: u32,
    /// [`Port::ZERO_COPY`], [`Port::GENERIC`].
    pub flags: u32,
    /// The keeper's number of the socket, from 1; no other ever has it.
    pub number: u32,
    /// Ring sizes of the socket.
    pub rings: Rings,
    /// Name of the interface.
    pub name: Text<16>,
    /// Name of the driver; empty when unknown.
    pub driver: Text<32>,
}

impl Port {
    /// The sockets are bound in zero-copy mode.
    pub const ZERO_COPY: u32 = 1;
    /// The program is attached in generic mode.
    pub const GENERIC: u32 = 2;
    /// The driver of this port has no zero-copy: it is why all run in copy mode.
    pub const NO_ZERO_COPY: u32 = 4;
}

/// Shared memory: what it is stands in `what`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Segment {
    /// One of the constants of this type.
    pub what: u32,
    /// Worker it belongs to.
    pub worker: u32,
    /// Set of tables.
    pub set: u64,
    /// Segment inside its set.
    pub index: u32,
    /// Start of the data plane it belongs to.
    pub incarnation: u32,
    /// Frames of a UMEM.
    pub frames: u32,
    /// Of tables: 1 while another segment of the same set follows at once, which is in use only as a
    /// whole; 0 with the last.
    pub more: u32,
}

impl Segment {
    /// Frames of a worker; a second descriptor is the segment of the worker's predecessor.
    pub const UMEM: u32 = 1;
    /// Tables, read-only.
    pub const TABLES: u32 = 2;
    /// Counters, ledger and punt ring of a worker, read-only.
    pub const WORKER: u32 = 3;
    /// Sums over dead workers.
    pub const TOTALS: u32 = 4;
    /// Keeper to control: the configuration's text, read again. `index` is the keeper's number for it, `set`
    /// the order that it answers (0: a signal). Control to a keeper that has taken over: the text in force.
    pub const CONFIGURATION: u32 = 5;

    /// A segment without further fields.
    pub fn new(what: u32) -> Self {
        Self { what, worker: 0, set: 0, index: 0, incarnation: 0, frames: 0, more: 0 }
    }
}

/// Descriptors of the program and its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Link {
    /// One of the constants of this type.
    pub what: u32,
    /// Port of an attachment, interface of the door.
    pub port: u32,
}

impl Link {
    /// The maps that control fills, in the order ports, relay4, local6, served6, stats.
    pub const MAPS: u32 = 1;
    /// A link: the receiver only holds it, so that it outlives the others.
    pub const ATTACHMENT: u32 = 2;
    /// To control: a connection on which the observer asks, by the reading admin protocol.
    pub const OBSERVER: u32 = 16;
    /// To the observer: the other end of it.
    pub const CONTROL: u32 = 17;
    /// For a successor: the program.
    pub const PROGRAM: u32 = 32;
    /// For a successor: the keeper's end of the data plane's channel.
    pub const CHANNEL: u32 = 33;
    /// The socket that bears the instance's name: only held, so that the name is taken while any
    /// process of the instance lives.
    pub const NAME: u32 = 34;
    /// To control: the door, a TUN device; `port` is the kernel's number of its interface.
    pub const DOOR: u32 = 3;
}

/// Something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ready {
    /// One of the constants of this type.
    pub what: u32,
    /// Segment of a set of tables.
    pub index: u32,
    /// Set of tables.
    pub set: u64,
    /// Start of the data plane.
    pub incarnation: u32,
    /// A sentence.
    pub text: Text<TEXT_BYTES>,
}

impl Ready {
    /// Keeper: all facts are sent, start.
    pub const START: u32 = 1;
    /// Child: at work.
    pub const AT_WORK: u32 = 2;
    /// Control: the fence stands.
    pub const FENCED: u32 = 3;
    /// Data plane: a segment of tables is mapped.
    pub const MAPPED: u32 = 4;
    /// Keeper to control: the data plane is at work.
    pub const DATA_PLANE: u32 = 5;
    /// Keeper: the program is attached to every port.
    pub const ATTACHED: u32 = 6;
    /// Child: the start is refused, the sentence says why.
    pub const FAILED: u32 = 7;
    /// Data plane: a segment of tables is not usable, the sentence says why.
    pub const REFUSED: u32 = 8;
    /// Keeper to control: the interface of port `index` was made again and is not usable, the sentence
    /// says why.
    pub const PORT_REFUSED: u32 = 9;
    /// Successor of the keeper to control: everything is taken over, this is your channel from now on.
    pub const ADOPTED: u32 = 32;
    /// Control: read the configuration again, for the order `set`.
    pub const RELOAD_WANTED: u32 = 9;
    /// Keeper to control: it cannot be read for the order `set`, the sentence says why.
    pub const UNREADABLE: u32 = 10;
    /// Control: the text of number `index` is in force.
    pub const ACCEPTED: u32 = 11;
    /// Control: the text of number `index` is refused. Keeper to a new control, without a number: the last
    /// text was. The sentence says why.
    pub const RELOAD_REFUSED: u32 = 12;

    /// A notice without further fields.
    pub fn new(what: u32) -> Self {
        Self { what, index: 0, set: 0, incarnation: 0, text: Text::new("") }
    }
}

/// Something ends or has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Retire {
    /// One of the constants of this type.
    pub what: u32,
    /// Start of the data plane.
    pub incarnation: u32,
    /// A sentence.
    pub text: Text<TEXT_BYTES>,
}

impl Retire {
    /// Keeper: end in good order.
    pub const STOP: u32 = 1;
    /// Keeper to control: this data plane is dead.
    pub const DATA_PLANE_DOWN: u32 = 2;
    /// Control: kill and restart the data plane, the sentence says why.
    pub const RESTART_DATA_PLANE: u32 = 3;

    /// A notice without further fields.
    pub fn new(what: u32) -> Self {
        Self { what, incarnation: 0, text: Text::new("") }
    }
}

/// A socket that the data plane no longer touches: it works with the one that came after it. From control
/// (queue 0): the port's interface was deleted, and there is another of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortReturned {
    /// Port of the socket.
    pub port: u16,
    /// Queue of the socket.
    pub queue: u16,
}

/// A message that control keeps for the keeper's successor, with its descriptors, and never reads.
///
/// The keeper says what to keep and what to drop; its successor asks for one after the other, in the order
/// of their keys. A parcel with a known key takes the place of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Keep {
    /// Name of the parcel; for [`Keep::ASK`] the last one that came.
    pub key: u64,
    /// One of the constants of this type.
    pub what: u32,
    kind: u16,
    reserved: u16,
    body: [u8; KEPT_BYTES],
}

impl Keep {
    /// Keep this.
    pub const PUT: u32 = 1;
    /// Let this go.
    pub const DROP: u32 = 2;
    /// Successor: the first parcel whose key is greater.
    pub const ASK: u32 = 3;

    /// A parcel; `None` for a message that cannot be kept because it carries a sentence.
    pub fn put(key: u64, message: &Message) -> Option<Self> {
        let (kind, bytes) = message.body();
        let mut body = [0; KEPT_BYTES];
        body.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { key, what: Self::PUT, kind, reserved: 0, body })
    }

    /// A word about a parcel: [`Keep::DROP`] or [`Keep::ASK`].
    pub fn about(what: u32, key: u64) -> Self {
        Self { key, what, kind: 0, reserved: 0, body: [0; KEPT_BYTES] }
    }

    /// What is inside.
    ///
    /// # Errors
    /// [`ProtocolError`]: nothing that [`Keep::put`] would have made.
    pub fn message(&self) -> Result<Message, ProtocolError> {
        Message::from_body(self.kind, &self.body)
    }
}

/// The last parcel for a successor: it is only there when the others are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Estate {
    /// Digests of the parts of the configuration that are fixed at the start.
    pub shape: [u64; Estate::PARTS],
    /// Parcels without this one.
    pub parcels: u32,
    /// Number of the living or last data plane.
    pub incarnation: u32,
    /// Number of the living control.
    pub control_incarnation: u32,
    /// 1: this data plane has been at work, so all its segments are here.
    pub at_work: u32,
}

impl Estate {
    /// Parts of a configuration that are compared one by one.
    pub const PARTS: usize = 4;
}

/// Keeper to control: how often a child has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Deaths {
    /// One of the constants of this type.
    pub child: u32,
    /// Deaths since the start of the instance.
    pub total: u32,
    /// Deaths in the minute before the last one, that one included.
    pub recent: u32,
    /// How it ended last.
    pub last: Text<64>,
}

impl Deaths {
    /// Control.
    pub const CONTROL: u32 = 1;
    /// The data plane.
    pub const DATA_PLANE: u32 = 2;
}

/// One message without its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// See [`Plan`].
    Plan(Plan),
    /// See [`Port`].
    Port(Port),
    /// See [`Segment`].
    Segment(Segment),
    /// See [`Link`].
    Link(Link),
    /// See [`Ready`].
    Ready(Ready),
    /// See [`Retire`].
    Retire(Retire),
    /// See [`PortReturned`].
    PortReturned(PortReturned),
    /// See [`Keep`].
    Keep(Keep),
    /// See [`Estate`].
    Estate(Estate),
    /// See [`Deaths`].
    Deaths(Deaths),
}

/// Why a received message is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Another length than all our messages have.
    #[error("a message of {0} bytes instead of {MESSAGE_BYTES}")]
    Length(usize),
    /// Not a message of ours at all.
    #[error("a message without the magic word")]
    Magic,
    /// Another build: keeper and child are of different versions.
    #[error("a message of another build (version {0})")]
    Foreign(u16),
    /// A kind that does not exist.
    #[error("a message of unknown kind {0}")]
    Kind(u16),
    /// The descriptors that came are not those that were sent.
    #[error("{came} descriptors instead of {told}")]
    Descriptors {
        /// Number in the header.
        told: u32,
        /// Number that the socket delivered.
        came: usize,
    },
}

/// Hash of the layout of all bodies: another one means another build.
pub const LAYOUT: u64 = {
    let mut hash = mix(0, size_of::<Envelope>());
    hash = mix(hash, size_of::<Plan>());
    hash = mix(hash, offset_of!(Plan, incarnation));
    hash = mix(hash, offset_of!(Plan, cores));
    hash = mix(hash, size_of::<Port>());
    hash = mix(hash, offset_of!(Port, rings));
    hash = mix(hash, offset_of!(Port, name));
    hash = mix(hash, size_of::<Segment>());
    hash = mix(hash, offset_of!(Segment, incarnation));
    hash = mix(hash, size_of::<Link>());
    hash = mix(hash, size_of::<Ready>());
    hash = mix(hash, offset_of!(Ready, text));
    hash = mix(hash, size_of::<Retire>());
    hash = mix(hash, offset_of!(Retire, text));
    hash = mix(hash, size_of::<PortReturned>());
    hash = mix(hash, size_of::<Keep>());
    hash = mix(hash, offset_of!(Keep, body));
    hash = mix(hash, size_of::<Estate>());
    hash = mix(hash, offset_of!(Estate, parcels));
    mix(hash, size_of::<Deaths>())
};

const _: () = {
    assert!(size_of::<Plan>() <= BODY_BYTES);
    assert!(size_of::<Port>() <= BODY_BYTES);
    assert!(size_of::<Ready>() <= BODY_BYTES);
    assert!(size_of::<Retire>() <= BODY_BYTES);
    assert!(size_of::<Keep>() <= BODY_BYTES);
    assert!(size_of::<Plan>() <= KEPT_BYTES);
    assert!(size_of::<Port>() <= KEPT_BYTES);
    assert!(size_of::<Estate>() <= KEPT_BYTES);
};

impl Message {
    /// The bytes of a message that travels with `descriptors` descriptors.
    pub fn encode(&self, descriptors: usize) -> [u8; MESSAGE_BYTES] {
        let (kind, body) = self.body();
        let mut envelope = Envelope {
            header: Header {
                magic: MAGIC,
                version: VERSION,
                kind,
                layout: LAYOUT,
                descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
                reserved: 0,
            },
            body: [0; BODY_BYTES],
        };
        envelope.body[..body.len()].copy_from_slice(body);
        zerocopy::transmute!(envelope)
    }

    /// Reads a message that came with `descriptors` descriptors.
    ///
    /// # Errors
    /// [`ProtocolError`]: anything that [`Message::encode`] of this build would not have written.
    pub fn decode(bytes: &[u8], descriptors: usize) -> Result<Self, ProtocolError> {
        let envelope = Envelope::read_from_bytes(bytes).map_err(|_| ProtocolError::Length(bytes.len()))?;
        let header = envelope.header;
        if header.magic != MAGIC {
            return Err(ProtocolError::Magic);
        }
        if header.version != VERSION || header.layout != LAYOUT {
            return Err(ProtocolError::Foreign(header.version));
        }
        if usize::try_from(header.descriptors) != Ok(descriptors) {
            return Err(ProtocolError::Descriptors { told: header.descriptors, came: descriptors });
        }
        Self::from_body(header.kind, &envelope.body)
    }

    /// Number of the kind, and the body.
    fn body(&self) -> (u16, &[u8]) {
        match self {
            Self::Plan(body) => (1, body.as_bytes()),
            Self::Port(body) => (2, body.as_bytes()),
            Self::Segment(body) => (3, body.as_bytes()),
            Self::Link(body) => (4, body.as_bytes()),
            Self::Ready(body) => (5, body.as_bytes()),
            Self::Retire(body) => (6, body.as_bytes()),
            Self::PortReturned(body) => (7, body.as_bytes()),
            Self::Keep(body) => (8, body.as_bytes()),
            Self::Estate(body) => (9, body.as_bytes()),
            Self::Deaths(body) => (10, body.as_bytes()),
        }
    }

    fn from_body(kind: u16, body: &[u8]) -> Result<Self, ProtocolError> {
        match kind {
            1 => read(body).map(Self::Plan),
            2 => read(body).map(Self::Port),
            3 => read(body).map(Self::Segment),
            4 => read(body).map(Self::Link),
            5 => read(body).map(Self::Ready),
            6 => read(body).map(Self::Retire),
            7 => read(body).map(Self::PortReturned),
            8 => read(body).map(Self::Keep),
            9 => read(body).map(Self::Estate),
            10 => read(body).map(Self::Deaths),
            kind => Err(ProtocolError::Kind(kind)),
        }
    }
}

/// Reads a body from the start of its field.
fn read<T: FromBytes>(body: &[u8]) -> Result<T, ProtocolError> {
    T::read_from_prefix(body).map(|(value, _)| value).map_err(|_| ProtocolError::Length(body.len()))
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
