//! Points at which the tests kill the worker.
//!
//! Every store that another process can see (ring slots, ring indices, intents, ledger bytes) is
//! followed by [`point`]. In the product it is nothing; in this crate's tests it ends the worker
//! after a chosen number of stores, so that recovery is tried from every state memory can be in.

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn point() {}

#[cfg(test)]
pub(crate) use tests::point;

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    thread_local!(static STORES_LEFT: Cell<Option<u64>> = const { Cell::new(None) });

    struct Killed;

    /// Dies here when the budget of stores is used up.
    pub(crate) fn point() {
        STORES_LEFT.with(|left| match left.get() {
            Some(0) => {
                left.set(None);
                resume_unwind(Box::new(Killed));
            }
            Some(n) => left.set(Some(n - 1)),
            None => {}
        });
    }

    /// Runs `work` and kills it at the store after the `stores`-th; `None` means it was killed.
    pub(crate) fn killed_after<T>(stores: u64, work: impl FnOnce() -> T) -> Option<T> {
        STORES_LEFT.with(|left| left.set(Some(stores)));
        let outcome = catch_unwind(AssertUnwindSafe(work));
        STORES_LEFT.with(|left| left.set(None));
        match outcome {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}
