//! The FIB against a list of prefixes, longest first.

use super::*;

/// Prefixes of up to `width` bits, left-aligned in 128; the naive model.
struct Model {
    width: u8,
    list: Vec<(u128, u8, NextHopId)>,
}

fn mask(bits: u128, len: u8) -> u128 {
    if len == 0 { 0 } else { bits & (u128::MAX << (128 - u32::from(len))) }
}

impl Model {
    fn set(&mut self, bits: u128, len: u8, id: Option<NextHopId>) {
        self.list.retain(|&(b, l, _)| (b, l) != (bits, len));
        if let Some(id) = id {
            let at = self.list.partition_point(|&(_, l, _)| l > len);
            self.list.insert(at, (bits, len, id));
        }
    }

    fn look_up(&self, key: u128) -> Option<(u128, u8, NextHopId)> {
        self.list.iter().copied().find(|&(bits, len, _)| mask(key, len) == bits)
    }
}

/// A prefix that likes to be nested in, next to, or equal to one of the list.
fn random_prefix(random: &mut Random, model: &Model) -> (u128, u8) {
    let width = u64::from(model.width);
    let len = match random.below(12) {
        0 => 0,
        1 | 2 => width,
        3 => 16,
        4 => 8 * random.below(width / 8 + 1),
        _ => random.below(width + 1),
    } as u8;
    let mut bits = random.wide();
    if !model.list.is_empty() && random.below(8) != 0 {
        let (near, near_len, _) = model.list[random.below(model.list.len() as u64) as usize];
        bits = match random.below(4) {
            0 if near_len > 0 => near.wrapping_add(1 << (128 - u32::from(near_len))),
            1 if near_len > 0 => near.wrapping_sub(1),
            2 => return (near, near_len),
            _ => near | random.wide().checked_shr(u32::from(near_len)).unwrap_or(0),
        };
    }
    (mask(bits, len), len)
}

/// Keys at the edges of a prefix and at random.
fn probes(random: &mut Random, (bits, len): (u128, u8), width: u8) -> Vec<u128> {
    let host = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
    let step = 1u128 << (128 - width);
    let mut keys =
        vec![bits, bits | host, bits.wrapping_sub(step), (bits | host).wrapping_add(step), 0, u128::MAX];
    keys.extend((0..10).map(|_| random.wide()));
    keys.extend((0..10).map(|_| bits | (random.wide() & host)));
    keys.iter().map(|key| mask(*key, width)).collect()
}

fn run(width: u8, seed: u64, updates: u32) {
    let mut random = Random::new(seed);
    let mut model = Model { width, list: Vec::new() };
    let mut writer = writer();
    let ids = add_named(&mut writer, 20);
    let tables = attach(&writer);
    let empty = writer.memory().used;
    for update in 0..updates {
        let prefix @ (bits, len) = random_prefix(&mut random, &model);
        let crowded = model.list.len() as u64 > random.below(400);
        let id = (!crowded).then(|| ids[random.below(20) as usize]);
        model.set(bits, len, id);
        apply(&mut writer, width, prefix, id);
        writer.collect(&[]);
        for key in probes(&mut random, prefix, width) {
            let want = model.look_up(key);
            let (got, matched) = ask(&writer, &tables, width, key);
            assert_eq!(
                got,
                want.map_or(NextHopId::NONE, |m| m.2),
                "seed {seed}, update {update}, key {key:x}"
            );
            assert_eq!(matched, want, "seed {seed}, update {update}, key {key:x}");
        }
    }
    for (bits, len, _) in core::mem::take(&mut model.list) {
        apply(&mut writer, width, (bits, len), None);
    }
    writer.collect(&[]);
    assert_eq!(writer.memory().used, empty, "without routes the trie is as small as at the start");
}

fn apply(writer: &mut TableWriter, width: u8, (bits, len): (u128, u8), id: Option<NextHopId>) {
    let (v4, v6) = (|| net4((bits >> 96) as u32, len), || net6(bits, len));
    match (width, id) {
        (32, Some(id)) => writer.set_route4(v4(), id),
        (32, None) => writer.remove_route4(v4()),
        (_, Some(id)) => writer.set_route6(v6(), id),
        (_, None) => writer.remove_route6(v6()),
    }
    .unwrap();
}

/// The reader's answer, and the writer's with the prefix that matched.
fn ask(
    writer: &TableWriter,
    tables: &Tables,
    width: u8,
    key: u128,
) -> (NextHopId, Option<(u128, u8, NextHopId)>) {
    if width == 32 {
        let address = (key >> 96) as u32;
        let matched = writer.longest_match4(Ipv4Addr::from_bits(address));
        let raw = matched.map(|(net, id)| (u128::from(net.addr().to_bits()) << 96, net.prefix_len(), id));
        (look4(tables, address), raw)
    } else {
        let matched = writer.longest_match6(Ipv6Addr::from_bits(key));
        (look6(tables, key), matched.map(|(net, id)| (net.addr().to_bits(), net.prefix_len(), id)))
    }
}

#[test]
fn ipv4_agrees_with_a_list() {
    (0..4).for_each(|seed| run(32, seed, 1000));
}

#[test]
fn ipv6_agrees_with_a_list() {
    (0..4).for_each(|seed| run(128, 100 + seed, 1000));
}

#[test]
fn batches_answer_like_single_keys() {
    let mut random = Random::new(7);
    let mut writer = writer();
    let ids = add_named(&mut writer, 20);
    for _ in 0..300 {
        let id = ids[random.below(20) as usize];
        writer.set_route4(net4(random.next() as u32, random.below(33) as u8), id).unwrap();
        writer.set_route6(net6(random.wide() >> 8, random.below(129) as u8), id).unwrap();
        writer.collect(&[]);
    }
    let tables = attach(&writer);
    let view = tables.enter().unwrap();
    let keys4: Vec<u32> = (0..64).map(|_| random.next() as u32).collect();
    let keys6: Vec<u128> = (0..64).map(|_| random.wide() >> 8).collect();
    let (hi, lo): (Vec<u64>, Vec<u64>) = keys6.iter().map(|key| ((key >> 64) as u64, *key as u64)).unzip();
    let mut out = [NextHopId::CORRUPT; 64];
    view.lookup4_batch(&keys4, &mut out);
    assert!(keys4.iter().zip(out).all(|(key, answer)| look4(&tables, *key) == answer));
    view.lookup6_batch(&hi, &lo, &mut out);
    assert!(keys6.iter().zip(out).all(|(key, answer)| look6(&tables, *key) == answer));
}
