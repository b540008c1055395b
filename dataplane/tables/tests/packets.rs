//! Packets between workers and control, as both sides use the rings, and as a hostile partner fills them.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use proptest::prelude::*;
use sixlane_tables::packets::{INJECT_SLOTS, PACKET_MAX, PacketConsumer, PacketSlot};
use sixlane_tables::spsc::{Full, PartnerLine, Ring, RingLine};
use sixlane_tables::{
    Limits, PacketKind, Settings, TableWriter, Tables, WorkerLayout, WorkerSegment, WorkerView,
};
use zerocopy::FromBytes;

const WORKER: u16 = 3;
const SLOTS: u32 = 4;

fn writer() -> TableWriter {
    let limits = Limits { segments: 1, adjacencies: 100, ..Limits::default() };
    TableWriter::create(&limits, &Settings::default()).unwrap()
}

fn tables(writer: &TableWriter) -> Tables {
    Tables::attach(writer.segments()[0].share().unwrap()).unwrap()
}

fn worker() -> (WorkerSegment, WorkerView) {
    let layout = WorkerLayout {
        worker: WORKER,
        adjacencies: 1,
        frames: 1,
        ports: 1,
        punt_slots: 1,
        packet_slots: SLOTS,
    };
    let segment = WorkerSegment::create(layout).unwrap();
    let view = WorkerView::attach_read_only(segment.segment().share().unwrap()).unwrap();
    (segment, view)
}

fn packet(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + len) as u8).collect()
}

#[test]
fn packets_of_any_length_arrive_as_they_were_punted() {
    let writer = writer();
    let tables = tables(&writer);
    let (segment, view) = worker();
    let line = writer.packet_partner(WORKER).unwrap();
    let mut producer = segment.open_packets();
    let mut consumer = PacketConsumer::attach(view.packet_ring(), line, 1);
    let mut buffer = [0; PACKET_MAX];
    for len in (1..=PACKET_MAX).rev() {
        let kind = if len % 2 == 0 { PacketKind::Local } else { PacketKind::GivenBack };
        let partner = tables.packet_partner(WORKER).unwrap();
        producer.push(segment.packet_ring(), partner, (kind, len as u8), &packet(len)).unwrap();
        assert!(consumer.may_have(view.packet_ring()));
        let taken = consumer.pop(view.packet_ring(), line, &mut buffer).unwrap().unwrap();
        assert_eq!((taken.kind, taken.port, taken.bytes), (kind, len as u8, &packet(len)[..]));
    }
    assert!(!consumer.may_have(view.packet_ring()));
    assert_eq!(consumer.pop(view.packet_ring(), line, &mut buffer), None);
}

#[test]
fn what_fits_no_slot_is_refused_and_a_full_ring_stays_as_it_is() {
    let writer = writer();
    let tables = tables(&writer);
    let (segment, view) = worker();
    let line = writer.packet_partner(WORKER).unwrap();
    let mut producer = segment.open_packets();
    let mut consumer = PacketConsumer::attach(view.packet_ring(), line, 1);
    let partner = tables.packet_partner(WORKER).unwrap();
    let mut push =
        |packet: &[u8]| producer.push(segment.packet_ring(), partner, (PacketKind::Local, 0), packet);
    assert_eq!(push(&[]), Err(Full));
    assert_eq!(push(&packet(PACKET_MAX + 1)), Err(Full));
    for len in 1..=SLOTS as usize {
        push(&packet(len)).unwrap();
    }
    assert_eq!(push(&[0xee]), Err(Full));
    let mut buffer = [0; PACKET_MAX];
    for len in 1..=SLOTS as usize {
        let taken = consumer.pop(view.packet_ring(), line, &mut buffer).unwrap().unwrap();
        assert_eq!(taken.bytes, packet(len));
    }
    push(&packet(9)).unwrap();
    let mut small = [0; 8];
    let short = consumer.pop(view.packet_ring(), line, &mut small);
    assert_eq!(short, Some(None), "what does not fit the buffer is gone");
}

#[test]
fn injected_packets_reach_the_worker_and_its_successor() {
    let mut writer = writer();
    assert!(tables(&writer).inject_ring(WORKER).is_none(), "none until it is made");
    let mut injector = writer.open_inject(WORKER).unwrap();
    assert!(writer.open_inject(64).is_err());
    let tables = tables(&writer);
    assert!(tables.inject_ring(WORKER + 1).is_none() && tables.inject_ring(64).is_none());
    let ring = tables.inject_ring(WORKER).unwrap();
    let mut buffer = [0; PACKET_MAX];
    let (first, view) = worker();
    let mut consumer = PacketConsumer::attach(ring, first.inject_line(), first.generation());
    for _ in 0..3 {
        for len in 1..=INJECT_SLOTS {
            injector.push(view.inject_partner(), &packet(len)).unwrap();
        }
        assert_eq!(injector.push(view.inject_partner(), &[1]), Err(Full));
        for len in 1..=INJECT_SLOTS {
            let taken = consumer.pop(ring, first.inject_line(), &mut buffer).unwrap().unwrap();
            assert_eq!((taken.kind, taken.bytes), (PacketKind::Injected, &packet(len)[..]));
        }
    }
    // The worker dies with two packets unread; its successor does not get what was meant before it.
    injector.push(view.inject_partner(), &[1]).unwrap();
    injector.push(view.inject_partner(), &[2]).unwrap();
    let (second, view) = worker();
    let mut consumer = PacketConsumer::attach(ring, second.inject_line(), second.generation());
    injector.push(view.inject_partner(), &[3]).unwrap();
    let taken = consumer.pop(ring, second.inject_line(), &mut buffer).unwrap().unwrap();
    assert_eq!(taken.bytes, [3]);
    assert_eq!((injector.take_lost(), injector.take_lost()), (2, 0));
}

#[test]
fn the_worker_goes_over_to_the_ring_of_a_new_control() {
    let (mut old, mut new) = (writer(), writer());
    let mut dead = old.open_inject(WORKER).unwrap();
    let mut injector = new.open_inject(WORKER).unwrap();
    let (old, new) = (tables(&old), tables(&new));
    let (segment, view) = worker();
    let line = segment.inject_line();
    let mut consumer = PacketConsumer::attach(old.inject_ring(WORKER).unwrap(), line, segment.generation());
    dead.push(view.inject_partner(), &[1]).unwrap();
    injector.push(view.inject_partner(), &[2]).unwrap();
    let ring = new.inject_ring(WORKER).unwrap();
    assert_eq!(consumer.replace(old.inject_ring(WORKER).unwrap(), ring, line), 1);
    let mut buffer = [0; PACKET_MAX];
    assert_eq!(consumer.pop(ring, line, &mut buffer).unwrap().unwrap().bytes, [2]);
    assert_eq!(consumer.pop(ring, line, &mut buffer), None);
}

proptest! {
    /// Whatever stands in a ring, a reader takes packets of a legal length or nothing, and comes to an end.
    #[test]
    fn hostile_rings_are_harmless(
        line in proptest::collection::vec(any::<u8>(), 64),
        heads in proptest::collection::vec(any::<[u8; 8]>(), 4),
        lens in proptest::collection::vec(0_u32..4000, 4),
        near: bool,
        room in 0_usize..2000,
    ) {
        let mut line = line;
        if near {
            // A head that can be: the slots are looked at.
            line[8..12].copy_from_slice(&4_u32.to_ne_bytes());
        }
        let line = RingLine::read_from_bytes(&line).unwrap();
        let mut slots = Vec::new();
        for (head, len) in heads.iter().zip(&lens) {
            let mut bytes = [0x5a; size_of::<PacketSlot>()];
            bytes[..8].copy_from_slice(head);
            if near {
                bytes[..5].copy_from_slice(&[&len.to_ne_bytes()[..], &[1]].concat());
            }
            slots.push(PacketSlot::read_from_bytes(&bytes).unwrap());
        }
        let empty = (RingLine::default(), std::array::from_fn::<_, 4, _>(|_| {
            PacketSlot::read_from_bytes(&[0; size_of::<PacketSlot>()]).unwrap()
        }));
        let partner = PartnerLine::default();
        let mut consumer = PacketConsumer::attach(Ring::new(&empty.0, &empty.1).unwrap().reader(), &partner, 1);
        let ring = Ring::new(&line, &slots).unwrap().reader();
        let mut buffer = vec![0; room];
        let mut popped = 0;
        while let Some(taken) = consumer.pop(ring, &partner, &mut buffer) {
            popped += 1;
            prop_assert!(popped <= 4);
            if let Some(packet) = taken {
                prop_assert!((1..=PACKET_MAX).contains(&packet.bytes.len()) && packet.bytes.len() <= room);
                prop_assert!(packet.bytes.iter().all(|&byte| byte == 0x5a));
            }
        }
        prop_assert!(!near || popped == 4, "{popped}");
    }
}
