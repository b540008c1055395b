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
