//! Ports that stall: their peer takes nothing more, their driver completes nothing (FAIL-12). What they
//! hold is theirs by the size of the memory, so the other ports do not notice.

use std::sync::atomic::{AtomicU8, AtomicU32};

use crate::fake::{Random, Socket};
use crate::handover::{Handed, TakeOver};
use crate::ledger::{INTENT_WORDS, Ledger};
use crate::pool::FramePool;
use crate::queue::{Queue, Received};
use crate::socket::RingSizes;
use crate::umem::{Memory, Umem};

const SIZES: RingSizes = RingSizes { rx: 256, tx: 256, fill: 256, completion: 256 };
const SOCKETS: usize = 20;
/// The last two are well.
const STALLED: usize = SOCKETS - 2;
const BATCH: usize = 64;

struct World {
    umem: &'static Umem,
    sockets: Vec<Socket>,
    pool: FramePool<'static>,
    queues: Vec<Queue<'static>>,
    random: Random,
    number: u64,
    refused: usize,
}

impl World {
    fn new() -> Self {
        let frames = SIZES.frames_needed() * SOCKETS as u32;
        let umem: &Umem = Box::leak(Box::new(Umem::create(frames, Memory::Heap).unwrap()));
        let ledger: &[AtomicU8] = Vec::leak((0..frames).map(|_| AtomicU8::new(0)).collect());
        let intents: &[AtomicU32] =
            Vec::leak((0..SOCKETS * INTENT_WORDS).map(|_| AtomicU32::new(0)).collect());
        let sockets: Vec<Socket> = (0..SOCKETS).map(|_| Socket::new(SIZES, 0)).collect();
        let handed =
            sockets.iter().map(|socket| Handed { rings: Some(socket.attach()), number: 1 }).collect();
        let (pool, queues) =
            TakeOver::prepare(umem, handed, None, Ledger::new(ledger), intents).unwrap().resume();
        let queues = queues.into_iter().flatten().collect();
        Self { umem, sockets, pool, queues, random: Random(7), number: 0, refused: 0 }
    }

    /// Delivers up to `count` packets to a port; gives how many there was room for.
    fn deliver(&mut self, to: usize, count: usize) -> usize {
        self.sockets[to].take_fill(count as u32);
        let mut delivered = 0;
        while delivered < count && self.sockets[to].deliver(self.umem, self.number, &mut self.random) {
            self.number += 1;
            delivered += 1;
        }
        delivered
    }

    /// A turn in which what arrived at port `from` goes to `to`.
    fn turn(&mut self, from: usize, to: usize) {
        for queue in &mut self.queues {
            queue.reclaim(&mut self.pool);
        }
        for queue in &mut self.queues {
            queue.refill(&mut self.pool);
        }
        let mut batch = Vec::new();
        self.queues[from].receive(&mut self.pool, BATCH, |received| batch.push(received));
        for Received { frame, start, len } in batch {
            if let Err(frame) = self.queues[to].submit(&self.pool, frame, start, len) {
                self.pool.release(frame);
                self.refused += 1;
            }
        }
        for queue in &mut self.queues {
            queue.flush();
            queue.release_received(&mut self.pool);
        }
    }

    /// The driver of a port sends all that it can.
    fn send(&mut self, from: usize) {
        self.sockets[from].take_tx(SIZES.tx);
        (0..SIZES.tx).for_each(|_| self.sockets[from].complete(self.umem, &mut self.random));
    }

    /// Packets that port `at` has still to send.
    fn pending(&mut self, at: usize) -> usize {
        self.sockets[at].frames_to_send().len()
    }
}

#[test]
fn ports_that_stall_cost_the_others_no_frame() {
    let mut world = World::new();
    let well = [STALLED, STALLED + 1];
    world.turn(well[0], well[1]);
    // To each port that stalls packets are sent until neither its driver nor its ring takes another.
    for stalled in 0..STALLED {
        for _ in 0..40 {
            assert_eq!(world.deliver(well[0], BATCH), BATCH, "a port that is well receives");
            world.turn(well[0], stalled);
            world.sockets[stalled].take_tx(SIZES.tx);
        }
        assert_eq!(world.pending(stalled), (SIZES.tx + SIZES.completion) as usize);
    }
    assert_ne!(world.refused, 0);
    // What arrives at them waits for its turn.
    for stalled in 0..STALLED {
        assert_eq!(world.deliver(stalled, SIZES.rx as usize), SIZES.rx as usize);
    }
    world.turn(well[0], well[1]);
    // The two others forward between them as ever.
    let (refused, before) = (world.refused, world.number);
    for round in 0..100 {
        let (from, to) = (well[round % 2], well[(round + 1) % 2]);
        assert_eq!(world.deliver(from, BATCH), BATCH, "round {round}");
        world.turn(from, to);
        world.send(to);
    }
    assert_eq!(world.refused, refused);
    let sent = |world: &World| well.iter().map(|at| world.sockets[*at].sent.len()).sum::<usize>();
    assert_eq!(sent(&world) as u64, world.number - before);
    // They go on: everything comes home.
    for _ in 0..40 {
        (0..STALLED).for_each(|stalled| world.send(stalled));
        (0..STALLED).for_each(|stalled| world.turn(stalled, well[0]));
        world.send(well[0]);
    }
    (0..SOCKETS).for_each(|at| assert_eq!(world.pending(at), 0));
    world.turn(well[0], well[1]);
    let census = world.pool.census();
    let fill = SIZES.fill as usize * SOCKETS;
    assert_eq!((census.tx, census.batch, census.held, census.fill as usize >= fill), (0, 0, 0, true));
}
