//! One AF_XDP socket as the worker uses it.
//!
//! A turn of a worker with several sockets: on each `reclaim`, `refill`, `receive`; then every
//! packet is submitted, released or held; then on each `flush`, `release_received`, `wake`.
//! The order of the stores inside these calls is the hand-over protocol; see [`crate::handover`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::net::sockopt::xdp_statistics;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use thiserror::Error;

use crate::ledger::{Intents, Place, intend};
use crate::pool::{FramePool, address_of};
use crate::ring::{Consumer, Producer};
use crate::uapi::Descriptor;
use crate::umem::{FRAME_BYTES, Frame};

/// The four mapped rings of a socket: what an unprivileged process makes of an inherited
/// descriptor. Mapping them changes nothing; [`crate::handover::TakeOver`] makes queues of them.
pub struct Rings {
    pub(crate) fill: Producer<u64>,
    pub(crate) tx: Producer<Descriptor>,
    pub(crate) rx: Consumer<Descriptor>,
    pub(crate) completion: Consumer<u64>,
    /// `None` only with the fake kernel side of this crate's tests.
    pub(crate) socket: Option<OwnedFd>,
}

/// A packet as the kernel delivered it: bytes `start .. start + len` of the frame.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped packet leaks its frame"]
pub struct Received {
    /// The frame that holds it.
    pub frame: Frame,
    /// First byte of the Ethernet header.
    pub start: u16,
    /// Bytes.
    pub len: u16,
}

/// Why a port cannot be woken. Everything that means "later" is not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WakeError {
    /// The interface is down; the socket goes on when it comes up.
    #[error("the interface is down")]
    Down,
    /// The interface was removed; the socket is of no further use.
    #[error("the interface has gone")]
    Gone,
    /// The kernel refused the call.
    #[error("the kernel refused to wake the queue: {0}")]
    Refused(Errno),
}

/// Loss that the kernel counts for one socket (`XDP_STATISTICS`), in packets or descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Dropped on receive for other reasons.
    pub rx_dropped: u64,
    /// Fill entries that were invalid.
    pub rx_invalid: u64,
    /// TX entries that were invalid.
    pub tx_invalid: u64,
    /// Dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times that the fill ring was found empty.
    pub fill_ring_empty: u64,
    /// Times that the TX ring was found empty.
    pub tx_ring_empty: u64,
}

/// A socket in use by its worker.
pub struct Queue<'a> {
    rings: Rings,
    intents: Intents<'a>,
    place: Place,
    /// RX entries at the front that a predecessor had read; the pool counts them already.
    inherited: u32,
}

/// The place for a socket of a worker, and its words in the worker's segment.
#[derive(Clone, Copy)]
pub struct Seat<'a> {
    place: Place,
    intents: Intents<'a>,
}

impl<'a> Seat<'a> {
    /// The place number `socket`; `intents` are all words of the worker. `None` beyond its last place.
    #[must_use]
    pub fn of(intents: &'a [AtomicU32], socket: usize) -> Option<Self> {
        Some(Self { place: Place::new(socket)?, intents: Intents::of(intents, socket)? })
    }
}

/// What became of a queue that should be given up.
#[must_use = "dropping rings is a system call"]
pub enum Parting<'a> {
    /// The socket is dead: its rings, whose mapping somebody has to take down.
    Dead(Rings),
    /// The socket works: the queue as it was.
    Alive(Queue<'a>),
}

impl<'a> Queue<'a> {
    pub(crate) fn new(rings: Rings, intents: Intents<'a>, place: Place, inherited: u32) -> Self {
        Self { rings, intents, place, inherited }
    }

    /// Takes a new socket at a place that is free: the one before it has been [given up](Queue::give_up),
    /// or there was none. `number` is the keeper's of this socket.
    #[must_use]
    pub fn begin(rings: Rings, seat: Seat<'a>, number: u32) -> Self {
        let Seat { place, intents } = seat;
        intend(intents.fill, rings.fill.committed().0);
        intend(intents.tx, rings.tx.committed().0);
        intend(intents.socket, number);
        Self::new(rings, intents, place, 0)
    }

    /// The keeper's number of the socket.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.intents.socket.load(Ordering::Relaxed)
    }

    /// Its place among the sockets of the worker.
    #[must_use]
    pub fn socket(&self) -> usize {
        self.place.number()
    }

    /// Takes back the frames of a socket whose interface was deleted, and gives the rings, whose mapping
    /// somebody has to take down. While the socket works its frames are the kernel's, and nothing happens.
    pub fn give_up(mut self, pool: &mut FramePool<'a>) -> Parting<'a> {
        if !self.gone() {
            return Parting::Alive(self);
        }
        // What was received and not looked at is lost with the interface; no entry stays unreleased.
        let counted = self.inherited + self.rings.rx.release();
        pool.note_released(counted);
        pool.take_back(self.place);
        Parting::Dead(self.rings)
    }

    /// Whether the interface of the socket was deleted. A system call, which sends what waits if it was not.
    #[must_use]
    pub fn gone(&self) -> bool {
        // The tests' own kernel side has no socket: there it is asked only about dead ones.
        let Some(socket) = &self.rings.socket else { return true };
        judge(send(socket, &[], SendFlags::DONTWAIT).map(drop)) == Err(WakeError::Gone)
    }

    /// The socket, to sleep in `poll` on it.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.rings.socket.as_ref().map(AsFd::as_fd)
    }

    /// Takes back the frames that the kernel has sent. Gives their number.
    pub fn reclaim(&mut self, pool: &mut FramePool<'a>) -> usize {
        reclaim(&mut self.rings.completion, self.place, pool)
    }

    /// Gives the kernel free frames to receive into, as many as the ring takes and the pool has.
    /// Gives their number: 0 while any queue of the worker has not released what it received.
    pub fn refill(&mut self, pool: &mut FramePool<'a>) -> usize {
        if !pool.may_refill() {
            return 0;
        }
        let fill = &mut self.rings.fill;
        let mut writes = fill.reserve(u32::try_from(pool.len()).unwrap_or(u32::MAX));
        let mut count = 0;
        while writes.left() > 0
            && let Some(index) = pool.pop()
        {
            if let Some(head) = writes.put(address_of(index, 0)) {
                intend(self.intents.fill, head.0);
                pool.ledger().set_byte(index, self.place.fill());
                count += 1;
            }
        }
        writes.commit();
        fill.publish();
        count
    }

    /// Takes at most `max` received packets. They stay the queue's in the kernel's eyes until
    /// [`Queue::release_received`], so that a successor finds them if this process dies.
    pub fn receive(&mut self, pool: &mut FramePool<'a>, max: usize, mut take: impl FnMut(Received)) -> usize {
        let reads = self.rings.rx.peek(u32::try_from(max).unwrap_or(u32::MAX));
        let seen = reads.len();
        let mut count = 0;
        for descriptor in reads.iter() {
            let Some((frame, start)) = pool.claim(descriptor.address, self.place) else {
                continue; // handed on before a restart
            };
            match packet_bounds(start, descriptor.len) {
                Some((start, len)) => {
                    take(Received { frame, start, len });
                    count += 1;
                }
                None => pool.release(frame),
            }
        }
        reads.commit();
        let known = seen.min(self.inherited);
        self.inherited -= known;
        pool.note_unreleased(seen - known);
        count
    }

    /// Ends the turn for received packets. Every one of them has been submitted (and flushed),
    /// released or held.
    pub fn release_received(&mut self, pool: &mut FramePool<'a>) {
        let count = self.rings.rx.release();
        pool.note_released(count);
    }

    /// Queues bytes `start .. start + len` of the frame for sending, without waking the kernel.
    ///
    /// # Errors
    /// Gives the frame back if the ring is full, or if the bytes are none or leave the frame
    /// (the kernel would lose it).
    pub fn submit(&mut self, pool: &FramePool<'a>, frame: Frame, start: u16, len: u16) -> Result<(), Frame> {
        if packet_bounds(usize::from(start), u32::from(len)).is_none() || !pool.umem().owns(&frame) {
            return Err(frame);
        }
        let descriptor =
            Descriptor { address: address_of(frame.index(), start), len: u32::from(len), options: 0 };
        let mut writes = self.rings.tx.reserve(1);
        let Some(head) = writes.put(descriptor) else {
            return Err(frame);
        };
        intend(self.intents.tx, head.0);
        pool.ledger().set_byte(frame.index(), self.place.tx());
        writes.commit();
        Ok(())
    }

    /// Hands what was submitted to the kernel.
    pub fn flush(&mut self) {
        self.rings.tx.publish();
    }

    /// Makes the kernel send and receive, where it asks for a call. In copy mode one call moves
    /// a limited number of descriptors, so it is repeated as long as it moves any.
    ///
    /// # Errors
    /// The port is down or has gone. A kernel that is busy is no error: call again next turn.
    pub fn wake(&mut self) -> Result<(), WakeError> {
        let Some(socket) = &self.rings.socket else {
            return Ok(());
        };
        let mut pending = self.rings.tx.outstanding();
        while pending > 0 && self.rings.tx.needs_wakeup() {
            judge(send(socket, &[], SendFlags::DONTWAIT).map(drop))?;
            let left = self.rings.tx.outstanding();
            if left >= pending {
                break;
            }
            pending = left;
        }
        if self.rings.fill.needs_wakeup() {
            judge(recv(socket, &mut [0_u8; 0][..], RecvFlags::DONTWAIT).map(drop))?;
        }
        Ok(())
    }

    /// The kernel's own loss figures.
    ///
    /// # Errors
    /// The socket is not one of AF_XDP.
    pub fn statistics(&self) -> io::Result<QueueStatistics> {
        let Some(socket) = &self.rings.socket else {
            return Ok(QueueStatistics::default());
        };
        let kernel = xdp_statistics(socket)?;
        Ok(QueueStatistics {
            rx_dropped: kernel.rx_dropped,
            rx_invalid: kernel.rx_invalid_descs,
            tx_invalid: kernel.tx_invalid_descs,
            rx_ring_full: kernel.rx_ring_full.unwrap_or(0),
            fill_ring_empty: kernel.rx_fill_ring_empty_descs.unwrap_or(0),
            tx_ring_empty: kernel.tx_ring_empty_descs.unwrap_or(0),
        })
    }
}

/// Takes every completion that is there.
pub(crate) fn reclaim(completion: &mut Consumer<u64>, place: Place, pool: &mut FramePool<'_>) -> usize {
    let reads = completion.peek(u32::MAX);
    let count = reads.iter().filter(|&address| pool.complete(address, place)).count();
    reads.commit();
    completion.release();
    count
}

/// Start and length if they are a non-empty stretch inside a frame.
fn packet_bounds(start: usize, len: u32) -> Option<(u16, u16)> {
    let (first, len) = (u16::try_from(start).ok()?, u16::try_from(len).ok()?);
    (len > 0 && start + usize::from(len) <= FRAME_BYTES).then_some((first, len))
}

/// Sorts the outcome of a wake-up call.
fn judge(outcome: Result<(), Errno>) -> Result<(), WakeError> {
    match outcome {
        Ok(()) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => Ok(()),
        Err(Errno::NETDOWN) => Err(WakeError::Down),
        Err(Errno::NXIO | Errno::NODEV) => Err(WakeError::Gone),
        Err(errno) => Err(WakeError::Refused(errno)),
    }
}
