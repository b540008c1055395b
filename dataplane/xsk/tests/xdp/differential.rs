//! A million random packets: the program in the kernel against the rules written a second time.

use crate::packets::*;
use crate::reference::{Answer, judge};
use crate::runner::{Runner, XDP_PASS, XDP_REDIRECT};
use sixlane_xsk::uapi::{FORWARD_ALL, XdpCounters};

const PACKETS: u32 = 1_000_000;
const LONGEST: usize = 256;

/// xorshift64*: enough to pick mutations, and one number repeats a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

/// Frames from which every rule is a few mutations away.
fn seeds() -> Vec<Vec<u8>> {
    let ours4 = |packet: &[u8]| ethernet(OUR_MAC, ETHERTYPE_IPV4, packet);
    let ours6 = |destination| ethernet(OUR_MAC, ETHERTYPE_IPV6, &ipv6(UDP, NATIVE, destination, &[0; 20]));
    let link_local = "fe80::1".parse().unwrap();
    let multicast = "ff02::1".parse().unwrap();
    let quote = ipv4_with(SIXINFOUR, RELAY, STRANGER, &[1; 8], 0, &inner());
    let options = |protocol, payload: &[u8]| ipv4_with(protocol, STRANGER, RELAY, &[1; 12], 0, payload);
    vec![
        ours4(&tunnel_packet()),
        ours4(&options(SIXINFOUR, &inner())),
        ours4(&ipv4_with(SIXINFOUR, STRANGER, RELAY, &[], MORE_FRAGMENTS, &inner())),
        ours4(&ipv4(TCP, STRANGER, RELAY, &[0; 20])),
        ours4(&ipv4(SIXINFOUR, STRANGER, TEREDO_RELAY, &inner())),
        ours4(&icmp_error(3, RELAY, SIXINFOUR)),
        ours4(&icmp_error(11, STRANGER, SIXINFOUR)),
        ours4(&icmp_error(12, RELAY, UDP)),
        ours4(&options(ICMP, &icmpv4(3, &quote))),
        ours4(&ipv4(ICMP, STRANGER, RELAY, &icmpv4(8, &quote))),
        ours6(SERVED),
        ours6(OWN_SERVED),
        ours6(OWN),
        ours6(NATIVE),
        ours6(link_local),
        ours6(multicast),
        ethernet(FOREIGN_MAC, ETHERTYPE_IPV4, &tunnel_packet()),
        ethernet(BROADCAST_MAC, ETHERTYPE_ARP, &[0; 28]),
        tagged(&[(TPID_8021Q, 600)], ETHERTYPE_IPV4, &tunnel_packet()),
        tagged(&[(TPID_8021Q, 0xe000)], ETHERTYPE_IPV4, &tunnel_packet()),
        tagged(&[(TPID_8021Q, 0)], ETHERTYPE_IPV6, &ipv6(UDP, NATIVE, SERVED, &[0; 20])),
        tagged(&[(TPID_8021AD, 600), (TPID_8021Q, 7)], ETHERTYPE_IPV6, &inner()),
    ]
}

/// Bytes that mean something somewhere.
const TELLING: [u8; 16] = [0, 1, 3, 4, 5, 11, 12, 17, 41, 0x45, 0x46, 0x60, 0x81, 0xfe, 0x80, 0xff];

fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(frame.len().min(100));
        match random.below(4) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = TELLING[random.below(TELLING.len())],
            2 => frame[at] = random.next().to_le_bytes()[3],
            _ => frame.truncate(at.max(14)),
        }
    }
    if random.below(8) == 0 {
        frame.insert(random.below(frame.len()), random.next().to_le_bytes()[3]);
    }
    frame.truncate(LONGEST);
}

#[test]
fn a_million_packets_are_judged_alike() {
    let seeds = seeds();
    let mut random = Random(0x5158_1a4e);
    for (flags, vlan, packets) in [
        (0, 0, PACKETS / 4),
        (FORWARD_ALL, 0, PACKETS / 4),
        (0, 600, PACKETS / 4),
        (FORWARD_ALL, 600, PACKETS / 4),
    ] {
        let mut runner = Runner::with_socket(flags);
        if vlan != 0 {
            runner.move_to_vlan(vlan);
        }
        let (mut port, mut no_port) = (XdpCounters::default(), XdpCounters::default());
        for number in 0..packets {
            let mut frame = seeds[random.below(seeds.len())].clone();
            if vlan == 0 || random.below(2) == 0 {
                mutate(&mut frame, &mut random);
            }
            if vlan != 0 && random.below(8) != 0 {
                tag(&mut frame, vlan);
            }
            let answer = judge(&frame, vlan, flags == FORWARD_ALL);
            let expected = if answer == Answer::Ours { XDP_REDIRECT } else { XDP_PASS };
            assert_eq!(runner.run(&frame), expected, "packet {number}: {answer:?} {frame:02x?}");
            count(answer, &mut port, &mut no_port);
        }
        assert_eq!(runner.counters(), port);
        assert_eq!(runner.counters_of_no_port(), no_port);
        assert!(port.redirected > u64::from(packets) / 20, "too few packets of ours: {port:?}");
    }
}

/// Puts a tag into a frame that has its addresses.
fn tag(frame: &mut Vec<u8>, vlan: u16) {
    if frame.len() >= 12 {
        frame.splice(12..12, [TPID_8021Q, vlan].map(u16::to_be_bytes).concat());
    }
}

fn count(answer: Answer, port: &mut XdpCounters, no_port: &mut XdpCounters) {
    let counters = if answer == Answer::NoPort { no_port } else { port };
    counters.seen += 1;
    match answer {
        Answer::Ours => counters.redirected += 1,
        Answer::PassNotOurMac => {
            counters.passed += 1;
            counters.not_our_mac += 1;
        }
        Answer::Pass | Answer::NoPort => counters.passed += 1,
    }
}
