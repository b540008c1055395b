//! Fields that cross between inner and outer header: DSCP (RFC 2983) and ECN (RFC 6040). The hop limit
//! does not cross: the tunnel is one hop, and forwarding takes it.

/// The ECN field: the low two bits of traffic class and ToS (RFC 3168 §5).
pub const ECN_MASK: u8 = 0b11;
/// Not ECN-capable transport.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable transport, codepoint 1.
pub const ECT_1: u8 = 0b01;
/// ECN-capable transport, codepoint 0.
pub const ECT_0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// How the outer ToS byte comes about: `inner traffic class & keep | set`.
///
/// DSCP and ECN are decided apart (RFC 9601 §4: the byte is never copied as one field), but both decisions
/// are known when the tables are, so that a packet pays one `and` and one `or`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TosRule {
    keep: u8,
    set: u8,
}

impl TosRule {
    /// The rule for a DSCP setting (0..=63 fixed, [`DSCP_COPY`] copied) and an ECN setting
    /// ([`ECN_NORMAL`] or anything else for compatibility mode: RFC 6040 §4.1).
    #[must_use]
    pub const fn new(dscp: u8, ecn: u8) -> TosRule {
        let (keep_dscp, set) = if dscp == DSCP_COPY { (!ECN_MASK, 0) } else { (0, dscp << 2) };
        TosRule { keep: keep_dscp | if ecn == ECN_NORMAL { ECN_MASK } else { 0 }, set }
    }

    /// The outer ToS byte for an inner traffic class.
    #[inline]
    #[must_use]
    pub const fn outer(self, inner: u8) -> u8 {
        inner & self.keep | self.set
    }
}

/// DSCP setting: the inner one is copied ("uniform", RFC 2983 §3.1).
pub const DSCP_COPY: u8 = 64;
/// ECN setting: the inner one is copied (RFC 6040 §4.1, normal mode).
pub const ECN_NORMAL: u8 = 0;
/// ECN setting: the outer one is zero (RFC 6040 §4.1, compatibility mode; RFC 9601 §4).
pub const ECN_COMPATIBILITY: u8 = 1;

/// The inner ECN field after decapsulation (RFC 6040 §4.2), or `None`: drop, because the mark cannot be
/// passed on.
#[inline]
#[must_use]
pub const fn decapsulated_ecn(inner: u8, outer: u8) -> Option<u8> {
    let (inner, outer) = (inner & ECN_MASK, outer & ECN_MASK);
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        _ => Some(inner),
    }
}
