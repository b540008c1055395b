//! Why bytes are not the header they were taken for.

/// What is wrong with a header. The data path maps it to a drop reason by layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than the fixed header needs.
    Truncated,
    /// The version nibble is not the one of this header.
    Version,
    /// The header length field is below the minimum or beyond the bytes present.
    HeaderLength,
    /// The packet length field is below the header length or beyond the bytes present.
    TotalLength,
}

/// Tells the compiler that this way is seldom taken, so that it keeps it out of the ordinary one.
#[inline(always)]
pub(crate) const fn unlikely(malformed: Malformed) -> Malformed {
    core::hint::cold_path();
    malformed
}
