//! FAIL-23, ATK-57: garbage in the tables makes wrong answers, never a crash.

use sixlane_tunnel::{Class4, Classes};

use super::*;
use crate::ClassRange;
use crate::arena::Arena;
use crate::layout::at;
use crate::packets::{PACKET_MAX, PacketConsumer};
use crate::spsc::PartnerLine;

const FLIPS: u32 = 1_000_000;

/// Flips a bit; the answer undoes it.
fn flip(arena: &Arena, random: &mut Random) -> (usize, u64) {
    let end = arena.high_water() as u64;
    // The control line and the newest records (root, settings, classes) are few bytes: visit them often.
    // The words of the inject rings lie behind the control line.
    let byte = match random.below(4) {
        0 => at::CONTROL as u64 + random.below(128),
        1 => end - 16_384 + random.below(16_384),
        _ => random.below(end),
    };
    let word = byte as usize & !7;
    let old: u64 = *arena.region().record(word).unwrap();
    arena.region().write(word, &(old ^ 1 << random.below(64)).to_ne_bytes()).unwrap();
    (word, old)
}

fn use_all(tables: &Tables, random: &mut Random) -> u32 {
    use_rings(tables);
    let Ok(view) = tables.enter() else { return 0 };
    // Few addresses and many take different ways.
    let count = if random.below(8) == 0 { 64 } else { 8 };
    let keys: Vec<u32> = (0..count).map(|_| random.next() as u32).collect();
    let hi: Vec<u64> = (0..count).map(|_| random.next() >> random.below(64)).collect();
    let mut out = vec![NextHopId::NONE; 2 * count];
    let (four, six) = out.split_at_mut(count);
    view.lookup4_batch(&keys, four);
    view.lookup6_batch(&hi, &hi, six);
    let known = out.iter().filter(|id| view.adjacency(**id).is_some()).count() as u32;
    assert!(out.iter().all(|id| id.0 <= NextHopId::CORRUPT.0), "no node escapes as an answer");
    let classes = keys.iter().fold(Class4::NONE, |class, key| class.union(view.class4(*key)));
    let ports = (0..=255).filter(|port| view.settings().port(*port).is_some()).count();
    known + u32::from(classes.bits()) + ports as u32
}

/// The inject ring as a worker that begins with it, and control's lines.
fn use_rings(tables: &Tables) {
    let mut buffer = [0; PACKET_MAX];
    for worker in [0, 63] {
        let Some(ring) = tables.inject_ring(worker) else { continue };
        let line = PartnerLine::default();
        let mut consumer = PacketConsumer::attach(ring, &line, 1);
        if let Some(Some(packet)) = consumer.pop(ring, &line, &mut buffer) {
            assert!((1..=PACKET_MAX).contains(&packet.bytes.len()));
        }
        assert!(tables.packet_partner(worker).is_some());
    }
}

fn full_writer(random: &mut Random) -> TableWriter {
    let mut writer = writer();
    writer.open_inject(0).unwrap();
    let ids = add_named(&mut writer, 100);
    for _ in 0..500 {
        let id = ids[random.below(100) as usize];
        writer.set_route4(net4(random.next() as u32, random.below(33) as u8), id).unwrap();
        writer.set_route6(net6(random.wide() >> random.below(128), random.below(129) as u8), id).unwrap();
        writer.collect(&[]);
    }
    let ranges: Vec<_> = (0..200)
        .map(|_| ClassRange::of_prefix(random.next() as u32, 8 + random.below(25) as u8, Class4::OWN))
        .collect();
    writer.set_classes(&ranges).unwrap();
    writer
}

#[test]
fn flipped_bits_never_crash_a_reader() {
    let mut random = Random::new(23);
    let writer = full_writer(&mut random);
    let tables = attach(&writer);
    let (mut answers, mut refused) = (0u64, 0u64);
    let mut undo = Vec::new();
    for number in 0..FLIPS {
        undo.push(flip(writer.arena(), &mut random));
        if number % 4 == 0 {
            answers += u64::from(use_all(&tables, &mut random));
            refused += u64::from(tables.enter().is_err());
        }
        // Start over now and then, or the root is rubble and nothing behind it is tried.
        if number % 64 == 0 {
            for (word, old) in undo.drain(..).rev() {
                writer.arena().region().write(word, &old.to_ne_bytes()).unwrap();
            }
        }
    }
    assert!(answers > 0 && refused > 0, "both were seen: {answers} answers, {refused} refusals");
}
