//! Bubbles: packets that carry nothing, and open a NAT (RFC 4380 §2.8).

use super::Endpoint;
use super::cookie::Cookies;
use crate::embed::Teredo;
use sixlane_wire::ipv6::{self, Address};
use zerocopy::IntoBytes;

/// The hop limit of a bubble. RFC 4380 says none; nobody may judge it, because others send zero.
const HOP_LIMIT: u8 = 64;

/// A bubble.
#[must_use]
pub fn bubble(source: Address, destination: Address) -> [u8; ipv6::HEADER_LEN] {
    let header = ipv6::Header {
        version_class_flow: (6 << 28).into(),
        payload_len: 0.into(),
        next_header: ipv6::NO_NEXT_HEADER,
        hop_limit: HOP_LIMIT,
        source: [source.hi.into(), source.lo.into()],
        destination: [destination.hi.into(), destination.lo.into()],
    };
    let mut bytes = [0; ipv6::HEADER_LEN];
    bytes.copy_from_slice(header.as_bytes());
    bytes
}

/// Where a relay's bubble to a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// To the client's server, which hands it on.
    Indirect,
    /// To the client's mapped address and port, to open a NAT in front of the relay itself (RFC 4380
    /// §5.4.1).
    Direct,
}

/// A relay's bubble to a client, and where it goes. `cookie_prefix` is the first half of the address that
/// the client is to answer to.
#[must_use]
pub fn of_relay(
    client: Teredo,
    path: Path,
    cookies: &Cookies,
    cookie_prefix: u64,
    minute: u64,
) -> (Endpoint, [u8; ipv6::HEADER_LEN]) {
    let address = client.address();
    let source = Address { hi: cookie_prefix, lo: cookies.of(address, minute) };
    let to = match path {
        Path::Indirect => Endpoint::server(client.server),
        Path::Direct => client.mapped(),
    };
    (to, bubble(source, address))
}
