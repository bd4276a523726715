//! How each block format is taken apart with AVX2: eight rows at a time, a 32-bit word of each in one vector.

use std::arch::x86_64::*;

/// A block format as the kernels need it: element = `scale * (code - ZERO) + offset`, codes unsigned.
///
/// Pointers are to the blocks of eight rows as [`crate::Packed`] has them.
///
/// # Safety
/// The functions need AVX2 and F16C, and pointers to whole blocks.
pub(super) unsafe trait Blocks {
    /// Groups of 32 elements in a block.
    const GROUPS: usize;
    /// Bytes of a row's block.
    const BYTES: usize;
    /// Whether a scale holds for 16 elements instead of 32.
    const HALVES: bool;
    const ZERO: i32;
    /// Whether there are offsets.
    const AFFINE: bool = false;
    /// Whether two products of a code and an activation may not fit 16 bits.
    const WIDE: bool = false;
    /// Whether the parts of a block are read in another order than they lie in.
    const SCATTERED: bool = false;

    /// Scales, a vector for each 32 (or 16) elements; offsets alike where there are any.
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]);
    /// The codes of group `GROUP`: vector `i` has elements 4i to 4i + 3 of each row.
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8];
}

/// Eight half-precision scales that stand apart.
#[inline(always)]
unsafe fn scale_first(block: *const u8) -> __m256 {
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(block.cast())) }
}

/// Word `index` of each row, where the words begin after `apart` bytes a row.
#[inline(always)]
unsafe fn word(block: *const u8, apart: usize, index: usize) -> __m256i {
    unsafe { _mm256_loadu_si256(block.add(8 * apart + 32 * index).cast()) }
}

/// The lower (or upper) half of each word as a half-precision number.
#[inline(always)]
unsafe fn half(words: __m256i, upper: bool) -> __m256 {
    unsafe {
        let chosen = if upper { _mm256_srli_epi32::<16>(words) } else { words };
        let chosen = _mm256_and_si256(chosen, _mm256_set1_epi32(0xffff));
        let packed = _mm256_packus_epi32(chosen, chosen);
        _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(packed)))
    }
}

/// Byte `index` of each word as a float.
#[inline(always)]
unsafe fn byte(words: __m256i, index: usize, mask: i32) -> __m256 {
    unsafe {
        let shifted = _mm256_srl_epi32(words, _mm_cvtsi32_si128(8 * index as i32));
        _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(mask)))
    }
}

/// Bytes shifted right and masked.
#[inline(always)]
unsafe fn bits(bytes: __m256i, shift: usize, mask: i8) -> __m256i {
    unsafe {
        let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32));
        _mm256_and_si256(shifted, _mm256_set1_epi8(mask))
    }
}

#[inline(always)]
unsafe fn negative(values: __m256) -> __m256 {
    unsafe { _mm256_xor_ps(values, _mm256_set1_ps(-0.0)) }
}

/// 32 codes a row from four words of nibbles: the low ones first, then the high ones.
#[inline(always)]
unsafe fn nibbles(block: *const u8, apart: usize, first: usize) -> [__m256i; 8] {
    unsafe {
        let mut codes = [_mm256_setzero_si256(); 8];
        for i in 0..4 {
            let word = word(block, apart, first + i);
            codes[i] = bits(word, 0, 15);
            codes[i + 4] = bits(word, 4, 15);
        }
        codes
    }
}

/// Adds the fifth bits, one word a row.
#[inline(always)]
unsafe fn with_fifth_bits(codes: &mut [__m256i; 8], fifths: __m256i) {
    unsafe {
        for (i, codes) in codes.iter_mut().enumerate() {
            // Byte i / 2 of each word to its four bytes, of which each looks at a bit of its own.
            let spread = _mm256_set1_epi32(0x0101_0101 * (i as i32 / 2));
            let in_word =
                _mm256_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c, 0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
            let bytes = _mm256_shuffle_epi8(fifths, _mm256_or_si256(spread, in_word));
            let select = _mm256_set1_epi32(if i % 2 == 0 { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
            let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, select), select);
            *codes = _mm256_or_si256(*codes, _mm256_and_si256(is_set, _mm256_set1_epi8(16)));
        }
    }
}

pub(super) struct Q4_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALVES: bool = false;
    const ZERO: i32 = 8;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        scales[0] = unsafe { scale_first(block) };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe { nibbles(block, 2, 0) }
    }
}

pub(super) struct Q4_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 20;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe {
            scales[0] = half(word(block, 0, 0), false);
            offsets[0] = half(word(block, 0, 0), true);
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe { nibbles(block, 0, 1) }
    }
}

pub(super) struct Q5_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 22;
    const HALVES: bool = false;
    const ZERO: i32 = 16;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        scales[0] = unsafe { scale_first(block) };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = nibbles(block, 2, 1);
            with_fifth_bits(&mut codes, word(block, 2, 0));
            codes
        }
    }
}

pub(super) struct Q5_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 24;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe {
            scales[0] = half(word(block, 0, 0), false);
            offsets[0] = half(word(block, 0, 0), true);
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = nibbles(block, 0, 2);
            with_fifth_bits(&mut codes, word(block, 0, 1));
            codes
        }
    }
}

pub(super) struct Q8_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALVES: bool = false;
    const ZERO: i32 = 128;
    const WIDE: bool = true;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        scales[0] = unsafe { scale_first(block) };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = _mm256_xor_si256(word(block, 2, i), _mm256_set1_epi8(-128));
            }
            codes
        }
    }
}

pub(super) struct Q2K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q2K {
    const GROUPS: usize = 8;
    const BYTES: usize = 84;
    const SCATTERED: bool = true;
    const HALVES: bool = true;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe {
            let both = word(block, 0, 20);
            let (scale, offset) = (half(both, false), negative(half(both, true)));
            for i in 0..16 {
                let factors = word(block, 0, i / 4);
                scales[i] = _mm256_mul_ps(scale, byte(factors, i % 4, 15));
                offsets[i] = _mm256_mul_ps(offset, byte(_mm256_srli_epi32::<4>(factors), i % 4, 15));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(word(block, 0, 4 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
            }
            codes
        }
    }
}

pub(super) struct Q3K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q3K {
    const GROUPS: usize = 8;
    const BYTES: usize = 110;
    const SCATTERED: bool = true;
    const HALVES: bool = true;
    const ZERO: i32 = 4;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        unsafe {
            let scale = scale_first(block);
            let low = [word(block, 2, 24), word(block, 2, 25)];
            let high = word(block, 2, 26);
            for i in 0..16 {
                let (part, index) = (i / 4, i % 4);
                // Four bits in one of the first two words, two more in the third.
                let shift = |bits: usize| _mm_cvtsi32_si128((bits + 8 * index) as i32);
                let four =
                    _mm256_and_si256(_mm256_srl_epi32(low[part % 2], shift(part / 2 * 4)), _mm256_set1_epi32(15));
                let two = _mm256_and_si256(_mm256_srl_epi32(high, shift(2 * part)), _mm256_set1_epi32(3));
                let factor = _mm256_or_si256(four, _mm256_slli_epi32::<4>(two));
                let factor = _mm256_cvtepi32_ps(_mm256_sub_epi32(factor, _mm256_set1_epi32(32)));
                scales[i] = _mm256_mul_ps(scale, factor);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(word(block, 2, 8 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
                let high = bits(word(block, 2, i), GROUP, 1);
                *codes = _mm256_or_si256(low, _mm256_slli_epi16::<2>(high));
            }
            codes
        }
    }
}

/// Scales and minimums of Q4_K and Q5_K: 6 bits each, packed into three words
/// (`get_scale_min_k4` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).
#[inline(always)]
unsafe fn six_bit_scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
    unsafe {
        let both = word(block, 0, 0);
        let (scale, offset) = (half(both, false), negative(half(both, true)));
        let (a, b, c) = (word(block, 0, 1), word(block, 0, 2), word(block, 0, 3));
        let six = _mm256_set1_epi32(0x3f3f_3f3f);
        let four = _mm256_set1_epi32(0x0f0f_0f0f);
        let top = |words| _mm256_and_si256(_mm256_srli_epi32::<2>(words), _mm256_set1_epi32(0x3030_3030));
        let factors = [_mm256_and_si256(a, six), _mm256_or_si256(_mm256_and_si256(c, four), top(a))];
        let high = _mm256_and_si256(_mm256_srli_epi32::<4>(c), four);
        let minimums = [_mm256_and_si256(b, six), _mm256_or_si256(high, top(b))];
        for i in 0..8 {
            scales[i] = _mm256_mul_ps(scale, byte(factors[i / 4], i % 4, 255));
            offsets[i] = _mm256_mul_ps(offset, byte(minimums[i / 4], i % 4, 255));
        }
    }
}

pub(super) struct Q4K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4K {
    const GROUPS: usize = 8;
    const BYTES: usize = 144;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe { six_bit_scales(block, scales, offsets) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(word(block, 0, 4 + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15);
            }
            codes
        }
    }
}

pub(super) struct Q5K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = 176;
    const SCATTERED: bool = true;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe { six_bit_scales(block, scales, offsets) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(word(block, 0, 12 + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15);
                let high = bits(word(block, 0, 4 + i), GROUP, 1);
                *codes = _mm256_or_si256(low, _mm256_slli_epi16::<4>(high));
            }
            codes
        }
    }
}

pub(super) struct Q6K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = 210;
    const SCATTERED: bool = true;
    const HALVES: bool = true;
    const ZERO: i32 = 32;

    #[inline(always)]
    unsafe fn scales(block: *const u8, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        unsafe {
            let scale = scale_first(block);
            for i in 0..16 {
                let factors = word(block, 2, 48 + i / 4);
                let top = _mm256_sll_epi32(factors, _mm_cvtsi32_si128(24 - 8 * (i as i32 % 4)));
                scales[i] = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(top)));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let (part, quarter) = (GROUP / 4, GROUP % 4);
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(word(block, 2, part * 16 + quarter % 2 * 8 + i), quarter / 2 * 4, 15);
                let high = bits(word(block, 2, 32 + part * 8 + i), quarter * 2, 3);
                *codes = _mm256_or_si256(low, _mm256_slli_epi16::<4>(high));
            }
            codes
        }
    }
}
