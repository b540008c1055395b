//! How many bubbles may go out: in all, because of one source, and to one server.

use siphasher::sip::SipHasher13;
use sixlane_tunnel::bucket::TokenBucket;
use std::hash::Hasher;

use super::Settings;

/// Buckets for sources, and for servers. Some share one: that makes the limit stricter, never looser.
const BUCKETS: usize = 4096;
/// Bubbles a second to one server, and as many at once: at most ten in any second (TGT-11).
const SERVER_RATE: u32 = 5;

/// The budgets. Which bucket is whose is a keyed hash: nobody can choose to share one.
#[derive(Debug)]
pub(super) struct Budget {
    key: [u64; 2],
    all: TokenBucket,
    sources: Vec<TokenBucket>,
    servers: Vec<TokenBucket>,
}

impl Budget {
    pub(super) fn new(settings: &Settings) -> Budget {
        let (all, source) = (settings.bubbles_per_second, settings.bubbles_per_source);
        Budget {
            key: settings.key,
            all: TokenBucket::new(all, all),
            sources: vec![TokenBucket::new(source, source); BUCKETS],
            servers: vec![TokenBucket::new(SERVER_RATE, SERVER_RATE); BUCKETS],
        }
    }

    /// Takes one bubble out of the budgets of a source /64, of a server (a number in host order) and of all.
    /// The source's comes first: whoever asks too often takes from nobody else.
    pub(super) fn take(&mut self, now_ns: u64, source: u64, server: u32) -> bool {
        let (source, server) = (self.place(source), self.place(u64::from(server)));
        self.sources[source].take(now_ns) && self.servers[server].take(now_ns) && self.all.take(now_ns)
    }

    fn place(&self, value: u64) -> usize {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write_u64(value);
        hasher.finish() as usize % BUCKETS
    }
}
