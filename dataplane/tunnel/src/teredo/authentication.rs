//! Authentication between client and server: HMAC-SHA1 (RFC 4380 §5.2.2).

use hmac::{Hmac, Mac};
use sha1::Sha1;
use sixlane_wire::teredo::{Authentication, Message};
use zerocopy::IntoBytes;

/// Length of an authentication value in bytes.
pub const MAC_LEN: usize = 20;

/// Who knows the clients' keys.
pub trait Secrets {
    /// The key of the client with this identifier.
    fn key(&self, identifier: &[u8]) -> Option<&[u8]>;
}

/// Nobody has a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn key(&self, _identifier: &[u8]) -> Option<&[u8]> {
        None
    }
}

/// What the value is computed over: nonce, confirmation, origin indication if there is one, packet.
fn hashed(key: &[u8], nonce: &[u8; 8], confirmation: u8, origin: &[u8], packet: &[u8]) -> Option<Hmac<Sha1>> {
    // A key may have any length (RFC 2104 §3).
    let mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    Some(mac.chain_update(nonce).chain_update([confirmation]).chain_update(origin).chain_update(packet))
}

/// The authentication value of a message with this nonce, confirmation, origin indication (or nothing) and
/// packet. `None` never happens: a key may have any length.
#[must_use]
pub fn value(
    key: &[u8],
    nonce: &[u8; 8],
    confirmation: u8,
    origin: &[u8],
    packet: &[u8],
) -> Option<[u8; MAC_LEN]> {
    Some(hashed(key, nonce, confirmation, origin, packet)?.finalize().into_bytes().into())
}

/// Whether the authentication value of a message is that of this key. The time that it takes says nothing
/// about how much of it is right.
#[must_use]
pub fn is_correct(key: &[u8], authentication: &Authentication<'_>, message: &Message<'_>) -> bool {
    let origin = message.origin.map_or(&[][..], IntoBytes::as_bytes);
    hashed(key, authentication.nonce, authentication.confirmation, origin, message.packet)
        .is_some_and(|mac| mac.verify_slice(authentication.value).is_ok())
}
