//! What the attach thread leaves for a worker, taken at a quiescent point.

use crossbeam_channel::{Receiver, Sender, bounded};
use crossbeam_utils::atomic::AtomicCell;
use sixlane_tables::Tables;
use sixlane_xsk::Rings;
use sixlane_xsk::ledger::SOCKETS_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A socket for a place of the worker that is empty, or whose interface was deleted.
pub(crate) struct FreshSocket {
    /// Its place among the worker's sockets.
    pub(crate) socket: usize,
    /// The port.
    pub(crate) port: u8,
    /// The keeper's number of it.
    pub(crate) number: u32,
    pub(crate) rings: Rings,
}

/// The place of one worker.
pub(crate) struct Mailbox {
    stop: AtomicBool,
    /// Set while `tables` or `sockets` holds something, so that a turn pays for one load.
    fresh: AtomicBool,
    tables: AtomicCell<Option<Arc<Tables>>>,
    retired: Sender<Arc<Tables>>,
    sockets: (Sender<FreshSocket>, Receiver<FreshSocket>),
    /// Sockets that the worker uses now, by their numbers.
    taken: (Sender<u32>, Receiver<u32>),
    /// Rings of dead sockets, to be taken down.
    dead: (Sender<Rings>, Receiver<Rings>),
}

impl Mailbox {
    /// An empty place. What the worker gives up goes to `retired`, so that the mapping is taken down by
    /// the attach thread.
    pub(crate) fn new(retired: Sender<Arc<Tables>>) -> Self {
        Self {
            stop: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
            tables: AtomicCell::new(None),
            retired,
            sockets: bounded(SOCKETS_MAX),
            taken: bounded(SOCKETS_MAX),
            dead: bounded(2 * SOCKETS_MAX),
        }
    }

    /// Leaves a socket and waits at most `patience` until the worker uses it. Says whether it does.
    pub(crate) fn hand_over(&self, socket: FreshSocket, patience: Duration) -> bool {
        let number = socket.number;
        if self.sockets.0.try_send(socket).is_err() {
            return false;
        }
        self.fresh.store(true, Ordering::Release);
        let until = Instant::now() + patience;
        let taken =
            std::iter::from_fn(|| self.taken.1.recv_deadline(until).ok()).any(|taken| taken == number);
        self.bury();
        taken
    }

    /// Takes the mappings of dead sockets down.
    pub(crate) fn bury(&self) {
        self.dead.1.try_iter().for_each(drop);
    }

    /// A socket that was left, if any.
    pub(crate) fn take_socket(&self) -> Option<FreshSocket> {
        self.sockets.1.try_recv().ok()
    }

    /// The worker uses the socket of this number.
    pub(crate) fn socket_taken(&self, number: u32) {
        // Nobody waits for it any more when there is no room.
        let _ = self.taken.0.try_send(number);
    }

    /// Hands the rings of a dead socket over to be taken down.
    pub(crate) fn give_back_rings(&self, rings: Rings) {
        if let Err(refused) = self.dead.0.try_send(rings) {
            // As with tables: a worker has no system call to take a mapping down.
            std::mem::forget(refused.into_inner());
        }
    }

    /// Leaves a set of tables. One that the worker has not taken yet is given up.
    pub(crate) fn offer(&self, tables: Arc<Tables>) {
        self.tables.store(Some(tables));
        self.fresh.store(true, Ordering::Release);
    }

    /// Says that the worker should end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the worker should end.
    #[inline]
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether something was left: it has to be taken now.
    #[inline]
    pub(crate) fn fresh(&self) -> bool {
        // An exchange, so that what is offered at the same moment is seen with its flag.
        self.fresh.load(Ordering::Acquire) && self.fresh.swap(false, Ordering::Acquire)
    }

    /// The tables that were left, if any.
    pub(crate) fn take(&self) -> Option<Arc<Tables>> {
        self.tables.take()
    }

    /// Hands the old set over to be taken down.
    pub(crate) fn give_back(&self, tables: Arc<Tables>) {
        if let Err(refused) = self.retired.try_send(tables) {
            // Without a taker (the attach thread ends) the mapping stays until the process ends: the
            // worker has no system call to take it down.
            std::mem::forget(refused.into_inner());
        }
    }
}
