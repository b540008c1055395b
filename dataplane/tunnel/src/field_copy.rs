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

/// RFC 6040 §4.2, one result of two bits for each of the sixteen combinations, at `inner * 4 + outer`.
/// (Not-ECT with CE stands here as Not-ECT; it is a drop.)
const COMBINED: u32 = {
    let mut table = 0;
    let mut at = 0;
    while at < 16 {
        let (inner, outer) = ((at >> 2) as u8, (at & 3) as u8);
        let result = match (inner, outer) {
            (NOT_ECT, _) => NOT_ECT,
            (_, CE) => CE,
            (ECT_0, ECT_1) => ECT_1,
            _ => inner,
        };
        table |= (result as u32) << (2 * at);
        at += 1;
    }
    table
};

/// The inner traffic class after decapsulation: its DSCP stays, its ECN field takes up the outer mark (RFC
/// 6040 §4.2). `None`: drop, because the mark cannot be passed on.
#[inline]
#[must_use]
pub const fn decapsulated(inner: u8, outer: u8) -> Option<u8> {
    let (inner_ecn, outer_ecn) = (inner & ECN_MASK, outer & ECN_MASK);
    if inner_ecn == NOT_ECT && outer_ecn == CE {
        return None;
    }
    let ecn = (COMBINED >> (2 * (inner_ecn << 2 | outer_ecn))) as u8 & ECN_MASK;
    Some(inner & !ECN_MASK | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 §4.2, figure 4: rows are the inner field, columns the outer one.
    #[test]
    fn all_sixteen_combinations() {
        let figure = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in figure {
            for (outer, result) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                for dscp in [0, 0xb8, 0xfc] {
                    let expected = result.map(|ecn| dscp | ecn);
                    assert_eq!(decapsulated(dscp | inner, outer), expected, "{inner:02b} in {outer:02b}");
                    assert_eq!(
                        decapsulated(dscp | inner, 0xfc | outer),
                        expected,
                        "the outer DSCP is not taken"
                    );
                }
            }
        }
    }

    #[test]
    fn the_outer_byte() {
        for inner in 0..=255 {
            assert_eq!(TosRule::new(0, ECN_COMPATIBILITY).outer(inner), 0);
            assert_eq!(TosRule::new(0, ECN_NORMAL).outer(inner), inner & 3);
            assert_eq!(TosRule::new(46, ECN_COMPATIBILITY).outer(inner), 0xb8);
            assert_eq!(TosRule::new(46, ECN_NORMAL).outer(inner), 0xb8 | inner & 3);
            assert_eq!(TosRule::new(DSCP_COPY, ECN_COMPATIBILITY).outer(inner), inner & 0xfc);
            assert_eq!(TosRule::new(DSCP_COPY, ECN_NORMAL).outer(inner), inner);
        }
    }
}
