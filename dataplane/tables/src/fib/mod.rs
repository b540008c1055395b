//! Longest-prefix match for both families: a leaf-pushed trie with a root of 2^16 entries and nodes of
//! 2^8, of u32 entries.
//!
//! An entry is a [`NextHopId`] or, with the top bit set, the offset of a node. Leaf-pushed means that
//! every entry holds the final answer for its addresses: a reader walks down and never back. A change is
//! one release store (of an entry or of the root's offset), so a reader finds for each address what was
//! in force before or after it and nothing in between; it waits for nobody and makes at most one step per
//! eight bits of address.

mod build;

use crate::adjacency::NextHopId;
use crate::layout::{GRANULE, Offset};
use crate::segment::Region;
use crate::sync::{AtomicU32, Ordering};

pub(crate) use build::{Change, Fib, Link, Prefix};

/// Bits that the root decides.
const ROOT_BITS: u8 = 16;
/// Bits that each node decides.
const NODE_BITS: u8 = 8;
/// Entries of the root.
pub(crate) const ROOT_ENTRIES: usize = 1 << ROOT_BITS;
/// Entries of a node.
const NODE_ENTRIES: usize = 1 << NODE_BITS;
/// Set in entries that hold a node's offset.
const CHILD: u32 = 1 << 31;

/// The first page of a trie.
pub(crate) type Root = [AtomicU32; ROOT_ENTRIES];
type Node = [AtomicU32; NODE_ENTRIES];

/// Words of a granule: what an offset counts, for a reader of words.
const GRANULE_WORDS: usize = GRANULE / 4;

/// The node that `entry` names, if it lies in mapped memory.
fn node(region: &Region, entry: u32) -> Option<&Node> {
    region.atomics(Offset::new(entry & !CHILD).bytes())
}

/// The arena as one call of a look-up sees it: one comparison a step keeps the walk inside.
#[derive(Clone, Copy)]
struct Mapped<'a> {
    region: &'a Region,
    /// What was mapped when the call began.
    words: &'a [AtomicU32],
}

impl<'a> Mapped<'a> {
    #[inline]
    fn new(region: &'a Region) -> Self {
        Self { region, words: region.words() }
    }

    /// Walks down from `entry` by the bytes of `key` from the top, at most `steps` of them.
    #[inline]
    fn walk(self, mut entry: u32, mut key: u64, steps: u32) -> u32 {
        for _ in 0..steps {
            if entry & CHILD == 0 {
                break;
            }
            key = key.rotate_left(8);
            let at = (entry & !CHILD) as usize * GRANULE_WORDS + usize::from(key as u8);
            // Acquire: a node's entries were written before the entry that names it.
            entry = match self.words.get(at) {
                Some(word) => word.load(Ordering::Acquire),
                None => self.late(at),
            };
        }
        entry
    }

    /// An entry in a segment that was mapped after the call began: the writer may use it as soon as the
    /// mapping is acknowledged, which no look-up waits for.
    #[cold]
    fn late(self, at: usize) -> u32 {
        self.region.words().get(at).map_or(NextHopId::CORRUPT.0, |word| word.load(Ordering::Acquire))
    }
}

/// An entry below the last bit of its key: a node there is damage.
#[inline]
fn leaf(entry: u32) -> NextHopId {
    if entry & CHILD == 0 { NextHopId(entry) } else { NextHopId::CORRUPT }
}

/// Looks up IPv4 addresses, as many as both slices have. The keys' loads do not depend on each other, so
/// the processor overlaps them.
#[inline]
pub(crate) fn look_up4(region: &Region, root: &Root, keys: &[u32], out: &mut [NextHopId]) {
    let mapped = Mapped::new(region);
    for (key, answer) in keys.iter().zip(out) {
        let entry = root[(key >> 16) as usize].load(Ordering::Acquire);
        *answer = leaf(mapped.walk(entry, u64::from(*key) << 48, 2));
    }
}

/// Looks up IPv6 addresses, given as their upper and lower halves, as many as all slices have.
#[inline]
pub(crate) fn look_up6(region: &Region, root: &Root, hi: &[u64], lo: &[u64], out: &mut [NextHopId]) {
    let mapped = Mapped::new(region);
    for ((hi, lo), answer) in hi.iter().zip(lo).zip(out) {
        let entry = root[(hi >> 48) as usize].load(Ordering::Acquire);
        let entry = mapped.walk(entry, hi << 16, 6);
        *answer = if entry & CHILD == 0 { NextHopId(entry) } else { host_part(mapped, entry, *lo) };
    }
}

/// The rest of a walk whose route is longer than 64 bits.
#[inline(never)]
fn host_part(mapped: Mapped<'_>, entry: u32, lo: u64) -> NextHopId {
    leaf(mapped.walk(entry, lo, 8))
}
