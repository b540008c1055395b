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
use crate::layout::Offset;
use crate::prefetch::prefetch;
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

/// The node that `entry` names, if it lies in mapped memory.
#[inline]
fn node(region: &Region, entry: u32) -> Option<&Node> {
    region.atomics(Offset::new(entry & !CHILD).bytes())
}

/// Asks for the root entry of a key whose top 16 bits are `top`.
#[inline]
pub(crate) fn prefetch_root(root: &Root, top: u16) {
    prefetch(&root[usize::from(top)]);
}

/// Steps every answer that is still a node down by eight bits; `byte` gives those of a key. Returns
/// whether a node is left.
#[inline]
fn descend<K: Copy>(
    region: &Region,
    keys: impl Iterator<Item = K>,
    out: &mut [NextHopId],
    byte: impl Fn(K) -> u8,
) -> bool {
    let mut left = 0;
    for (key, answer) in keys.zip(out) {
        if answer.0 & CHILD != 0 {
            // Acquire: a node's entries were written before the entry that names it.
            *answer = match node(region, answer.0) {
                Some(node) => NextHopId(node[usize::from(byte(key))].load(Ordering::Acquire)),
                None => NextHopId::CORRUPT,
            };
            left |= answer.0;
        }
    }
    left & CHILD != 0
}

/// Whatever is still a node below the last bit is damage.
#[cold]
fn condemn(out: &mut [NextHopId]) {
    for answer in out.iter_mut().filter(|answer| answer.0 & CHILD != 0) {
        *answer = NextHopId::CORRUPT;
    }
}

/// Looks up IPv4 addresses, as many as both slices have.
#[inline]
pub(crate) fn look_up4(region: &Region, root: &Root, keys: &[u32], out: &mut [NextHopId]) {
    let mut left = 0;
    for (key, answer) in keys.iter().zip(&mut *out) {
        let entry = root[(key >> 16) as usize].load(Ordering::Acquire);
        *answer = NextHopId(entry);
        left |= entry;
    }
    if left & CHILD != 0
        && descend(region, keys.iter().copied(), out, |key| (key >> 8) as u8)
        && descend(region, keys.iter().copied(), out, |key| key as u8)
    {
        condemn(out);
    }
}

/// Looks up IPv6 addresses, given as their upper and lower halves, as many as all slices have.
#[inline]
pub(crate) fn look_up6(region: &Region, root: &Root, hi: &[u64], lo: &[u64], out: &mut [NextHopId]) {
    let mut left = 0;
    for (key, answer) in hi.iter().zip(&mut *out) {
        let entry = root[(key >> 48) as usize].load(Ordering::Acquire);
        *answer = NextHopId(entry);
        left |= entry;
    }
    let mut more = left & CHILD != 0;
    for shift in (0..48).step_by(8).rev() {
        more = more && descend(region, hi.iter().copied(), out, |key| (key >> shift) as u8);
    }
    for shift in (0..64).step_by(8).rev() {
        more = more && descend(region, lo.iter().copied(), out, |key| (key >> shift) as u8);
    }
    if more {
        condemn(out);
    }
}
