//! What the fuzz target calls.

use std::collections::BTreeSet;

use super::{Settings, Source};

/// Any bytes as what zebra sends, in pieces of at most `piece` bytes: the connection lives or ends; what is
/// known stays within its limits, and all of it goes when its time is over.
///
/// # Panics
/// Something of that does not hold.
pub fn take(bytes: &[u8], piece: usize) {
    let mut source = Source::new(Settings { keep_ns: 1_000, limits: [7, 7] });
    let mut changed = BTreeSet::new();
    source.begin(1);
    for (bytes, now) in bytes.chunks(piece.max(1)).zip(2..) {
        let room = source.room();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        if source.take(now, count, &[254], &mut changed).is_err() {
            break;
        }
        source.tick(now, &mut changed);
    }
    assert!(source.routes.counts().iter().all(|&count| count <= 7));
    let held: Vec<_> = source.routes.nets().collect();
    assert!(held.iter().all(|net| changed.contains(net) && source.routes.at(*net).count() == 1));
    source.end(1_000_000_000);
    source.tick(2_000_000_000, &mut changed);
    assert_eq!(source.routes.counts(), [0, 0]);
}
