//! The readers' half: batches of look-ups, a level at a time, so that the loads of many addresses overlap
//! and no branch depends on one of them.
//!
//! Which lanes need which step is kept in masks of 64 bits. What a processor's vectors can do better than
//! this code stands in [`Vectors`].

use super::simd::Level;
use super::{NODE_WORDS, Root4, Root6, Value, Word, kind};
use crate::adjacency::NextHopId;
use crate::segment::{Region, Window};
use crate::sync::Ordering;
use zerocopy::{FromBytes, Immutable};

/// Addresses of one pass.
pub(super) const LANES: usize = 64;

/// Lanes by what their value is a reference to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Masks {
    pub(super) small: u64,
    pub(super) line: u64,
    pub(super) wide: u64,
    pub(super) words: u64,
    /// Trees of at least one, two, three inner lines; their lanes are in `line` or `wide` too.
    pub(super) trees: [u64; 3],
}

/// What vector instructions do. The counts are of keys in the array that are less than `key`.
pub(super) trait Vectors: Copy {
    fn count8(self, keys: &[u16; 8], key: u16) -> u32;
    fn count16(self, keys: &[u16; 16], key: u16) -> u32;
    /// Of the first 31 only.
    fn count31(self, keys: &[u16; 32], key: u16) -> u32;
    /// Sorts lanes by their values.
    fn masks(self, values: &[u32; LANES]) -> Masks;
}

/// A small node.
type Small = [u16; 16];
/// A line.
pub(super) type Line = [u16; 32];

/// One look-up's way through nodes.
#[derive(Clone, Copy)]
struct Reader<'a, V> {
    window: Window<'a>,
    region: &'a Region,
    vectors: V,
}

/// Looks up IPv4 addresses, as many as both slices have.
#[inline]
pub(crate) fn look_up4(level: Level, region: &Region, root: &Root4, keys: &[u32], out: &mut [NextHopId]) {
    for (keys, out) in keys.chunks(LANES).zip(out.chunks_mut(LANES)) {
        level.batch4(region, root, keys, out);
    }
}

/// Looks up IPv6 addresses, given as their upper and lower halves, as many as all slices have.
#[inline]
pub(crate) fn look_up6(
    level: Level,
    region: &Region,
    root: &Root6,
    (hi, lo): (&[u64], &[u64]),
    out: &mut [NextHopId],
) {
    let halves = hi.chunks(LANES).zip(lo.chunks(LANES));
    for ((hi, lo), out) in halves.zip(out.chunks_mut(LANES)) {
        level.batch6(region, root, (hi, lo), out);
    }
}

/// At most 64 IPv4 addresses.
#[inline(always)]
pub(super) fn batch4<V: Vectors>(
    region: &Region,
    vectors: V,
    root: &Root4,
    keys: &[u32],
    out: &mut [NextHopId],
) {
    let reader = Reader { window: region.window(), region, vectors };
    for (key, out) in keys.iter().zip(out.iter_mut()) {
        // Acquire: cells were written before the word that names them.
        let word = root[(key >> 13) as usize].load(Ordering::Acquire);
        let value = Value(reader.cell(Word(word), key >> 8));
        // Routes longer than /24.
        *out = if value.is_reference() { reader.step(value, (key & 0xff) as u16) } else { value }.answer();
    }
}

/// Takes what was found for the first 24 bits of IPv4 addresses to the end.
#[inline(always)]
pub(super) fn finish4<V: Vectors>(
    region: &Region,
    vectors: V,
    keys: &[u32],
    values: &[u32; LANES],
    out: &mut [NextHopId],
) {
    let mut any = 0;
    for (out, value) in out.iter_mut().zip(values).take(keys.len()) {
        *out = NextHopId(*value);
        any |= *value;
    }
    if Value(any).is_reference() {
        let reader = Reader { window: region.window(), region, vectors };
        for (key, out) in keys.iter().zip(out).filter(|(_, out)| Value(out.0).is_reference()) {
            *out = reader.step(Value(out.0), (key & 0xff) as u16).answer();
        }
    }
}

/// At most 64 IPv6 addresses.
#[inline(always)]
pub(super) fn batch6<V: Vectors>(
    region: &Region,
    vectors: V,
    root: &Root6,
    (hi, lo): (&[u64], &[u64]),
    out: &mut [NextHopId],
) {
    let reader = Reader { window: region.window(), region, vectors };
    let mut values = [0; LANES];
    let mut keys = [0; LANES];
    for ((hi, value), key) in hi.iter().zip(&mut values).zip(&mut keys) {
        // Acquire: nodes were written before the value that names them.
        *value = root[(hi >> 48) as usize].load(Ordering::Acquire);
        *key = (hi >> 32) as u16;
    }
    if reader.level(&mut values, &keys) {
        for (hi, key) in hi.iter().zip(&mut keys) {
            *key = (hi >> 16) as u16;
        }
        if reader.level(&mut values, &keys) {
            reader.rest(&mut values, hi, lo);
        }
    }
    for (value, out) in values.iter().zip(out) {
        // As `Value::answer`: a reference that no node was found for is damage.
        *out = NextHopId((*value).min(NextHopId::CORRUPT.0));
    }
}

/// Takes what was found for the first 48 bits of IPv6 addresses to the end.
#[inline(always)]
pub(super) fn finish6<V: Vectors>(
    region: &Region,
    vectors: V,
    (hi, lo): (&[u64], &[u64]),
    values: &mut [u32; LANES],
    out: &mut [NextHopId],
) {
    let any = values.iter().fold(0, |any, value| any | value);
    if Value(any).is_reference() {
        Reader { window: region.window(), region, vectors }.rest(values, hi, lo);
    }
    for ((value, _), out) in values.iter().zip(hi).zip(out) {
        *out = NextHopId((*value).min(NextHopId::CORRUPT.0));
    }
}

/// The answer of a wide line.
#[inline(always)]
pub(super) fn wide(line: &Line, key: u16) -> u32 {
    let (keys, answers) = line.split_first_chunk::<10>().unwrap_or((&[0; 10], &[]));
    let index = 2 * keys.iter().map(|start| usize::from(*start < key)).sum::<usize>();
    match answers.get(index..index + 2) {
        Some([low, high]) => u32::from(*high) << 16 | u32::from(*low),
        _ => Value::CORRUPT.0,
    }
}

impl<'a, V: Vectors> Reader<'a, V> {
    /// Takes all lanes whose value is a reference one node further. Gives whether any is one after it.
    #[inline(always)]
    fn level(self, values: &mut [u32; LANES], keys: &[u16; LANES]) -> bool {
        let masks = self.vectors.masks(values);
        if masks.words != 0 {
            self.words(masks.words, values, keys);
        }
        for trees in masks.trees.iter().rev() {
            each(*trees, |lane| values[lane] = self.inner(values[lane], keys[lane]));
        }
        let mut left = false;
        each(masks.line, |lane| values[lane] = self.line(values[lane], keys[lane]));
        each(masks.small, |lane| values[lane] = self.small(values[lane], keys[lane]));
        each(masks.wide, |lane| {
            values[lane] = self.wide(values[lane], keys[lane]);
            left |= Value(values[lane]).is_reference();
        });
        // Narrow answers are never references; those of words may be.
        each(masks.words, |lane| left |= Value(values[lane]).is_reference());
        left
    }

    /// The lanes of `mask` through nodes of words.
    #[inline(always)]
    fn words(self, mask: u64, values: &mut [u32; LANES], keys: &[u16; LANES]) {
        each(mask, |lane| {
            let word = Word(self.word(values[lane], keys[lane]));
            values[lane] = self.cell(word, u32::from(keys[lane]));
        });
    }

    /// The word of a node of words that has the slot of `key`.
    #[inline(always)]
    fn word(self, value: u32, key: u16) -> u64 {
        self.node::<[u64; NODE_WORDS]>(value).map_or(0, |node| node[usize::from(key >> 5)])
    }

    #[inline(always)]
    fn cell(self, word: Word, slot: u32) -> u32 {
        let (place, mask) = word.place(slot);
        let halves = self.window.halves(place).or_else(|| late(self.region).halves(place));
        halves.map_or(Value::CORRUPT.0, |[low, high]| (u32::from(*high) << 16 | u32::from(*low)) & mask)
    }

    /// From an inner line to the child for `key`.
    #[inline(always)]
    fn inner(self, value: u32, key: u16) -> u32 {
        match self.node::<Line>(value) {
            Some(line) => value.wrapping_add(2 * (u32::from(line[31]) + self.vectors.count31(line, key))),
            None => Value::CORRUPT.0,
        }
    }

    #[inline(always)]
    fn small(self, value: u32, key: u16) -> u32 {
        let Some(node) = self.node::<Small>(value) else { return Value::CORRUPT.0 };
        let (keys, answers) = node.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let answer = answers.get(self.vectors.count8(keys, key) as usize);
        answer.map_or(Value::CORRUPT.0, |answer| u32::from(*answer))
    }

    #[inline(always)]
    fn line(self, value: u32, key: u16) -> u32 {
        let Some(line) = self.node::<Line>(value) else { return Value::CORRUPT.0 };
        let (keys, answers) = line.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        let answer = answers.get(self.vectors.count16(keys, key) as usize);
        answer.map_or(Value::CORRUPT.0, |answer| u32::from(*answer))
    }

    #[inline(always)]
    fn wide(self, value: u32, key: u16) -> u32 {
        self.node::<Line>(value).map_or(Value::CORRUPT.0, |line| wide(line, key))
    }

    /// One node of one address, whatever it is. Damage answers [`Value::CORRUPT`], which is no reference.
    #[inline(always)]
    fn step(self, value: Value, key: u16) -> Value {
        let mut at = value.0;
        Value(match value.kind() {
            kind::WORDS => self.cell(Word(self.word(at, key)), u32::from(key)),
            kind::SMALL => self.small(at, key),
            kind::LINE => self.line(at, key),
            kind::WIDE => self.wide(at, key),
            kind => {
                for _ in 0..kind & 3 {
                    at = self.inner(at, key);
                }
                if kind & kind::WIDE_TREE != 0 { self.wide(at, key) } else { self.line(at, key) }
            }
        })
    }

    /// Routes longer than 48 bits: few, so one address at a time.
    #[inline(never)]
    fn rest(self, values: &mut [u32; LANES], hi: &[u64], lo: &[u64]) {
        for ((hi, lo), value) in hi.iter().zip(lo).zip(values) {
            let mut at = Value(*value);
            // The steps left: bits 48..64 of the upper half, then the lower half.
            let keys = [*hi as u16, (lo >> 48) as u16, (lo >> 32) as u16, (lo >> 16) as u16, *lo as u16];
            for key in keys {
                if !at.is_reference() {
                    break;
                }
                at = self.step(at, key);
            }
            *value = at.answer().0;
        }
    }

    #[inline(always)]
    fn node<T: FromBytes + Immutable>(self, value: u32) -> Option<&'a T> {
        let granule = Value(value).granule();
        self.window.record(granule).or_else(|| late(self.region).record(granule))
    }
}

/// What is mapped now: the writer may use a segment as soon as its mapping is acknowledged, which no
/// look-up waits for.
#[cold]
fn late(region: &Region) -> Window<'_> {
    region.window()
}

/// Calls `step` for every lane of a mask.
#[inline(always)]
fn each(mut mask: u64, mut step: impl FnMut(usize)) {
    while mask != 0 {
        let lane = mask.trailing_zeros() as usize % LANES;
        mask &= mask - 1;
        step(lane);
    }
}
