//! The server's answer to a router solicitation (RFC 4380 §5.3.2).

use super::authentication::{MAC_LEN, value};
use super::outer::MTU;
use super::{Endpoint, address};
use crate::embed::TEREDO_PREFIX;
use sixlane_wire::checksum::Sum;
use sixlane_wire::ipv6::{self, Address};
use sixlane_wire::teredo::{AUTHENTICATION_LEN_MIN, AuthenticationFront, ORIGIN_LEN, Origin};
use sixlane_wire::{icmpv6, icmpv6::pseudo_header};
use zerocopy::IntoBytes;

/// Length in bytes of the message: header, prefix information, MTU.
const MESSAGE_LEN: usize = 16 + 32 + 8;
/// Length in bytes of the packet.
const PACKET_LEN: usize = ipv6::HEADER_LEN + MESSAGE_LEN;
/// The most bytes that an answer has behind the UDP header.
pub const ANSWER_LEN_MAX: usize = AUTHENTICATION_LEN_MIN + 255 + MAC_LEN + ORIGIN_LEN + PACKET_LEN;

/// The confirmation of a client whose key is valid.
pub const KEY_VALID: u8 = 0;
/// The confirmation of a client that needs another key.
pub const KEY_UNKNOWN: u8 = 1;

/// How an answer is authenticated: the client's nonce comes back in any case (RFC 4380 §5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature<'a> {
    /// The client sent a nonce and nothing else.
    Nonce([u8; 8]),
    /// The client's key is valid.
    Signed {
        /// The nonce of the solicitation.
        nonce: [u8; 8],
        /// The client's identifier, at most 255 bytes.
        identifier: &'a [u8],
        /// The client's key.
        key: &'a [u8],
    },
    /// The client names a key that is not known here.
    UnknownKey {
        /// The nonce of the solicitation.
        nonce: [u8; 8],
        /// The client's identifier, at most 255 bytes.
        identifier: &'a [u8],
    },
}

/// An answer that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement<'a> {
    /// The IPv4 address that it is sent from, by the server's port.
    pub from: u32,
    /// Where the solicitation came from, as the server saw it: where the answer goes, and what it tells.
    pub to: Endpoint,
    /// The IPv4 address that the solicitation was sent to.
    pub asked: u32,
    /// The server's primary address, which the prefix names.
    pub primary: u32,
    /// Source of the solicitation.
    pub client: Address,
    /// How the answer is authenticated, if the solicitation was.
    pub signature: Option<Signature<'a>>,
}

impl Advertisement<'_> {
    /// Writes what stands behind the UDP header into `out` and gives its length in bytes, at most
    /// [`ANSWER_LEN_MAX`]; `None` where `out` is too short.
    #[must_use]
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let packet = self.packet();
        let origin = Origin::new(self.to.address, self.to.port);
        let indication = origin.as_bytes();
        let mut out = Out { bytes: out, at: 0 };
        match self.signature {
            None => {}
            Some(Signature::Nonce(nonce)) => out.authentication(&[], &[], nonce, KEY_VALID)?,
            Some(Signature::UnknownKey { nonce, identifier }) => {
                out.authentication(identifier, &[], nonce, KEY_UNKNOWN)?;
            }
            Some(Signature::Signed { nonce, identifier, key }) => {
                let value = value(key, &nonce, KEY_VALID, indication, &packet)?;
                out.authentication(identifier, &value, nonce, KEY_VALID)?;
            }
        }
        out.put(indication)?;
        out.put(&packet)?;
        Some(out.at)
    }

    /// The packet: it makes nobody a router, and says prefix and MTU.
    fn packet(&self) -> [u8; PACKET_LEN] {
        let source = address::server_link_local(self.asked);
        let header = ipv6::Header {
            version_class_flow: (6 << 28).into(),
            payload_len: (MESSAGE_LEN as u16).into(),
            next_header: ipv6::ICMPV6,
            hop_limit: 255,
            source: [source.hi.into(), source.lo.into()],
            destination: [self.client.hi.into(), self.client.lo.into()],
        };
        let mut message = self.message();
        let sum = pseudo_header(&header, MESSAGE_LEN as u32).bytes(&message);
        let [a, b] = Sum::field(sum).to_bytes();
        message[2..4].copy_from_slice(&[a, b]);
        let mut packet = [0; PACKET_LEN];
        packet[..ipv6::HEADER_LEN].copy_from_slice(header.as_bytes());
        packet[ipv6::HEADER_LEN..].copy_from_slice(&message);
        packet
    }

    /// The message, with a checksum of zero. RFC 4380 leaves its values open; these are the ones that
    /// deployed servers send: no hop limit, no flags, no lifetime as a router, retransmission after 2,000 ms.
    fn message(&self) -> [u8; MESSAGE_LEN] {
        const RETRANSMIT_MS: u32 = 2_000;
        /// Prefix information (RFC 4861 §4.6.2), of 32 bytes, with all 64 bits, for autoconfiguration alone.
        const PREFIX_INFORMATION: [u8; 4] = [3, 4, 64, 0x40];
        /// MTU (RFC 4861 §4.6.4), of 8 bytes.
        const LINK_MTU: [u8; 4] = [5, 1, 0, 0];
        let mut message = [0; MESSAGE_LEN];
        message[0] = icmpv6::ROUTER_ADVERTISEMENT;
        message[12..16].copy_from_slice(&RETRANSMIT_MS.to_be_bytes());
        message[16..20].copy_from_slice(&PREFIX_INFORMATION);
        message[20..28].fill(0xff);
        message[32..36].copy_from_slice(&TEREDO_PREFIX.to_be_bytes());
        message[36..40].copy_from_slice(&self.primary.to_be_bytes());
        message[48..52].copy_from_slice(&LINK_MTU);
        message[52..56].copy_from_slice(&MTU.to_be_bytes());
        message
    }
}

/// What has been written so far.
struct Out<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.bytes.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn authentication(
        &mut self,
        identifier: &[u8],
        value: &[u8],
        nonce: [u8; 8],
        confirmation: u8,
    ) -> Option<()> {
        let lens = (identifier.len().try_into().ok()?, value.len().try_into().ok()?);
        self.put(AuthenticationFront::new(lens.0, lens.1).as_bytes())?;
        self.put(identifier)?;
        self.put(value)?;
        self.put(&nonce)?;
        self.put(&[confirmation])
    }
}
