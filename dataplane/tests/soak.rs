//! Packets by the million: valid ones, and valid ones with something broken. Nothing panics, nothing
//! leaks, and the identity holds.
//!
//! `SIXLANE_PACKETS` sets how many; the default is what a test run has time for, the long form is
//! 100,000,000 (TGT-05).

mod common;

use common::packets::{NATIVE_HOST, SITE_HOST, V4, V6, framed, framed_as, sixtofour, v6};
use common::{Rig, Sizes, WAN4, WAN6, topology};
use sixlane_tunnel::Reason;
use std::net::Ipv4Addr;

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
    seeds.push((WAN6, framed(WAN6, &V6::outbound().hop_limit(1).bytes())));
    seeds.push((WAN6, framed(WAN6, &V6::outbound().len(1281).bytes())));
    seeds.push((WAN6, framed(WAN6, &V6::new(NATIVE_HOST, "2001:700::1").bytes())));
    seeds.push((WAN4, framed_as(WAN4, 0x86dd, &V6::new(SITE_HOST, NATIVE_HOST).bytes())));
    let far = sixtofour(Ipv4Addr::new(7, 7, 7, 7), 1);
    seeds.push((WAN6, framed(WAN6, &V6::between(v6(NATIVE_HOST), far).bytes())));
    seeds
}

/// Breaks a frame in up to three places; mostly in its headers, where meaning is.
fn break_something(frame: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..numbers.below(4) {
        if frame.is_empty() {
            return;
        }
        let at = numbers.below(frame.len().min(96));
        match numbers.below(8) {
            0 => frame.truncate(at),
            1 => frame[at] = numbers.next() as u8,
            2 => frame[at] ^= 1 << numbers.below(8),
            3 => frame[at] = [0, 1, 43, 44, 58, 59, 60, 0xff][numbers.below(8)],
            4 => {
                let at = 12 % frame.len();
                frame[at] = [0x08, 0x86, 0x81][numbers.below(3)];
            }
            5 => frame.extend(vec![numbers.next() as u8; numbers.below(64)]),
            6 => {
                let from = numbers.below(frame.len());
                frame.copy_within(from.., at.min(from));
            }
            _ => frame[at] = frame[at].wrapping_add(1),
        }
        // A header that is broken elsewhere is looked at only when its checksum is right.
        if frame.len() >= 34 && frame[14] == 0x45 && numbers.below(2) == 0 {
            frame[24..26].fill(0);
            let sum = common::packets::checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

fn soak(seed: u64, packets: u64) {
    let sizes = Sizes { frames: 1024, fill: 256, ..Sizes::default() };
    let mut rig = Rig::over(topology::tables(), sizes);
    let mut numbers = Numbers(seed);
    let seeds = seeds();
    let mut left = packets;
    while left > 0 {
        let burst = left.min(2048);
        left -= burst;
        for _ in 0..burst {
            let (port, frame) = &seeds[numbers.below(seeds.len())];
            let mut frame = frame.clone();
            break_something(&mut frame, &mut numbers);
            rig.offer(*port, frame);
        }
        // `run` asserts the identity and the census.
        let outcome = rig.run();
        assert_eq!(outcome.counters.received, burst, "seed {seed}");
        for (port, sent) in &outcome.sent {
            assert!(sent.bytes.len() >= 54, "seed {seed} port {port}: {sent:?}");
        }
    }
    let counted = rig.segment.counters().snapshot();
    assert_eq!(counted.received, packets);
    assert!(counted.transmitted > packets / 10, "seed {seed}: most seeds are valid: {counted:?}");
    assert_eq!(counted.dropped_for(Reason::TxFull), 0, "seed {seed}: the rings have room");
    rig.close();
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
