//! In the place of keeper and data plane: the rig takes over what the two left, as the next keeper does
//! (the protocol is the keeper's), and works with it in its own process. Control lives on: it follows the
//! kernel and publishes the tables.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use sixlane_keeper::Channel;
use sixlane_keeper::protocol::{self, Keep, Message, Port, Ready, Retire, Segment};
use sixlane_lab::{Deadline, Part, Relay, eventually, readable};
use sixlane_tables::worker::INTENTS_PER_PORT;
use sixlane_tables::{Tables, WorkerLayout, WorkerSegment, WorkerView};
use sixlane_xsk::ledger::INTENT_WORDS;
use sixlane_xsk::{FramePool, Handed, Ledger, Predecessor, Queue, RingSizes, Rings, TakeOver, Umem};

/// How long control may take for an answer, in seconds.
const ANSWERS: u64 = 10;

/// What was left, as it came.
#[derive(Default)]
struct Estate {
    frames: Option<(u32, OwnedFd)>,
    sockets: Vec<(Port, OwnedFd)>,
    /// Segment of the worker that died last.
    worker: Option<(u32, OwnedFd)>,
    incarnation: u32,
}

/// The connection to control.
pub struct Heir {
    channel: Channel,
    set: u64,
    tables: Arc<Tables>,
    segments: u32,
}

/// What a worker works with.
pub struct Share {
    /// The free frames.
    pub pool: FramePool<'static>,
    /// The sockets, by port.
    pub queues: Vec<(u8, Queue<'static>)>,
    /// The worker's own segment.
    pub segment: &'static WorkerSegment,
    /// Entries of the rings, the same for every socket.
    pub rings: RingSizes,
}

impl Heir {
    /// Kills keeper and data plane of a relay with one worker, and takes over. Memory and segment are never
    /// given back: a process does this a few times at most.
    ///
    /// # Errors
    /// A sentence; the relay is to be ended then.
    pub fn take(relay: &mut Relay) -> Result<(Self, Share), String> {
        relay.kill_keeper().map_err(|error| error.to_string())?;
        relay.kill(Part::DataPlane).map_err(|error| error.to_string())?;
        let socket = relay.runtime().join("keeper.sock");
        let channel = eventually("control's wait for a keeper", Deadline::seconds(ANSWERS), || {
            Channel::connect(&socket).ok()
        });
        let channel = channel.map_err(|error| error.to_string())?;
        let estate = Estate::ask(&channel)?;
        let say = |message| channel.send(&message, &[]).map_err(gone);
        say(Message::Ready(Ready::new(Ready::ADOPTED)))?;
        let incarnation = estate.incarnation;
        say(Message::Retire(Retire { incarnation, ..Retire::new(Retire::DATA_PLANE_DOWN) }))?;
        let (set, tables, segments) = tables(&channel)?;
        let share = estate.take_over(&tables)?;
        let incarnation = incarnation + 1;
        let segment = Message::Segment(Segment { incarnation, ..Segment::new(Segment::WORKER) });
        let fd = share.segment.segment().share().map_err(gone)?;
        channel.send(&segment, &[fd.as_fd()]).map_err(gone)?;
        say(Message::Ready(Ready { incarnation, ..Ready::new(Ready::DATA_PLANE) }))?;
        Ok((Self { channel, set, tables, segments }, share))
    }

    /// The tables in force.
    #[must_use]
    pub fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    /// Hears what control has said meanwhile, and maps what it has added to the tables.
    ///
    /// # Errors
    /// Control has ended, or has begun another set of tables, which it does not do on its own.
    pub fn hear(&mut self) -> Result<(), String> {
        let now = Timespec::default();
        while poll(&mut [PollFd::new(&self.channel, PollFlags::IN)], Some(&now)) == Ok(1) {
            let (message, mut fds) = self.channel.receive().map_err(gone)?;
            let Message::Segment(Segment { what: Segment::TABLES, set, index, .. }) = message else {
                continue;
            };
            if set != self.set {
                return Err("control has begun new tables".to_owned());
            }
            if index >= self.segments {
                let fd = fds.pop().ok_or("a segment without its descriptor")?;
                self.tables.add_segment(index, fd).map_err(|error| error.to_string())?;
                self.segments = index + 1;
            }
            let mapped = Ready { set, index, ..Ready::new(Ready::MAPPED) };
            self.channel.send(&Message::Ready(mapped), &[]).map_err(gone)?;
        }
        Ok(())
    }
}

fn gone(error: std::io::Error) -> String {
    format!("control cannot be reached ({error})")
}

/// The next message, in good time.
fn next(channel: &Channel) -> Result<(Message, Vec<OwnedFd>), String> {
    match readable(channel, &Deadline::seconds(ANSWERS)) {
        Ok(true) => channel.receive().map_err(gone),
        _ => Err("control does not answer".to_owned()),
    }
}

/// The tables that control hands to a new keeper: its set, and how many segments it has.
fn tables(channel: &Channel) -> Result<(u64, Arc<Tables>, u32), String> {
    let mut found: Option<(u64, Arc<Tables>, u32)> = None;
    loop {
        let (message, mut fds) = next(channel)?;
        match (message, &mut found) {
            (Message::Segment(segment), found) if segment.what == Segment::TABLES => {
                let fd = fds.pop().ok_or("a segment without its descriptor")?;
                match found {
                    Some((set, tables, count)) if *set == segment.set => {
                        tables.add_segment(segment.index, fd).map_err(|error| error.to_string())?;
                        *count += 1;
                    }
                    _ => {
                        let tables = Tables::attach(fd).map_err(|error| error.to_string())?;
                        *found = Some((segment.set, Arc::new(tables), 1));
                    }
                }
            }
            (Message::Ready(ready), _) if ready.what == Ready::AT_WORK => {
                return found.ok_or_else(|| "control has no tables".to_owned());
            }
            _ => {}
        }
    }
}

impl Estate {
    /// Asks control for everything, parcel by parcel.
    fn ask(channel: &Channel) -> Result<Self, String> {
        let mut estate = Self::default();
        let mut after = 0;
        loop {
            channel.send(&Message::Keep(Keep::about(Keep::ASK, after)), &[]).map_err(gone)?;
            let (message, mut fds) = next(channel)?;
            let Message::Keep(keep) = message else { return Err("control hands nothing over".to_owned()) };
            after = keep.key;
            let fd = fds.pop();
            match (keep.message().map_err(|error| error.to_string())?, fd) {
                (Message::Estate(last), _) => {
                    estate.incarnation = last.incarnation;
                    return Ok(estate);
                }
                (Message::Segment(segment), Some(fd)) if segment.what == Segment::UMEM => {
                    estate.frames = Some((segment.frames, fd));
                }
                (Message::Segment(segment), Some(fd)) if segment.what == Segment::WORKER => {
                    let newer = estate.worker.as_ref().is_none_or(|(known, _)| segment.incarnation > *known);
                    if newer {
                        estate.worker = Some((segment.incarnation, fd));
                    }
                }
                (Message::Port(port), Some(fd)) => estate.sockets.push((port, fd)),
                _ => {}
            }
        }
    }

    /// As a new data plane takes over from a dead one.
    fn take_over(mut self, tables: &Tables) -> Result<Share, String> {
        let (frames, fd) = self.frames.take().ok_or("the frames are missing")?;
        let umem: &Umem = Box::leak(Box::new(Umem::attach(fd, frames).map_err(gone)?));
        let (_, fd) = self.worker.take().ok_or("the dead worker's segment is missing")?;
        let dead = WorkerView::attach_read_only(fd).map_err(|error| error.to_string())?;
        let ledger: Vec<_> = dead.ledger().into_iter().map(AtomicU8::new).collect();
        let intents: Vec<_> = dead.intents().into_iter().map(AtomicU32::new).collect();
        self.sockets.sort_by_key(|(port, _)| (port.port, port.queue));
        let rings = self.sockets.first().map(|(port, _)| sizes(port)).ok_or("the sockets are missing")?;
        let view = tables.enter().map_err(|_| "the tables are damaged")?;
        let words = (self.sockets.len() * INTENT_WORDS).div_ceil(INTENTS_PER_PORT) as u32;
        let layout = WorkerLayout {
            worker: 0,
            adjacencies: view.adjacency_limit(),
            frames,
            ports: view.settings().port_count.max(words),
            punt_slots: 1024,
            packet_slots: 256,
        };
        let segment = WorkerSegment::create(layout).map_err(|error| error.to_string())?;
        let segment: &WorkerSegment = Box::leak(Box::new(segment));
        let numbers: Vec<u8> = self.sockets.iter().map(|(port, _)| port.port as u8).collect();
        let handed = self.sockets.into_iter().map(|(port, fd)| {
            let rings = Rings::attach(fd, sizes(&port)).map_err(|error| format!("no rings: {error}"))?;
            Ok(Handed { rings: Some(rings), number: port.number })
        });
        let handed = handed.collect::<Result<Vec<_>, String>>()?;
        let predecessor = Predecessor { ledger: &ledger, intents: &intents };
        let own = Ledger::new(segment.ledger());
        let taken = TakeOver::prepare(umem, handed, Some(predecessor), own, segment.intents());
        let (pool, queues) = taken.map_err(|error| error.to_string())?.resume();
        let queues = queues.into_iter().zip(numbers).filter_map(|(queue, port)| Some((port, queue?)));
        Ok(Share { pool, queues: queues.collect(), segment, rings })
    }
}

fn sizes(port: &Port) -> RingSizes {
    let protocol::Rings { rx, tx, fill, completion } = port.rings;
    RingSizes { rx, tx, fill, completion }
}
