//! ICMPv6 errors: when one may be sent, and what it looks like (RFC 4443 §2, §3).

use crate::verdict::IcmpError;
use sixlane_wire::checksum::Sum;
use sixlane_wire::extension::{Step, Walk};
use sixlane_wire::ipv6::{self, Address};
use sixlane_wire::{icmpv6, icmpv6::pseudo_header};
use zerocopy::{FromBytes, IntoBytes};

/// The most bytes that an error has, IPv6 header included (RFC 4443 §2.4(c)).
pub const ERROR_LEN_MAX: usize = ipv6::MTU_MIN as usize;
/// The bytes of an error in front of the packet that it quotes.
pub const ERROR_HEADERS_LEN: usize = ipv6::HEADER_LEN + icmpv6::HEADER_LEN;
/// The hop limit of an error: the value that IANA suggests for TTLs.
pub const HOP_LIMIT: u8 = 64;

/// Whether a packet may be answered by an error (RFC 4443 §2.4(e)).
///
/// Not when it is an ICMPv6 error or redirect itself or might be one (its header chain cannot be read, or
/// it is a later fragment of an ICMPv6 message), nor when its source is unspecified or multicast, nor when
/// its destination is multicast.
#[must_use]
pub fn error_allowed(invoking: &[u8]) -> bool {
    let Ok((header, payload)) = ipv6::parse(invoking) else { return false };
    let source = header.source();
    if source.is_unspecified() || source.is_multicast() || header.destination().is_multicast() {
        return false;
    }
    let mut walk = Walk::new(header.next_header, payload);
    loop {
        match walk.step() {
            Step::Routing { .. } | Step::Extension(_) => {}
            Step::Upper(ipv6::ICMPV6, message) => {
                return message.first().is_some_and(|&kind| kind >= 128 && kind != icmpv6::REDIRECT);
            }
            Step::Upper(..) => return true,
            Step::LaterFragment(next_header) => return next_header != ipv6::ICMPV6,
            Step::Truncated | Step::TooLong => return false,
        }
    }
}

/// Writes the error about a packet `invoking` (as it was received) into `out`, from the IPv6 header on.
///
/// Returns its length in bytes: at most 1280, and 0 when `invoking` is no IPv6 packet or `out` is too
/// short for the headers. What lies behind the payload of `invoking` is padding and not quoted. Every byte
/// of the error is written.
#[must_use]
pub fn build_error(out: &mut [u8], error: IcmpError, source: Address, invoking: &[u8]) -> usize {
    let Ok((cause, payload)) = ipv6::parse(invoking) else { return 0 };
    let Some(space) = out.len().min(ERROR_LEN_MAX).checked_sub(ERROR_HEADERS_LEN) else { return 0 };
    let quote_len = (ipv6::HEADER_LEN + payload.len()).min(space);
    let message_len = icmpv6::HEADER_LEN + quote_len;
    let Some(quote) = invoking.get(..quote_len) else { return 0 };

    let header = ipv6::Header {
        version_class_flow: (6 << 28).into(),
        payload_len: (message_len as u16).into(),
        next_header: ipv6::ICMPV6,
        hop_limit: HOP_LIMIT,
        source: [source.hi.into(), source.lo.into()],
        destination: cause.source,
    };
    let mut message = icmpv6::Header {
        kind: error.kind(),
        code: error.code(),
        checksum: 0.into(),
        word: error.word().into(),
    };
    let sum = pseudo_header(&header, message_len as u32).bytes(message.as_bytes()).bytes(quote);
    message.checksum = Sum::field(sum);

    let Ok((head, rest)) = <[u8; ipv6::HEADER_LEN]>::mut_from_prefix(out) else { return 0 };
    let Ok((middle, rest)) = <[u8; icmpv6::HEADER_LEN]>::mut_from_prefix(rest) else { return 0 };
    let Some(tail) = rest.get_mut(..quote_len) else { return 0 };
    head.copy_from_slice(header.as_bytes());
    middle.copy_from_slice(message.as_bytes());
    tail.copy_from_slice(quote);
    ERROR_HEADERS_LEN + quote_len
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testing::{golden, packet6, v6};
    use proptest::prelude::*;
    use sixlane_wire::extension::{DESTINATION_OPTIONS, FRAGMENT};
    use std::{vec, vec::Vec};

    fn build(error: IcmpError, invoking: &[u8]) -> Vec<u8> {
        let mut out = vec![0xa5; 2048];
        let len = build_error(&mut out, error, v6("2001:600::fe"), invoking);
        assert!(out[len..].iter().all(|&byte| byte == 0xa5));
        out.truncate(len);
        out
    }

    fn is_correct(error: &[u8]) -> bool {
        let (header, payload) = ipv6::parse(error).unwrap();
        pseudo_header(header, payload.len() as u32).bytes(payload).is_correct()
    }

    /// G64: the packet is quoted as it was received.
    #[test]
    fn the_golden_time_exceeded() {
        let mut invoking = golden("G03");
        invoking[7] = 1;
        // G64 quotes an echo request from 2001:600::1; its body is what G64 carries behind its headers.
        let expected = golden("G64");
        let quoted = &expected[ERROR_HEADERS_LEN..];
        assert_eq!(build(IcmpError::TimeExceeded, quoted), expected);
        assert!(is_correct(&build(IcmpError::TimeExceeded, &invoking)));
    }

    #[test]
    fn types_and_codes() {
        let invoking = packet6(v6("2001:600::1"), v6("2001:600::2"), ipv6::UDP, &[0; 8]);
        for (error, kind, code, word) in [
            (IcmpError::NoRoute, 1, 0, 0),
            (IcmpError::AdminProhibited, 1, 1, 0),
            (IcmpError::BeyondScope, 1, 2, 0),
            (IcmpError::AddressUnreachable, 1, 3, 0),
            (IcmpError::RejectRoute, 1, 6, 0),
            (IcmpError::PacketTooBig { mtu: 1480 }, 2, 0, 1480),
            (IcmpError::PacketTooBig { mtu: 1279 }, 2, 0, 1280),
            (IcmpError::TimeExceeded, 3, 0, 0),
        ] {
            let packet = build(error, &invoking);
            let message = icmpv6::parse(&packet[ipv6::HEADER_LEN..]).unwrap().0;
            assert_eq!((message.kind, message.code, message.word.get()), (kind, code, word));
            assert!(is_correct(&packet));
        }
    }

    /// ICMP-01: 1280 bytes in all, 1232 of the packet.
    #[test]
    fn long_packets_are_cut_and_padding_is_not_quoted() {
        let long = packet6(v6("2001:600::1"), v6("2001:600::2"), ipv6::UDP, &[7; 1400]);
        let error = build(IcmpError::PacketTooBig { mtu: 1280 }, &long);
        assert_eq!(error.len(), 1280);
        assert_eq!(error[48..], long[..1232]);
        assert!(is_correct(&error));

        let mut padded = packet6(v6("2001:600::1"), v6("2001:600::2"), ipv6::UDP, &[7; 9]);
        padded.extend([0xee; 6]);
        assert_eq!(build(IcmpError::NoRoute, &padded)[48..], padded[..49]);
    }

    #[test]
    fn nothing_is_written_without_room_or_cause() {
        let invoking = packet6(v6("2001:600::1"), v6("2001:600::2"), ipv6::UDP, &[7; 9]);
        let source = v6("2001:600::fe");
        assert_eq!(build_error(&mut [0; 47], IcmpError::NoRoute, source, &invoking), 0);
        assert_eq!(build_error(&mut [0; 50], IcmpError::NoRoute, source, &invoking), 50);
        assert_eq!(build_error(&mut [0; 2048], IcmpError::NoRoute, source, &[0x45; 60]), 0);
    }

    /// ICMP-02, line by line.
    #[test]
    fn what_is_never_answered() {
        let (a, b) = (v6("2001:600::1"), v6("2001:600::2"));
        let icmp = |kind: u8| packet6(a, b, ipv6::ICMPV6, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        for kind in 0..=255 {
            assert_eq!(error_allowed(&icmp(kind)), kind >= 128 && kind != 137, "type {kind}");
        }
        assert!(error_allowed(&packet6(a, b, ipv6::UDP, &[])));
        assert!(!error_allowed(&packet6(v6("::"), b, ipv6::UDP, &[])));
        assert!(!error_allowed(&packet6(v6("ff02::1"), b, ipv6::UDP, &[])));
        assert!(!error_allowed(&packet6(a, v6("ff02::1"), ipv6::UDP, &[])));
        assert!(!error_allowed(&packet6(a, b, ipv6::ICMPV6, &[])));
        assert!(!error_allowed(&[0x60; 39]));

        let behind_options = |kind| [&[ipv6::ICMPV6, 0, 1, 4, 0, 0, 0, 0][..], &[kind, 0, 0, 0]].concat();
        assert!(!error_allowed(&packet6(a, b, DESTINATION_OPTIONS, &behind_options(1))));
        assert!(error_allowed(&packet6(a, b, DESTINATION_OPTIONS, &behind_options(128))));
        assert!(!error_allowed(&packet6(a, b, DESTINATION_OPTIONS, &[ipv6::UDP, 9, 0, 0])));

        let later = |next_header| [next_header, 0, 0, 8, 0, 0, 0, 1];
        assert!(error_allowed(&packet6(a, b, FRAGMENT, &later(ipv6::UDP))));
        assert!(!error_allowed(&packet6(a, b, FRAGMENT, &later(ipv6::ICMPV6))));
    }

    proptest! {
        #[test]
        fn an_error_about_anything_is_correct_and_unanswerable(payload: Vec<u8>, ends: [[u8; 16]; 2], next_header: u8) {
            let [source, destination] = ends.map(Address::from_octets);
            let error = build(IcmpError::NoRoute, &packet6(source, destination, next_header, &payload));
            prop_assert!(is_correct(&error));
            prop_assert!(!error_allowed(&error));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..128), room in 0_usize..256) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = 0x60;
            }
            let _ = error_allowed(&bytes);
            let mut out = vec![0; room];
            prop_assert!(build_error(&mut out, IcmpError::NoRoute, Address::default(), &bytes) <= room);
        }
    }
}
