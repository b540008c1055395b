//! The hash that tells two builds apart.

/// One step of FNV-1a over a size or an offset.
pub(crate) const fn mix(hash: u64, value: usize) -> u64 {
    // usize is at most 64 bits wide on every platform Rust knows; `as` is the only const conversion.
    (hash ^ 0xcbf2_9ce4_8422_2325 ^ value as u64).wrapping_mul(0x0000_0100_0000_01b3)
}
