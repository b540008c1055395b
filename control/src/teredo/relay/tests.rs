//! The set-up under a clock of the test's own.

use super::*;
use crate::teredo::waiting::{ALL_MAX, SOURCE_MAX};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

const PREFIX: u64 = 0x2001_0600_0000_000c;
const START: u64 = 1_000 * SECOND_NS;

fn settings() -> Settings {
    Settings {
        cookie_prefix: PREFIX,
        direct_bubbles: false,
        bubbles_per_second: 100_000,
        bubbles_per_source: 100_000,
        key: [5, 6],
    }
}

fn machine() -> SetUp {
    SetUp::new(settings(), Cookies::new([7, 8]))
}

/// A client by its number, each of another server.
fn client(number: u32) -> Teredo {
    Teredo { server: 0x0800_0000 + number, flags: 0x2c5b, port: 40000, client: 0x0900_0002 }
}

/// A packet from a /64 to a client, with a number in it.
fn packet(source: u64, client: Teredo, number: u8) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 1, 253, 64];
    bytes.extend(Address { hi: 0x2001_0600_0001_0000 + source, lo: 1 }.octets());
    bytes.extend(client.address().octets());
    bytes.push(number);
    bytes
}

fn outputs(machine: &mut SetUp, now_ns: u64) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll(now_ns)).collect()
}

/// What was done, in short.
fn short(outputs: &[Output]) -> Vec<String> {
    let said = |output: &Output| match output {
        Output::Bubble { to, packet } => {
            assert_eq!(packet[6], ipv6::NO_NEXT_HEADER);
            format!("bubble {:x}:{}", to.address, to.port)
        }
        Output::Publish(address) => format!("publish {}", Ipv6Addr::from(address.octets())),
        Output::Inject(bytes) => format!("inject {}", bytes[40]),
        Output::Unreachable(bytes) => format!("unreachable {}", bytes[40]),
    };
    outputs.iter().map(said).collect()
}

/// TRR-05: bubbles at 0, 2, 4 and 6 seconds, the end at 8. TRR-07, T-32: after that, five minutes of silence.
#[test]
fn a_client_that_does_not_answer() {
    let mut machine = machine();
    for number in 1..=3 {
        assert_eq!(machine.packet(START, &packet(0, client(1), number), client(1)), Ok(()));
    }
    let mut seen = Vec::new();
    let mut now = START;
    while let Some(at) = machine.wake_at() {
        now = now.max(at);
        seen.extend(
            short(&outputs(&mut machine, now)).into_iter().map(|what| ((now - START) / SECOND_NS, what)),
        );
    }
    let bubble = "bubble 8000001:3544".to_owned();
    let gone = |number| (8, format!("unreachable {number}"));
    let expected = [
        (0, bubble.clone()),
        (2, bubble.clone()),
        (4, bubble.clone()),
        (6, bubble),
        gone(1),
        gone(2),
        gone(3),
    ];
    assert_eq!(seen, expected);
    assert_eq!(machine.waiting(), (0, 0), "nothing of it is kept");
    let again = |machine: &mut SetUp, seconds| {
        machine.packet(START + seconds * SECOND_NS, &packet(0, client(1), 4), client(1))
    };
    assert_eq!(again(&mut machine, 8), Err(Refused::Silent));
    assert_eq!(again(&mut machine, 300), Err(Refused::Silent));
    assert_eq!(again(&mut machine, 601), Ok(()));
    assert_eq!(short(&outputs(&mut machine, START + 601 * SECOND_NS)), ["bubble 8000001:3544"]);
    assert_eq!(machine.figures().silent, 1);
}

/// T-35: in the order of arrival. The bubbles of a client that answers count for nothing afterwards.
#[test]
fn a_client_that_answers() {
    let mut machine = machine();
    let mut now = START;
    for round in 0..10 {
        for number in 1..=3 {
            assert_eq!(machine.packet(now, &packet(0, client(1), number), client(1)), Ok(()), "{round}");
        }
        let [Output::Bubble { packet, .. }] = &outputs(&mut machine, now)[..] else { panic!("no bubble") };
        let cookie = Address::from_octets(packet[8..24].try_into().unwrap());
        assert_eq!(cookie.hi, PREFIX);
        assert!(Cookies::new([7, 8]).are(cookie.lo, client(1).address(), now / (60 * SECOND_NS)));
        now += SECOND_NS;
        machine.proved(now, client(1).address());
        let said = short(&outputs(&mut machine, now));
        assert_eq!(said, ["publish 2001:0:800:1:2c5b:63bf:f6ff:fffd", "inject 1", "inject 2", "inject 3"]);
        assert_eq!(machine.waiting(), (0, 0));
        // Its timer comes to nothing.
        now += 10 * SECOND_NS;
        assert_eq!(outputs(&mut machine, now), []);
    }
    assert_eq!((machine.figures().set_up, machine.figures().bubbles), (10, 10));
}

#[test]
fn a_late_proof_makes_a_peer_too() {
    let mut machine = machine();
    machine.proved(START, client(1).address());
    assert_eq!(short(&outputs(&mut machine, START)), ["publish 2001:0:800:1:2c5b:63bf:f6ff:fffd"]);
    assert_eq!(machine.figures().set_up, 0);
}

#[test]
fn how_many_packets_wait() {
    let mut machine = machine();
    let put = |machine: &mut SetUp, source, number| {
        machine.packet(START, &packet(source, client(number), 0), client(number))
    };
    for _ in 0..PACKETS_MAX {
        assert_eq!(put(&mut machine, 0, 0), Ok(()));
    }
    assert_eq!(put(&mut machine, 1, 0), Err(Refused::Peer), "whoever it comes from");
    for number in 1..=u32::from(SOURCE_MAX) - PACKETS_MAX as u32 {
        assert_eq!(put(&mut machine, 0, number), Ok(()), "{number}");
    }
    assert_eq!(put(&mut machine, 0, 999), Err(Refused::Source));
    assert_eq!(put(&mut machine, 1, 999), Ok(()), "another /64");
    let long = [packet(0, client(5000), 0), vec![0; 1300]].concat();
    assert_eq!(machine.packet(START, &long, client(5000)), Err(Refused::Source), "padding is cut off");
    let mut long = [packet(2, client(5000), 0), vec![0; 1300]].concat();
    long[4..6].copy_from_slice(&1241_u16.to_be_bytes());
    assert_eq!(machine.packet(START, &long, client(5000)), Err(Refused::Length));
    assert_eq!(machine.packet(START, &[0x60; 39], client(5000)), Err(Refused::Length));
}

/// The ring is full: the oldest makes room. Its client is forgotten, but not that it had a bubble.
#[test]
fn the_oldest_makes_room() {
    let mut machine = machine();
    for number in 0..ALL_MAX as u32 + 10 {
        assert_eq!(
            machine.packet(START, &packet(u64::from(number), client(number), 0), client(number)),
            Ok(())
        );
    }
    assert_eq!(machine.waiting(), (ALL_MAX, ALL_MAX));
    assert_eq!(machine.figures().displaced, 10);
    assert_eq!(outputs(&mut machine, START).len(), ALL_MAX + 10);
    // The first comes again: no second bubble within two seconds (TRR-07).
    assert_eq!(machine.packet(START + SECOND_NS, &packet(0, client(0), 0), client(0)), Ok(()));
    assert_eq!(outputs(&mut machine, START + SECOND_NS), []);
    // Its answer counts all the same.
    machine.proved(START + SECOND_NS, client(0).address());
    assert_eq!(outputs(&mut machine, START + SECOND_NS).len(), 2);
}

/// However many come and are displaced within two seconds, memory stays what it was; and who answers is not
/// held for silent, though his attempts were displaced each time.
#[test]
fn attempts_that_are_displaced_cost_nothing() {
    let mut machine = machine();
    let honest = Teredo { server: 0x0909_0909, ..client(0) };
    let mut now = START;
    for round in 0..8_u64 {
        assert_eq!(machine.packet(now, &packet(1 << 40, honest, 0), honest), Ok(()), "{round}");
        for step in 0..10_000 {
            let number = round * 10_000 + step;
            let stranger = client(1 + number as u32);
            assert_eq!(machine.packet(now, &packet(number, stranger, 0), stranger), Ok(()));
            assert!(machine.timers.len() <= TIMERS_MAX && machine.attempts.len() <= ALL_MAX);
            let _ = outputs(&mut machine, now);
        }
        assert!(!machine.attempts.contains_key(&honest.address()));
        machine.proved(now, honest.address());
        now += 5 * SECOND_NS;
    }
}

/// TGT-11, ATK-29: at most ten bubbles in any second to one server, whoever asks.
#[test]
fn no_server_is_flooded() {
    let mut machine = machine();
    let mut at = Vec::new();
    for step in 0..20_000_u64 {
        let now = START + step * SECOND_NS / 4000;
        let victim = Teredo { server: 0x0808_0808, client: 0x0900_0000 + step as u32, ..client(0) };
        let _ = machine.packet(now, &packet(step, victim, 0), victim);
        at.extend(
            outputs(&mut machine, now).iter().filter(|it| matches!(it, Output::Bubble { .. })).map(|_| now),
        );
    }
    assert!(at.len() >= 25, "{}", at.len());
    assert!(at.windows(11).all(|window| window[10] - window[0] >= SECOND_NS), "more than ten in a second");
    assert!(machine.figures().limited > 10_000);
}

/// TRR-14, ATK-28, ATK-65: a /64 that scans takes its own budget; somebody else is served at once, and memory
/// stays what it was.
#[test]
fn a_scan_hurts_nobody_else() {
    let settings = Settings { bubbles_per_source: 50, bubbles_per_second: 1000, ..settings() };
    let mut machine = SetUp::new(settings, Cookies::new([7, 8]));
    let mut honest = 0;
    for step in 0..100_000_u64 {
        let now = START + step * SECOND_NS / 50_000;
        let random = client(1 + step as u32);
        let _ = machine.packet(now, &packet(0, random, 0), random);
        if step % 10_000 == 5_000 {
            let newcomer = Teredo { server: 0x0909_0000 + step as u32, ..client(0) };
            assert_eq!(machine.packet(now, &packet(77, newcomer, 9), newcomer), Ok(()));
            let to_it = outputs(&mut machine, now);
            assert!(
                to_it
                    .iter()
                    .any(|it| matches!(it, Output::Bubble { to, .. } if to.address == newcomer.server))
            );
            machine.proved(now, newcomer.address());
            honest += outputs(&mut machine, now).iter().filter(|it| matches!(it, Output::Inject(_))).count();
        }
        let _ = outputs(&mut machine, now);
        assert!(machine.waiting().0 <= usize::from(SOURCE_MAX) + 1);
        assert!(machine.timers.len() <= 2000);
    }
    assert_eq!(honest, 10);
    assert!(machine.figures().bubbles < 50 * 4 + 20, "{:?}", machine.figures());
}

#[test]
fn behind_a_nat_the_relay_sends_direct_bubbles_too() {
    let mut machine = SetUp::new(Settings { direct_bubbles: true, ..settings() }, Cookies::new([7, 8]));
    assert_eq!(machine.packet(START, &packet(0, client(1), 0), client(1)), Ok(()));
    assert_eq!(short(&outputs(&mut machine, START)), ["bubble 9000002:40000", "bubble 8000001:3544"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any course of events: at most four bubbles without an answer in 300 s, two seconds apart; a packet
    /// leaves once, in order, and only after a proof or at the end; memory has its bounds.
    #[test]
    fn any_course(steps in proptest::collection::vec((0..3000_u64, 0..8_u32, 0..10_u8), 1..300)) {
        let mut machine = machine();
        let mut now = START;
        let mut bubbles: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let mut queued: BTreeMap<u32, VecDeque<u8>> = BTreeMap::new();
        let mut proved = BTreeMap::new();
        for (count, (step_ms, number, what)) in steps.into_iter().enumerate() {
            now += step_ms * 1_000_000 * if what == 1 { 30 } else { 1 };
            let it = client(number);
            if what == 0 {
                machine.proved(now, it.address());
                proved.insert(number, now);
                bubbles.remove(&number);
            } else if machine.packet(now, &packet(u64::from(number), it, count as u8), it).is_ok() {
                queued.entry(number).or_default().push_back(count as u8);
            }
            while let Some(output) = machine.poll(now) {
                match output {
                    Output::Bubble { to, .. } => {
                        let times = bubbles.entry(to.address - 0x0800_0000).or_default();
                        prop_assert!(times.last().is_none_or(|last| now - last >= ANSWER_NS));
                        times.push(now);
                        prop_assert!(times.iter().filter(|at| now - **at < SILENCE_NS).count() <= 4);
                    }
                    Output::Publish(address) => prop_assert_eq!(address, it.address()),
                    Output::Inject(bytes) => {
                        let number = teredo(Address::from_octets(bytes[24..40].try_into().unwrap())).unwrap().server - 0x0800_0000;
                        prop_assert_eq!(proved.get(&number), Some(&now));
                        prop_assert_eq!(queued.get_mut(&number).and_then(VecDeque::pop_front), Some(bytes[40]));
                    }
                    Output::Unreachable(bytes) => {
                        let number = teredo(Address::from_octets(bytes[24..40].try_into().unwrap())).unwrap().server - 0x0800_0000;
                        prop_assert_eq!(queued.get_mut(&number).and_then(VecDeque::pop_front), Some(bytes[40]));
                    }
                }
            }
            let waiting: usize = queued.values().map(VecDeque::len).sum();
            prop_assert_eq!(machine.waiting().0, waiting);
            prop_assert!(machine.attempts.len() <= 8 && queued.values().all(|queue| queue.len() <= PACKETS_MAX));
        }
    }
}
