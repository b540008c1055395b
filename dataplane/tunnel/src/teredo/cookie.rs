//! Cookies: what proves that a client reads what is sent to it, without a memory of having sent it.
//!
//! A relay that does not know a client sends it a bubble, and remembers nothing. The bubble's source is an
//! address of the relay whose interface identifier is a keyed hash of the client's address and of the
//! minute; the client answers there. Who was not sent the bubble does not know where to answer.

use core::hash::Hasher;
use siphasher::sip::SipHasher24;
use sixlane_wire::ipv6::Address;

/// A maker of cookies. Its key is fresh at each start, and known to nobody.
#[derive(Clone, Copy)]
pub struct Cookies {
    key: [u64; 2],
}

impl core::fmt::Debug for Cookies {
    /// Says nothing about the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

impl Cookies {
    /// The maker with this key.
    #[must_use]
    pub const fn new(key: [u64; 2]) -> Cookies {
        Cookies { key }
    }

    /// The cookie of a client in a minute of any clock that does not go backward. The client's mapped
    /// address and port are part of its address.
    #[must_use]
    pub fn of(&self, client: Address, minute: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.key[0], self.key[1]);
        hasher.write(&client.octets());
        hasher.write(&minute.to_le_bytes());
        hasher.finish()
    }

    /// Whether a cookie is this client's, of this minute or of the one before: so a bubble can be answered
    /// for a minute at least, for two at most.
    #[must_use]
    pub fn are(&self, cookie: u64, client: Address, minute: u64) -> bool {
        let before = minute.checked_sub(1);
        cookie == self.of(client, minute) || before.is_some_and(|minute| cookie == self.of(client, minute))
    }
}
