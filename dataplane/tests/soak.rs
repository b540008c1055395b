//! Packets by the million: valid ones, and valid ones with something broken. Nothing panics, nothing
//! leaks, and the identity holds.
//!
//! `SIXLANE_PACKETS` sets how many; the default is what a test run has time for, the long form is
//! 100,000,000 (TGT-05).
#![allow(clippy::expect_used, clippy::panic, reason = "test code fails loudly")]

mod common;

use common::packets::{NATIVE_HOST, SITE, SITE_HOST, V4, V6, checksum, framed, framed_as, sixtofour, v6};
use common::{WAN4, WAN6, topology};
use sixlane_dataplane::Worker;
use sixlane_dataplane::batch::{BATCH, Batch, Slot};
use sixlane_dataplane::port::{Arrived, HEADROOM, Port, Submitted};
use sixlane_tables::packets::{PACKET_MAX, PacketConsumer};
use sixlane_tables::{Injector, PacketKind, Settings, TableWriter, WorkerLayout, WorkerSegment, WorkerView};
use sixlane_tunnel::Reason;
use sixlane_xsk::{Frame, FramePool, FrameState, Ledger, Memory, Umem, WakeError};
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// Packets of a quick run.
const QUICK: u64 = 2_000_000;

/// A small generator of numbers (xorshift64*): the same seed makes the same packets.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }
}

/// Frames to start from: each way through the relay, plain and with every header that has rules.
fn seeds() -> Vec<(u8, Vec<u8>)> {
    let chain = [0, 0, 1, 4, 0, 0, 0, 0, 43, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fragment = [58, 0, 0, 1, 0, 0, 0, 9, 128, 0, 1, 2, 3, 4, 5, 6];
    let echo = [128, 0, 0, 0, 0, 1, 0, 1];
    let mut seeds = Vec::new();
    for (next_header, payload) in [
        (17, &[0x12, 0x34, 0, 9, 0, 12, 0xbe, 0xef, 1, 2, 3, 4][..]),
        (58, &echo),
        (60, &chain),
        (44, &fragment),
        (43, &chain[8..]),
    ] {
        let with = |packet: V6| packet.payload(next_header, payload);
        seeds.push((WAN6, framed(WAN6, &with(V6::outbound()).bytes())));
        seeds.push((WAN6, framed(WAN6, &with(V6::new("2001:700::1", NATIVE_HOST)).bytes())));
        seeds.push((WAN4, framed(WAN4, &with(V6::inbound()).in_tunnel().bytes())));
        let options = V4 { options: vec![7, 4, 4, 0, 1, 1, 1, 0], ..with(V6::inbound()).in_tunnel() };
        seeds.push((WAN4, framed(WAN4, &options.bytes())));
    }
    let to_us = V6::new(SITE_HOST, "2001:600::fe");
    seeds.push((WAN4, framed(WAN4, &to_us.payload(58, &echo).in_tunnel().bytes())));
    let theirs = V4 { payload: V6::new(NATIVE_HOST, "2001:64::1").bytes(), ..V4::new(topology::RELAY, SITE) };
    let payload = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &theirs.bytes()].concat();
    let error = V4 { protocol: 1, payload, ..V4::new(Ipv4Addr::new(9, 9, 9, 9), topology::RELAY) };
    seeds.push((WAN4, framed(WAN4, &error.bytes())));
    seeds.push((WAN6, framed(WAN6, &V6::outbound().hop_limit(1).bytes())));
    seeds.push((WAN6, framed(WAN6, &V6::outbound().len(1281).bytes())));
    seeds.push((WAN6, framed(WAN6, &V6::new(NATIVE_HOST, "2001:700::1").bytes())));
    seeds.push((WAN4, framed_as(WAN4, 0x86dd, &V6::new(SITE_HOST, NATIVE_HOST).bytes())));
    let far = sixtofour(Ipv4Addr::new(7, 7, 7, 7), 1);
    seeds.push((WAN6, framed(WAN6, &V6::between(v6(NATIVE_HOST), far).bytes())));
    seeds
}

/// Breaks a packet of `len` bytes in up to three places, mostly in its headers, where meaning is. Gives
/// its new length.
fn break_something(chunk: &mut [u8], mut len: usize, numbers: &mut Numbers) -> usize {
    for _ in 0..numbers.below(4) {
        let at = numbers.below(len.clamp(1, 96));
        match numbers.below(8) {
            0 => len = at,
            1 => chunk[at] = numbers.next() as u8,
            2 => chunk[at] ^= 1 << numbers.below(8),
            3 => chunk[at] = [0, 1, 43, 44, 58, 59, 60, 0xff][numbers.below(8)],
            4 => chunk[12] = [0x08, 0x86, 0x81][numbers.below(3)],
            // Longer: with what an earlier packet left there.
            5 => len = (len + numbers.below(64)).min(chunk.len()),
            6 => {
                let from = at + numbers.below(len.max(1));
                chunk.copy_within(from..from + 16, at);
            }
            _ => chunk[at] = chunk[at].wrapping_add(1),
        }
        // A header that is broken elsewhere is looked at only when its checksum is right.
        if chunk[14] == 0x45 && numbers.below(2) == 0 {
            chunk[24..26].fill(0);
            let sum = checksum(&chunk[14..34]);
            chunk[24..26].copy_from_slice(&sum.to_be_bytes());
        }
    }
    len
}

/// A port at which broken packets arrive for as long as wanted, and which looks at what is sent.
struct NoisePort {
    index: u8,
    seeds: Vec<Vec<u8>>,
    numbers: Numbers,
    left: u64,
    fill: Vec<Frame>,
    sending: Vec<Frame>,
}

impl NoisePort {
    fn new(index: u8, seed: u64, packets: u64) -> Self {
        let seeds = seeds().into_iter().filter(|(port, _)| *port == index).map(|(_, frame)| frame);
        let numbers = Numbers(seed ^ u64::from(index));
        Self { index, seeds: seeds.collect(), numbers, left: packets, fill: Vec::new(), sending: Vec::new() }
    }
}

impl<'a> Port<'a> for NoisePort {
    fn index(&self) -> u8 {
        self.index
    }

    fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize {
        let count = self.sending.len();
        self.sending.drain(..).for_each(|frame| pool.release(frame));
        count
    }

    fn refill(&mut self, pool: &mut FramePool<'a>) -> usize {
        while self.fill.len() < 64
            && let Some(frame) = pool.alloc()
        {
            pool.note(&frame, FrameState::Fill);
            self.fill.push(frame);
        }
        self.fill.len()
    }

    fn receive(&mut self, pool: &mut FramePool<'a>, batch: &mut Batch) -> Arrived {
        let mut arrived = Arrived::default();
        let most = batch.room().min(1 + self.numbers.below(BATCH)) as u64;
        while arrived.packets < most.min(self.left)
            && let Some(mut frame) = self.fill.pop()
        {
            pool.note(&frame, FrameState::Batch);
            let seed = &self.seeds[self.numbers.below(self.seeds.len())];
            let chunk = &mut pool.umem().bytes_mut(&mut frame)[HEADROOM..];
            chunk[..seed.len()].copy_from_slice(seed);
            let len = break_something(chunk, seed.len(), &mut self.numbers) as u16;
            batch.push(Slot::new(frame, self.index, HEADROOM as u16, len)).expect("room");
            arrived.packets += 1;
            arrived.bytes += u64::from(len);
        }
        self.left -= arrived.packets;
        arrived
    }

    fn submit(&mut self, pool: &FramePool<'a>, slots: &mut [Slot]) -> Submitted {
        let mut done = Submitted::default();
        for slot in slots.iter_mut().take_while(|slot| slot.extent.egress == self.index) {
            done.slots += 1;
            let extent = slot.extent;
            let Some(frame) = slot.frame.take() else { continue };
            let start = usize::from(extent.start);
            let sent = &pool.umem().bytes(&frame)[start..start + usize::from(extent.len)];
            check(self.index, sent);
            pool.note(&frame, FrameState::Tx);
            self.sending.push(frame);
            done.packets += 1;
            done.bytes += u64::from(extent.len);
        }
        done
    }

    fn flush(&mut self) {}

    fn release_received(&mut self, _pool: &mut FramePool<'a>) {}

    fn wake(&mut self) -> Result<(), WakeError> {
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What must hold for everything that leaves, whatever came in.
fn check(port: u8, sent: &[u8]) {
    let inner = if port == WAN4 {
        assert_eq!((&sent[12..15], sent[23]), (&[0x08, 0x00, 0x45][..], 41), "protocol 41 and nothing else");
        assert_eq!(checksum(&sent[14..34]), 0, "the outer checksum");
        assert_eq!(sent[26..30], topology::RELAY.octets());
        assert_eq!(usize::from(sent[16]) << 8 | usize::from(sent[17]), sent.len() - 14);
        // SEC-08: never to a multicast, broadcast, private or loopback address.
        assert!(!matches!(sent[30], 0 | 10 | 127 | 224..), "to {:?}", &sent[30..34]);
        assert_eq!((sent[34 + 24], sent[34 + 25], &sent[34 + 26..34 + 30]), (0x20, 0x02, &sent[30..34]));
        &sent[34..]
    } else {
        assert_eq!(sent[12..14], [0x86, 0xdd]);
        &sent[14..]
    };
    assert_eq!(inner[0] >> 4, 6);
    assert_eq!(40 + (usize::from(inner[4]) << 8 | usize::from(inner[5])), inner.len(), "the length");
    assert!(inner[7] >= 1, "a hop limit");
}

/// Control's side of the door: broken packets in, a look at what comes out.
struct Control {
    writer: TableWriter,
    injector: Injector,
    view: WorkerView,
    consumer: PacketConsumer,
    seeds: Vec<Vec<u8>>,
    numbers: Numbers,
    injected: u64,
    punted: u64,
}

impl Control {
    fn new(mut writer: TableWriter, segment: &WorkerSegment, seed: u64) -> Self {
        let injector = writer.open_inject(0).expect("room for a ring");
        let view = WorkerView::attach_read_only(segment.segment().share().expect("a descriptor"));
        let view = view.expect("a worker's segment");
        let line = writer.packet_partner(0).expect("control's line");
        let consumer = PacketConsumer::attach(view.packet_ring(), line, 1);
        let seeds = seeds().into_iter().map(|(_, frame)| frame).collect();
        let numbers = Numbers(seed ^ 0xd00d);
        Self { writer, injector, view, consumer, seeds, numbers, injected: 0, punted: 0 }
    }

    fn act(&mut self) {
        for _ in 0..self.numbers.below(4) {
            let seed = &self.seeds[self.numbers.below(self.seeds.len())];
            let mut chunk = [0; 2048];
            chunk[..seed.len()].copy_from_slice(seed);
            let len = break_something(&mut chunk, seed.len(), &mut self.numbers);
            let packet = chunk.get(14..len.min(14 + PACKET_MAX)).unwrap_or_default();
            let sent = self.injector.push(self.view.inject_partner(), packet);
            self.injected += u64::from(sent.is_ok());
        }
        if self.numbers.below(8) == 0 {
            self.punted += self.drain();
        }
    }

    fn drain(&mut self) -> u64 {
        let line = self.writer.packet_partner(0).expect("control's line");
        let mut buffer = [0; PACKET_MAX];
        let mut count = 0;
        while let Some(taken) = self.consumer.pop(self.view.packet_ring(), line, &mut buffer) {
            let packet = taken.expect("a sound slot");
            let version = if packet.kind == PacketKind::Local { 6 } else { 4 };
            assert_eq!(packet.version(), version);
            count += 1;
        }
        count
    }
}

fn soak(seed: u64, packets: u64) {
    const FRAMES: u32 = 512;
    let umem = Umem::create(FRAMES, Memory::Heap).expect("memory");
    let layout = WorkerLayout {
        worker: 0,
        adjacencies: 256,
        frames: FRAMES,
        ports: 2,
        punt_slots: 64,
        packet_slots: 64,
    };
    let segment = WorkerSegment::create(layout).expect("a worker's segment");
    let pool = FramePool::new(&umem, Ledger::new(segment.ledger()));
    let ports = vec![NoisePort::new(WAN6, seed, packets / 2), NoisePort::new(WAN4, seed, packets / 2)];
    let settings = Settings { door: 1, punts_per_second: 1_000_000, ..topology::settings() };
    let mut control = Control::new(topology::writer(&settings), &segment, seed);
    let mut worker = Worker::new(ports, pool, &segment, topology::attach(&control.writer), 0);
    let mut now = 0;
    while worker.ports_mut().iter().any(|port| port.left != 0) {
        now += 10_000;
        control.act();
        worker.turn(now);
        if now % 1_000_000 == 0 {
            segment.counters().snapshot().identity().expect("the identity of the design");
            let census = worker.pool().census();
            let waiting = segment.counters().snapshot().held;
            assert!(waiting <= 16, "seed {seed}: {waiting} wait");
            let owners = (census.total(), census.batch, u64::from(census.held));
            assert_eq!(owners, (FRAMES, 0, waiting), "seed {seed}");
        }
    }
    worker.turn(now);
    // Who waits for a neighbour gives up.
    worker.turn(now + 2_000_000_000);
    let counted = segment.counters().snapshot();
    counted.identity().expect("the identity of the design");
    assert_eq!(counted.received, packets / 2 * 2);
    assert_eq!((counted.injected, counted.punt_lost), (control.injected, 0), "seed {seed}");
    assert_eq!(counted.local + counted.punted, control.punted + control.drain(), "seed {seed}");
    assert!(counted.local > packets / 1000 && counted.punted > 0, "seed {seed}: {counted:?}");
    assert!(counted.transmitted > packets / 10, "seed {seed}: most seeds are valid: {counted:?}");
    assert_eq!(counted.dropped_for(Reason::TxFull), 0, "seed {seed}: the rings have room");
    let (ports, pool) = worker.parts_mut();
    for port in ports {
        port.fill.drain(..).chain(port.sending.drain(..)).for_each(|frame| pool.release(frame));
    }
    assert_eq!(pool.len(), FRAMES as usize, "every frame comes home");
}

#[test]
fn broken_packets_by_the_million() {
    let packets = std::env::var("SIXLANE_PACKETS").ok().and_then(|text| text.parse().ok()).unwrap_or(QUICK);
    let threads: Vec<_> = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]
        .map(|seed| std::thread::spawn(move || soak(seed, packets / 2)))
        .into();
    for thread in threads {
        thread.join().expect("a soak without a panic");
    }
}
