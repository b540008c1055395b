//! Longest-prefix match for both families: sixteen bits a step, every answer final.
//!
//! An entry is a [`Value`]: a next hop, or a reference to the node that decides the next bits. Nodes know
//! the intervals of their part of the address space with the answer for each, so a reader walks down and
//! never back. What a node looks like depends on how many intervals it has:
//!
//! | node | bytes | intervals | how one is found |
//! |---|---|---|---|
//! | small | 32 | 8 | count of the starts below the key |
//! | line | 64 | 16 | the same, in one vector |
//! | wide line | 64 | 11 | the same; answers of 32 bits: references, great next hops |
//! | tree of lines | 64 each | 65,536 | up to three inner lines of 32 children, then a line |
//! | words | 16,384 and the answers | 65,536 | a bitmap of 32 slots says where answers change |
//!
//! IPv6 has a root page of 2^16 values; each node decides 16 bits more. Of IPv4 the root page holds *words*
//! for the first 24 bits, so that most look-ups are two loads; nodes follow beyond /24 only. Every /16 has
//! one block of answers, called cells.
//!
//! Root pages change by single stores of atomics. All else is immutable from publication to reclamation.
//! So a reader finds for each address what was in force before or after a change and nothing in between;
//! it waits for nobody, and takes at most seven steps and one.
//!
//! [`look_up`] is the readers' half, `simd` its vector instructions; [`build`] the writer's, which sweeps
//! routes into intervals (`sweep`) and writes them as nodes (`encode`).

mod build;
mod encode;
mod look_up;
mod simd;
mod sweep;

use crate::adjacency::NextHopId;
use crate::arena::Block;
use crate::layout::Offset;
use crate::segment::Region;
use crate::sync::{AtomicU32, AtomicU64};

pub(crate) use build::{Family, Fib, RouteChange, Store, Stored, Uses};
pub(crate) use look_up::{look_up4, look_up6};
pub(crate) use simd::Level;
pub(crate) use sweep::Prefix;

/// Bits that the root pages index, and that a node decides.
const STRIDE: u8 = 16;
/// Values of the IPv6 root page.
pub(crate) const ROOT6: usize = 1 << STRIDE;
/// Words of the IPv4 root page: one for 32 slots of /24.
pub(crate) const ROOT4: usize = 1 << 19;
/// Slots that a word decides.
const SLOTS: usize = 32;
/// Words of a node of words.
const NODE_WORDS: usize = (1 << STRIDE) / SLOTS;
/// Words of the IPv4 root page that belong to one /16.
const CELL_WORDS: usize = 256 / SLOTS;

/// The IPv6 root page.
pub(crate) type Root6 = [AtomicU32; ROOT6];
/// The IPv4 root page.
pub(crate) type Root4 = [AtomicU64; ROOT4];

/// A next hop's id, or a reference: the top bit, four bits of kind, 27 bits of offset in granules.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value(u32);

/// Kinds of nodes, as references name them. Trees are a base and their depth in inner lines, 1 to 3.
mod kind {
    pub(super) const SMALL: u32 = 0;
    pub(super) const LINE: u32 = 1;
    pub(super) const WIDE: u32 = 2;
    pub(super) const TREE: u32 = 4;
    pub(super) const WIDE_TREE: u32 = 8;
    pub(super) const WORDS: u32 = 12;
}

impl Value {
    const REFERENCE: u32 = 1 << 31;
    const OFFSET_BITS: u32 = 27;
    const OFFSET: u32 = (1 << Self::OFFSET_BITS) - 1;
    const CORRUPT: Self = Self(NextHopId::CORRUPT.0);

    /// A reference; `None` for an offset that is too great for one (4 GiB).
    fn reference(kind: u32, offset: Offset) -> Option<Self> {
        let granules = offset.granules();
        (granules <= Self::OFFSET).then_some(Self(Self::REFERENCE | kind << Self::OFFSET_BITS | granules))
    }

    #[inline]
    const fn is_reference(self) -> bool {
        self.0 & Self::REFERENCE != 0
    }

    /// One of [`kind`], of a reference.
    #[inline]
    const fn kind(self) -> u32 {
        self.0 >> Self::OFFSET_BITS & 15
    }

    /// Granules from the arena's begin.
    #[inline]
    const fn granule(self) -> usize {
        (self.0 & Self::OFFSET) as usize
    }

    /// Whether 16 bits hold it.
    const fn is_narrow(self) -> bool {
        self.0 <= 0xffff
    }

    /// What a look-up answers: below the last bit of an address a reference is damage.
    #[inline]
    const fn answer(self) -> NextHopId {
        if self.is_reference() { NextHopId::CORRUPT } else { NextHopId(self.0) }
    }
}

/// 32 slots and where their answers are: in the low half a bit for each slot whose answer is not that of
/// the slot before (the lowest always), in the high half the place of the first answer in half-words of the
/// arena, shifted by one bit that says that answers are wide (two half-words each).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Word {
    /// `None` for answers that lie too far away for a word (4 GiB).
    fn new(starts: u32, half_word: usize, wide: bool) -> Option<Self> {
        let place = u32::try_from(half_word).ok().filter(|place| *place < 1 << 31)?;
        Some(Self(u64::from(place << 1 | u32::from(wide)) << 32 | u64::from(starts)))
    }

    /// The word of a node of words, as its writer sees it.
    fn of_node(region: &Region, node: Block, slot: u32) -> Option<Self> {
        let words = region.record::<[u64; NODE_WORDS]>(node.offset.bytes())?;
        words.get(slot as usize / SLOTS).copied().map(Self)
    }

    /// Whether a slot has a wide answer that no other slot shares.
    fn has_own(self, slot: u32) -> bool {
        let (slot, starts) = (slot % SLOTS as u32, self.0 as u32);
        let bit = |slot: u32| slot >= SLOTS as u32 || starts >> slot & 1 != 0;
        self.0 >> 32 & 1 != 0 && bit(slot) && bit(slot + 1)
    }

    /// The same word when its answers have moved, by the distance of two places in half-words.
    fn moved(self, from: usize, to: usize) -> Option<Self> {
        let base = (self.0 >> 32) as u32;
        let place = (base >> 1) as usize + to - from;
        Self::new(self.0 as u32, place, base & 1 != 0)
    }

    /// Place of the answer for a slot (only the low five bits of `slot` count), in half-words, and the mask
    /// of its bits.
    #[inline]
    const fn place(self, slot: u32) -> (usize, u32) {
        let (starts, base) = (self.0 as u32, (self.0 >> 32) as u32);
        // The bits up to and with the slot's. A damaged word may have none: then the place is some other.
        let upto = starts & (2u32 << (slot & 31)).wrapping_sub(1);
        let wide = base & 1;
        let index = upto.count_ones().wrapping_sub(1) << wide;
        ((base >> 1).wrapping_add(index) as usize, 0xffff | 0u32.wrapping_sub(wide))
    }
}
