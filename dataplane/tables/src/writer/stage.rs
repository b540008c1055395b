//! A generation made whole before anybody sees it.

use super::{Retired, TableWriter};
use crate::quiescence::WorkerEpoch;
use crate::sync::{Ordering, fence};

impl TableWriter {
    /// From here on changes of routes are seen by nobody: [`TableWriter::publish`] makes them part of the
    /// generation that it publishes, [`TableWriter::take_back`] forgets them. An adjacency that a route of
    /// the generation in force uses must neither be replaced nor removed meanwhile.
    ///
    /// Pages of the FIB that no change touches are shared by both generations.
    pub fn stage(&mut self) {
        self.staging = true;
    }

    /// Forgets the changes of routes since [`TableWriter::stage`]: they are as before, and every block
    /// that was made for them is free again.
    pub fn take_back(&mut self) {
        self.staging = false;
        for six in [false, true] {
            let fib = if six { &mut self.fib6 } else { &mut self.fib4 };
            for (was, is) in fib.take_back(&mut self.arena) {
                self.count_route(was, is);
            }
        }
    }

    /// What was staged is in force.
    pub(super) fn unstage(&mut self) {
        self.staging = false;
        for block in self.fib4.keep_staged().into_iter().chain(self.fib6.keep_staged()) {
            self.limbo.retire(Retired::Block(block));
        }
    }

    /// What a worker's line must show, or more, for the worker to have left everything behind that was
    /// replaced until now.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.control.token.load(Ordering::Relaxed)
    }

    /// Whether every online worker of `epochs` has passed `mark` ([`TableWriter::mark`]). Name the lines of
    /// all workers whose processes live, as for [`TableWriter::collect`].
    #[must_use]
    pub fn passed(mark: u64, epochs: &[WorkerEpoch<'_>]) -> bool {
        // As for reclamation: what was published before, the lines after.
        fence(Ordering::SeqCst);
        epochs.iter().all(|epoch| epoch.seen().is_none_or(|seen| seen >= mark))
    }
}
