//! Table sets and worker segments as the processes use them: hand-over, growth, restarts.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};
use sixlane_tables::adjacency::kind;
use sixlane_tables::layout::{LAYOUT_HASH, MAGIC, SEGMENT_BYTES};
use sixlane_tables::spsc::{Consumer, Full};
use sixlane_tables::{
    Adjacency, ClassRange, EpochLine, Limits, NextHopId, SegmentError, Settings, TableError, TableWriter,
    Tables, WorkerLayout, WorkerSegment, WorkerView,
};
use sixlane_tunnel::{Class4, Classes};

fn writer(segments: usize) -> TableWriter {
    let limits = Limits { segments, adjacencies: 100, routes4: 5, ..Limits::default() };
    TableWriter::create(&limits, &Settings::default()).unwrap()
}

fn attach(writer: &TableWriter) -> Tables {
    Tables::attach(writer.segments()[0].share().unwrap()).unwrap()
}

fn look4(tables: &Tables, key: u32) -> NextHopId {
    let mut out = [NextHopId::CORRUPT];
    tables.enter().unwrap().lookup4_batch(&[key], &mut out);
    out[0]
}

fn worker(number: u16) -> WorkerSegment {
    let layout = WorkerLayout {
        worker: number,
        adjacencies: 10,
        frames: 64,
        ports: 2,
        punt_slots: 4,
        packet_slots: 4,
    };
    WorkerSegment::create(layout).unwrap()
}

/// A sealed memfd with this content, `bytes` long.
fn memory(content: &[u8], bytes: usize) -> OwnedFd {
    let fd = rustix::fs::memfd_create("foreign", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::io::write(&fd, content).unwrap();
    rustix::fs::ftruncate(&fd, bytes as u64).unwrap();
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

#[test]
fn a_foreign_layout_is_left_alone() {
    let header = |magic: u64, hash: u64| [magic.to_ne_bytes(), hash.to_ne_bytes()].concat();
    let foreign = [header(MAGIC, LAYOUT_HASH ^ 1), header(MAGIC ^ 1, LAYOUT_HASH), vec![0; 16]];
    for content in foreign {
        let fd = memory(&content, SEGMENT_BYTES);
        let again = fd.try_clone().unwrap();
        assert!(matches!(Tables::attach(fd), Err(SegmentError::ForeignLayout)));
        assert!(matches!(
            WorkerView::attach_read_only(again.try_clone().unwrap()),
            Err(SegmentError::ForeignLayout)
        ));
        let mut found = [0; 16];
        rustix::io::pread(&again, &mut found, 0).unwrap();
        assert_eq!(found[..], content[..], "not a byte was changed");
    }
    assert!(matches!(Tables::attach(memory(&[], 10)), Err(SegmentError::ForeignLayout)));
    assert!(WorkerView::attach_read_only(memory(&[], 0)).is_err());
    let (tables, worker) = (writer(1), worker(0));
    let swapped = WorkerView::attach_read_only(tables.segments()[0].share().unwrap());
    assert!(matches!(swapped, Err(SegmentError::Misplaced)));
    assert!(matches!(Tables::attach(worker.segment().share().unwrap()), Err(SegmentError::Misplaced)));
}

#[test]
fn a_generation_changes_as_a_whole() {
    let mut writer = writer(1);
    let tables = attach(&writer);
    let old = tables.enter().unwrap();
    let settings = Settings { lab: 1, port_count: 2, ..Settings::default() };
    let ranges = [
        ClassRange::of_prefix(0x0a00_0000, 8, Class4::OWN),
        ClassRange::of_prefix(0x0a01_0000, 16, Class4::BROADCAST),
    ];
    writer.publish(Some(&settings), Some(&ranges)).unwrap();
    assert_eq!((old.settings().generation, old.lab(), old.class4(0x0a00_0001)), (1, false, Class4::NONE));
    let new = tables.enter().unwrap();
    assert_eq!((new.settings().generation, new.lab(), writer.number()), (2, true, 2));
    assert_eq!(new.class4(0x0a00_0001), Class4::OWN);
    assert_eq!(new.class4(0x0a01_ffff), Class4::OWN.union(Class4::BROADCAST));
    assert_eq!(new.class4(0x0b00_0000), Class4::NONE);
    assert!(new.settings().port(1).is_some() && new.settings().port(2).is_none());
    writer.set_classes(&[]).unwrap();
    let newest = tables.enter().unwrap();
    assert_eq!(
        (newest.settings().generation, newest.lab(), newest.class4(0x0a00_0001)),
        (3, true, Class4::NONE)
    );
    assert!(old.unchanged(), "nothing was reclaimed yet");
    writer.collect(&[]);
    assert!(!old.unchanged() && tables.enter().unwrap().unchanged());
}

#[test]
fn adjacencies_change_under_their_routes() {
    let mut writer = writer(1);
    let tables = attach(&writer);
    let gateway = Adjacency { port: 1, ..Adjacency::of_kind(kind::UNRESOLVED) };
    let id = writer.add_adjacency(&gateway).unwrap();
    writer.set_route4("10.0.0.0/8".parse().unwrap(), id).unwrap();
    writer.set_route4("10.1.0.0/16".parse().unwrap(), id).unwrap();
    assert!(matches!(writer.remove_adjacency(id), Err(TableError::InUse { routes: 2, .. })));
    assert_eq!(tables.enter().unwrap().adjacency(look4(&tables, 0x0a01_0203)).copied(), Some(gateway));
    let resolved = Adjacency { kind: kind::REWRITE, dst_mac: [2; 6], ..gateway };
    writer.replace_adjacency(id, &resolved).unwrap();
    assert_eq!(tables.enter().unwrap().adjacency(id).copied(), Some(resolved));
    assert_eq!(writer.adjacency(id), Some(resolved));
    writer.remove_route4("10.0.0.0/8".parse().unwrap()).unwrap();
    writer.remove_route4("10.1.0.0/16".parse().unwrap()).unwrap();
    // A worker in the middle of its batch has found the route and asks for the adjacency now.
    let worker = EpochLine::default();
    worker.go_online(tables.token());
    writer.remove_adjacency(id).unwrap();
    writer.collect(&[worker.reader()]);
    assert_eq!(tables.enter().unwrap().adjacency(id).copied(), Some(resolved));
    assert!(matches!(
        writer.set_route4("10.0.0.0/8".parse().unwrap(), id),
        Err(TableError::UnknownNextHop(_))
    ));
    assert!(matches!(writer.remove_adjacency(NextHopId::NONE), Err(TableError::UnknownNextHop(_))));
    let next = writer.add_adjacency(&gateway).unwrap();
    assert_ne!(next, id, "an id waits for the readers like memory");
    worker.quiesce(tables.token());
    writer.collect(&[worker.reader()]);
    assert_eq!(tables.enter().unwrap().adjacency(id), None);
    assert_eq!(writer.add_adjacency(&gateway).unwrap(), id);
    assert_eq!(tables.enter().unwrap().adjacency(NextHopId::CORRUPT), None);
}

#[test]
fn limits_refuse_and_keep_the_old_tables() {
    let mut writer = writer(1);
    let tables = attach(&writer);
    let ids: Vec<_> =
        (0..100).map(|_| writer.add_adjacency(&Adjacency::of_kind(kind::LOCAL)).unwrap()).collect();
    let refused = writer.add_adjacency(&Adjacency::of_kind(kind::LOCAL));
    assert!(matches!(refused, Err(TableError::AdjacencyLimit(100))));
    for (host, id) in ids.iter().enumerate().take(5) {
        writer.set_route4(format!("10.0.0.{host}/32").parse().unwrap(), *id).unwrap();
    }
    let refused = writer.set_route4("10.0.0.5/32".parse().unwrap(), ids[5]);
    assert!(matches!(refused, Err(TableError::RouteLimit(5))));
    assert_eq!((look4(&tables, 0x0a00_0004), look4(&tables, 0x0a00_0005)), (ids[4], NextHopId::NONE));
    writer.set_route4("10.0.0.4/32".parse().unwrap(), ids[6]).unwrap();
    assert_eq!(look4(&tables, 0x0a00_0004), ids[6], "a route that exists can change");
}

/// Fills the arena with generations, which no reader releases.
fn fill(writer: &mut TableWriter, tables: &Tables) {
    let worker = worker(0);
    worker.epoch().go_online(tables.token());
    for _ in 0..20_000 {
        match writer.set_classes(&[]) {
            Ok(()) => writer.collect(&[worker.epoch().reader()]),
            Err(TableError::ArenaFull) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the arena has no end");
}

#[test]
fn the_arena_grows_by_segments_that_readers_have_mapped() {
    let mut writer = writer(2);
    let tables = attach(&writer);
    let id = writer.add_adjacency(&Adjacency::of_kind(kind::LOCAL)).unwrap();
    fill(&mut writer, &tables);
    let number = writer.number();
    assert_eq!(writer.grow().unwrap(), 1);
    assert!(matches!(writer.set_classes(&[]), Err(TableError::ArenaFull)), "not acknowledged yet");
    assert_eq!(tables.enter().unwrap().settings().generation, number);
    let second = || writer.segments()[1].share().unwrap();
    assert!(matches!(tables.add_segment(2, second()), Err(SegmentError::Misplaced)));
    tables.add_segment(1, second()).unwrap();
    assert!(matches!(tables.add_segment(1, second()), Err(SegmentError::Misplaced)), "only once");
    writer.acknowledge(1);
    writer.set_classes(&[]).unwrap();
    writer.set_route4("10.0.0.0/25".parse().unwrap(), id).unwrap();
    assert_eq!(tables.enter().unwrap().settings().generation, number + 1, "read from the second segment");
    assert_eq!((look4(&tables, 0x0a00_0001), look4(&tables, 0x0a00_0081)), (id, NextHopId::NONE));
    assert!(matches!(writer.grow(), Err(TableError::Segment(SegmentError::NoRoom))));
    let unmapped = attach(&writer);
    assert!(unmapped.enter().is_err(), "a reader without the segment sees damage, not memory");
}

#[test]
fn a_worker_of_an_older_set_holds_the_newer_back() {
    let (old, mut new) = (writer(1), writer(1));
    let worker = worker(0);
    worker.epoch().go_online(attach(&old).token());
    new.set_classes(&[]).unwrap();
    new.collect(&[worker.epoch().reader()]);
    assert!(new.memory().waiting > 0);
    worker.epoch().quiesce(attach(&new).token());
    new.collect(&[worker.epoch().reader()]);
    assert_eq!(new.memory().waiting, 0);
    new.set_classes(&[]).unwrap();
    worker.epoch().go_offline();
    new.collect(&[worker.epoch().reader()]);
    assert_eq!(new.memory().waiting, 0, "an offline worker holds nothing back");
}

#[test]
fn a_worker_segment_shows_what_its_worker_wrote() {
    let worker = worker(3);
    worker.counters().received.add(2);
    worker.counters().transmitted.add(2);
    worker.ports()[1].rx_bytes.add(99);
    worker.adjacency(NextHopId(9)).unwrap().add(4);
    assert!(worker.adjacency(NextHopId(10)).is_none());
    worker.ledger()[63].store(5, std::sync::atomic::Ordering::Release);
    worker.intents()[7].store(8, std::sync::atomic::Ordering::Release);
    worker.epoch().beat(77);
    let view = WorkerView::attach_read_only(worker.segment().share().unwrap()).unwrap();
    assert_eq!(view.layout(), worker.layout());
    assert_eq!((view.counters().received, view.counters().identity()), (2, Ok(())));
    assert_eq!((view.ports()[1].rx_bytes, view.ports().len()), (99, 2));
    assert_eq!((view.adjacency_packets(NextHopId(9)), view.adjacency_packets(NextHopId(10))), (4, 0));
    assert_eq!((view.ledger()[63], view.ledger().len()), (5, 64));
    assert_eq!((view.intents()[7], view.intents().len()), (8, 8));
    assert_eq!((view.epoch().heartbeat_ns(), view.epoch().turns(), view.epoch().seen()), (77, 1, None));
    for bad in [
        WorkerLayout { worker: 64, ..*worker.layout() },
        WorkerLayout { punt_slots: 3, ..*worker.layout() },
        WorkerLayout { packet_slots: 0, ..*worker.layout() },
        WorkerLayout { ports: 65, ..*worker.layout() },
        WorkerLayout { adjacencies: u32::MAX, ..*worker.layout() },
    ] {
        assert!(matches!(WorkerSegment::create(bad), Err(SegmentError::TooLarge)));
    }
}

#[test]
fn partners_take_a_ring_over_and_count_what_is_lost() {
    let (first, second) = (writer(1), writer(1));
    let (tables1, tables2) = (attach(&first), attach(&second));
    let (line1, line2) = (first.partner(3).unwrap(), second.partner(3).unwrap());
    let old = worker(3);
    let old_view = WorkerView::attach_read_only(old.segment().share().unwrap()).unwrap();
    let mut producer = old.open_punt();
    let mut consumer = Consumer::attach(old_view.punt_ring(), line1, first.generation());
    let mut push = |tables: &Tables, number: u64| {
        let result = producer.push(old.punt_ring(), tables.partner(3).unwrap(), &[number; 8]);
        (result, producer.take_lost())
    };
    for number in 0..4 {
        assert_eq!(push(&tables1, number), (Ok(()), 0));
    }
    assert_eq!(push(&tables1, 4), (Err(Full), 0));
    assert_eq!(consumer.pop(old_view.punt_ring(), line1), Some([0; 8]));
    assert_eq!(push(&tables1, 4), (Ok(()), 0));
    // Control dies with four messages unread; nobody is there for a while, then its successor is.
    assert_eq!(push(&tables2, 5), (Err(Full), 0), "an absent consumer makes no room");
    let mut consumer = Consumer::attach(old_view.punt_ring(), line2, second.generation());
    assert_eq!(push(&tables2, 6), (Ok(()), 4), "what lay between is counted");
    assert_eq!(push(&tables2, 7), (Ok(()), 0));
    assert_eq!(consumer.pop(old_view.punt_ring(), line2), Some([6; 8]));
    // The data plane dies with one message unread; its successor has a new ring.
    let new = worker(3);
    let new_view = WorkerView::attach_read_only(new.segment().share().unwrap()).unwrap();
    let mut successor = new.open_punt();
    assert_eq!(consumer.pop(new_view.punt_ring(), line2), None, "another generation is not read by accident");
    assert_eq!(successor.push(new.punt_ring(), tables2.partner(3).unwrap(), &[8; 8]), Ok(()));
    assert_eq!(consumer.replace(old_view.punt_ring(), new_view.punt_ring(), line2), 1);
    assert_eq!(successor.push(new.punt_ring(), tables2.partner(3).unwrap(), &[9; 8]), Ok(()));
    assert_eq!(consumer.pop(new_view.punt_ring(), line2), Some([8; 8]));
    assert_eq!(consumer.pop(new_view.punt_ring(), line2), Some([9; 8]));
    assert_eq!(successor.take_lost(), 0);
}
