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
    /// Whether the products of 16 codes fit 16 bits.
    const NARROW: bool = false;
    /// Whether the parts of a block are read in another order than they lie in.
    const SCATTERED: bool = false;

    /// The scales of group `GROUP`.
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales;
    /// The codes of group `GROUP`: vector `i` has elements 4i to 4i + 3 of each row.
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8];
}

/// What turns a group's whole numbers into its share of eight results.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    /// What products are times, and offsets: those of the group, or of the block where scales hold for 16 elements.
    pub(super) units: [__m256; 2],
    /// Where scales hold for 16 elements: a scale and an offset for each half in whole numbers, of 16 bits side by side.
    pub(super) factors: [__m256i; 2],
}

impl Scales {
    #[inline(always)]
    unsafe fn of_group(scale: __m256, offset: __m256) -> Self {
        Self { units: [scale, offset], factors: unsafe { [_mm256_setzero_si256(); 2] } }
    }

    /// `factors`: of four halves each, a byte each, of which group `GROUP` has the first or the last two.
    #[inline(always)]
    unsafe fn of_halves<const GROUP: usize>(units: [__m256; 2], factors: [__m256i; 2], signed: bool) -> Self {
        unsafe {
            let bytes = if GROUP.is_multiple_of(2) { 0x0180_0080_u32 } else { 0x0380_0280 };
            let each = _mm256_set1_epi32(bytes as i32);
            let in_row =
                _mm256_setr_epi32(0, 0x0400_0400, 0x0800_0800, 0x0c00_0c00, 0, 0x0400_0400, 0x0800_0800, 0x0c00_0c00);
            let places = _mm256_or_si256(each, in_row);
            let upper = [_mm256_shuffle_epi8(factors[0], places), _mm256_shuffle_epi8(factors[1], places)];
            let factors = if signed {
                [_mm256_srai_epi16::<8>(upper[0]), _mm256_srai_epi16::<8>(upper[1])]
            } else {
                [_mm256_srli_epi16::<8>(upper[0]), _mm256_srli_epi16::<8>(upper[1])]
            };
            Self { units, factors }
        }
    }
}

/// The half-precision scales of eight rows, or their offsets.
#[inline(always)]
unsafe fn halves(block: *const u8, index: usize) -> __m256 {
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(block.add(16 * index).cast())) }
}

/// Word `index` of each row, where the words begin after `apart` bytes a row.
#[inline(always)]
unsafe fn word(block: *const u8, apart: usize, index: usize) -> __m256i {
    unsafe { _mm256_loadu_si256(block.add(8 * apart + 32 * index).cast()) }
}

/// Byte `index` of each word as a float.
#[inline(always)]
unsafe fn byte(words: __m256i, index: usize) -> __m256 {
    unsafe {
        let shifted = _mm256_srl_epi32(words, _mm_cvtsi32_si128(8 * index as i32));
        _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(255)))
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), _mm256_setzero_ps()) }
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), halves(block, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe { nibbles(block, 4, 0) }
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), _mm256_setzero_ps()) }
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), halves(block, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = nibbles(block, 4, 1);
            with_fifth_bits(&mut codes, word(block, 4, 0));
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), _mm256_setzero_ps()) }
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
    const NARROW: bool = true;
    const HALVES: bool = true;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe {
            let four = word(block, 4, GROUP / 2);
            let factors = [bits(four, 0, 15), bits(four, 4, 15)];
            Scales::of_halves::<GROUP>([halves(block, 0), negative(halves(block, 1))], factors, false)
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(word(block, 4, 4 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
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
    const NARROW: bool = true;
    const HALVES: bool = true;
    const ZERO: i32 = 4;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe {
            // Four bits in one of two words, two more in the third; 32 is 0.
            let part = GROUP / 2;
            let low = bits(word(block, 2, 24 + part % 2), part / 2 * 4, 15);
            let high = _mm256_slli_epi16::<4>(bits(word(block, 2, 26), 2 * part, 3));
            let factors = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
            Scales::of_halves::<GROUP>([halves(block, 0), _mm256_setzero_ps()], [factors; 2], true)
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
unsafe fn six_bit_scales<const GROUP: usize>(block: *const u8) -> Scales {
    unsafe {
        let (a, b, c) = (word(block, 4, 0), word(block, 4, 1), word(block, 4, 2));
        let [factors, minimums] = if GROUP < 4 {
            [bits(a, 0, 63), bits(b, 0, 63)]
        } else {
            [_mm256_or_si256(bits(c, 0, 15), bits(a, 2, 0x30)), _mm256_or_si256(bits(c, 4, 15), bits(b, 2, 0x30))]
        };
        let scale = _mm256_mul_ps(halves(block, 0), byte(factors, GROUP % 4));
        let offset = _mm256_mul_ps(negative(halves(block, 1)), byte(minimums, GROUP % 4));
        Scales::of_group(scale, offset)
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { six_bit_scales::<GROUP>(block) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = bits(word(block, 4, 3 + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15);
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { six_bit_scales::<GROUP>(block) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> [__m256i; 8] {
        unsafe {
            let mut codes = [_mm256_setzero_si256(); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let low = bits(word(block, 4, 11 + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15);
                let high = bits(word(block, 4, 3 + i), GROUP, 1);
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
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe {
            let units = [halves(block, 0), _mm256_setzero_ps()];
            Scales::of_halves::<GROUP>(units, [word(block, 2, 48 + GROUP / 2); 2], true)
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
