//! The four rings of a socket, as memory with two indices.
//!
//! A ring has one producer and one consumer; we are the one, the kernel is the other. Slots between
//! consumer and producer belong to the consumer. An index is stored with release and loaded with
//! acquire, which orders the slots with it.
#![allow(unsafe_code)] // slots and indices in memory shared with the kernel

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::area::Area;
use crate::crash;
use crate::uapi::Descriptor;

/// A free-running position in a ring. Ring sizes are powers of two, so positions and distances
/// stay right when the 32 bits wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingIndex(pub(crate) u32);

impl RingIndex {
    #[inline]
    pub(crate) fn advanced(self, by: u32) -> Self {
        Self(self.0.wrapping_add(by))
    }

    /// Entries from `earlier` to `self`.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// What a ring slot may hold: any bytes are a value of it.
pub(crate) trait Slot: Copy {}
impl Slot for u64 {}
impl Slot for Descriptor {}

/// Where the parts of a ring lie in its area, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingLayout {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    pub(crate) flags: usize,
    pub(crate) slots: usize,
}

/// The ring's flag word asks for a system call.
const NEED_WAKEUP: u32 = 1;

/// The shared memory of one ring.
///
/// Invariant: the four addresses lie inside `area`, aligned for their types, and `slots` has
/// room for `size` entries.
pub(crate) struct RingMemory<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    size: u32,
    _area: Arc<Area>,
}

// SAFETY: the memory is an `Area`, which is `Send`; a ring is used through `&mut` by one thread at
// a time, and the type is not `Sync`.
unsafe impl<T: Slot + Send> Send for RingMemory<T> {}

impl<T: Slot> RingMemory<T> {
    /// A ring of `size` slots, a power of two, over `area`; `None` if the layout does not fit.
    pub(crate) fn new(area: Arc<Area>, layout: RingLayout, size: u32) -> Option<Self> {
        let word = |offset: usize| {
            area.at(offset, size_of::<AtomicU32>()).map(NonNull::cast::<AtomicU32>).filter(|p| p.is_aligned())
        };
        let (producer, consumer) = (word(layout.producer)?, word(layout.consumer)?);
        let flags = word(layout.flags)?;
        let slots = area
            .at(layout.slots, size_of::<T>().checked_mul(size as usize)?)
            .map(NonNull::cast::<T>)
            .filter(|p| p.is_aligned())?;
        size.is_power_of_two().then_some(Self { producer, consumer, flags, slots, size, _area: area })
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: an aligned word inside the area, which lives as long as `self`; both sides treat
        // it as an atomic.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as for `producer`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    #[inline]
    fn slot(&self, index: RingIndex) -> NonNull<T> {
        let position = index.0 & (self.size - 1);
        // SAFETY: position < size, and the area holds `size` slots.
        unsafe { self.slots.add(position as usize) }
    }

    /// Reads a slot that the other side does not write now: one that we wrote and have not handed
    /// over, or one that it handed over and we have not released.
    #[inline]
    fn read(&self, index: RingIndex) -> T {
        // SAFETY: `slot` is valid and aligned, any bytes are a `T`, and by the caller's position
        // between the indices the kernel does not write it.
        unsafe { self.slot(index).read() }
    }

    /// Writes a slot that is ours: from the producer index on, at most `size` beyond the consumer.
    #[inline]
    fn write(&mut self, index: RingIndex, value: T) {
        // SAFETY: `slot` is valid and aligned; the kernel does not read it before the producer
        // index passes it.
        unsafe { self.slot(index).write(value) };
        crash::point();
    }
}

#[cfg(test)]
impl<T: Slot> RingMemory<T> {
    /// An empty ring on the heap whose indices begin at `start`, and a way to open its other side.
    pub(crate) fn on_heap(size: u32, start: u32) -> impl Fn() -> Self {
        let layout = RingLayout { producer: 0, consumer: 64, flags: 128, slots: 192 };
        let area = Arc::new(Area::heap(192 + size as usize * size_of::<T>()).unwrap());
        let open = move || Self::new(Arc::clone(&area), layout, size).unwrap();
        let ring = open();
        ring.producer().store(start, Ordering::Relaxed);
        ring.consumer().store(start, Ordering::Relaxed);
        open
    }
}

/// The side of a ring that hands entries to the kernel (fill, TX).
pub(crate) struct Producer<T> {
    memory: RingMemory<T>,
    /// Behind the last entry written.
    head: RingIndex,
    /// The producer index as the kernel sees it.
    published: RingIndex,
    /// The kernel's consumer index as last read.
    consumer: RingIndex,
}

impl<T: Slot> Producer<T> {
    /// Takes the ring as it stands.
    pub(crate) fn attach(memory: RingMemory<T>) -> Self {
        let published = RingIndex(memory.producer().load(Ordering::Relaxed));
        let consumer = RingIndex(memory.consumer().load(Ordering::Acquire));
        Self { memory, head: published, published, consumer }
    }

    /// Behind the last entry committed, published or not.
    pub(crate) fn committed(&self) -> RingIndex {
        self.head
    }

    /// Free slots, up to date only if fewer than `wanted` seemed free.
    #[inline]
    fn room(&mut self, wanted: u32) -> u32 {
        let room = |ring: &Self| ring.memory.size.saturating_sub(ring.head.since(ring.consumer));
        if room(self) < wanted {
            self.consumer = RingIndex(self.memory.consumer().load(Ordering::Acquire));
        }
        room(self)
    }

    /// Opens at most `wanted` free slots for writing.
    #[inline]
    pub(crate) fn reserve(&mut self, wanted: u32) -> Writes<'_, T> {
        let room = self.room(wanted).min(wanted);
        Writes { head: self.head, end: self.head.advanced(room), ring: self }
    }

    /// Hands every committed entry to the kernel.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.head != self.published {
            self.memory.producer().store(self.head.0, Ordering::Release);
            crash::point();
            self.published = self.head;
        }
    }

    /// Entries handed over that the kernel has not taken yet.
    #[inline]
    pub(crate) fn outstanding(&mut self) -> u32 {
        self.consumer = RingIndex(self.memory.consumer().load(Ordering::Acquire));
        self.published.since(self.consumer)
    }

    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }

    /// The entries from the producer index to `intent`: written by a process that died before it
    /// handed them over. `None` if `intent` is not a place that process can have meant.
    pub(crate) fn abandoned(&self, intent: RingIndex) -> Option<impl Iterator<Item = T> + '_> {
        let count = intent.since(self.published);
        let occupied = intent.since(self.consumer);
        (count <= self.memory.size && occupied <= self.memory.size)
            .then(|| (0..count).map(|i| self.memory.read(self.published.advanced(i))))
    }

    /// Makes the entries up to `intent` committed, as if this process had written them.
    pub(crate) fn adopt(&mut self, intent: RingIndex) {
        self.head = intent;
    }
}

/// Free slots being written. Without [`Writes::commit`] nothing of it stays.
#[must_use = "without commit the entries are dropped"]
pub(crate) struct Writes<'r, T> {
    ring: &'r mut Producer<T>,
    head: RingIndex,
    end: RingIndex,
}

impl<T: Slot> Writes<'_, T> {
    /// Slots left.
    #[inline]
    pub(crate) fn left(&self) -> u32 {
        self.end.since(self.head)
    }

    /// Writes the next slot and gives the index behind it; `None` if none is left.
    #[inline]
    pub(crate) fn put(&mut self, value: T) -> Option<RingIndex> {
        if self.left() == 0 {
            return None;
        }
        self.ring.memory.write(self.head, value);
        self.head = self.head.advanced(1);
        Some(self.head)
    }

    /// Keeps what was written, for the next [`Producer::publish`].
    #[inline]
    pub(crate) fn commit(self) {
        self.ring.head = self.head;
    }
}

/// The side of a ring that takes entries from the kernel (RX, completion).
pub(crate) struct Consumer<T> {
    memory: RingMemory<T>,
    /// Behind the last entry read.
    read: RingIndex,
    /// The consumer index as the kernel sees it.
    released: RingIndex,
    /// The kernel's producer index as last read.
    producer: RingIndex,
}

impl<T: Slot> Consumer<T> {
    /// Takes the ring as it stands.
    pub(crate) fn attach(memory: RingMemory<T>) -> Self {
        let released = RingIndex(memory.consumer().load(Ordering::Relaxed));
        let producer = RingIndex(memory.producer().load(Ordering::Acquire));
        Self { memory, read: released, released, producer }
    }

    /// Opens at most `wanted` unread entries.
    #[inline]
    pub(crate) fn peek(&mut self, wanted: u32) -> Reads<'_, T> {
        if self.producer.since(self.read) < wanted {
            self.producer = RingIndex(self.memory.producer().load(Ordering::Acquire));
        }
        let count = self.producer.since(self.read).min(wanted).min(self.memory.size);
        Reads { first: self.read, count, ring: self }
    }

    /// Gives every committed entry back to the kernel and says how many there were.
    #[inline]
    pub(crate) fn release(&mut self) -> u32 {
        let count = self.read.since(self.released);
        if count != 0 {
            self.memory.consumer().store(self.read.0, Ordering::Release);
            crash::point();
            self.released = self.read;
        }
        count
    }
}

/// Entries being read. Without [`Reads::commit`] they are read again.
#[must_use = "without commit the entries are read again"]
pub(crate) struct Reads<'r, T> {
    ring: &'r mut Consumer<T>,
    first: RingIndex,
    count: u32,
}

impl<T: Slot> Reads<'_, T> {
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// The entries in order.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        (0..self.count).map(|i| self.ring.memory.read(self.first.advanced(i)))
    }

    /// Marks all of them read, for the next [`Consumer::release`].
    #[inline]
    pub(crate) fn commit(self) {
        self.ring.read = self.first.advanced(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(size: u32, start: u32) -> (Producer<u64>, Consumer<u64>) {
        let open = RingMemory::on_heap(size, start);
        (Producer::attach(open()), Consumer::attach(open()))
    }

    fn put(ring: &mut Producer<u64>, values: impl Iterator<Item = u64>) -> u32 {
        let mut writes = ring.reserve(u32::MAX);
        let count = values.map_while(|value| writes.put(value)).count();
        writes.commit();
        count as u32
    }

    fn take(ring: &mut Consumer<u64>) -> Vec<u64> {
        let reads = ring.peek(u32::MAX);
        let values = reads.iter().collect();
        reads.commit();
        values
    }

    #[test]
    fn entries_arrive_in_order_when_the_indices_wrap() {
        for start in [0, u32::MAX - 9, u32::MAX, 0x7fff_fffe] {
            let (mut producer, mut consumer) = pair(8, start);
            let mut expected = 0_u64;
            for round in 0..20_u64 {
                let count = put(&mut producer, round * 100..round * 100 + 5);
                assert_eq!(count, 5);
                producer.publish();
                assert_eq!(take(&mut consumer), (round * 100..round * 100 + 5).collect::<Vec<_>>());
                consumer.release();
                expected += 5;
            }
            assert_eq!(producer.committed(), RingIndex(start).advanced(expected as u32));
        }
    }

    #[test]
    fn a_full_ring_takes_no_more_until_entries_are_released() {
        let (mut producer, mut consumer) = pair(4, u32::MAX - 1);
        assert_eq!(put(&mut producer, 0..10), 4);
        producer.publish();
        assert_eq!(producer.outstanding(), 4);
        assert_eq!(take(&mut consumer), [0, 1, 2, 3]);
        assert_eq!(put(&mut producer, 10..20), 0, "read but not released");
        assert_eq!(consumer.release(), 4);
        assert_eq!(put(&mut producer, 20..30), 4);
    }

    #[test]
    fn what_is_not_committed_is_undone() {
        let (mut producer, mut consumer) = pair(4, u32::MAX);
        {
            let mut writes = producer.reserve(4);
            assert_eq!(writes.put(7), Some(RingIndex(0)));
        }
        producer.publish();
        assert_eq!(consumer.peek(4).len(), 0);
        assert_eq!(put(&mut producer, 1..3), 2);
        assert_eq!(consumer.peek(4).len(), 0, "committed, not published");
        producer.publish();
        assert_eq!(consumer.peek(4).iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(take(&mut consumer), [1, 2], "a dropped peek reads again");
        assert_eq!(consumer.release(), 2);
        assert_eq!(consumer.release(), 0);
    }

    #[test]
    fn reservations_are_bounded() {
        let (mut producer, mut consumer) = pair(8, 0);
        let mut writes = producer.reserve(2);
        assert!(writes.put(1).is_some() && writes.put(2).is_some());
        assert_eq!(writes.put(3), None);
        writes.commit();
        producer.publish();
        assert_eq!(consumer.peek(1).len(), 1);
    }

    #[test]
    fn an_intent_is_believed_only_within_the_ring() {
        let (mut producer, mut consumer) = pair(4, u32::MAX - 2);
        let head = producer.committed();
        assert!(producer.abandoned(head.advanced(4)).is_some());
        assert!(producer.abandoned(head.advanced(5)).is_none());
        assert!(producer.abandoned(RingIndex(head.0.wrapping_sub(1))).is_none());
        assert_eq!(put(&mut producer, 0..3), 3);
        producer.publish();
        assert!(producer.abandoned(head.advanced(5)).is_none(), "three of four slots are the kernel's");
        take(&mut consumer);
        consumer.release();
        producer.outstanding();
        assert!(producer.abandoned(head.advanced(5)).is_some());
    }

    #[test]
    fn a_layout_that_does_not_fit_is_refused() {
        let area = Arc::new(Area::heap(256).unwrap());
        let ring = |layout, size| RingMemory::<u64>::new(Arc::clone(&area), layout, size).is_some();
        let good = RingLayout { producer: 0, consumer: 64, flags: 128, slots: 192 };
        assert!(ring(good, 8));
        assert!(!ring(good, 16), "beyond the end");
        assert!(!ring(good, 6), "no power of two");
        assert!(!ring(RingLayout { producer: 255, ..good }, 8), "index beyond the end");
        assert!(!ring(RingLayout { slots: 193, ..good }, 4), "slots not aligned");
    }
}
