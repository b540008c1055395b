//! Workers that are killed at any store, and their successors: no frame lost, none owned twice,
//! no packet lost.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU32};

use proptest::prelude::*;

use crate::crash::tests::killed_after;
use crate::fake::{Random, Socket, number_at};
use crate::handover::{Handed, Predecessor, TakeOver};
use crate::ledger::{FrameState, INTENT_WORDS, Ledger, Place};
use crate::pool::{FramePool, frame_at};
use crate::queue::{Parting, Queue, Received, Rings, Seat};
use crate::socket::RingSizes;
use crate::umem::{Memory, Umem};

const SOCKETS: usize = 2;
const FRAMES: u32 = 64;
const SIZES: RingSizes = RingSizes { rx: 16, tx: 8, fill: 16, completion: 8 };
const BATCH: usize = 8;
/// Packets of the worker's own making have numbers from here on.
const REPLIES: u64 = 1 << 32;
/// More stores than any turn makes.
const NEVER: u64 = u64::MAX;

/// The kernel: what outlives workers.
struct Kernel {
    sockets: Vec<Socket>,
    /// The keeper's number of each socket; `None` while its interface is away.
    numbers: Vec<Option<u32>>,
    next_socket: u32,
    random: Random,
    next_number: u64,
}

impl Kernel {
    fn act(&mut self, umem: &Umem) {
        let Self { sockets, numbers, random, next_number, .. } = self;
        let socket = random.below(SOCKETS);
        if numbers[socket].is_some() {
            sockets[socket].act(umem, next_number, random);
        }
    }

    /// What the keeper hands over: of a socket that is dead the old number, and no rings.
    fn handed(&self) -> Vec<Handed> {
        let places = self.sockets.iter().zip(&self.numbers);
        let handed = |(socket, number): (&Socket, &Option<u32>)| Handed {
            rings: number.map(|_| socket.attach()),
            number: number.unwrap_or(self.next_socket),
        };
        places.map(handed).collect()
    }

    /// Deletes the interface of a socket, or makes it again with a new socket.
    fn delete_or_create(&mut self, socket: usize, start: u32) {
        if self.numbers[socket].take().is_none() {
            self.next_socket += 1;
            self.numbers[socket] = Some(self.next_socket);
            self.sockets[socket] = Socket::new(SIZES, start);
        }
    }
}

/// The memory of one worker that outlives it.
struct Segment {
    ledger: Vec<AtomicU8>,
    intents: Vec<AtomicU32>,
}

impl Segment {
    /// Leaked: a dead worker's memory stays, and references to it are simpler that way.
    fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            ledger: (0..FRAMES).map(|_| AtomicU8::new(0)).collect(),
            intents: (0..SOCKETS * INTENT_WORDS).map(|_| AtomicU32::new(0)).collect(),
        }))
    }
}

struct Worker {
    pool: FramePool<'static>,
    queues: Vec<Option<Queue<'static>>>,
}

/// Kernel, arena, the segment that the keeper knows, and what workers have counted as dropped.
struct World {
    umem: &'static Umem,
    kernel: Rc<RefCell<Kernel>>,
    known: Option<&'static Segment>,
    dropped: Rc<RefCell<Vec<u64>>>,
    choices: Rc<RefCell<Random>>,
}

impl World {
    fn new(seed: u64, start: u32) -> Self {
        let kernel = Kernel {
            sockets: (0..SOCKETS).map(|_| Socket::new(SIZES, start)).collect(),
            numbers: (1..).take(SOCKETS).map(Some).collect(),
            next_socket: 100,
            random: Random(seed | 1),
            next_number: 0,
        };
        Self {
            umem: Box::leak(Box::new(Umem::create(FRAMES, Memory::Heap).unwrap())),
            kernel: Rc::new(RefCell::new(kernel)),
            known: None,
            dropped: Rc::default(),
            choices: Rc::new(RefCell::new(Random(seed.rotate_left(32) | 1))),
        }
    }

    /// The kernel at work after every store of a worker; how busy it is depends on the seed.
    fn kernel_at_work(&self) -> impl FnMut() + 'static {
        let (kernel, umem) = (Rc::clone(&self.kernel), self.umem);
        move || {
            let mut kernel = kernel.borrow_mut();
            if kernel.random.below(2) == 0 {
                kernel.act(umem);
            }
        }
    }

    /// A worker that takes over from the one whose segment is known; killed after `stores`.
    fn start(&mut self, stores: u64) -> Option<Worker> {
        let segment = Segment::new();
        self.umem.disown(); // the predecessor is dead
        let rings = self.kernel.borrow().handed();
        let predecessor = self.known.map(|old| Predecessor { ledger: &old.ledger, intents: &old.intents });
        let (umem, known) = (self.umem, &mut self.known);
        let kernel = (Rc::clone(&self.kernel), self.umem);
        let at_work = move || kernel.0.borrow_mut().act(kernel.1);
        killed_after(stores, at_work, || {
            let ledger = Ledger::new(&segment.ledger);
            let take_over = TakeOver::prepare(umem, rings, predecessor, ledger, &segment.intents).unwrap();
            assert_eq!(take_over.inheritance().refused_intents, 0);
            *known = Some(segment); // the keeper has it
            let (pool, queues) = take_over.resume();
            Worker { pool, queues }
        })
    }

    /// One turn of the worker, after some work of the kernel. True if it was killed.
    fn turn(&self, worker: &mut Worker, stores: u64) -> bool {
        for _ in 0..24 {
            self.kernel.borrow_mut().act(self.umem);
        }
        let (dropped, choices) = (Rc::clone(&self.dropped), Rc::clone(&self.choices));
        killed_after(stores, self.kernel_at_work(), || {
            worker.turn(&mut choices.borrow_mut(), &dropped);
        })
        .is_none()
    }

    /// Every frame is in exactly one place, and the ledger says in which.
    fn audit(&self, worker: &Worker) {
        let ledger = Ledger::new(&self.known.unwrap().ledger);
        let mut owners = vec![Vec::new(); FRAMES as usize];
        let mut place = |address: u64, place: &'static str, state: FrameState| {
            let index = frame_at(address).unwrap();
            assert_eq!(ledger.get(index), Some(state), "frame {index} is in {place}");
            owners[index as usize].push(place);
        };
        for &index in worker.pool.free_frames() {
            place(u64::from(index) * 2048, "pool", FrameState::Free);
        }
        let mut kernel = self.kernel.borrow_mut();
        let Kernel { sockets, numbers, .. } = &mut *kernel;
        for (socket, _) in sockets.iter_mut().zip(numbers).filter(|(_, number)| number.is_some()) {
            socket.frames_to_receive().into_iter().for_each(|a| place(a, "fill", FrameState::Fill));
            socket.frames_to_send().into_iter().for_each(|a| place(a, "tx", FrameState::Tx));
            let (rx, completion) = socket.unreleased();
            let state = |address: &u64| ledger.get(frame_at(*address).unwrap());
            let fresh = rx.into_iter().filter(|a| state(a) == Some(FrameState::Fill));
            fresh.for_each(|a| place(a, "rx", FrameState::Fill));
            completion.into_iter().for_each(|a| place(a, "completion", FrameState::Tx));
        }
        for (index, owners) in owners.iter().enumerate() {
            assert_eq!(owners.len(), 1, "frame {index} has the owners {owners:?}");
        }
        assert_eq!(worker.pool.census().total(), FRAMES);
    }

    /// Lets the last worker finish, and checks that no packet was lost on the way.
    fn settle(&self, worker: &mut Worker, kills: usize) {
        for _ in 0..64 {
            self.turn(worker, NEVER);
            let mut kernel = self.kernel.borrow_mut();
            let Kernel { sockets, random, .. } = &mut *kernel;
            for socket in sockets {
                socket.take_tx(u32::MAX);
                (0..SIZES.tx).for_each(|_| socket.complete(self.umem, random));
            }
        }
        self.audit(worker);
        let mut kernel = self.kernel.borrow_mut();
        let sent: Vec<u64> = kernel.sockets.iter().flat_map(|s| &s.sent).copied().collect();
        let pending: HashSet<u64> = kernel
            .sockets
            .iter_mut()
            .flat_map(|socket| {
                let in_rx = socket.unreleased().0;
                let sending = socket.frames_to_send();
                in_rx.into_iter().chain(sending)
            })
            .map(|address| number_at(self.umem, address))
            .collect();
        let dropped = self.dropped.borrow();
        let done: HashSet<u64> = sent.iter().chain(dropped.iter()).chain(&pending).copied().collect();
        for number in kernel.sockets.iter().flat_map(|s| &s.delivered) {
            assert!(done.contains(number), "packet {number} was lost");
        }
        let repeated = sent.len() - sent.iter().collect::<HashSet<_>>().len();
        assert!(repeated <= kills * SOCKETS * BATCH, "{repeated} packets were repeated");
    }
}

impl Worker {
    /// The worker's order of work: packets go to the other socket, some are dropped, some of the
    /// drops are answered.
    fn turn(&mut self, random: &mut Random, dropped: &RefCell<Vec<u64>>) {
        for queue in self.queues.iter_mut().flatten() {
            queue.reclaim(&mut self.pool);
            queue.refill(&mut self.pool);
        }
        for from in 0..SOCKETS {
            let mut batch = Vec::new();
            let Some(queue) = &mut self.queues[from] else { continue };
            queue.receive(&mut self.pool, BATCH, |received| batch.push(received));
            for received in batch {
                self.dispose(from, received, random, dropped);
            }
        }
        for queue in self.queues.iter_mut().flatten() {
            queue.flush();
            queue.release_received(&mut self.pool);
        }
    }

    /// Gives up the socket at `place`, if it has one, and takes the new one, if there is one.
    fn replace(&mut self, place: usize, new: Option<(Rings, u32)>, intents: &'static [AtomicU32]) {
        if let Some(old) = self.queues[place].take() {
            assert!(matches!(old.give_up(&mut self.pool), Parting::Dead(_)));
        }
        self.queues[place] =
            new.map(|(rings, number)| Queue::begin(rings, Seat::of(intents, place).unwrap(), number));
    }

    fn dispose(&mut self, from: usize, received: Received, random: &mut Random, dropped: &RefCell<Vec<u64>>) {
        let Received { frame, start, len } = received;
        let first = usize::from(start);
        let bytes = self.pool.umem().bytes(&frame)[first..first + 8].try_into().unwrap();
        let number = u64::from_ne_bytes(bytes);
        let refused = if random.below(4) == 0 {
            Some(frame)
        } else {
            match &mut self.queues[SOCKETS - 1 - from] {
                Some(queue) => queue.submit(&self.pool, frame, start, len).err(),
                None => Some(frame),
            }
        };
        let Some(frame) = refused else { return };
        dropped.borrow_mut().push(number);
        self.pool.release(frame);
        if random.below(2) == 0
            && let Some(mut reply) = self.pool.alloc()
        {
            let answer = REPLIES + number % REPLIES;
            self.pool.umem().bytes_mut(&mut reply)[first..first + 8].copy_from_slice(&answer.to_ne_bytes());
            let submitted =
                self.queues[from].as_mut().map(|queue| queue.submit(&self.pool, reply, start, len));
            if let Some(Err(reply)) = submitted {
                self.pool.release(reply);
            }
        }
    }
}

/// Runs `turns` turns, kills the next one after `stores`, and gives whether it got that far.
fn killed_once(seed: u64, start: u32, turns: usize, stores: u64) -> Option<World> {
    let mut world = World::new(seed, start);
    let mut worker = world.start(NEVER)?;
    for _ in 0..turns {
        world.turn(&mut worker, NEVER);
    }
    world.turn(&mut worker, stores).then_some(world)
}

#[test]
fn a_worker_killed_at_any_store_loses_nothing() {
    for (seed, start) in [(1, 0), (2, u32::MAX - 3), (3, u32::MAX - 20), (4, 0x7fff_fff0)] {
        let mut stores = 0;
        while let Some(mut world) = killed_once(seed, start, 12, stores) {
            let mut worker = world.start(NEVER).unwrap();
            world.audit(&worker);
            world.settle(&mut worker, 1);
            stores += 1;
        }
        assert!(stores > 50, "a turn of {stores} stores tests little");
    }
}

#[test]
fn a_successor_killed_at_any_store_loses_nothing() {
    for seed in 1..4 {
        for stores in (0..120).step_by(7) {
            let mut again = 0;
            loop {
                let Some(mut world) = killed_once(seed, u32::MAX - 30, 12, stores) else { break };
                let survived = world.start(again);
                let last = survived.is_some();
                let mut worker = survived.or_else(|| world.start(NEVER)).unwrap();
                world.audit(&worker);
                world.settle(&mut worker, 2);
                if last {
                    assert!(again > u64::from(FRAMES), "the take-over makes {again} stores");
                    break;
                }
                again += 1;
            }
        }
    }
}

/// What the audit is worth: a transfer whose intent is missing is noticed.
#[test]
#[should_panic(expected = "has the owners")]
fn the_audit_sees_a_lost_frame() {
    let mut world = World::new(5, 0);
    let worker = world.start(NEVER).unwrap();
    Ledger::new(&world.known.unwrap().ledger)
        .set_byte(worker.pool.free_frames()[0], Place::new(0).unwrap().fill());
    let worker = world.start(NEVER).unwrap();
    world.audit(&worker);
}

#[test]
fn intents_of_another_world_are_refused() {
    let mut world = World::new(6, 100);
    let mut worker = world.start(NEVER).unwrap();
    world.turn(&mut worker, NEVER);
    let old = world.known.unwrap();
    old.intents[0].store(0x8000_0000, std::sync::atomic::Ordering::Relaxed);
    let rings = world.kernel.borrow().handed();
    let segment = Segment::new();
    world.umem.disown();
    let predecessor = Predecessor { ledger: &old.ledger, intents: &old.intents };
    let ledger = Ledger::new(&segment.ledger);
    let take_over =
        TakeOver::prepare(world.umem, rings, Some(predecessor), ledger, &segment.intents).unwrap();
    assert_eq!(take_over.inheritance().refused_intents, 1);
    world.known = Some(segment);
    let (pool, queues) = take_over.resume();
    world.audit(&Worker { pool, queues });
}

#[test]
fn memory_that_does_not_fit_is_refused() {
    let umem = Umem::create(4, Memory::Heap).unwrap();
    let bytes: Vec<AtomicU8> = (0..3).map(|_| AtomicU8::new(0)).collect();
    let words = [const { AtomicU32::new(0) }; 1];
    let refused = TakeOver::prepare(&umem, Vec::new(), None, Ledger::new(&bytes), &words).err();
    assert_eq!(refused.unwrap().to_string(), "the frame ledger has 3 entries for 4 frames");
    let rings = vec![Handed { rings: Some(Socket::new(SIZES, 0).attach()), number: 1 }];
    let bytes: Vec<AtomicU8> = (0..4).map(|_| AtomicU8::new(0)).collect();
    let refused = TakeOver::prepare(&umem, rings, None, Ledger::new(&bytes), &words).err();
    assert_eq!(refused.unwrap().to_string(), "1 words of intent do not suffice for 1 sockets");
}

/// Two owners would each make a token of the same frame, and so two references to its bytes.
#[test]
fn an_arena_has_one_owner() {
    let umem = Umem::create(4, Memory::Heap).unwrap();
    let bytes: Vec<AtomicU8> = (0..4).map(|_| AtomicU8::new(0)).collect();
    let mut first = FramePool::new(&umem, Ledger::new(&bytes));
    let mut second = FramePool::new(&umem, Ledger::new(&bytes));
    assert!(first.alloc().is_some());
    assert_eq!(second.alloc(), None);
    let refused = TakeOver::prepare(&umem, Vec::new(), None, Ledger::new(&bytes), &[]).err();
    assert_eq!(refused.unwrap().to_string(), "the frames have an owner in this process already");
}

#[test]
fn memory_that_could_shrink_is_refused() {
    let sealed = Umem::create(4, Memory::Memfd).unwrap();
    let again = sealed.fd().unwrap().try_clone_to_owned().unwrap();
    assert_eq!(Umem::attach(again, 4).unwrap().frames(), 4);
    let open = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&open, 4 * 2048).unwrap();
    assert!(Umem::attach(open, 4).is_err());
}

#[test]
fn the_pool_gives_nothing_to_the_kernel_while_entries_are_unreleased() {
    let mut world = World::new(7, 0);
    let Worker { mut pool, mut queues } = world.start(NEVER).unwrap();
    let [first, second] = &mut queues[..] else { panic!("two queues") };
    let (first, second) = (first.as_mut().unwrap(), second.as_mut().unwrap());
    first.refill(&mut pool);
    {
        let mut kernel = world.kernel.borrow_mut();
        let Kernel { sockets, random, .. } = &mut *kernel;
        sockets[0].take_fill(4);
        assert!(sockets[0].deliver(world.umem, 1, random));
    }
    let mut batch = Vec::new();
    assert_eq!(first.receive(&mut pool, 8, |received| batch.push(received)), 1);
    assert_eq!(second.refill(&mut pool), 0);
    pool.release(batch.remove(0).frame);
    assert_eq!(second.refill(&mut pool), 0);
    first.release_received(&mut pool);
    assert_eq!(second.refill(&mut pool), SIZES.fill as usize);
}

#[test]
fn packets_outside_their_frame_are_refused() {
    let mut world = World::new(8, 0);
    let Worker { mut pool, mut queues } = world.start(NEVER).unwrap();
    for (start, len) in [(0, 0), (2000, 49), (2048, 1), (u16::MAX, u16::MAX)] {
        let frame = pool.alloc().unwrap();
        let frame = queues[0].as_mut().unwrap().submit(&pool, frame, start, len).unwrap_err();
        pool.release(frame);
    }
    let frame = pool.alloc().unwrap();
    assert!(queues[0].as_mut().unwrap().submit(&pool, frame, 2000, 48).is_ok());
}

/// An interface is deleted, or made again, before each turn that `changes` names; a turn, a take-over or the
/// replacement itself is killed after so many stores.
fn interfaces_come_and_go(seed: u64, start: u32, steps: &[(Option<usize>, u64)]) {
    let mut world = World::new(seed, start);
    let mut worker = None;
    for &(change, budget) in steps {
        if let Some(socket) = change {
            world.kernel.borrow_mut().delete_or_create(socket, start.wrapping_add(7));
        }
        let Some(alive) = &mut worker else {
            worker = world.start(budget);
            worker.iter().for_each(|worker| world.audit(worker));
            continue;
        };
        let new = change.map(|socket| {
            let kernel = world.kernel.borrow();
            (socket, kernel.numbers[socket].map(|number| (kernel.sockets[socket].attach(), number)))
        });
        let intents = &world.known.unwrap().intents;
        let replaced = killed_after(budget, world.kernel_at_work(), || {
            if let Some((socket, new)) = new {
                alive.replace(socket, new, intents);
            }
        });
        if replaced.is_none() || world.turn(alive, budget) {
            worker = None;
        } else {
            world.audit(alive);
        }
    }
    let worker = worker.or_else(|| world.start(NEVER)).unwrap();
    world.audit(&worker);
}

#[test]
fn a_socket_replaced_and_killed_at_any_store_loses_no_frame() {
    let quiet = [(None, NEVER); 4];
    for stores in 0..90 {
        for last in [NEVER, 11, 70] {
            let change =
                [(Some(1), stores), (None, NEVER), (Some(1), stores), (Some(0), last), (Some(0), NEVER)];
            let steps: Vec<_> = quiet.into_iter().chain(change).chain(quiet).collect();
            interfaces_come_and_go(stores + 1, u32::MAX - 9, &steps);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Any schedule of turns, kills in turns and kills in take-overs.
    #[test]
    fn any_schedule_loses_nothing(
        seed in any::<u64>(),
        start in prop_oneof![Just(0), Just(u32::MAX - 40), any::<u32>()],
        budgets in prop::collection::vec(prop_oneof![3 => Just(NEVER), 1 => 0_u64..200], 1..40),
    ) {
        let mut world = World::new(seed, start);
        let mut worker = None;
        let mut kills = 0;
        for budget in budgets {
            match &mut worker {
                None => worker = world.start(budget),
                Some(alive) => {
                    if world.turn(alive, budget) {
                        worker = None;
                    } else {
                        world.audit(alive);
                    }
                }
            }
            kills += usize::from(worker.is_none());
        }
        let mut worker = worker.or_else(|| world.start(NEVER)).unwrap();
        world.audit(&worker);
        world.settle(&mut worker, kills);
    }

    /// Any schedule of turns, kills, and interfaces that are deleted and made again.
    #[test]
    fn interfaces_come_and_go_without_loss_of_a_frame(
        seed in any::<u64>(),
        start in prop_oneof![Just(0), Just(u32::MAX - 40), any::<u32>()],
        steps in prop::collection::vec(
            (prop::option::weighted(0.4, 0..SOCKETS), prop_oneof![3 => Just(NEVER), 1 => 0_u64..200]),
            1..40,
        ),
    ) {
        interfaces_come_and_go(seed, start, &steps);
    }
}
