//! Vector instructions of the look-up, chosen when the program runs. All levels read the same bytes.
//!
//! What is read here without atomics is immutable while a reader may see it (docs/UNSAFE.md, tables).
#![allow(unsafe_code)] // intrinsics

use super::look_up::{self, LANES, Line, Masks, Vectors};
use super::{NODE_WORDS, Root4, Root6, Value, kind};
use crate::adjacency::NextHopId;
use crate::layout::GRANULE;
use crate::segment::{Region, Window};
use crate::sync::Ordering;

/// Portable code.
#[derive(Clone, Copy)]
struct Plain;

impl Vectors for Plain {
    #[inline(always)]
    fn count8(self, keys: &[u16; 8], key: u16) -> u32 {
        keys.iter().map(|start| u32::from(*start < key)).sum()
    }

    #[inline(always)]
    fn count16(self, keys: &[u16; 16], key: u16) -> u32 {
        keys.iter().map(|start| u32::from(*start < key)).sum()
    }

    #[inline(always)]
    fn count31(self, keys: &[u16; 32], key: u16) -> u32 {
        keys.iter().take(31).map(|start| u32::from(*start < key)).sum()
    }

    #[inline(always)]
    fn masks(self, values: &[u32; LANES]) -> Masks {
        let mut masks = Masks::default();
        for (lane, value) in values.iter().enumerate().filter(|(_, value)| Value(**value).is_reference()) {
            let kind = Value(*value).kind();
            let bit = 1 << lane;
            match kind {
                kind::SMALL => masks.small |= bit,
                kind::WORDS => masks.words |= bit,
                _ if kind == kind::LINE || kind & kind::TREE != 0 => masks.line |= bit,
                _ => masks.wide |= bit,
            }
            if (kind::TREE..kind::WORDS).contains(&kind) {
                let deep = masks.trees.iter_mut().take(kind as usize & 3);
                deep.for_each(|trees| *trees |= bit);
            }
        }
        masks
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::*;

    /// A processor with AVX2, BMI and POPCNT; made only by [`level`].
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    /// One with AVX-512 F, BW, VL, DQ and VPOPCNTDQ besides; made only by [`level`].
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(Avx2);

    /// What this processor has.
    #[derive(Clone, Copy)]
    pub(super) enum Level {
        Plain,
        Avx2(Avx2),
        Avx512(Avx512),
    }

    /// Looks what this processor has; remembered by the standard library.
    #[inline]
    pub(super) fn level() -> Level {
        let two = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        if !two {
            return Level::Plain;
        }
        let more = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vpopcntdq");
        if more { Level::Avx512(Avx512(Avx2(()))) } else { Level::Avx2(Avx2(())) }
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(super) fn levels() -> Vec<Level> {
        match level() {
            Level::Plain => vec![Level::Plain],
            Level::Avx2(_) => vec![Level::Plain, level()],
            Level::Avx512(_) => vec![Level::Plain, Level::Avx2(Avx2(())), level()],
        }
    }

    /// The number of half-words of `keys` below the key, from a mask with two bits for each that is not.
    #[inline(always)]
    fn below(not_below: i32) -> u32 {
        (!not_below).count_ones() / 2
    }

    impl Vectors for Avx2 {
        #[inline(always)]
        fn count8(self, keys: &[u16; 8], key: u16) -> u32 {
            // SAFETY: the processor has AVX2 (`Avx2`), and so SSE2; the load is of the 16 bytes of `keys`.
            let starts = unsafe { _mm_loadu_si128(keys.as_ptr().cast()) };
            // SAFETY: the processor has AVX2.
            below(unsafe { not_below8(starts, key) } | 0xffff_0000_u32 as i32)
        }

        #[inline(always)]
        fn count16(self, keys: &[u16; 16], key: u16) -> u32 {
            // SAFETY: the processor has AVX2 (`Avx2`); the load is of the 32 bytes of `keys`.
            let starts = unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) };
            // SAFETY: the processor has AVX2.
            below(unsafe { not_below(starts, key) })
        }

        #[inline(always)]
        fn count31(self, keys: &[u16; 32], key: u16) -> u32 {
            let (low, high) = keys.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
            let high = high.first_chunk::<16>().unwrap_or(&[0; 16]);
            // SAFETY: the processor has AVX2 (`Avx2`); the load is of the 32 bytes of `low`.
            let low = unsafe { _mm256_loadu_si256(low.as_ptr().cast()) };
            // SAFETY: as above, of `high`.
            let high = unsafe { _mm256_loadu_si256(high.as_ptr().cast()) };
            // SAFETY: the processor has AVX2.
            let low = unsafe { not_below(low, key) };
            // SAFETY: the processor has AVX2. The last half-word is no key: its bits are set, as not below.
            let high = unsafe { not_below(high, key) } | 0xc000_0000_u32 as i32;
            below(low) + below(high)
        }

        #[inline(always)]
        fn masks(self, values: &[u32; LANES]) -> Masks {
            // SAFETY: the processor has AVX2.
            unsafe { masks2(values) }
        }
    }

    /// Two bits for each half-word that is not less than the key.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn not_below(starts: __m256i, key: u16) -> i32 {
        let key = _mm256_set1_epi16(key as i16);
        // Unsigned: the greater of both is the start.
        _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_max_epu16(starts, key), starts))
    }

    /// The same of eight half-words, in the low half of the mask.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn not_below8(starts: __m128i, key: u16) -> i32 {
        let key = _mm_set1_epi16(key as i16);
        _mm_movemask_epi8(_mm_cmpeq_epi16(_mm_max_epu16(starts, key), starts))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn masks2(values: &[u32; LANES]) -> Masks {
        let mut masks = Masks::default();
        for (group, values) in values.chunks_exact(8).enumerate() {
            // SAFETY: the load is of the 32 bytes of `values`, eight words.
            let values = unsafe { _mm256_loadu_si256(values.as_ptr().cast()) };
            let tags = _mm256_srli_epi32::<27>(values);
            let bits = |lanes: __m256i| {
                u64::from(_mm256_movemask_ps(_mm256_castsi256_ps(lanes)) as u32) << (8 * group)
            };
            let is = |kind: u32| _mm256_cmpeq_epi32(tags, _mm256_set1_epi32((16 | kind) as i32));
            let over = |kind: u32| _mm256_cmpgt_epi32(tags, _mm256_set1_epi32((16 | kind) as i32));
            let words = is(kind::WORDS);
            let trees = _mm256_andnot_si256(words, over(kind::TREE));
            let wide = _mm256_and_si256(trees, over(kind::WIDE_TREE));
            masks.small |= bits(is(kind::SMALL));
            masks.words |= bits(words);
            masks.line |= bits(is(kind::LINE)) | bits(_mm256_andnot_si256(wide, trees));
            masks.wide |= bits(is(kind::WIDE)) | bits(wide);
            let depth = _mm256_and_si256(tags, _mm256_set1_epi32(3));
            for (least, mask) in masks.trees.iter_mut().enumerate() {
                let deep = _mm256_cmpgt_epi32(depth, _mm256_set1_epi32(least as i32));
                *mask |= bits(_mm256_and_si256(trees, deep));
            }
        }
        masks
    }

    /// A word for each of 64 lanes, sixteen a register.
    type Lanes = [__m512i; GROUPS];

    const GROUPS: usize = LANES / 16;

    /// Fewer addresses are not worth the vectors.
    const WORTH: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn load(words: &[u32; 16]) -> __m512i {
        // SAFETY: the load is of the 64 bytes of `words`.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn load64(words: &[u64; 8]) -> __m512i {
        // SAFETY: the load is of the 64 bytes of `words`.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn store(to: &mut [u32; 16], words: __m512i) {
        // SAFETY: the store is to the 64 bytes of `to`.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) }
    }

    /// The low and the high halves of sixteen words of 64 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn halves(first: __m512i, second: __m512i) -> (__m512i, __m512i) {
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        (_mm512_permutex2var_epi32(first, even, second), _mm512_permutex2var_epi32(first, odd, second))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn count31(keys: &[u16; 32], key: u32) -> u32 {
        // SAFETY: the load is of the 64 bytes of `keys`.
        let starts = unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) };
        _mm512_mask_cmplt_epu16_mask(u32::MAX >> 1, starts, _mm512_set1_epi16(key as i16)).count_ones()
    }

    /// Of the first fifteen.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn count15(keys: &[u16; 16], key: u32) -> usize {
        // SAFETY: the load is of the 32 bytes of `keys`.
        let starts = unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) };
        let below = _mm256_mask_cmplt_epu16_mask(0x7fff, starts, _mm256_set1_epi16(key as i16));
        below.count_ones() as usize
    }

    /// Of the first seven.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn count7(keys: &[u16; 8], key: u32) -> usize {
        // SAFETY: the load is of the 16 bytes of `keys`.
        let starts = unsafe { _mm_loadu_si128(keys.as_ptr().cast()) };
        let below = _mm_mask_cmplt_epu16_mask(0x7f, starts, _mm_set1_epi16(key as i16));
        below.count_ones() as usize
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn masks16(values: &Lanes) -> Masks {
        let mut masks = Masks::default();
        for (group, values) in values.iter().enumerate() {
            let tags = _mm512_srli_epi32::<27>(*values);
            let word = |kind: u32| _mm512_set1_epi32((16 | kind) as i32);
            let is = |kind: u32| _mm512_cmpeq_epi32_mask(tags, word(kind));
            let words = is(kind::WORDS);
            let trees = _mm512_cmpgt_epi32_mask(tags, word(kind::TREE)) & !words;
            let wide = _mm512_cmpgt_epi32_mask(tags, word(kind::WIDE_TREE)) & trees;
            let at = |lanes: u16| u64::from(lanes) << (16 * group);
            masks.small |= at(is(kind::SMALL));
            masks.words |= at(words);
            masks.line |= at(is(kind::LINE) | (trees & !wide));
            masks.wide |= at(is(kind::WIDE) | wide);
            let depth = _mm512_and_si512(tags, _mm512_set1_epi32(3));
            for (least, mask) in masks.trees.iter_mut().enumerate() {
                let deep = _mm512_mask_cmpgt_epi32_mask(trees, depth, _mm512_set1_epi32(least as i32));
                *mask |= at(deep);
            }
        }
        masks
    }

    /// The answers of sixteen words for the slots of `keys`; lanes that are not among `lanes` keep what they
    /// have in `values`. `None` when an answer may lie outside of the window.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn cells(
        window: Window<'_>,
        (first, second): (__m512i, __m512i),
        keys: __m512i,
        lanes: u16,
        values: __m512i,
    ) -> Option<__m512i> {
        // The last half-word at which four bytes can be read; indices are signed words.
        let limit = (window.bytes().saturating_sub(4) / 2).min(i32::MAX as usize) as i32;
        let one = _mm512_set1_epi32(1);
        let (starts, base) = halves(first, second);
        let slot = _mm512_and_si512(keys, _mm512_set1_epi32(31));
        let upto = _mm512_sub_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(2), slot), one);
        let count = _mm512_popcnt_epi32(_mm512_and_si512(starts, upto));
        let wide = _mm512_and_si512(base, one);
        let index = _mm512_sllv_epi32(_mm512_sub_epi32(count, one), wide);
        let place = _mm512_add_epi32(_mm512_srli_epi32::<1>(base), index);
        let safe = _mm512_mask_cmple_epu32_mask(lanes, place, _mm512_set1_epi32(limit));
        if safe != lanes {
            return None;
        }
        // SAFETY: of the lanes that are read (`safe`) 2 * place + 4 <= window.bytes(), so the four bytes are
        // mapped while the window is borrowed, and immutable.
        let read = unsafe { _mm512_mask_i32gather_epi32::<2>(values, safe, place, window.base().cast()) };
        let narrow = _mm512_mask_testn_epi32_mask(lanes, base, one);
        Some(_mm512_mask_and_epi32(read, narrow, read, _mm512_set1_epi32(0xffff)))
    }

    /// Sixteen words of nodes of words, for the lanes of `lanes`; `None` when a node may lie outside of the
    /// window.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn words(window: Window<'_>, values: __m512i, keys: __m512i, lanes: u16) -> Option<(__m512i, __m512i)> {
        // The last granule at which a node can begin.
        let limit = window.bytes().checked_sub(NODE_WORDS * 8)? / GRANULE;
        let limit = limit.min(Value::OFFSET as usize) as i32;
        let granule = _mm512_and_si512(values, _mm512_set1_epi32(Value::OFFSET as i32));
        let safe = _mm512_mask_cmple_epu32_mask(lanes, granule, _mm512_set1_epi32(limit));
        if safe != lanes {
            return None;
        }
        let word = _mm512_and_si512(_mm512_srli_epi32::<5>(keys), _mm512_set1_epi32(NODE_WORDS as i32 - 1));
        // In words of 64 bits: four a granule.
        let place = _mm512_add_epi32(_mm512_slli_epi32::<2>(granule), word);
        let zero = _mm512_setzero_si512();
        let (low, high) = (_mm512_castsi512_si256(place), _mm512_extracti64x4_epi64::<1>(place));
        let base = window.base();
        // SAFETY: of the lanes that are read (`safe`) the whole node lies in the window (above) and the word
        // in the node, so it is mapped while the window is borrowed, and immutable.
        let first = unsafe { _mm512_mask_i32gather_epi64::<8>(zero, safe as u8, low, base.cast()) };
        // SAFETY: as above, of the other eight lanes.
        let second = unsafe { _mm512_mask_i32gather_epi64::<8>(zero, (safe >> 8) as u8, high, base.cast()) };
        Some((first, second))
    }

    /// Takes the lanes of all nodes but words to their answers. `None` when a node lies outside of the
    /// window.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn nodes(window: Window<'_>, masks: &Masks, values: &mut Lanes, keys: &Lanes) -> Option<()> {
        let (mut answers, mut sorted) = ([0; LANES], [0; LANES]);
        for (group, to) in answers.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            store(to, values[group]);
        }
        for (group, to) in sorted.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            store(to, keys[group]);
        }
        for trees in masks.trees.iter().rev() {
            let mut left = *trees;
            while left != 0 {
                let lane = next(&mut left);
                let line: &Line = window.record(Value(answers[lane]).granule())?;
                answers[lane] += 2 * (u32::from(line[31]) + count31(line, sorted[lane]));
            }
        }
        let mut left = masks.line;
        while left != 0 {
            let lane = next(&mut left);
            let [starts, found]: &[[u16; 16]; 2] = window.record(Value(answers[lane]).granule())?;
            answers[lane] = u32::from(found[count15(starts, sorted[lane]) & 15]);
        }
        let mut left = masks.small;
        while left != 0 {
            let lane = next(&mut left);
            let [starts, found]: &[[u16; 8]; 2] = window.record(Value(answers[lane]).granule())?;
            answers[lane] = u32::from(found[count7(starts, sorted[lane]) & 7]);
        }
        let mut left = masks.wide;
        while left != 0 {
            let lane = next(&mut left);
            let line: &Line = window.record(Value(answers[lane]).granule())?;
            answers[lane] = look_up::wide(line, sorted[lane] as u16);
        }
        for (to, from) in values.iter_mut().zip(answers.as_chunks::<16>().0) {
            *to = load(from);
        }
        Some(())
    }

    /// Takes a lane out of a mask.
    #[inline(always)]
    fn next(mask: &mut u64) -> usize {
        let lane = mask.trailing_zeros() as usize % LANES;
        *mask &= *mask - 1;
        lane
    }

    /// Takes all lanes whose value is a reference one node further.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn step(window: Window<'_>, values: &mut Lanes, keys: &Lanes) -> Option<()> {
        let masks = masks16(values);
        if masks.words != 0 {
            let mut read = [(_mm512_setzero_si512(), _mm512_setzero_si512()); GROUPS];
            for (group, read) in read.iter_mut().enumerate() {
                *read = words(window, values[group], keys[group], (masks.words >> (16 * group)) as u16)?;
            }
            for (group, read) in read.iter().enumerate() {
                let lanes = (masks.words >> (16 * group)) as u16;
                values[group] = cells(window, *read, keys[group], lanes, values[group])?;
            }
        }
        if masks.small | masks.line | masks.wide != 0 {
            nodes(window, &masks, values, keys)?;
        }
        Some(())
    }

    /// The first 24 bits of 64 IPv4 addresses. `None` when what is needed may lie outside of the window.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn wide4(window: Window<'_>, root: &Root4, keys: &[u32; LANES], out: &mut [u32; LANES]) -> Option<()> {
        let mut words = [0; LANES];
        for (word, key) in words.iter_mut().zip(keys) {
            // Acquire: cells were written before the word that names them.
            *word = root[(key >> 13) as usize].load(Ordering::Acquire);
        }
        let groups = words.as_chunks::<16>().0.iter().zip(keys.as_chunks::<16>().0);
        for ((words, keys), out) in groups.zip(out.as_chunks_mut::<16>().0) {
            let [first, second] = words.as_chunks::<8>().0 else { return None };
            let slots = _mm512_srli_epi32::<8>(load(keys));
            let words = (load64(first), load64(second));
            store(out, cells(window, words, slots, u16::MAX, _mm512_setzero_si512())?);
        }
        Some(())
    }

    /// The first 48 bits of 64 IPv6 addresses. `None` when what is needed may lie outside of the window.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    fn wide6(window: Window<'_>, root: &Root6, hi: &[u64; LANES], out: &mut [u32; LANES]) -> Option<()> {
        let mut roots = [0; LANES];
        for (value, hi) in roots.iter_mut().zip(hi) {
            // Acquire: nodes were written before the value that names them.
            *value = root[(hi >> 48) as usize].load(Ordering::Acquire);
        }
        let zero = _mm512_setzero_si512();
        let (mut values, mut high, mut low): (Lanes, Lanes, Lanes) = ([zero; 4], [zero; 4], [zero; 4]);
        let groups = hi.as_chunks::<16>().0.iter().zip(roots.as_chunks::<16>().0);
        for (group, (hi, roots)) in groups.enumerate() {
            let [first, second] = hi.as_chunks::<8>().0 else { return None };
            let (lower, upper) = halves(load64(first), load64(second));
            values[group] = load(roots);
            high[group] = _mm512_and_si512(upper, _mm512_set1_epi32(0xffff));
            low[group] = _mm512_srli_epi32::<16>(lower);
        }
        step(window, &mut values, &high)?;
        step(window, &mut values, &low)?;
        for (to, values) in out.as_chunks_mut::<16>().0.iter_mut().zip(values) {
            store(to, values);
        }
        Some(())
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub(super) fn batch4_avx2(
        region: &Region,
        level: Avx2,
        root: &Root4,
        keys: &[u32],
        out: &mut [NextHopId],
    ) {
        look_up::batch4(region, level, root, keys, out);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub(super) fn batch6_avx2(
        region: &Region,
        level: Avx2,
        root: &Root6,
        keys: (&[u64], &[u64]),
        out: &mut [NextHopId],
    ) {
        look_up::batch6(region, level, root, keys, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    pub(super) fn batch4_avx512(
        region: &Region,
        level: Avx512,
        root: &Root4,
        keys: &[u32],
        out: &mut [NextHopId],
    ) {
        let mut values = [0; LANES];
        if keys.len() >= WORTH
            && let Some(()) = wide4(region.window(), root, &padded(keys), &mut values)
        {
            return look_up::finish4(region, level.0, keys, &values, out);
        }
        look_up::batch4(region, level.0, root, keys, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    pub(super) fn batch6_avx512(
        region: &Region,
        level: Avx512,
        root: &Root6,
        keys: (&[u64], &[u64]),
        out: &mut [NextHopId],
    ) {
        let mut values = [0; LANES];
        if keys.0.len() >= WORTH
            && let Some(()) = wide6(region.window(), root, &padded(keys.0), &mut values)
        {
            return look_up::finish6(region, level.0, keys, &mut values, out);
        }
        look_up::batch6(region, level.0, root, keys, out);
    }

    /// A full batch, whose last addresses are zeros.
    #[inline(always)]
    fn padded<T: Copy + Default>(keys: &[T]) -> [T; LANES] {
        if let Ok(keys) = keys.try_into() {
            return keys;
        }
        let mut all = [T::default(); LANES];
        all.iter_mut().zip(keys).for_each(|(to, key)| *to = *key);
        all
    }
}

/// What this processor has for the look-up.
#[derive(Clone, Copy)]
pub(crate) struct Level(#[cfg(target_arch = "x86_64")] x86::Level);

impl Level {
    /// The best of this processor's.
    #[inline]
    pub(crate) fn best() -> Self {
        Self(
            #[cfg(target_arch = "x86_64")]
            x86::level(),
        )
    }

    /// All that this processor has, to be compared with each other.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return x86::levels().into_iter().map(Self).collect();
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::best()]
    }

    /// At most 64 IPv4 addresses.
    #[inline]
    pub(super) fn batch4(self, region: &Region, root: &Root4, keys: &[u32], out: &mut [NextHopId]) {
        #[cfg(target_arch = "x86_64")]
        match self.0 {
            x86::Level::Plain => {}
            // SAFETY: the processor has what the function enables: `level` made the token.
            x86::Level::Avx2(level) => return unsafe { x86::batch4_avx2(region, level, root, keys, out) },
            x86::Level::Avx512(level) => {
                // SAFETY: as above.
                return unsafe { x86::batch4_avx512(region, level, root, keys, out) };
            }
        }
        look_up::batch4(region, Plain, root, keys, out);
    }

    /// At most 64 IPv6 addresses.
    #[inline]
    pub(super) fn batch6(self, region: &Region, root: &Root6, keys: (&[u64], &[u64]), out: &mut [NextHopId]) {
        #[cfg(target_arch = "x86_64")]
        match self.0 {
            x86::Level::Plain => {}
            // SAFETY: the processor has what the function enables: `level` made the token.
            x86::Level::Avx2(level) => return unsafe { x86::batch6_avx2(region, level, root, keys, out) },
            x86::Level::Avx512(level) => {
                // SAFETY: as above.
                return unsafe { x86::batch6_avx512(region, level, root, keys, out) };
            }
        }
        look_up::batch6(region, Plain, root, keys, out);
    }
}
