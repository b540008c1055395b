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
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    type Kernel = Box<dyn FnMut()>;

    thread_local! {
        static STORES_LEFT: Cell<Option<u64>> = const { Cell::new(None) };
        static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
    }

    struct Killed;

    /// Lets the kernel act, then dies here when the budget of stores is used up.
    pub(crate) fn point() {
        let Some(left) = STORES_LEFT.take() else {
            return; // not in a worker, or inside the kernel's own stores
        };
        if let Some(kernel) = KERNEL.with_borrow_mut(Option::take) {
            let mut kernel = kernel;
            kernel();
            KERNEL.set(Some(kernel));
        }
        if left == 0 {
            resume_unwind(Box::new(Killed));
        }
        STORES_LEFT.set(Some(left - 1));
    }

    /// Runs `work` and kills it at the store after the `stores`-th; `None` means it was killed.
    /// `kernel` runs after every store.
    pub(crate) fn killed_after<T>(
        stores: u64,
        kernel: impl FnMut() + 'static,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        STORES_LEFT.set(Some(stores));
        KERNEL.set(Some(Box::new(kernel)));
        let outcome = catch_unwind(AssertUnwindSafe(work));
        STORES_LEFT.set(None);
        KERNEL.set(None);
        match outcome {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Killed>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}
