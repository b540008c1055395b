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
