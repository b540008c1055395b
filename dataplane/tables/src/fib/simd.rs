//! Vector instructions of the look-up, chosen when the program runs. All levels read the same bytes.
//!
//! What is read here without atomics is immutable while a reader may see it (docs/UNSAFE.md, tables).
#![allow(unsafe_code)] // intrinsics

use super::look_up::{self, LANES, Masks, Vectors};
use super::{Root4, Root6, Value, kind};
use crate::adjacency::NextHopId;
use crate::segment::{Region, Window};

/// Portable code.
#[derive(Clone, Copy)]
struct Plain;

impl Vectors for Plain {
    const GATHERS: bool = false;

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

    #[inline(always)]
    fn answers(self, _: Window<'_>, _: &[u64; LANES], _: &[u32; LANES], _: &mut [u32; LANES]) -> bool {
        false
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
    pub(super) struct Avx512(());

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
        if more { Level::Avx512(Avx512(())) } else { Level::Avx2(Avx2(())) }
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
        const GATHERS: bool = false;

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

        #[inline(always)]
        fn answers(self, _: Window<'_>, _: &[u64; LANES], _: &[u32; LANES], _: &mut [u32; LANES]) -> bool {
            false
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

    impl Vectors for Avx512 {
        const GATHERS: bool = true;

        #[inline(always)]
        fn count8(self, keys: &[u16; 8], key: u16) -> u32 {
            // SAFETY: the processor has AVX-512 BW and VL (`Avx512`).
            unsafe { count8(keys, key) }
        }

        #[inline(always)]
        fn count16(self, keys: &[u16; 16], key: u16) -> u32 {
            // SAFETY: as above.
            unsafe { count16(keys, key) }
        }

        #[inline(always)]
        fn count31(self, keys: &[u16; 32], key: u16) -> u32 {
            // SAFETY: as above.
            unsafe { count31(keys, key) }
        }

        #[inline(always)]
        fn masks(self, values: &[u32; LANES]) -> Masks {
            // SAFETY: the processor has AVX-512 F (`Avx512`).
            unsafe { masks16(values) }
        }

        #[inline(always)]
        fn answers(
            self,
            window: Window<'_>,
            words: &[u64; LANES],
            slots: &[u32; LANES],
            out: &mut [u32; LANES],
        ) -> bool {
            // SAFETY: the processor has AVX-512 F and VPOPCNTDQ (`Avx512`).
            unsafe { answers(window, words, slots, out) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn count8(keys: &[u16; 8], key: u16) -> u32 {
        // SAFETY: the load is of the 16 bytes of `keys`.
        let starts = unsafe { _mm_loadu_si128(keys.as_ptr().cast()) };
        u32::from(_mm_cmplt_epu16_mask(starts, _mm_set1_epi16(key as i16))).count_ones()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn count16(keys: &[u16; 16], key: u16) -> u32 {
        // SAFETY: the load is of the 32 bytes of `keys`.
        let starts = unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) };
        u32::from(_mm256_cmplt_epu16_mask(starts, _mm256_set1_epi16(key as i16))).count_ones()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn count31(keys: &[u16; 32], key: u16) -> u32 {
        // SAFETY: the load is of the 64 bytes of `keys`.
        let starts = unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) };
        _mm512_mask_cmplt_epu16_mask(u32::MAX >> 1, starts, _mm512_set1_epi16(key as i16)).count_ones()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn masks16(values: &[u32; LANES]) -> Masks {
        let mut masks = Masks::default();
        for (group, values) in values.chunks_exact(16).enumerate() {
            // SAFETY: the load is of the 64 bytes of `values`, sixteen words.
            let values = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
            let tags = _mm512_srli_epi32::<27>(values);
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

    /// See [`Vectors::answers`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512vpopcntdq")]
    fn answers(
        window: Window<'_>,
        words: &[u64; LANES],
        slots: &[u32; LANES],
        out: &mut [u32; LANES],
    ) -> bool {
        // The last half-word at which four bytes can be read; indices are signed words.
        let limit = (window.bytes().saturating_sub(4) / 2).min(i32::MAX as usize) as i32;
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let one = _mm512_set1_epi32(1);
        let odd = _mm512_add_epi32(even, one);
        let mut inside = true;
        for ((words, slots), out) in
            words.chunks_exact(16).zip(slots.chunks_exact(16)).zip(out.chunks_exact_mut(16))
        {
            let (low, high) = words.split_at(8);
            // SAFETY: the load is of the 64 bytes of `low`.
            let low = unsafe { _mm512_loadu_si512(low.as_ptr().cast()) };
            // SAFETY: the load is of the 64 bytes of `high`: sixteen words less eight.
            let high = unsafe { _mm512_loadu_si512(high.as_ptr().cast()) };
            // SAFETY: the load is of the 64 bytes of `slots`.
            let slots = unsafe { _mm512_loadu_si512(slots.as_ptr().cast()) };
            let starts = _mm512_permutex2var_epi32(low, even, high);
            let base = _mm512_permutex2var_epi32(low, odd, high);
            let slot = _mm512_and_si512(slots, _mm512_set1_epi32(31));
            let upto = _mm512_sub_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(2), slot), one);
            let count = _mm512_popcnt_epi32(_mm512_and_si512(starts, upto));
            let wide = _mm512_and_si512(base, one);
            let index = _mm512_sllv_epi32(_mm512_sub_epi32(count, one), wide);
            let place = _mm512_add_epi32(_mm512_srli_epi32::<1>(base), index);
            let safe = _mm512_cmple_epu32_mask(place, _mm512_set1_epi32(limit));
            inside &= safe == u16::MAX;
            let zero = _mm512_setzero_si512();
            // SAFETY: of the lanes that are read (`safe`) 2 * place + 4 <= window.bytes(), so the four bytes
            // are mapped while the window is borrowed, and immutable.
            let read = unsafe { _mm512_mask_i32gather_epi32::<2>(zero, safe, place, window.base().cast()) };
            let narrow = _mm512_testn_epi32_mask(wide, one);
            let read = _mm512_mask_and_epi32(read, narrow, read, _mm512_set1_epi32(0xffff));
            // SAFETY: the store is to the 64 bytes of `out`.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), read) };
        }
        inside
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
        look_up::batch4(region, level, root, keys, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq,avx2,bmi1,bmi2,popcnt")]
    pub(super) fn batch6_avx512(
        region: &Region,
        level: Avx512,
        root: &Root6,
        keys: (&[u64], &[u64]),
        out: &mut [NextHopId],
    ) {
        look_up::batch6(region, level, root, keys, out);
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
