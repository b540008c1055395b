//! The descriptors that the keeper holds for others: tables of control, segments of workers, sums
//! over the dead. It never looks inside.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::protocol::{Message, Ready, Retire, Segment};

/// A message and its descriptors, ready for [`crate::child::Child::send`].
pub(crate) type Parcel = (Message, Vec<Rc<OwnedFd>>);

/// One set of tables: the segments that one life of control published.
#[derive(Debug, Default)]
struct TableSet {
    set: u64,
    segments: Vec<(u32, Rc<OwnedFd>)>,
}

impl TableSet {
    fn parcels(&self) -> Vec<Parcel> {
        let last = self.segments.len().saturating_sub(1);
        let parcel = |(at, (index, fd)): (usize, &(u32, Rc<OwnedFd>))| {
            tables(self.set, *index, fd, u32::from(at < last))
        };
        self.segments.iter().enumerate().map(parcel).collect()
    }
}

/// The tables in force, and those that a new control is still building.
#[derive(Debug, Default)]
pub(crate) struct TableStore {
    active: TableSet,
    building: TableSet,
}

impl TableStore {
    /// Keeps a segment. Gives the parcel to send on at once when it belongs to the set in force.
    pub(crate) fn add(&mut self, set: u64, index: u32, fd: OwnedFd) -> Option<Parcel> {
        let fd = Rc::new(fd);
        if set == self.active.set && !self.active.segments.is_empty() {
            self.active.segments.push((index, Rc::clone(&fd)));
            return Some(tables(set, index, &fd, 0));
        }
        if set != self.building.set {
            self.building = TableSet { set, segments: Vec::new() };
        }
        self.building.segments.push((index, fd));
        None
    }

    /// Control is ready: what it built is in force. Gives what a running data plane has to get.
    pub(crate) fn activate(&mut self) -> Vec<Parcel> {
        if self.building.segments.is_empty() {
            return Vec::new();
        }
        self.active = std::mem::take(&mut self.building);
        self.active.parcels()
    }

    /// Control died: what it had not finished goes.
    pub(crate) fn abandon(&mut self) {
        self.building = TableSet::default();
    }

    /// Everything a new data plane has to get.
    pub(crate) fn parcels(&self) -> Vec<Parcel> {
        self.active.parcels()
    }
}

fn tables(set: u64, index: u32, fd: &Rc<OwnedFd>, more: u32) -> Parcel {
    let segment = Segment { set, index, more, ..Segment::new(Segment::TABLES) };
    (Message::Segment(segment), vec![Rc::clone(fd)])
}

/// Segments of the workers of one life of the data plane.
#[derive(Debug, Default)]
struct Life {
    incarnation: u32,
    segments: Vec<(u32, Rc<OwnedFd>)>,
}

impl Life {
    fn parcels(&self) -> Vec<Parcel> {
        let parcel = |(worker, fd): &(u32, Rc<OwnedFd>)| worker_segment(*worker, self.incarnation, fd);
        self.segments.iter().map(parcel).collect()
    }
}

/// Segments of the living and of the dead, until control has added up the latter.
#[derive(Debug, Default)]
pub(crate) struct WorkerStore {
    living: Life,
    dead: Vec<Life>,
    totals: Option<(u32, Rc<OwnedFd>)>,
    /// Newest segment of each worker: its ledger says which frames the worker owned.
    newest: Vec<Newest>,
}

/// The newest segment of a worker.
#[derive(Debug)]
struct Newest {
    worker: u32,
    incarnation: u32,
    fd: Rc<OwnedFd>,
}

impl WorkerStore {
    /// A new data plane begins its life.
    pub(crate) fn begin(&mut self, incarnation: u32) {
        self.living = Life { incarnation, segments: Vec::new() };
    }

    /// Keeps a worker's segment; gives the parcel for control. One life of a worker has one segment: a
    /// second is refused, so that a data plane that was taken over cannot use up our descriptors.
    pub(crate) fn add(&mut self, worker: u32, fd: OwnedFd) -> Option<Parcel> {
        if self.living.segments.iter().any(|(known, _)| *known == worker) {
            return None;
        }
        let fd = Rc::new(fd);
        self.living.segments.push((worker, Rc::clone(&fd)));
        let incarnation = self.living.incarnation;
        self.newest.retain(|known| known.worker != worker);
        self.newest.push(Newest { worker, incarnation, fd: Rc::clone(&fd) });
        Some(worker_segment(worker, incarnation, &fd))
    }

    /// The data plane died: its segments are final.
    pub(crate) fn bury(&mut self) -> u32 {
        let incarnation = self.living.incarnation;
        let life = std::mem::take(&mut self.living);
        if !life.segments.is_empty() {
            self.dead.push(life);
        }
        incarnation
    }

    /// The ledger from which the next holder of the worker's frames starts.
    pub(crate) fn predecessor(&self, worker: u32) -> Option<Rc<OwnedFd>> {
        let found = self.newest.iter().find(|known| known.worker == worker);
        found.map(|newest| Rc::clone(&newest.fd))
    }

    /// Control has added everything up to `incarnation`: only the sums are kept. Gives the parcel for the
    /// observer.
    pub(crate) fn keep_totals(&mut self, incarnation: u32, fd: OwnedFd) -> Parcel {
        self.dead.retain(|life| life.incarnation > incarnation);
        let fd = Rc::new(fd);
        self.totals = Some((incarnation, Rc::clone(&fd)));
        totals(incarnation, &fd)
    }

    /// The segments and the sums for the keeper that comes after this one.
    pub(crate) fn estate(&self) -> Vec<Parcel> {
        let newest =
            self.newest.iter().map(|known| worker_segment(known.worker, known.incarnation, &known.fd));
        let dead = self.dead.iter().flat_map(Life::parcels);
        let sums = self.totals.iter().map(|(incarnation, fd)| totals(*incarnation, fd));
        newest.chain(dead).chain(self.living.parcels()).chain(sums).collect()
    }

    /// Out of such a list, oldest first and the sums last: the segments of the newest start are those of the
    /// living.
    pub(crate) fn adopt(list: impl Iterator<Item = (Segment, Vec<OwnedFd>)>) -> Self {
        let mut store = Self::default();
        for (segment, mut fds) in list {
            let Some(fd) = fds.pop() else { continue };
            if segment.what == Segment::TOTALS {
                store.keep_totals(segment.incarnation, fd);
                continue;
            }
            if store.living.incarnation != segment.incarnation {
                store.bury();
                store.begin(segment.incarnation);
            }
            store.add(segment.worker, fd);
        }
        store
    }

    /// Whether the segments of all workers of the living data plane are here.
    pub(crate) fn complete(&self, incarnation: u32, workers: u16) -> bool {
        let here = |worker| self.living.segments.iter().any(|(known, _)| *known == worker);
        self.living.incarnation == incarnation && (0..u32::from(workers)).all(here)
    }

    /// What a new control has to get: the sums, the dead that are not in them, the living.
    pub(crate) fn parcels(&self) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        if let Some((incarnation, fd)) = &self.totals {
            parcels.push(totals(*incarnation, fd));
        }
        for life in &self.dead {
            parcels.extend(life.parcels());
            parcels.push((down(life.incarnation), Vec::new()));
        }
        parcels.extend(self.living.parcels());
        parcels
    }
}

/// The news of a data plane's death.
pub(crate) fn down(incarnation: u32) -> Message {
    Message::Retire(Retire { incarnation, ..Retire::new(Retire::DATA_PLANE_DOWN) })
}

/// The news that a data plane is at work.
pub(crate) fn at_work(incarnation: u32) -> Message {
    Message::Ready(Ready { incarnation, ..Ready::new(Ready::DATA_PLANE) })
}

fn totals(incarnation: u32, fd: &Rc<OwnedFd>) -> Parcel {
    let segment = Segment { incarnation, ..Segment::new(Segment::TOTALS) };
    (Message::Segment(segment), vec![Rc::clone(fd)])
}

fn worker_segment(worker: u32, incarnation: u32, fd: &Rc<OwnedFd>) -> Parcel {
    let segment = Segment { worker, incarnation, ..Segment::new(Segment::WORKER) };
    (Message::Segment(segment), vec![Rc::clone(fd)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn whats(parcels: &[Parcel]) -> Vec<(u32, u64, u32)> {
        let what = |(message, _): &Parcel| match message {
            Message::Segment(segment) => (segment.what, segment.set, segment.index + segment.incarnation),
            Message::Retire(retire) => (100, 0, retire.incarnation),
            _ => (0, 0, 0),
        };
        parcels.iter().map(what).collect()
    }

    #[test]
    fn a_new_set_is_in_force_only_when_control_is_ready() {
        let mut store = TableStore::default();
        assert!(store.add(1, 0, fd()).is_none());
        assert!(store.parcels().is_empty());
        assert_eq!(store.activate().len(), 1);
        assert!(store.add(1, 1, fd()).is_some(), "a later segment is sent on at once");
        assert!(store.add(2, 0, fd()).is_none());
        assert_eq!(whats(&store.parcels()), [(Segment::TABLES, 1, 0), (Segment::TABLES, 1, 1)]);
        let more = |(message, _): &Parcel| matches!(message, Message::Segment(segment) if segment.more == 1);
        assert_eq!(store.parcels().iter().map(more).collect::<Vec<_>>(), [true, false]);
        store.abandon();
        assert!(store.activate().is_empty());
        assert!(store.add(3, 0, fd()).is_none());
        assert_eq!(whats(&store.activate()), [(Segment::TABLES, 3, 0)]);
        assert_eq!(whats(&store.parcels()), [(Segment::TABLES, 3, 0)]);
    }

    #[test]
    fn the_dead_are_kept_until_they_are_added_up() {
        let mut store = WorkerStore::default();
        store.begin(1);
        assert!(store.add(0, fd()).is_some());
        assert!(store.add(0, fd()).is_none(), "a second segment of one life");
        assert_eq!(store.bury(), 1);
        store.begin(2);
        store.add(0, fd());
        let worker = Segment::WORKER;
        assert_eq!(whats(&store.parcels()), [(worker, 0, 1), (100, 0, 1), (worker, 0, 2)]);
        store.keep_totals(1, fd());
        assert_eq!(whats(&store.parcels()), [(Segment::TOTALS, 0, 1), (worker, 0, 2)]);
    }

    #[test]
    fn a_successor_has_what_its_predecessor_had() {
        let mut store = WorkerStore::default();
        for incarnation in [1, 2, 3] {
            store.begin(incarnation);
            store.add(0, fd());
            store.add(1, fd());
            if incarnation < 3 {
                store.bury();
            }
        }
        store.keep_totals(1, fd());
        let mut list: Vec<(Segment, Vec<OwnedFd>)> = Vec::new();
        for (message, fds) in store.estate() {
            let Message::Segment(segment) = message else { panic!("{message:?}") };
            list.push((segment, fds.iter().map(|fd| fd.try_clone().unwrap()).collect()));
        }
        // As control hands them over: each once, in the order of their keys.
        let key = |segment: &Segment| (segment.what, segment.incarnation, segment.worker);
        list.sort_by_key(|(segment, _)| key(segment));
        list.dedup_by_key(|(segment, _)| key(segment));
        let adopted = WorkerStore::adopt(list.into_iter());
        assert!(adopted.complete(3, 2) && !adopted.complete(3, 3) && !adopted.complete(2, 2));
        let worker = Segment::WORKER;
        assert_eq!(
            whats(&adopted.parcels()),
            [
                (Segment::TOTALS, 0, 1),
                (worker, 0, 2),
                (worker, 0, 2),
                (100, 0, 2),
                (worker, 0, 3),
                (worker, 0, 3)
            ]
        );
        assert!(adopted.predecessor(1).is_some());
    }

    #[test]
    fn a_life_without_segments_leaves_the_older_predecessor() {
        let mut store = WorkerStore::default();
        assert!(store.predecessor(0).is_none());
        store.begin(1);
        store.add(0, fd());
        let first = store.predecessor(0).unwrap();
        store.bury();
        store.begin(2);
        assert_eq!(store.bury(), 2);
        assert!(Rc::ptr_eq(&first, &store.predecessor(0).unwrap()));
        assert_eq!(store.dead.len(), 1);
    }
}
