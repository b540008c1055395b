//! FAIL-21, the writer's death at any point: a process that changes tables without pause is killed at random
//! moments, under a reader that is another process. What the reader finds, before and after, is a whole
//! answer, the old or the new one. Memory is poisoned when it is given back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use sixlane_tables::adjacency::kind;
use sixlane_tables::{
    Adjacency, Limits, NextHopId, Settings, TableError, TableWriter, Tables, View, WorkerLayout,
    WorkerSegment, WorkerView,
};

/// Tells the writing process where its reader's segment is: PID/DESCRIPTOR, and the seed of its changes.
const READER: &str = "SIXLANE_TEST_READER";
const SEED: &str = "SIXLANE_TEST_SEED";
/// What the writing process says before the descriptor of its tables.
const TABLES: &str = "tables: ";
/// Prefixes that lead to one of two next hops each, changed in groups.
const PAIRS: u32 = 64;
/// Next hops of the routes that come and go; 0 stands for the two default routes.
const OTHERS: u32 = 16;
const FIRST_OTHER: u32 = 1 + 2 * PAIRS;
const ADJACENCIES: u32 = FIRST_OTHER + OTHERS;
/// Longest life of a writer once its tables stand.
const LIFE: Duration = Duration::from_millis(12);

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    fn small(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(limit.into())).unwrap()
    }
}

/// 10.0.PAIR.0/24.
fn pair4(pair: u32) -> Ipv4Net {
    Ipv4Net::new((0x0a00_0000 | pair << 8).into(), 24).unwrap()
}

/// 2001:db8:PAIR::/48.
fn pair6(pair: u32) -> Ipv6Net {
    Ipv6Net::new((0x2001_0db8_u128 << 96 | u128::from(pair) << 80).into(), 48).unwrap()
}

/// Somewhere in 11.0.0.0/16.
fn other4(random: &mut Random) -> Ipv4Net {
    let len = 17 + u8::try_from(random.below(16)).unwrap();
    Ipv4Net::new((0x0b00_0000 | random.small(1 << 16)).into(), len).unwrap().trunc()
}

/// Somewhere in 2001:db9:0::/48.
fn other6(random: &mut Random) -> Ipv6Net {
    let len = 49 + u8::try_from(random.below(80)).unwrap();
    let bits =
        0x2001_0db9_u128 << 96 | u128::from(random.below(1 << 16)) << 64 | u128::from(random.below(256));
    Ipv6Net::new(bits.into(), len).unwrap().trunc()
}

/// The record of number `n` says so three times over.
fn record(n: u32, mtu: u32) -> Adjacency {
    let mac = n.to_be_bytes();
    Adjacency {
        ifindex: n,
        mtu,
        flags: !u16::try_from(n).unwrap(),
        dst_mac: [mac[0], mac[1], mac[2], mac[3], mac[2], mac[3]],
        ..Adjacency::of_kind(kind::REWRITE)
    }
}

/// The writing process: never ends by itself, unless it has lost its parent.
#[test]
fn writer_process() {
    let Ok(reader) = std::env::var(READER) else { return };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let reader = WorkerView::attach_read_only(File::open(format!("/proc/{reader}")).unwrap().into()).unwrap();
    let limits = Limits { segments: 1, adjacencies: 256, poison: true, ..Limits::default() };
    let mut writer = TableWriter::create(&limits, &Settings::default()).unwrap();
    let ids: Vec<NextHopId> =
        (0..ADJACENCIES).map(|n| writer.add_adjacency(&record(n, 1280)).unwrap()).collect();
    writer.set_route4("0.0.0.0/0".parse().unwrap(), ids[0]).unwrap();
    writer.set_route6("::/0".parse().unwrap(), ids[0]).unwrap();
    let mut random = Random(seed);
    turn(&mut writer, &ids, 0).unwrap();
    let tables = writer.segments()[0].share().unwrap();
    println!("{TABLES}{}", tables.as_raw_fd());
    let parent = rustix::process::getppid();
    for round in 1_u32.. {
        loop {
            writer.collect(&[reader.epoch()]);
            match change(&mut writer, &ids, round, &mut random) {
                Ok(()) => break,
                Err(TableError::ArenaFull) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        if round.is_multiple_of(1024) && rustix::process::getppid() != parent {
            return;
        }
    }
}

/// All pairs to the next hop of this round, in two groups.
fn turn(writer: &mut TableWriter, ids: &[NextHopId], round: u32) -> Result<(), TableError> {
    let id = |pair: u32| Some(ids[(1 + 2 * pair + round % 2) as usize]);
    let all4: Vec<_> = (0..PAIRS).map(|pair| (pair4(pair), id(pair))).collect();
    let all6: Vec<_> = (0..PAIRS).map(|pair| (pair6(pair), id(pair))).collect();
    writer.change_routes4(&all4)?;
    writer.change_routes6(&all6)
}

fn change(
    writer: &mut TableWriter,
    ids: &[NextHopId],
    round: u32,
    random: &mut Random,
) -> Result<(), TableError> {
    let id = ids[(FIRST_OTHER + random.small(OTHERS)) as usize];
    match random.below(8) {
        0 => turn(writer, ids, round)?,
        1 => {
            let n = random.small(ADJACENCIES);
            writer.replace_adjacency(ids[n as usize], &record(n, 1280 + round % 2))?;
        }
        2 => writer.publish(Some(&Settings::default()), Some(&[]))?,
        3 | 4 => {
            let group: Vec<_> =
                (0..40).map(|_| (other4(random), (random.below(2) == 0).then_some(id))).collect();
            writer.change_routes4(&group)?;
        }
        5 => {
            let group: Vec<_> =
                (0..40).map(|_| (other6(random), (random.below(2) == 0).then_some(id))).collect();
            writer.change_routes6(&group)?;
        }
        6 => writer.set_route4(other4(random), id)?,
        _ => writer.set_route6(other6(random), id)?,
    }
    Ok(())
}

/// One batch of each family, every answer judged.
fn judge(view: &View<'_>, random: &mut Random) {
    let picks: [(u32, bool, u64); 64] =
        core::array::from_fn(|_| (random.small(PAIRS), random.below(2) == 0, random.below(1 << 16)));
    let keys4 = picks.map(|(pair, other, low)| {
        let low = u32::try_from(low).unwrap();
        if other { 0x0b00_0000 | low } else { 0x0a00_0000 | pair << 8 | low & 0xff }
    });
    let hi = picks.map(|(pair, other, low)| {
        if other { 0x2001_0db9_0000_0000 | low } else { 0x2001_0db8_0000_0000 | u64::from(pair) << 16 | low }
    });
    let lo = picks.map(|(_, _, low)| low & 0xff);
    let mut answers = [[NextHopId::CORRUPT; 64]; 2];
    view.lookup4_batch(&keys4, &mut answers[0]);
    view.lookup6_batch(&hi, &lo, &mut answers[1]);
    for (answers, family) in answers.iter().zip([4, 6]) {
        for (answer, (pair, other, _)) in answers.iter().zip(picks) {
            let found = view.adjacency(*answer).unwrap_or_else(|| panic!("IPv{family}: {answer:?}"));
            let n = found.ifindex;
            assert!(matches!(found.mtu, 1280 | 1281) && *found == record(n, found.mtu), "{found:?}");
            if other {
                assert!(n == 0 || (FIRST_OTHER..ADJACENCIES).contains(&n), "IPv{family}: {n}");
            } else {
                assert!(n == 1 + 2 * pair || n == 2 + 2 * pair, "IPv{family}, pair {pair}: {n}");
            }
        }
    }
}

/// The writer, killed when the test ends in whatever way.
struct Writer(Child);

impl Writer {
    fn start(reader: &OwnedFd, seed: u64) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_process", "--nocapture"])
            .env(READER, format!("{}/fd/{}", std::process::id(), reader.as_raw_fd()))
            .env(SEED, seed.to_string())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn tables(&mut self) -> Tables {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let said = lines.map(Result::unwrap).find_map(|line| {
            let at = line.find(TABLES)?;
            Some(line[at + TABLES.len()..].trim().to_owned())
        });
        let path = format!("/proc/{}/fd/{}", self.0.id(), said.expect("a writer that runs"));
        Tables::attach(File::open(path).unwrap().into()).unwrap()
    }

    fn kill(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "the writer ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tables_of_a_writer_killed_at_any_moment_are_whole() {
    let long = std::env::var_os("SIXLANE_LONG").is_some_and(|value| value == "1");
    let layout =
        WorkerLayout { worker: 0, adjacencies: 256, frames: 64, ports: 2, punt_slots: 4, packet_slots: 4 };
    let mut random = Random(u64::from(std::process::id()));
    println!("seed {}", random.0);
    let mut alive = 0_u64;
    for seed in 0..if long { 1000 } else { 100 } {
        let worker = WorkerSegment::create(layout).unwrap();
        let segment = worker.segment().share().unwrap();
        let mut writer = Writer::start(&segment, seed);
        let tables = writer.tables();
        worker.epoch().go_online(tables.token());
        let end =
            Instant::now() + Duration::from_nanos(random.below(u64::try_from(LIFE.as_nanos()).unwrap()));
        while Instant::now() < end {
            judge(&tables.enter().unwrap(), &mut random);
            worker.epoch().quiesce(tables.token());
            alive += 1;
        }
        writer.kill();
        for _ in 0..200 {
            judge(&tables.enter().unwrap(), &mut random);
            worker.epoch().quiesce(tables.token());
        }
    }
    assert!(alive > 100, "the reader was there while writers lived: {alive} batches");
    println!("{alive} batches under living writers");
}
