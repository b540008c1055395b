//! Asking the cache for a line before it is needed.
#![allow(unsafe_code)] // the intrinsic takes a raw pointer

/// Hints that `value` will be read soon. Never faults, whatever the address, and reads nothing.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it performs no access that could fault or race, and the address comes
        // from a live reference. SSE, which has it, is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
