//! Workers made of their own segments, without a data plane.

use sixlane_tables::{Limits, Settings, TableWriter, WorkerLayout, WorkerSegment};

use super::*;

fn segment(worker: u16) -> WorkerSegment {
    let layout =
        WorkerLayout { worker, adjacencies: 16, frames: 8, ports: 2, punt_slots: 8, packet_slots: 4 };
    WorkerSegment::create(layout).unwrap()
}

fn writer() -> TableWriter {
    TableWriter::create(&Limits { adjacencies: 16, ..Limits::default() }, &Settings::default()).unwrap()
}

fn wanted(last: u8) -> NeighbourWanted {
    let mut next_hop = [0; 16];
    next_hop[15] = last;
    NeighbourWanted { port: 0, ifindex: 3, next_hop }
}

#[test]
fn totals_never_go_backward_over_deaths() {
    let writer = writer();
    let mut workers = Workers::new(1, 7, Dead::default());
    for incarnation in 1..=3 {
        let own = segment(0);
        own.counters().received.add(10);
        workers.add(0, incarnation, own.segment().share().unwrap(), |w| lines(&writer, w)).unwrap();
        assert_eq!(workers.totals().get("received"), u64::from(incarnation) * 10);
        workers.down(incarnation);
        assert_eq!(workers.totals().get("received"), u64::from(incarnation) * 10);
        workers.down(incarnation);
        assert_eq!(workers.totals().get("received"), u64::from(incarnation) * 10, "told twice");
    }
    assert_eq!(workers.dead().incarnation, 3);
    // A successor of control gets the sum, and segments of the dead that are inside already.
    let old = segment(0);
    old.counters().received.add(99);
    let mut successor = Workers::new(1, 8, workers.dead().clone());
    successor.add(0, 2, old.segment().share().unwrap(), |w| lines(&writer, w)).unwrap();
    assert_eq!(successor.totals().get("received"), 30);
}

#[test]
fn epochs_are_known_only_when_all_workers_are() {
    let writer = writer();
    let mut workers = Workers::new(2, 7, Dead::default());
    let both = [segment(0), segment(1)];
    workers.add(0, 1, both[0].segment().share().unwrap(), |w| lines(&writer, w)).unwrap();
    assert!(workers.epochs().is_none());
    workers.add(1, 1, both[1].segment().share().unwrap(), |w| lines(&writer, w)).unwrap();
    assert_eq!(workers.epochs().unwrap().len(), 2);
    workers.down(1);
    assert!(workers.epochs().is_none());
}

#[test]
fn punts_are_read_across_a_restart_of_the_data_plane() {
    let writer = writer();
    let mut workers = Workers::new(1, 7, Dead::default());
    let partner = |w| writer.partner(w);
    let both = |w| lines(&writer, w);
    for incarnation in 1..=2_u8 {
        let own = segment(0);
        let mut punt = own.open_punt();
        workers.add(0, incarnation.into(), own.segment().share().unwrap(), both).unwrap();
        let line = writer.partner(0).unwrap().reader();
        punt.push(own.punt_ring(), line, &wanted(incarnation).encode()).unwrap();
        punt.push(own.punt_ring(), line, &[u64::MAX; 8]).unwrap();
        assert_eq!(workers.punted(partner), [(0, wanted(incarnation))], "noise is skipped");
        assert!(workers.punted(partner).is_empty());
        workers.down(incarnation.into());
    }
}

#[test]
fn a_silent_worker_is_stuck_asleep_or_not_once_it_has_begun() {
    let writer = writer();
    let mut workers = Workers::new(1, 7, Dead::default());
    let own = segment(0);
    workers.add(0, 1, own.segment().share().unwrap(), |w| lines(&writer, w)).unwrap();
    assert_eq!(workers.stuck(10_000_000_000), None, "it has not begun");
    own.epoch().beat(1_000);
    for online in [false, true] {
        if online {
            own.epoch().go_online(5);
        }
        assert_eq!(workers.stuck(1_000 + STUCK_NS), None);
        assert_eq!(workers.stuck(1_001 + STUCK_NS), Some((0, 1, STUCK_NS + 1)));
    }
}

#[test]
fn a_segment_of_another_worker_is_refused() {
    let writer = writer();
    let mut workers = Workers::new(1, 7, Dead::default());
    let own = segment(1);
    assert!(workers.add(0, 1, own.segment().share().unwrap(), |w| lines(&writer, w)).is_err());
}
