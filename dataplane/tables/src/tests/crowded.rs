//! Every kind of node, and every level of vector instructions, against a model: a map for each length.

use std::collections::HashMap;

use super::*;
use crate::fib::Level;

/// Routes by length, of addresses left-aligned in 128 bits.
struct Model(Vec<HashMap<u128, NextHopId>>);

impl Model {
    fn new() -> Self {
        Self(vec![HashMap::new(); 129])
    }

    fn set(&mut self, bits: u128, len: u8, id: Option<NextHopId>) {
        let routes = &mut self.0[usize::from(len)];
        match id {
            Some(id) => routes.insert(bits, id),
            None => routes.remove(&bits),
        };
    }

    fn look_up(&self, key: u128) -> NextHopId {
        let lens = (0..=128u8).rev().filter(|len| !self.0[usize::from(*len)].is_empty());
        let found = lens.filter_map(|len| self.0[usize::from(len)].get(&masked(key, len)).copied()).next();
        found.unwrap_or(NextHopId::NONE)
    }

    fn routes(&self) -> Vec<(u128, u8)> {
        let of = |(len, routes): (usize, &HashMap<u128, NextHopId>)| {
            routes.keys().map(|bits| (*bits, len as u8)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.0.iter().enumerate().flat_map(of).collect();
        all.sort_unstable();
        all
    }
}

fn masked(bits: u128, len: u8) -> u128 {
    bits & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// Areas that are crowded to different degrees, so that all kinds of nodes stand there.
const AREAS6: [(u128, u8, u64); 6] = [
    (0x2001 << 112, 32, 3000),
    (0x2001_0db8 << 96, 48, 700),
    (0x2001_0db9 << 96, 48, 12_000),
    (0x2a00_0001 << 96, 48, 40),
    (0x2a00_0001_0002 << 80, 64, 9),
    (0x2a00_0001_0002_0003 << 64, 128, 30),
];
const AREAS4: [(u128, u8, u64); 4] = [
    (0x0a00 << 112, 24, 200),
    (0x0a01_0200 << 96, 32, 250),
    (0x0a01 << 112, 24, 3),
    (0x0a01_0300 << 96, 32, 12),
];

/// A prefix in one of the areas, mostly of its length.
fn prefix(random: &mut Random, areas: &[(u128, u8, u64)], width: u8) -> (u128, u8) {
    let (area, len, spread) = areas[random.below(areas.len() as u64) as usize];
    let bits = area | u128::from(random.below(spread)) << (128 - u32::from(len));
    let len = match random.below(40) {
        0 => random.below(u64::from(width) + 1) as u8,
        1..=4 => (len - 1).max(1),
        5..=6 => (len + 3).min(width),
        _ => len,
    };
    let bits = bits | random.wide().checked_shr(u32::from(len) + 1).unwrap_or(0);
    (masked(bits, len), len)
}

/// Great ids too: they do not fit into half-words.
fn ids(writer: &mut TableWriter) -> Vec<NextHopId> {
    let all = add_named(writer, 66_000);
    all.iter().copied().take(6).chain(all.iter().copied().skip(65_990)).collect()
}

fn compare(model: &Model, tables: &Tables, width: u8, keys: &[u128]) {
    let view = tables.enter().unwrap();
    let want: Vec<_> = keys.iter().map(|key| model.look_up(*key)).collect();
    for level in Level::all() {
        let mut got = vec![NextHopId::CORRUPT; keys.len()];
        if width == 32 {
            let keys: Vec<u32> = keys.iter().map(|key| (key >> 96) as u32).collect();
            view.lookup4_at(level, &keys, &mut got);
        } else {
            let (hi, lo): (Vec<u64>, Vec<u64>) =
                keys.iter().map(|key| ((key >> 64) as u64, *key as u64)).unzip();
            view.lookup6_at(level, (&hi, &lo), &mut got);
        }
        for ((key, want), got) in keys.iter().zip(&want).zip(got) {
            assert_eq!(got, *want, "key {key:032x}");
        }
    }
}

/// Keys at the edges of prefixes, inside them and anywhere.
fn keys(random: &mut Random, prefixes: &[(u128, u8)], width: u8) -> Vec<u128> {
    let step = 1u128 << (128 - width);
    let around = |&(bits, len): &(u128, u8)| {
        let host = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        [bits, bits | host, bits.wrapping_sub(step), (bits | host).wrapping_add(step), bits | (host / 3)]
    };
    let mut keys: Vec<_> = prefixes.iter().flat_map(around).collect();
    keys.extend((0..20).map(|_| random.wide()));
    keys.iter().map(|key| masked(*key, width)).collect()
}

fn apply(writer: &mut TableWriter, width: u8, changes: &[(u128, u8, Option<NextHopId>)]) {
    if width == 32 {
        let changes: Vec<_> =
            changes.iter().map(|&(bits, len, id)| (net4((bits >> 96) as u32, len), id)).collect();
        writer.change_routes4(&changes).unwrap();
    } else {
        let changes: Vec<_> = changes.iter().map(|&(bits, len, id)| (net6(bits, len), id)).collect();
        writer.change_routes6(&changes).unwrap();
    }
}

/// Fills the areas, changes single routes and groups of them, and takes all away again.
fn run(width: u8, areas: &[(u128, u8, u64)], updates: usize) {
    let mut random = Random::new(u64::from(width));
    let limits = Limits { adjacencies: 66_000, segments: 2, ..small() };
    let mut writer = TableWriter::create(&limits, &Settings::default()).unwrap();
    let ids = ids(&mut writer);
    let tables = attach(&writer);
    let empty = writer.memory().used;
    let mut model = Model::new();
    let full = areas.iter().map(|area| area.2).sum::<u64>();
    for update in 0..updates {
        let count = if update == 0 { full } else { [1, 1, 1, 2, 40][random.below(5) as usize] };
        let mut changes = Vec::new();
        for _ in 0..count {
            let (bits, len) = prefix(&mut random, areas, width);
            let id = (random.below(4) != 0).then(|| ids[random.below(ids.len() as u64) as usize]);
            changes.push((bits, len, id));
            model.set(bits, len, id);
        }
        apply(&mut writer, width, &changes);
        writer.collect(&[]);
        let near: Vec<_> = changes.iter().take(50).map(|&(bits, len, _)| (bits, len)).collect();
        compare(&model, &tables, width, &keys(&mut random, &near, width));
    }
    let routes = model.routes();
    for some in routes.chunks(1000) {
        compare(&model, &tables, width, &keys(&mut random, some, width));
    }
    let changes: Vec<_> = routes.iter().map(|&(bits, len)| (bits, len, None)).collect();
    apply(&mut writer, width, &changes);
    writer.collect(&[]);
    assert_eq!(writer.memory().used, empty, "without routes the tables are as small as at the start");
    compare(&Model::new(), &tables, width, &keys(&mut random, &routes, width));
}

#[test]
fn crowded_areas6() {
    run(128, &AREAS6, 2000);
}

#[test]
fn crowded_areas4() {
    run(32, &AREAS4, 2000);
}
