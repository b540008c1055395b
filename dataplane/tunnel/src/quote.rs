//! ICMPv4 errors about tunnel packets: is the packet that one quotes a packet of ours?
//!
//! An answer of "yes" proves nothing, because anybody can write a quote (RFC 4213 §3.4 leaves it to the
//! encapsulator what to believe). "No" is certain: the error is about somebody else's packet, which only
//! the kernel of this box can have sent, and the kernel shall have it.

use crate::embed::sixtofour_v4;
use crate::guard::is_insane;
use crate::{Class4, Classes};
use sixlane_wire::{icmpv4, ipv4, ipv6};
use zerocopy::FromBytes;

/// First byte of a header without options: a relay sends no other (RFC 4213 §3.5).
const PLAIN_HEADER: u8 = 0x45;

/// Whether an ICMP `message` reports an error about a packet that the 6to4 relay at `relay` (a number in
/// host order) can have sent: protocol 41 from that address to a 6to4 site, and, as far as it is quoted,
/// IPv6 to an address of that site.
#[must_use]
pub fn is_about_ours<C: Classes>(message: &[u8], relay: u32, classes: &C) -> bool {
    let Ok((header, quote)) = icmpv4::parse(message) else { return false };
    let Ok((outer, inner)) = ipv4::Header::ref_from_prefix(quote) else { return false };
    let site = outer.destination.get();
    header.reports_an_error()
        && outer.version_ihl == PLAIN_HEADER
        && outer.protocol == ipv4::IPV6
        && outer.source.get() == relay
        && !is_insane(site, classes)
        && !classes.class4(site).contains(Class4::OWN)
        && inner.first().is_none_or(|first| first >> 4 == 6)
        && ipv6::Header::ref_from_prefix(inner)
            .map_or(true, |(inner, _)| sixtofour_v4(inner.destination()) == Some(site))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testing::{RELAY, SITE, TestClasses, golden, packet4, packet6, v6};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn error(quote: &[u8]) -> Vec<u8> {
        [&[3, 1, 0, 0, 0, 0, 0, 0][..], quote].concat()
    }

    fn ours(message: &[u8]) -> bool {
        is_about_ours(message, RELAY, &TestClasses::relay())
    }

    /// G60, G61 and G63 quote all or eight bytes of the inner packet of G04.
    #[test]
    fn the_golden_errors_are_about_ours() {
        for id in ["G60", "G61", "G63"] {
            assert!(ours(&golden(id)[20..]), "{id}");
        }
    }

    #[test]
    fn a_quote_of_any_length_that_does_not_disagree_is_ours() {
        let inner = packet6(v6("2001:600::1"), v6("2002:c001:203:1::a"), ipv6::UDP, &[0; 8]);
        let packet = packet4(RELAY, SITE, &inner, |_| {});
        for len in 0..=packet.len() {
            assert_eq!(ours(&error(&packet[..len])), len >= 20, "{len} bytes");
        }
    }

    #[test]
    fn what_we_never_send_is_not_ours() {
        let carried = |destination: &str| packet6(v6("2001:600::1"), v6(destination), ipv6::UDP, &[0; 8]);
        let site = carried("2002:c001:203:1::a");
        let sent = |edit: &dyn Fn(&mut ipv4::Header)| packet4(RELAY, SITE, &site, edit);
        assert!(ours(&error(&sent(&|_| {}))));
        for (what, packet) in [
            ("from another address", sent(&|header| header.source = (RELAY + 1).into())),
            ("another protocol", sent(&|header| header.protocol = ipv4::UDP)),
            ("options", sent(&|header| header.version_ihl = 0x46)),
            ("another version", sent(&|header| header.version_ihl = 0x55)),
            ("to a private address", sent(&|header| header.destination = 0x0a00_0001.into())),
            ("to itself", sent(&|header| header.destination = RELAY.into())),
            ("to another site", sent(&|header| header.destination = (SITE + 1).into())),
            ("to no 6to4 site", packet4(RELAY, SITE, &carried("2001:600:64::1"), |_| {})),
            ("carrying IPv4", packet4(RELAY, SITE, &sent(&|_| {}), |_| {})),
        ] {
            assert!(!ours(&error(&packet)), "{what}");
        }
        for kind in [0, 4, 5, 8, 13] {
            assert!(!ours(&[&[kind][..], &error(&sent(&|_| {}))[1..]].concat()), "type {kind}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(message in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = ours(&message);
        }
    }
}
