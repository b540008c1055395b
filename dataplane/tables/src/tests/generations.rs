//! A generation is seen whole or not at all, and what was not published leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::{ClassRange, EpochLine, TableError};
use sixlane_tunnel::{Class4, Classes};

/// IPv6 routes as a list: the longest that holds a key, found the slow way.
type Model = BTreeMap<(u8, u128), NextHopId>;

fn longest(model: &Model, key: u128) -> NextHopId {
    let holds = |&(len, bits): &(u8, u128)| net6(bits, len).contains(&Ipv6Addr::from_bits(key));
    model.iter().rev().find(|(prefix, _)| holds(prefix)).map_or(NextHopId::NONE, |(_, id)| *id)
}

/// Prefixes that are nested in each other, around the border of the root and of the host part.
fn random_net(random: &mut Random) -> Ipv6Net {
    let len = [0, 8, 15, 16, 17, 24, 32, 40, 48, 63, 64, 65, 96, 128][random.below(14) as usize];
    let bits = u128::from(random.below(3) << 48 | random.below(3) << 32 | random.below(3));
    net6(bits << 64 | u128::from(random.below(3)) << 32 | u128::from(random.below(3)), len).trunc()
}

fn change(writer: &mut TableWriter, model: &mut Model, random: &mut Random, ids: &[NextHopId]) {
    let net = random_net(random);
    let key = (net.prefix_len(), net.addr().to_bits());
    if random.below(3) == 0 {
        writer.remove_route6(net).unwrap();
        model.remove(&key);
    } else {
        let id = ids[random.below(ids.len() as u64) as usize];
        writer.set_route6(net, id).unwrap();
        model.insert(key, id);
    }
}

fn agree(tables: &Tables, model: &Model, random: &mut Random) {
    for _ in 0..40 {
        let key = random_net(random).addr().to_bits();
        assert_eq!(look6(tables, key), longest(model, key), "{key:x} {model:x?}");
    }
}

#[test]
fn staged_routes_are_seen_all_at_once_or_never() {
    let mut random = Random::new(5);
    let mut writer = writer();
    let ids = add_named(&mut writer, 8);
    let tables = attach(&writer);
    let mut model = Model::new();
    for round in 0..400 {
        for _ in 0..random.below(4) {
            change(&mut writer, &mut model, &mut random, &ids);
        }
        writer.collect(&[]);
        agree(&tables, &model, &mut random);
        let (before, counts) = (writer.memory(), ids.iter().map(|&id| writer.adjacency_routes(id)));
        let counts: Vec<_> = counts.collect();
        let mut next = model.clone();
        writer.stage();
        for _ in 0..1 + random.below(12) {
            change(&mut writer, &mut next, &mut random, &ids);
        }
        agree(&tables, &model, &mut random);
        if round % 2 == 0 {
            writer.take_back();
            assert_eq!(writer.memory(), before, "nothing is left behind");
            assert!(ids.iter().zip(counts).all(|(&id, count)| writer.adjacency_routes(id) == count));
        } else {
            writer.publish(None, None).unwrap();
            model = next;
        }
        agree(&tables, &model, &mut random);
    }
    for (len, bits) in model.into_keys() {
        writer.remove_route6(net6(bits, len)).unwrap();
    }
    writer.collect(&[]);
    assert_eq!(writer.memory().waiting, 0);
    assert_eq!(writer.memory().used, self::writer().memory().used + 8 * 64, "the records alone");
}

#[test]
fn a_full_arena_refuses_a_generation_and_leaves_the_old_one() {
    let mut writer = writer();
    let ids = add_named(&mut writer, 2);
    writer.set_route6(net6(0, 0), ids[0]).unwrap();
    writer.collect(&[]);
    let tables = attach(&writer);
    let (before, number) = (writer.memory(), writer.number());
    writer.stage();
    writer.set_route6(net6(0, 0), ids[1]).unwrap();
    let refused = (1..100_000_u32).find_map(|n| {
        // A new node each at least.
        writer.set_route6(net6(u128::from(n) << 96, 48), ids[n as usize % 2]).err()
    });
    assert!(matches!(refused, Some(TableError::ArenaFull)));
    writer.take_back();
    assert_eq!((writer.memory(), writer.number()), (before, number));
    assert_eq!(look6(&tables, 1 << 80), ids[0]);
    writer.set_route6(net6(0, 0), ids[1]).unwrap();
    assert_eq!(look6(&tables, 1 << 80), ids[1], "the tables go on");
}

/// Settings, classes and routes of both families say the same number in every view.
#[test]
fn every_view_is_of_one_generation() {
    const GENERATIONS: u32 = 500;
    let mut writer = writer();
    let ids = add_named(&mut writer, 2);
    writer.set_route4(net4(0x0a00_0000, 8), ids[0]).unwrap();
    writer.set_route6(net6(0x2002 << 112, 16), ids[0]).unwrap();
    let publish = |writer: &mut TableWriter, n: u32| {
        let id = ids[n as usize % 2];
        writer.stage();
        writer.set_route4(net4(0x0a00_0000, 8), id)?;
        writer.set_route6(net6(0x2002 << 112, 16), id)?;
        let class = [Class4::OWN, Class4::BROADCAST][n as usize % 2];
        let settings = Settings { errors_per_second: n % 2, ..Settings::default() };
        writer.publish(Some(&settings), Some(&[ClassRange::of_prefix(0x0a00_0000, 8, class)]))
    };
    publish(&mut writer, 0).unwrap();
    let tables = attach(&writer);
    let (epoch, done) = (EpochLine::default(), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0_u64; 2];
            epoch.go_online(tables.token());
            while !done.load(Ordering::Relaxed) {
                let view = tables.enter().unwrap();
                let (mut four, mut six) = ([NextHopId::NONE], [NextHopId::NONE]);
                view.lookup4_batch(&[0x0a01_0203], &mut four);
                let which = view.settings().errors_per_second as usize;
                let class = view.class4(0x0a00_0001);
                view.lookup6_batch(&[0x2002_0102_0000_0000], &[1], &mut six);
                assert_eq!((four[0], six[0]), (ids[which], ids[which]));
                assert_eq!(class, [Class4::OWN, Class4::BROADCAST][which]);
                seen[which] += 1;
                epoch.quiesce(tables.token());
            }
            epoch.go_offline();
            seen
        });
        for n in 1..GENERATIONS {
            while let Err(error) = publish(&mut writer, n) {
                assert!(matches!(error, TableError::ArenaFull) && !reader.is_finished(), "{error}");
                writer.take_back();
                writer.collect(&[epoch.reader()]);
                thread::yield_now();
            }
            writer.collect(&[epoch.reader()]);
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.iter().all(|count| *count > 100), "both were seen: {seen:?}");
    assert!(TableWriter::passed(writer.mark(), &[epoch.reader()]), "an offline worker holds nothing");
    epoch.go_online(writer.mark() - 1);
    assert!(!TableWriter::passed(writer.mark(), &[epoch.reader()]));
    epoch.quiesce(tables.token());
    assert!(TableWriter::passed(writer.mark(), &[epoch.reader()]));
}
