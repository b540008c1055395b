//! A kernel side for the rings on the heap. It keeps frames as a zero-copy driver does: those it
//! has taken from the fill or TX ring are in no ring for a while, and come back in any order.
#![allow(unsafe_code)] // it writes into frames as the kernel does

use crate::queue::Rings;
use crate::ring::{Consumer, Producer, RingMemory, Slot};
use crate::socket::RingSizes;
use crate::uapi::Descriptor;
use crate::umem::{FRAME_BYTES, Umem};

/// Where received data starts in a frame, as in the kernel.
const HEADROOM: u64 = 256;
/// Length of every packet.
const PACKET_LEN: u32 = 64;

/// xorshift64*: enough to pick, and one number repeats a run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

type Open<T> = Box<dyn Fn() -> RingMemory<T>>;

/// The kernel's half of one socket. Packets are numbers in the first eight bytes.
pub(crate) struct Socket {
    open_fill: Open<u64>,
    open_completion: Open<u64>,
    open_rx: Open<Descriptor>,
    open_tx: Open<Descriptor>,
    fill: Consumer<u64>,
    tx: Consumer<Descriptor>,
    rx: Producer<Descriptor>,
    completion: Producer<u64>,
    /// Frames to receive into, taken from the fill ring.
    receiving: Vec<u64>,
    /// Packets being sent, taken from the TX ring.
    sending: Vec<Descriptor>,
    /// Completions that the ring has room for, as the kernel reserves it.
    completion_size: usize,
    completion_queued: usize,
    /// Numbers of the packets delivered to the worker.
    pub(crate) delivered: Vec<u64>,
    /// Numbers of the packets sent.
    pub(crate) sent: Vec<u64>,
}

/// Number of the packet at an address of a frame that the kernel owns.
pub(crate) fn number_at(umem: &Umem, address: u64) -> u64 {
    // SAFETY: the frame is the kernel's, so nobody else writes it.
    unsafe { umem.kernel_word(address).read() }
}

/// A ring of `size` entries from index `start` on.
fn ring<T: Slot + 'static>(size: u32, start: u32) -> Open<T> {
    Box::new(RingMemory::on_heap(size, start))
}

impl Socket {
    pub(crate) fn new(sizes: RingSizes, start: u32) -> Self {
        let (open_fill, open_completion) = (ring::<u64>(sizes.fill, start), ring(sizes.completion, start));
        let (open_rx, open_tx) = (ring::<Descriptor>(sizes.rx, start), ring::<Descriptor>(sizes.tx, start));
        Self {
            fill: Consumer::attach(open_fill()),
            tx: Consumer::attach(open_tx()),
            rx: Producer::attach(open_rx()),
            completion: Producer::attach(open_completion()),
            open_fill,
            open_completion,
            open_rx,
            open_tx,
            receiving: Vec::new(),
            sending: Vec::new(),
            completion_size: sizes.completion as usize,
            completion_queued: 0,
            delivered: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What a worker makes of the descriptor.
    pub(crate) fn attach(&self) -> Rings {
        Rings {
            fill: Producer::attach((self.open_fill)()),
            tx: Producer::attach((self.open_tx)()),
            rx: Consumer::attach((self.open_rx)()),
            completion: Consumer::attach((self.open_completion)()),
            socket: None,
        }
    }

    /// Takes at most `count` frames to receive into.
    pub(crate) fn take_fill(&mut self, count: u32) {
        let reads = self.fill.peek(count);
        self.receiving.extend(reads.iter());
        reads.commit();
        self.fill.release();
    }

    /// Receives packet `number` into one of the frames it has. False: no frame, or no room.
    pub(crate) fn deliver(&mut self, umem: &Umem, number: u64, random: &mut Random) -> bool {
        let mut writes = self.rx.reserve(1);
        if self.receiving.is_empty() || writes.left() == 0 {
            return false;
        }
        let base = self.receiving.swap_remove(random.below(self.receiving.len()));
        let address = base / FRAME_BYTES as u64 * FRAME_BYTES as u64 + HEADROOM;
        // SAFETY: the frame is the kernel's, so no reference to it exists.
        unsafe { umem.kernel_word(address).write(number) };
        writes.put(Descriptor { address, len: PACKET_LEN, options: 0 });
        writes.commit();
        self.rx.publish();
        self.delivered.push(number);
        true
    }

    /// Takes at most `count` packets to send, as many as can be completed.
    pub(crate) fn take_tx(&mut self, count: u32) {
        self.completion_queued = self.completion.outstanding() as usize;
        let room = self.completion_size - self.completion_queued - self.sending.len();
        let reads = self.tx.peek(count.min(room as u32));
        self.sending.extend(reads.iter());
        reads.commit();
        self.tx.release();
    }

    /// Finishes sending one of the packets it has.
    pub(crate) fn complete(&mut self, umem: &Umem, random: &mut Random) {
        if self.sending.is_empty() {
            return;
        }
        let descriptor = self.sending.swap_remove(random.below(self.sending.len()));
        self.sent.push(number_at(umem, descriptor.address));
        let mut writes = self.completion.reserve(1);
        assert!(writes.put(descriptor.address).is_some(), "room was reserved");
        writes.commit();
        self.completion.publish();
    }

    /// One random action.
    pub(crate) fn act(&mut self, umem: &Umem, number: &mut u64, random: &mut Random) {
        match random.below(4) {
            0 => self.take_fill(1 + random.below(4) as u32),
            1 => {
                if self.deliver(umem, *number, random) {
                    *number += 1;
                }
            }
            2 => self.take_tx(1 + random.below(4) as u32),
            _ => self.complete(umem, random),
        }
    }

    /// Frames to receive into that the kernel has or will see: rings and driver.
    pub(crate) fn frames_to_receive(&mut self) -> Vec<u64> {
        let waiting = self.fill.peek(u32::MAX).iter().collect::<Vec<_>>();
        waiting.into_iter().chain(self.receiving.iter().copied()).collect()
    }

    /// Packets to send that the kernel has or will see.
    pub(crate) fn frames_to_send(&mut self) -> Vec<u64> {
        let waiting = self.tx.peek(u32::MAX).iter().map(|d| d.address).collect::<Vec<_>>();
        waiting.into_iter().chain(self.sending.iter().map(|d| d.address)).collect()
    }

    /// Addresses in the RX and completion rings that no worker has released.
    pub(crate) fn unreleased(&self) -> (Vec<u64>, Vec<u64>) {
        let mut rings = self.attach();
        let rx = rings.rx.peek(u32::MAX).iter().map(|d| d.address).collect();
        let completion = rings.completion.peek(u32::MAX).iter().collect();
        (rx, completion)
    }
}
