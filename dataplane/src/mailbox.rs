//! What the attach thread leaves for a worker, taken at a quiescent point.

use crossbeam_channel::Sender;
use crossbeam_utils::atomic::AtomicCell;
use sixlane_tables::Tables;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The place of one worker.
pub(crate) struct Mailbox {
    stop: AtomicBool,
    /// Set while `tables` holds something, so that a turn pays for one load.
    fresh: AtomicBool,
    tables: AtomicCell<Option<Arc<Tables>>>,
    retired: Sender<Arc<Tables>>,
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

    /// What was left, if anything.
    #[inline]
    pub(crate) fn take(&self) -> Option<Arc<Tables>> {
        if !self.fresh.load(Ordering::Acquire) {
            return None;
        }
        // An exchange, so that a set offered at the same moment is seen with its flag.
        self.fresh.swap(false, Ordering::Acquire);
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
