//! The attach thread and its workers, with a keeper that is a pair of channels: no socket is needed to
//! see segments made, tables mapped and swapped, and everything taken down again.
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::V6;
use common::{Rig, Sizes, WAN6, topology};
use sixlane_dataplane::{FromKeeper, Idle, KeeperLink, RunError, RunOptions, ToKeeper, run};
use sixlane_tables::{Limits, Settings, TableWriter, Tables, WorkerView};
use sixlane_xsk::{Memory, Umem};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The data plane's end of the link.
struct Channels {
    from_keeper: Receiver<FromKeeper>,
    to_keeper: Sender<ToKeeper>,
}

impl KeeperLink for Channels {
    fn receive(&mut self) -> io::Result<FromKeeper> {
        self.from_keeper.recv().map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    fn send(&mut self, message: ToKeeper) -> io::Result<()> {
        self.to_keeper.send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The keeper's end, and the data plane behind it.
struct Keeper {
    to: Sender<FromKeeper>,
    from: Receiver<ToKeeper>,
    data_plane: JoinHandle<Result<(), RunError>>,
}

impl Keeper {
    fn start(idle: Idle) -> Self {
        let (to, from_keeper) = channel();
        let (to_keeper, from) = channel();
        let options = RunOptions { cores: Vec::new(), idle, confinement: None };
        let link = Box::new(Channels { from_keeper, to_keeper });
        let data_plane = std::thread::spawn(move || run(link, &options));
        Self { to, from, data_plane }
    }

    fn say(&self, message: FromKeeper) {
        self.to.send(message).expect("a data plane that listens");
    }

    fn hear(&self) -> ToKeeper {
        self.from.recv().expect("a data plane that speaks")
    }

    fn umem(&self, worker: u16, frames: u32) {
        let umem = Umem::create(frames, Memory::Memfd).expect("memory");
        let fd = umem.fd().expect("a descriptor").try_clone_to_owned().expect("a duplicate");
        self.say(FromKeeper::Umem { worker, frames, fd, predecessor: None });
    }

    fn tables(&self, set: u64, writer: &TableWriter) {
        self.segment(set, writer, 0, false);
    }

    fn segment(&self, set: u64, writer: &TableWriter, segment: u32, more: bool) {
        let found = &writer.segments()[segment as usize];
        let fd = found.as_fd().try_clone_to_owned().expect("a duplicate");
        self.say(FromKeeper::Tables { set, segment, fd, more });
    }
}

/// A data plane of two workers without sockets, and the segments that it sent.
fn started(idle: Idle, writer: &TableWriter) -> (Keeper, Vec<WorkerView>) {
    let keeper = Keeper::start(idle);
    keeper.umem(0, 16);
    keeper.umem(1, 32);
    keeper.tables(1, writer);
    keeper.say(FromKeeper::Start);
    let mut segments = Vec::new();
    loop {
        match keeper.hear() {
            ToKeeper::TablesMapped { set: 1, segment: 0 } => {}
            ToKeeper::WorkerSegment { worker, fd } => {
                assert_eq!(usize::from(worker), segments.len());
                segments.push(WorkerView::attach_read_only(fd).expect("our layout"));
            }
            ToKeeper::Ready => return (keeper, segments),
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// Waits until a worker has passed a quiescent point at or after `token`.
fn wait_for(view: &WorkerView, token: u64) {
    while view.epoch().seen().is_none_or(|seen| seen < token) {
        std::thread::yield_now();
    }
}

#[test]
fn workers_go_over_to_a_new_set_of_tables() {
    for idle in [Idle::Spin, Idle::Sleep] {
        let (first, tables) = topology::tables_with(|_| ());
        let (keeper, segments) = started(idle, &first);
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1].layout().frames, 32);
        for view in &segments {
            wait_for(view, tables.token());
        }
        let (second, newer) = topology::tables_with(|_| ());
        keeper.tables(2, &second);
        assert!(matches!(keeper.hear(), ToKeeper::TablesMapped { set: 2, segment: 0 }));
        for view in &segments {
            wait_for(view, newer.token());
        }
        keeper.say(FromKeeper::Stop);
        keeper.data_plane.join().expect("no panic").expect("an orderly end");
        assert!(segments.iter().all(|view| view.epoch().seen().is_none()), "offline after the end");
    }
}

/// A set is in use as a whole or not at all: not before its last segment is mapped.
#[test]
fn a_set_of_two_segments_is_in_use_when_both_are_mapped() {
    let (first, tables) = topology::tables_with(|_| ());
    let (keeper, segments) = started(Idle::Spin, &first);
    let limits = Limits { segments: 2, ..Limits::default() };
    let mut second = TableWriter::create(&limits, &Settings::default()).expect("tables");
    second.grow().expect("another segment");
    let newer = Tables::attach(second.segments()[0].share().expect("a duplicate")).expect("tables");
    keeper.segment(2, &second, 0, true);
    assert!(matches!(keeper.hear(), ToKeeper::TablesMapped { set: 2, segment: 0 }));
    // Had the workers changed over, the attach thread would have waited for it before it answered.
    assert_ne!(newer.token(), tables.token());
    for view in &segments {
        assert_eq!(view.epoch().seen(), Some(tables.token()));
    }
    keeper.segment(2, &second, 1, false);
    assert!(matches!(keeper.hear(), ToKeeper::TablesMapped { set: 2, segment: 1 }));
    for view in &segments {
        wait_for(view, newer.token());
    }
    keeper.say(FromKeeper::Stop);
    keeper.data_plane.join().expect("no panic").expect("an orderly end");
}

#[test]
fn what_is_not_a_set_of_tables_is_refused_and_the_old_set_stays() {
    let (writer, tables) = topology::tables_with(|_| ());
    let (keeper, segments) = started(Idle::Spin, &writer);
    let foreign = Umem::create(16, Memory::Memfd).expect("memory");
    let fd = foreign.fd().expect("a descriptor").try_clone_to_owned().expect("a duplicate");
    keeper.say(FromKeeper::Tables { set: 2, segment: 0, fd, more: false });
    assert!(matches!(keeper.hear(), ToKeeper::TablesRefused { set: 2, segment: 0, .. }));
    wait_for(&segments[0], tables.token());
    keeper.say(FromKeeper::Stop);
    keeper.data_plane.join().expect("no panic").expect("an orderly end");
}

#[test]
fn a_start_without_what_it_needs_is_refused_in_words() {
    let keeper = Keeper::start(Idle::Spin);
    keeper.say(FromKeeper::Start);
    let error = keeper.data_plane.join().expect("no panic").expect_err("nothing was sent");
    assert_eq!(error.to_string(), "the data plane was started without any worker");

    let keeper = Keeper::start(Idle::Spin);
    keeper.umem(0, 16);
    keeper.say(FromKeeper::Start);
    let error = keeper.data_plane.join().expect("no panic").expect_err("no tables");
    assert_eq!(error.to_string(), "the data plane was started without tables");

    let keeper = Keeper::start(Idle::Spin);
    keeper.say(FromKeeper::Stop);
    keeper.data_plane.join().expect("no panic").expect("a stop before the start is no error");
}

#[test]
fn a_worker_adopts_tables_between_two_turns() {
    let (_first, tables) = topology::tables_with(|_| ());
    let (_second, newer) = topology::tables_with(|settings| settings.sixtofour.ttl = 9);
    let mut rig = Rig::over(Arc::clone(&tables), Sizes::default());
    let ttl = |rig: &mut Rig| rig.one(WAN6, &V6::outbound().bytes()).only().1[14 + 8];
    assert_eq!(ttl(&mut rig), 64);
    let given_up = rig.worker.adopt(Arc::clone(&newer));
    assert!(Arc::ptr_eq(&given_up, &tables));
    drop(tables);
    assert_eq!(Arc::strong_count(&given_up), 1, "nobody else holds the old mapping");
    assert_eq!(ttl(&mut rig), 9, "the same generation number, but other settings");
    assert_eq!(rig.segment.epoch().reader().seen(), Some(newer.token()));
    rig.close();
}
