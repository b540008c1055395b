//! From descriptors to mapped memory: what the keeper sent, before and while the workers run.

use crate::link::{FromKeeper, KeeperLink, ToKeeper};
use crate::run::RunError;
use sixlane_tables::worker::INTENTS_PER_PORT;
use sixlane_tables::{SegmentError, Tables, WorkerLayout, WorkerSegment, WorkerView};
use sixlane_xsk::ledger::INTENT_WORDS;
use sixlane_xsk::{Handed, Ledger, Predecessor, RingSizes, Rings, TakeOver, Umem};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32};

/// Slots of a worker's punt ring.
const PUNT_SLOTS: u32 = 1024;

/// Slots of its ring of punted packets: what the budget lets pass in 50 ms.
const PACKET_SLOTS: u32 = 256;

/// How often tables are read anew when control reuses their memory meanwhile.
const ATTEMPTS: usize = 16;

/// A socket as it was sent.
#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    sizes: RingSizes,
    number: u32,
}

/// What a worker gets.
#[derive(Debug, Default)]
struct Share {
    umem: Option<(OwnedFd, u32)>,
    predecessor: Option<OwnedFd>,
    /// By port and queue: the order of a worker's sockets must be the same in every life.
    sockets: BTreeMap<(u8, u16), Socket>,
}

/// Everything that came before the start.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    shares: BTreeMap<u16, Share>,
    tables: Vec<(u64, u32, OwnedFd)>,
}

impl Gathered {
    /// Receives until the keeper says start; `None` when it says stop instead.
    pub(crate) fn receive(link: &mut dyn KeeperLink) -> Result<Option<Self>, RunError> {
        let mut gathered = Self::default();
        loop {
            match link.receive().map_err(RunError::Link)? {
                FromKeeper::Umem { worker, frames, fd, predecessor } => {
                    let share = gathered.shares.entry(worker).or_default();
                    share.umem = Some((fd, frames));
                    share.predecessor = predecessor;
                }
                FromKeeper::Queue { worker, port, queue, fd, sizes, number } => {
                    let share = gathered.shares.entry(worker).or_default();
                    share.sockets.insert((port, queue), Socket { fd, sizes, number });
                }
                FromKeeper::Tables { set, segment, fd, .. } => gathered.tables.push((set, segment, fd)),
                FromKeeper::Start => return Ok(Some(gathered)),
                FromKeeper::Stop => return Ok(None),
            }
        }
    }

    /// Maps everything.
    pub(crate) fn open(self, link: &mut dyn KeeperLink) -> Result<(Vec<Opened>, Maps), RunError> {
        if self.shares.is_empty() {
            return Err(RunError::Incomplete("any worker"));
        }
        let maps = Maps::open(self.tables, link)?;
        let stations = self.shares.into_iter().map(|(worker, share)| Station::open(worker, share));
        Ok((stations.collect::<Result<_, _>>()?, maps))
    }
}

/// The tables in use.
#[derive(Debug)]
pub(crate) struct Maps {
    set: u64,
    /// Segments of the set that are mapped.
    count: u32,
    pub(crate) tables: Arc<Tables>,
    next: Option<Next>,
}

/// A set of which segments are still to come.
#[derive(Debug)]
struct Next {
    set: u64,
    count: u32,
    tables: Tables,
}

impl Maps {
    fn open(segments: Vec<(u64, u32, OwnedFd)>, link: &mut dyn KeeperLink) -> Result<Self, RunError> {
        let mut maps: Option<Self> = None;
        for (set, segment, fd) in segments {
            let mut answer = ToKeeper::TablesMapped { set, segment };
            match &mut maps {
                Some(maps) => answer = maps.take(set, segment, fd, false).1,
                None => {
                    let tables = Arc::new(Tables::attach(fd).map_err(RunError::Tables)?);
                    maps = Some(Self { set, count: 1, tables, next: None });
                }
            }
            link.send(answer).map_err(RunError::Link)?;
        }
        maps.ok_or(RunError::Incomplete("tables"))
    }

    /// Maps another segment: of the set in use, or of a new set, which is in use when its last one is
    /// mapped (`more`: it is not the last). One that is mapped already comes again from a keeper that has
    /// taken over. Says whether the set in use has changed, and what to answer.
    pub(crate) fn take(&mut self, set: u64, segment: u32, fd: OwnedFd, more: bool) -> (bool, ToKeeper) {
        match self.map(set, segment, fd) {
            Ok(()) => {
                let whole = self.next.take_if(|next| !more && next.set == set);
                let changed = whole.is_some();
                if let Some(next) = whole {
                    (self.set, self.count, self.tables) = (next.set, next.count, Arc::new(next.tables));
                }
                (changed, ToKeeper::TablesMapped { set, segment })
            }
            Err(error) => (false, ToKeeper::TablesRefused { set, segment, reason: error.to_string() }),
        }
    }

    fn map(&mut self, set: u64, segment: u32, fd: OwnedFd) -> Result<(), SegmentError> {
        let (count, tables) = match &mut self.next {
            _ if set == self.set => (&mut self.count, &*self.tables),
            Some(next) if next.set == set => (&mut next.count, &next.tables),
            // A set that another one overtook is given up.
            next => {
                *next = Some(Next { set, count: 1, tables: Tables::attach(fd)? });
                return Ok(());
            }
        };
        if segment >= *count {
            tables.add_segment(segment, fd)?;
            *count += 1;
        }
        Ok(())
    }
}

/// A worker's place and its rings, which it takes over.
pub(crate) type Opened = (Station, Vec<Handed>);

/// A worker's place: what it works on, mapped.
pub(crate) struct Station {
    pub(crate) worker: u16,
    umem: Umem,
    /// The ledger and the intents of the worker that died here.
    predecessor: Option<(Vec<AtomicU8>, Vec<AtomicU32>)>,
    /// Port and queue of each socket, in their order.
    pub(crate) sockets: Vec<(u8, u16)>,
}

impl Station {
    fn open(worker: u16, share: Share) -> Result<Opened, RunError> {
        let (fd, frames) = share.umem.ok_or(RunError::Incomplete("the frames of a worker"))?;
        let umem = Umem::attach(fd, frames).map_err(|source| RunError::Umem { worker, source })?;
        let predecessor = share.predecessor.map(WorkerView::attach_read_only).transpose();
        let predecessor = predecessor.map_err(|source| RunError::Segment { worker, source })?;
        let predecessor = predecessor.map(|view| {
            let ledger = view.ledger().into_iter().map(AtomicU8::new).collect();
            let intents = view.intents().into_iter().map(AtomicU32::new).collect();
            (ledger, intents)
        });
        let sockets = share.sockets.keys().copied().collect();
        let handed = share.sockets.into_iter().map(|((port, queue), socket)| {
            let rings = match Rings::attach(socket.fd, socket.sizes) {
                // Its interface was deleted: the place stays empty until there is another socket for it.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => None,
                rings => Some(rings.map_err(|source| RunError::Queue { worker, port, queue, source })?),
            };
            Ok(Handed { rings, number: socket.number })
        });
        let handed = handed.collect::<Result<_, _>>()?;
        Ok((Self { worker, umem, predecessor, sockets }, handed))
    }

    /// The place of a queue among the worker's sockets.
    pub(crate) fn place(&self, port: u8, queue: u16) -> Option<usize> {
        self.sockets.iter().position(|&socket| socket == (port, queue))
    }

    /// Makes the worker's own segment, with room for what the tables and sockets need.
    pub(crate) fn create_segment(&self, maps: &Maps) -> Result<WorkerSegment, RunError> {
        let (adjacencies, ports) = counted(&maps.tables);
        let intents = (self.sockets.len() * INTENT_WORDS).div_ceil(INTENTS_PER_PORT) as u32;
        let layout = WorkerLayout {
            worker: self.worker,
            adjacencies,
            frames: self.umem.frames(),
            ports: ports.max(intents),
            punt_slots: PUNT_SLOTS,
            packet_slots: PACKET_SLOTS,
        };
        let worker = self.worker;
        WorkerSegment::create(layout).map_err(|source| RunError::Segment { worker, source })
    }

    /// First step of taking over: whose is each frame?
    pub(crate) fn prepare<'a>(
        &'a self,
        handed: Vec<Handed>,
        segment: &'a WorkerSegment,
    ) -> Result<TakeOver<'a>, RunError> {
        let predecessor = self.predecessor.as_ref();
        let predecessor = predecessor.map(|(ledger, intents)| Predecessor { ledger, intents });
        let ledger = Ledger::new(segment.ledger());
        TakeOver::prepare(&self.umem, handed, predecessor, ledger, segment.intents())
            .map_err(|source| RunError::TakeOver { worker: self.worker, source })
    }
}

/// How many adjacencies and ports the tables have. No worker takes part in quiescence yet, so control may
/// reuse memory meanwhile: then the answer is read anew. Without one nothing is counted for each of them.
fn counted(tables: &Tables) -> (u32, u32) {
    for _ in 0..ATTEMPTS {
        let Ok(view) = tables.enter() else { break };
        let counted = (view.adjacency_limit(), view.settings().port_count);
        if view.unchanged() {
            return counted;
        }
    }
    (0, 0)
}
