//! Classes of IPv4 addresses: sorted ranges behind a bitmap of their top 16 bits.
//!
//! Most addresses of the Internet have no class and share their /16 with none that has one; for them the
//! answer is one bit of an 8 KiB page.

use sixlane_tunnel::Class4;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words of the bitmap over the top 16 bits of an address.
pub(crate) const BITMAP_WORDS: usize = 65_536 / 32;

/// The bitmap: bit set = look into the ranges.
pub(crate) type Bitmap = [u32; BITMAP_WORDS];

/// Addresses `first..=last` (numbers in host order) and what they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ClassRange {
    /// First address.
    pub first: u32,
    /// Last address.
    pub last: u32,
    /// Their class.
    pub class: Class4,
    /// Zero.
    pub reserved: u16,
}

impl ClassRange {
    /// The range `first..=last`.
    #[must_use]
    pub const fn new(first: u32, last: u32, class: Class4) -> Self {
        Self { first, last, class, reserved: 0 }
    }

    /// The range of the prefix `address/len` (`len` up to 32; host bits are ignored).
    #[must_use]
    pub const fn of_prefix(address: u32, len: u8, class: Class4) -> Self {
        let span = 1u64 << (32 - if len > 32 { 32 } else { len });
        let hosts = (span - 1) as u32;
        Self::new(address & !hosts, address | hosts, class)
    }
}

/// Makes disjoint, sorted ranges out of any: where ranges overlap, the classes are united. Reversed and
/// empty ones are ignored.
#[must_use]
pub(crate) fn normalise(ranges: &[ClassRange]) -> Vec<ClassRange> {
    let valid = || ranges.iter().filter(|range| range.first <= range.last && !range.class.is_empty());
    let mut cuts: Vec<u64> =
        valid().flat_map(|range| [u64::from(range.first), u64::from(range.last) + 1]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut starts: Vec<&ClassRange> = valid().collect();
    starts.sort_unstable_by_key(|range| range.first);
    let mut next = starts.into_iter().peekable();
    let mut open: Vec<&ClassRange> = Vec::new();
    let mut result: Vec<ClassRange> = Vec::new();
    for pair in cuts.windows(2) {
        let &[from, to] = pair else { continue };
        let (first, last) = (from as u32, (to - 1) as u32);
        open.retain(|range| range.last >= first);
        while let Some(range) = next.next_if(|range| range.first <= first) {
            open.push(range);
        }
        let class = open.iter().fold(Class4::NONE, |class, range| class.union(range.class));
        if class.is_empty() {
            continue;
        }
        match result.last_mut() {
            Some(previous) if previous.class == class && u64::from(previous.last) + 1 == from => {
                previous.last = last;
            }
            _ => result.push(ClassRange::new(first, last, class)),
        }
    }
    result
}

/// The bitmap of normalised ranges.
#[must_use]
pub(crate) fn bitmap(ranges: &[ClassRange]) -> Box<Bitmap> {
    let mut map = Box::new([0; BITMAP_WORDS]);
    for range in ranges {
        for top in range.first >> 16..=range.last >> 16 {
            if let Some(word) = map.get_mut(top as usize / 32) {
                *word |= 1 << (top % 32);
            }
        }
    }
    map
}

/// The class of `address`.
#[inline]
#[must_use]
pub(crate) fn look_up(map: &Bitmap, ranges: &[ClassRange], address: u32) -> Class4 {
    let top = address >> 16;
    if map[top as usize / 32] & (1 << (top % 32)) == 0 {
        return Class4::NONE;
    }
    let after = ranges.partition_point(|range| range.first <= address);
    match after.checked_sub(1).and_then(|index| ranges.get(index)) {
        Some(range) if address <= range.last => range.class,
        _ => Class4::NONE,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(ranges: &[ClassRange], address: u32) -> Class4 {
        let holds = |range: &&ClassRange| range.first <= address && address <= range.last;
        ranges.iter().filter(holds).fold(Class4::NONE, |class, range| class.union(range.class))
    }

    #[test]
    fn prefixes_become_ranges() {
        let class = Class4::OWN;
        assert_eq!(
            ClassRange::of_prefix(0x0a01_0203, 8, class),
            ClassRange::new(0x0a00_0000, 0x0aff_ffff, class)
        );
        assert_eq!(ClassRange::of_prefix(7, 32, class), ClassRange::new(7, 7, class));
        assert_eq!(ClassRange::of_prefix(7, 0, class), ClassRange::new(0, u32::MAX, class));
    }

    proptest! {
        #[test]
        fn ranges_agree_with_a_list(
            raw in prop::collection::vec((any::<u32>(), 0u32..200_000, 1u16..128), 0..40),
            whole in any::<bool>(),
            probes in prop::collection::vec(any::<u32>(), 50),
        ) {
            let mut ranges: Vec<_> = raw.iter()
                .map(|&(first, span, class)| ClassRange::new(first, first.saturating_add(span), Class4::from_bits(class)))
                .collect();
            if whole {
                ranges.push(ClassRange::new(0, u32::MAX, Class4::NOT_ALLOWED));
            }
            let sorted = normalise(&ranges);
            let map = bitmap(&sorted);
            prop_assert!(sorted.windows(2).all(|pair| pair[0].last < pair[1].first));
            let edges = ranges.iter().flat_map(|range| {
                [range.first.saturating_sub(1), range.first, range.last, range.last.saturating_add(1)]
            });
            for address in probes.into_iter().chain(edges) {
                prop_assert_eq!(look_up(&map, &sorted, address), naive(&ranges, address));
            }
        }
    }
}
