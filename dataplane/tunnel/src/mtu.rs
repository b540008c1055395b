//! What protocol 41 adds, and the error about what does not fit (RFC 4213 §3.2, RFC 4443 §3.2).

use crate::{Reason, Verdict, verdict::IcmpError};
use sixlane_wire::ipv6::MTU_MIN;

/// Bytes that protocol 41 adds in front of a packet.
pub const SIXINFOUR_OVERHEAD: u32 = 20;

/// The verdict for a packet that does not fit: the error names the MTU, never less than 1280 (ICMP-08).
#[cold]
pub const fn too_big(mtu: u32) -> Verdict {
    let mtu = if mtu < MTU_MIN { MTU_MIN } else { mtu };
    Verdict::Reply(IcmpError::PacketTooBig { mtu }, Reason::TooBig)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_below_the_minimum_is_never_told() {
        let told = |mtu| Verdict::Reply(IcmpError::PacketTooBig { mtu }, Reason::TooBig);
        assert_eq!(too_big(1480), told(1480));
        assert_eq!(too_big(1280), told(1280));
        assert_eq!(too_big(576), told(1280));
    }
}
