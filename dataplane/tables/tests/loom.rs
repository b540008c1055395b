//! Models of the two protocols that processes speak without locks, for every interleaving loom finds.
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p sixlane-tables --test loom`.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;
use sixlane_tables::quiescence::{EpochLine, Limbo};
use sixlane_tables::spsc::{Consumer, Full, PartnerLine, Producer, Ring, RingLine, Slot};

const FREED: u32 = 0xffff_ffff;

/// Two records and the word that names one of them.
#[derive(Default)]
struct Memory {
    link: AtomicU32,
    records: [AtomicU32; 2],
    token: AtomicU64,
    epoch: EpochLine,
}

impl Memory {
    fn new() -> Arc<Self> {
        let memory = Self::default();
        memory.token.store(1, Ordering::Relaxed);
        memory.records[0].store(10, Ordering::Relaxed);
        Arc::new(memory)
    }

    fn read(&self) -> u32 {
        let link = self.link.load(Ordering::Acquire);
        self.records[link as usize].load(Ordering::Relaxed)
    }

    /// Replaces record 0 by record 1, and frees record 0 if the reader permits it.
    fn replace(&self, limbo: &mut Limbo<usize>) {
        self.records[1].store(20, Ordering::Relaxed);
        self.link.store(1, Ordering::Release);
        limbo.retire(0);
        limbo.publish(&self.token);
        self.collect(limbo);
    }

    fn collect(&self, limbo: &mut Limbo<usize>) {
        limbo.collect(&[self.epoch.reader()], |record| self.records[record].store(FREED, Ordering::Relaxed));
    }
}

#[test]
fn nothing_is_freed_between_two_quiescent_points() {
    loom::model(|| {
        let memory = Memory::new();
        memory.epoch.go_online(1);
        let reader = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                for _ in 0..2 {
                    let value = memory.read();
                    assert!(value == 10 || value == 20, "read {value:#x}");
                    memory.epoch.quiesce(memory.token.load(Ordering::Acquire));
                }
            })
        };
        let mut limbo = Limbo::new(1);
        memory.replace(&mut limbo);
        memory.collect(&mut limbo);
        reader.join().unwrap();
        memory.epoch.quiesce(memory.token.load(Ordering::Acquire));
        memory.collect(&mut limbo);
        assert!(limbo.is_empty());
    });
}

#[test]
fn going_online_and_offline_races_with_reclamation() {
    loom::model(|| {
        let memory = Memory::new();
        let reader = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                memory.epoch.go_online(memory.token.load(Ordering::Acquire));
                let value = memory.read();
                assert!(value == 10 || value == 20, "read {value:#x}");
                memory.epoch.go_offline();
            })
        };
        memory.replace(&mut Limbo::new(1));
        reader.join().unwrap();
    });
}

#[derive(Default)]
struct Queue {
    line: RingLine,
    slots: [Slot; 2],
    partner: PartnerLine,
}

impl Queue {
    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.line, &self.slots).unwrap()
    }
}

fn message(number: u64) -> [u64; 8] {
    [number; 8]
}

#[test]
fn messages_arrive_whole_and_in_order() {
    loom::model(|| {
        let queue = Arc::new(Queue::default());
        let mut producer = Producer::open(queue.ring(), 7);
        let mut consumer = Consumer::attach(queue.ring().reader(), &queue.partner, 1);
        let sender = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut sent = 0;
                for _ in 0..3 {
                    match producer.push(queue.ring(), queue.partner.reader(), &message(sent)) {
                        Ok(()) => sent += 1,
                        Err(Full) => thread::yield_now(),
                    }
                }
                sent
            })
        };
        let mut received = 0;
        for _ in 0..3 {
            if let Some(got) = consumer.pop(queue.ring().reader(), &queue.partner) {
                assert_eq!(got, message(received));
                received += 1;
            }
        }
        let sent = sender.join().unwrap();
        while let Some(got) = consumer.pop(queue.ring().reader(), &queue.partner) {
            assert_eq!(got, message(received));
            received += 1;
        }
        assert_eq!(sent, received);
    });
}

#[test]
fn a_new_consumer_takes_over_while_the_producer_works() {
    loom::model(|| {
        let queue = Arc::new(Queue::default());
        let successor = Arc::new(PartnerLine::default());
        let mut producer = Producer::open(queue.ring(), 7);
        let _dead = Consumer::attach(queue.ring().reader(), &queue.partner, 1);
        producer.push(queue.ring(), queue.partner.reader(), &message(0)).unwrap();
        let sender = {
            let (queue, successor) = (Arc::clone(&queue), Arc::clone(&successor));
            thread::spawn(move || {
                let sent = producer.push(queue.ring(), successor.reader(), &message(1)).is_ok();
                (producer, sent)
            })
        };
        let mut consumer = Consumer::attach(queue.ring().reader(), &successor, 2);
        let (mut producer, sent) = sender.join().unwrap();
        let mut received = 0;
        while let Some(got) = consumer.pop(queue.ring().reader(), &successor) {
            assert_eq!(got, message(1));
            received += 1;
        }
        producer.leave(successor.reader());
        assert_eq!(received + producer.take_lost(), 1 + u64::from(sent), "read or counted as lost");
    });
}
