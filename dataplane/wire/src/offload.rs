//! The sum of a carried IPv6 packet without a look at its payload ("local checksum offload").
//!
//! A segment with a right checksum sums, together with its pseudo-header, to nothing. So the segment's sum
//! is the complement of the pseudo-header's, and the packet's sum is the IPv6 header's less the
//! pseudo-header's (RFC 8200 §8.1). Both addresses and the length stand in both and cancel out; what is left
//! are the first four bytes of the header, next header and hop limit. That holds for any length.
//!
//! If the inner checksum is wrong, an outer one made from this is wrong too, and the receiver drops the
//! packet one layer earlier.

use crate::{checksum::Sum, icmpv6, ipv6, udp};
use zerocopy::{FromBytes, IntoBytes};

/// The shortest TCP header in bytes (RFC 9293 §3.1).
const TCP_HEADER_LEN: usize = 20;

/// The sum of an IPv6 packet, header and payload, from its header alone; `None` where its payload does not
/// promise a checksum over all of it: behind extension headers, in fragments, for UDP without checksum or
/// with another length, for segments too short for their header, and for other protocols.
#[inline]
#[must_use]
pub fn carried(header: &ipv6::Header, payload: &[u8]) -> Option<Sum> {
    if usize::from(header.payload_len.get()) != payload.len() {
        return None;
    }
    let promised = match header.next_header {
        ipv6::TCP => payload.len() >= TCP_HEADER_LEN,
        ipv6::ICMPV6 => payload.len() >= icmpv6::HEADER_LEN,
        ipv6::UDP => udp::Header::ref_from_prefix(payload)
            .is_ok_and(|(udp, _)| udp.checksum.get() != 0 && usize::from(udp.len.get()) == payload.len()),
        _ => false,
    };
    let last = u16::from_be_bytes([header.next_header, header.hop_limit]);
    let first = Sum::ZERO.bytes(header.version_class_flow.as_bytes()).number16(last);
    // Less the pseudo-header's protocol number: the negative is the complement.
    promised.then(|| first.number16(!u16::from(header.next_header)))
}

/// The sum of an IPv6 packet, header and payload: by [`carried`] where it can be, else over all of it.
#[inline]
#[must_use]
pub fn packet(header: &ipv6::Header, payload: &[u8]) -> Sum {
    carried(header, payload).unwrap_or_else(|| full(header, payload))
}

/// The sum of an IPv6 packet over all of its bytes.
#[inline]
#[must_use]
pub fn full(header: &ipv6::Header, payload: &[u8]) -> Sum {
    Sum::ZERO.bytes(header.as_bytes()).bytes(payload)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::extension::FRAGMENT;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A packet whose upper layer has a right checksum: where it stands, by protocol.
    fn valid(protocol: u8, first: u32, hop_limit: u8, ends: [[u64; 2]; 2], mut payload: Vec<u8>) -> Vec<u8> {
        let at = match protocol {
            ipv6::TCP => 16,
            ipv6::UDP => 6,
            _ => 2,
        };
        if protocol == ipv6::UDP {
            let len = payload.len() as u16;
            payload[4..6].copy_from_slice(&len.to_be_bytes());
        }
        payload[at..at + 2].fill(0);
        let header = ipv6::Header {
            version_class_flow: first.into(),
            payload_len: (payload.len() as u16).into(),
            next_header: protocol,
            hop_limit,
            source: ends[0].map(Into::into),
            destination: ends[1].map(Into::into),
        };
        // The pseudo-header, as RFC 8200 §8.1 draws it.
        let pseudo = [
            header.source.as_bytes(),
            header.destination.as_bytes(),
            &(payload.len() as u32).to_be_bytes(),
            &[0, 0, 0, protocol],
        ]
        .concat();
        let field = udp::field(Sum::ZERO.bytes(&pseudo).bytes(&payload));
        payload[at..at + 2].copy_from_slice(field.as_bytes());
        [header.as_bytes(), &payload].concat()
    }

    fn packets() -> impl Strategy<Value = Vec<u8>> {
        let protocol = prop::sample::select(&[ipv6::TCP, ipv6::UDP, ipv6::ICMPV6][..]);
        let payload = proptest::collection::vec(any::<u8>(), 20..1400);
        (protocol, any::<u32>(), any::<u8>(), any::<[[u64; 2]; 2]>(), payload).prop_map(
            |(protocol, first, hop, ends, payload)| valid(protocol, 6 << 28 | first >> 4, hop, ends, payload),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// G21: the same field, on 10,000 valid packets.
        #[test]
        fn it_equals_the_full_sum(packet in packets(), pseudo: u32) {
            let (header, payload) = ipv6::parse(&packet).unwrap();
            let before = Sum::ZERO.number32(pseudo | 1);
            let offloaded = before.plus(carried(header, payload).expect("valid packets are taken"));
            prop_assert_eq!(udp::field(offloaded), udp::field(before.plus(full(header, payload))));
        }

        /// What is damaged inside is wrong outside too: nobody takes it for whole.
        #[test]
        fn a_damaged_packet_gets_a_wrong_outer_checksum(mut packet in packets(), at: usize, change in 1..=255_u8) {
            let at = ipv6::HEADER_LEN + at % (packet.len() - ipv6::HEADER_LEN);
            packet[at] ^= change;
            let (header, payload) = ipv6::parse(&packet).unwrap();
            if let Some(sum) = carried(header, payload) {
                let one = Sum::ZERO.number16(1);
                // Complement of the offloaded sum and the bytes as they are: zero only if both agree.
                let stored = Sum::ZERO.bytes(one.plus(sum).field().as_bytes());
                prop_assert!(!stored.plus(one).plus(full(header, payload)).is_correct());
            }
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 40..100), protocol: u8) {
            let mut bytes = bytes;
            let payload_len = (bytes.len() - ipv6::HEADER_LEN) as u8;
            bytes[0] = 0x60;
            bytes[4..7].copy_from_slice(&[0, payload_len, protocol]);
            let (header, payload) = ipv6::parse(&bytes).unwrap();
            let _ = packet(header, payload);
        }
    }

    #[test]
    fn what_promises_nothing_is_summed_up() {
        let take = |packet: &[u8], edit: fn(&mut Vec<u8>)| {
            let mut bytes = packet.to_vec();
            edit(&mut bytes);
            let (header, payload) = ipv6::parse(&bytes).unwrap();
            carried(header, payload).is_some()
        };
        let datagram = valid(ipv6::UDP, 6 << 28, 64, [[1, 2], [3, 4]], [7; 20].to_vec());
        assert!(take(&datagram, |_| {}));
        assert!(!take(&datagram, |bytes| bytes[46..48].fill(0)), "no checksum");
        assert!(!take(&datagram, |bytes| bytes[45] -= 1), "a shorter length");
        for protocol in [FRAGMENT, ipv6::HOP_BY_HOP, ipv6::ESP, ipv6::NO_NEXT_HEADER] {
            let mut bytes = datagram.clone();
            bytes[6] = protocol;
            assert!(!take(&bytes, |_| {}), "{protocol}");
        }
        for (protocol, least) in [(ipv6::TCP, 20), (ipv6::UDP, 8), (ipv6::ICMPV6, 8)] {
            let mut bytes = valid(protocol, 6 << 28, 64, [[1, 2], [3, 4]], [7; 20].to_vec());
            bytes[5] = least - 1;
            assert!(!take(&bytes, |_| {}), "{protocol}: too short");
        }
    }
}
