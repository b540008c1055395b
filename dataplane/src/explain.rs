//! What would happen to a packet, and why: one packet through the worker's own functions.
//!
//! There is no second implementation to disagree with the first: a worker with lists for ports turns
//! over the live tables, mapped read-only, and its counters tell the fate.

use crate::port::{HEADROOM, Port, ScriptPort};
use crate::worker::Worker;
use sixlane_tables::settings::PORTS;
use sixlane_tables::{Corrupt, CounterSnapshot, SegmentError, Settings, Tables, WorkerLayout, WorkerSegment};
use sixlane_tunnel::Reason;
use sixlane_wire::ethernet;
use sixlane_xsk::{FRAME_BYTES, FramePool, Ledger, Memory, Umem};
use std::io;
use std::sync::Arc;

/// Frames of the worker: a few for its ports, and some to make an answer in.
const FRAMES: u32 = 64;
/// Frames that each port holds.
const RING: usize = 4;
/// How often the packet is judged anew when control reuses table memory meanwhile.
const ATTEMPTS: usize = 16;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Sent on.
    Forwarded,
    /// Dropped for this reason, which names the clause and the sentence.
    Dropped(Reason),
    /// For this box itself: given to its kernel.
    Local,
    /// Not ours: given back to the kernel.
    GivenBack,
}

/// A frame that would leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The port, by its place in the configuration.
    pub port: u8,
    /// Its bytes, from the Ethernet header on.
    pub frame: Vec<u8>,
}

/// What would happen to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Its end.
    pub fate: Fate,
    /// What would leave: the packet itself when it is forwarded, else the error that answers it, if one
    /// does.
    pub departures: Vec<Departure>,
    /// The counters that would move, by name and amount; drop reasons by their own names.
    pub counters: Vec<(&'static str, u64)>,
}

impl Explanation {
    /// The packet as it would be sent on.
    #[must_use]
    pub fn forwarded(&self) -> Option<&Departure> {
        if self.fate == Fate::Forwarded { self.departures.first() } else { None }
    }

    /// The ICMPv6 error that would answer it.
    #[must_use]
    pub fn reply(&self) -> Option<&Departure> {
        if self.fate == Fate::Forwarded { None } else { self.departures.first() }
    }
}

/// Why nothing can be said about a packet.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// There is no memory for a worker.
    #[error("no memory for a one-packet worker: {0}")]
    Memory(#[from] io::Error),
    /// There is no shared memory for its counters.
    #[error("no memory for a one-packet worker: {0}")]
    Segment(#[from] SegmentError),
    /// The tables were changed again and again while the packet was judged.
    #[error("the tables change too fast to explain a packet; try again")]
    Unsteady,
    /// The tables are damaged.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The packet does not fit a frame.
    #[error("the packet is longer than the {max} bytes that a frame holds", max = FRAME_BYTES - HEADROOM)]
    TooLong,
}

/// Puts an Ethernet header in front of an IP packet, as it would arrive at `port`.
///
/// # Errors
/// [`Corrupt`] when the tables are damaged.
pub fn framed(tables: &Tables, port: u8, packet: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let view = tables.enter()?;
    let ours = view.settings().port(port).map_or([0; 6], |settings| settings.mac);
    let vlan = view.settings().port(port).map_or(0, |settings| settings.vlan);
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let ethertype = if is_v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    // Some neighbour with a locally administered address.
    let theirs = [2, 0, 0, 0, 0, 1];
    let tag = [ethernet::VLAN, vlan].map(u16::to_be_bytes).concat();
    let tag = if vlan == 0 { &[][..] } else { &tag };
    Ok([&ours[..], &theirs, tag, &ethertype.to_be_bytes(), packet].concat())
}

/// Says what would happen to an Ethernet frame that arrives at `port`.
///
/// # Errors
/// No memory, damaged tables, or tables that would not hold still.
pub fn explain(tables: &Arc<Tables>, port: u8, frame: &[u8]) -> Result<Explanation, ExplainError> {
    if frame.len() > FRAME_BYTES - HEADROOM {
        return Err(ExplainError::TooLong);
    }
    for _ in 0..ATTEMPTS {
        let view = tables.enter()?;
        // A first run that answers nobody: the one reason it counts is the packet's own.
        let (silent, _) = run(tables, port, frame, false)?;
        let (counted, departures) = run(tables, port, frame, true)?;
        if view.unchanged() {
            return Ok(Explanation { fate: fate(&silent), departures, counters: moved(&counted) });
        }
    }
    Err(ExplainError::Unsteady)
}

fn fate(counters: &CounterSnapshot) -> Fate {
    let dropped = Reason::ALL.into_iter().find(|reason| counters.dropped_for(*reason) != 0);
    match dropped {
        Some(reason) => Fate::Dropped(reason),
        None if counters.local != 0 => Fate::Local,
        None if counters.punted != 0 => Fate::GivenBack,
        None => Fate::Forwarded,
    }
}

/// The figures that are not zero.
fn moved(counters: &CounterSnapshot) -> Vec<(&'static str, u64)> {
    let reasons = Reason::ALL.into_iter().map(|reason| (reason.name(), counters.dropped_for(reason)));
    counters.named().into_iter().chain(reasons).filter(|(_, figure)| *figure != 0).collect()
}

/// The port by which a frame leaves through the sockets of port `index`: its tag tells.
fn leaving_port(settings: &Settings, index: u8, frame: &[u8]) -> u8 {
    let tag = ethernet::link(frame).ok().and_then(|link| link.vlans[0]);
    tag.and_then(|vlan| settings.port_of_tag(index, vlan)).unwrap_or(index)
}

/// One turn of a worker of its own over the tables.
fn run(
    tables: &Arc<Tables>,
    port: u8,
    frame: &[u8],
    answers: bool,
) -> Result<(CounterSnapshot, Vec<Departure>), ExplainError> {
    let settings = *tables.enter()?.settings();
    let ports = settings.port_count.max(u32::from(port) + 1).min(PORTS as u32);
    let umem = Umem::create(FRAMES + ports * RING as u32, Memory::Heap)?;
    let layout = WorkerLayout {
        worker: 0,
        adjacencies: 0,
        frames: umem.frames(),
        ports,
        punt_slots: 1,
        packet_slots: 1,
    };
    let segment = WorkerSegment::create(layout)?;
    let pool = FramePool::new(&umem, Ledger::new(segment.ledger()));
    let mut scripts: Vec<_> = (0..ports as u8).map(|index| ScriptPort::new(index, RING, RING)).collect();
    if let Some(script) = scripts.get_mut(usize::from(port)) {
        script.offer(frame.to_vec());
    }
    let mut worker = Worker::new(scripts, pool, &segment, Arc::clone(tables), 0);
    // What the kernel sends meanwhile is another worker's.
    worker.pipeline.door.shut();
    worker.pipeline.waiting.shut();
    if !answers {
        worker.pipeline.budgets.shut();
    }
    worker.turn(0);
    let mut departures = Vec::new();
    for script in worker.ports_mut() {
        let port = script.index();
        let sent = script.take_sent().into_iter();
        departures.extend(sent.map(|sent| {
            let port = leaving_port(&settings, port, &sent.bytes);
            Departure { port, frame: sent.bytes }
        }));
    }
    worker.retire();
    Ok((segment.counters().snapshot(), departures))
}
