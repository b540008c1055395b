//! A million updates under a reader: constant memory, poisoned when reclaimed, no invalid answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::{EpochLine, TableError};

const UPDATES: u32 = 1_000_000;
const IDS: u64 = 64;

/// Inside these nothing changes, around and above them much does.
const FIXED4: u32 = 0x0a40_8000; // 10.64.128.0/24
const FIXED6: u128 = 0x2001_0db8_0040_8000_0000_0000_0000_0000; // 2001:db8:40:8000::/64

fn random4(random: &mut Random) -> Ipv4Net {
    let len = match random.below(2000) {
        0 => 0,
        1..=4 => 8,
        5..=24 => 16,
        25..=1299 => 17 + random.below(8) as u8,
        _ => 25 + random.below(8) as u8,
    };
    let near = 0x0a40_0000 | (random.next() as u32 & 0x0000_ffff);
    let bits = if random.below(4) == 0 { random.next() as u32 } else { near };
    match net4(bits, len).trunc() {
        net if len >= 24 && net4(FIXED4, 24).contains(&net) => net4(FIXED4 ^ 0x100, 24),
        net => net,
    }
}

fn random6(random: &mut Random) -> Ipv6Net {
    let len = match random.below(2000) {
        0 => 0,
        1..=4 => 16,
        5..=24 => 32 + random.below(17) as u8,
        25..=1899 => 48 + random.below(17) as u8,
        _ => 65 + random.below(64) as u8,
    };
    let bits = FIXED6 & !0xffff_u128.rotate_left(64)
        | u128::from(random.next() & 0xffff) << 64
        | random.wide() >> 120;
    match net6(bits, len).trunc() {
        net if len >= 64 && net6(FIXED6, 64).contains(&net) => net6(FIXED6 ^ 1 << 64, 64),
        net => net,
    }
}

/// Ends the reader's part even when an assertion fails, so that the writer notices.
struct Offline<'a>(&'a EpochLine);

impl Drop for Offline<'_> {
    fn drop(&mut self) {
        self.0.go_offline();
    }
}

/// What a worker does, with checks: every answer names an adjacency that is what its id says, and the
/// fixed prefixes never answer anything else.
fn read(tables: &Tables, epoch: &EpochLine, done: &AtomicBool, fixed: NextHopId) -> u64 {
    let mut random = Random::new(99);
    let mut batches = 0;
    epoch.go_online(tables.token());
    let _offline = Offline(epoch);
    while !done.load(Ordering::Relaxed) {
        let view = tables.enter().unwrap();
        let base = 0x0a40_0000;
        let keys4: [u32; 64] = core::array::from_fn(|i| match i % 4 {
            0 => FIXED4 | (random.next() as u32 & 0xff),
            _ => base | (random.next() as u32 & 0xffff),
        });
        let hi: [u64; 64] = core::array::from_fn(|i| match i % 4 {
            0 => (FIXED6 >> 64) as u64,
            _ => (FIXED6 >> 64) as u64 & !0xffff | random.next() & 0xffff,
        });
        let lo: [u64; 64] = core::array::from_fn(|_| random.next() >> 56);
        let mut answers = [[NextHopId::CORRUPT; 64]; 2];
        view.lookup4_batch(&keys4, &mut answers[0]);
        view.lookup6_batch(&hi, &lo, &mut answers[1]);
        for (i, answer) in answers.into_iter().flatten().enumerate() {
            let adjacency = view.adjacency(answer).expect("every address has a route, always");
            assert_eq!(adjacency.flags, !(adjacency.ifindex as u16), "a reclaimed record was read");
            assert_eq!(adjacency.ifindex, answer.0, "an id was used again under a reader");
            assert!(i % 4 != 0 || answer == fixed, "a fixed prefix answered {answer:?}");
        }
        epoch.quiesce(tables.token());
        batches += 1;
    }
    batches
}

/// Repeats a change until the reader has let go of enough memory.
fn persist(
    writer: &mut TableWriter,
    epoch: &EpochLine,
    mut change: impl FnMut(&mut TableWriter) -> Result<(), TableError>,
) {
    loop {
        match change(writer) {
            Ok(()) => return,
            Err(TableError::ArenaFull) => {
                assert!(epoch.reader().seen().is_some(), "the reader gave up");
                writer.collect(&[epoch.reader()]);
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Routes that come and go, at most `LIVE` of each family at a time.
#[derive(Default)]
struct Live {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

const LIVE: u64 = 500;

fn update(writer: &mut TableWriter, epoch: &EpochLine, random: &mut Random, live: &mut Live) {
    let id = NextHopId(2 + random.below(IDS - 1) as u32);
    match random.below(16) {
        0 => persist(writer, epoch, |w| w.replace_adjacency(id, &named(id.0))),
        1..=4 if random.below(LIVE) < live.v6.len() as u64 => {
            let prefix = live.v6.swap_remove(random.below(live.v6.len() as u64) as usize);
            persist(writer, epoch, |w| w.remove_route6(prefix));
        }
        1..=4 => {
            let prefix = random6(random);
            persist(writer, epoch, |w| w.set_route6(prefix, id));
            if prefix.prefix_len() > 0 && !live.v6.contains(&prefix) {
                live.v6.push(prefix);
            }
        }
        _ if random.below(LIVE) < live.v4.len() as u64 => {
            let prefix = live.v4.swap_remove(random.below(live.v4.len() as u64) as usize);
            persist(writer, epoch, |w| w.remove_route4(prefix));
        }
        _ => {
            let prefix = random4(random);
            persist(writer, epoch, |w| w.set_route4(prefix, id));
            if prefix.prefix_len() > 0 && !live.v4.contains(&prefix) {
                live.v4.push(prefix);
            }
        }
    }
}

#[test]
fn a_million_updates_under_a_reader() {
    let mut writer = writer();
    let ids: Vec<_> = (1..=IDS as u32).map(|n| writer.add_adjacency(&named(n)).unwrap()).collect();
    assert!(ids.iter().zip(1..).all(|(id, n)| id.0 == n));
    [net4(0, 0), net4(FIXED4, 24)].iter().for_each(|net| writer.set_route4(*net, ids[0]).unwrap());
    [net6(0, 0), net6(FIXED6, 64)].iter().for_each(|net| writer.set_route6(*net, ids[0]).unwrap());
    let tables = attach(&writer);
    let (epoch, done, mut live) = (EpochLine::default(), AtomicBool::new(false), Live::default());
    writer.collect(&[]);
    let before = writer.memory();
    let batches = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&tables, &epoch, &done, ids[0]));
        let mut random = Random::new(1);
        for number in 0..UPDATES {
            update(&mut writer, &epoch, &mut random, &mut live);
            if number % 32 == 0 {
                writer.collect(&[epoch.reader()]);
                assert!(!reader.is_finished(), "the reader gave up");
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(batches > 1000, "the reader was at work all the time ({batches} batches)");
    [net4(0, 0)].iter().for_each(|net| writer.set_route4(*net, ids[0]).unwrap());
    [net6(0, 0)].iter().for_each(|net| writer.set_route6(*net, ids[0]).unwrap());
    live.v4.iter().for_each(|net| writer.remove_route4(*net).unwrap());
    live.v6.iter().for_each(|net| writer.remove_route6(*net).unwrap());
    writer.collect(&[epoch.reader()]);
    let after = writer.memory();
    assert_eq!(after.capacity, before.capacity, "the arena has not grown");
    assert_eq!((after.used, after.waiting), (before.used, 0), "nothing leaked");
}

#[test]
fn a_stuck_reader_stops_publication_and_nothing_else() {
    let mut writer = writer();
    let ids = add_named(&mut writer, 2);
    // Every change of a /48 among so many is a new node of more than 16 KiB.
    let crowd: Vec<_> = (0..2000).map(|n| (net6(FIXED6 ^ n << 80, 48), Some(ids[n as usize % 2]))).collect();
    writer.change_routes6(&crowd).unwrap();
    let tables = attach(&writer);
    let epoch = EpochLine::default();
    epoch.go_online(tables.token());
    let one = net6(FIXED6, 48);
    let mut refused = 0;
    for number in 0..1_000_000u32 {
        if let Err(error) = writer.set_route6(one, ids[number as usize % 2]) {
            assert!(matches!(error, TableError::ArenaFull));
            refused += 1;
        }
        writer.collect(&[epoch.reader()]);
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "memory of a stuck reader is bounded");
    let in_force = writer.longest_match6(one.addr()).unwrap().1;
    assert_eq!(look6(&tables, FIXED6), in_force, "the old tables stay in force");
    epoch.quiesce(tables.token());
    writer.collect(&[epoch.reader()]);
    assert_eq!(writer.memory().waiting, 0);
    writer.set_route6(one, ids[0]).unwrap();
    assert_eq!(look6(&tables, FIXED6), ids[0]);
}
