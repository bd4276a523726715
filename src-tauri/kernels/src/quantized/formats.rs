//! How each block format is taken apart with AVX2: eight rows at a time, a 32-bit word of each in one vector.

use std::arch::x86_64::*;

/// A vector of codes of each group that is [`Blocks::TOGETHER`] with others; what is beyond has no meaning.
pub(super) type Codes = [__m256i; 4];

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
    /// The largest code: it says how many products with activations fit 16 bits.
    const MOST: i32;
    /// Groups whose codes share words: these are taken apart together, so that every word is read once and in order.
    const TOGETHER: usize = 1;
    /// Of each of these, how many bits higher than at the lowest the codes are where they are lifted, which spares
    /// shifts. Only for formats of which the products of 16 codes fit 16 bits.
    const LIFTS: [i32; 4] = [0; 4];
    /// The largest lifted code.
    const MOST_LIFTED: i32 = Self::MOST;

    /// The scales of group `GROUP`.
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales;
    /// Codes `4 * i..4 * i + 4` of each row, of group `GROUP` and those it is together with.
    unsafe fn codes<const GROUP: usize>(block: *const u8, i: usize, lifted: bool) -> Codes;
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
    pub(super) unsafe fn of_group(scale: __m256, offset: __m256) -> Self {
        Self { units: [scale, offset], factors: unsafe { [_mm256_setzero_si256(); 2] } }
    }

    /// `factors`: of four halves each, a byte each, of which group `GROUP` has the first or the last two.
    #[inline(always)]
    pub(super) unsafe fn of_halves<const GROUP: usize>(
        units: [__m256; 2],
        factors: [__m256i; 2],
        signed: bool,
    ) -> Self {
        unsafe {
            let bytes = if GROUP.is_multiple_of(2) { 0x0180_0080_u32 } else { 0x0380_0280 };
            let in_row =
                |row: u32| bytes.wrapping_add(0x0400_0400 * row).rotate_right(if signed { 0 } else { 8 }) as i32;
            let places = _mm256_setr_epi32(
                in_row(0),
                in_row(1),
                in_row(2),
                in_row(3),
                in_row(0),
                in_row(1),
                in_row(2),
                in_row(3),
            );
            let mut wide = [_mm256_shuffle_epi8(factors[0], places), _mm256_shuffle_epi8(factors[1], places)];
            if signed {
                wide = [_mm256_srai_epi16::<8>(wide[0]), _mm256_srai_epi16::<8>(wide[1])];
            }
            Self { units, factors: wide }
        }
    }
}

/// The half-precision scales of eight rows, or their offsets.
#[inline(always)]
pub(super) unsafe fn halves(block: *const u8, index: usize) -> __m256 {
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(block.add(16 * index).cast())) }
}

/// Word `index` of each row, where the words begin after `apart` bytes a row.
#[inline(always)]
pub(super) unsafe fn word(block: *const u8, apart: usize, index: usize) -> __m256i {
    unsafe { _mm256_loadu_si256(block.add(8 * apart + 32 * index).cast()) }
}

/// Byte `index` of each word as a float.
#[inline(always)]
pub(super) unsafe fn byte(words: __m256i, index: usize) -> __m256 {
    unsafe {
        let shifted = _mm256_srl_epi32(words, _mm_cvtsi32_si128(8 * index as i32));
        _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(255)))
    }
}

/// Bytes shifted right, or left where `shift` is negative, and masked.
#[inline(always)]
pub(super) unsafe fn bits(bytes: __m256i, shift: i32, mask: u8) -> __m256i {
    unsafe {
        let shifted = match shift {
            0 => bytes,
            1.. => _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift)),
            _ => _mm256_sll_epi16(bytes, _mm_cvtsi32_si128(-shift)),
        };
        _mm256_and_si256(shifted, _mm256_set1_epi8(mask as i8))
    }
}

#[inline(always)]
pub(super) unsafe fn negative(values: __m256) -> __m256 {
    unsafe { _mm256_xor_ps(values, _mm256_set1_ps(-0.0)) }
}

/// Vector `i` of codes of a group of which four words hold the nibbles: the low ones first, then the high ones.
#[inline(always)]
unsafe fn nibbles(block: *const u8, apart: usize, first: usize, i: usize) -> __m256i {
    unsafe { bits(word(block, apart, first + i % 4), i as i32 / 4 * 4, 15) }
}

/// Vector `i` of fifth bits, one word a row.
#[inline(always)]
unsafe fn fifth_bits(fifths: __m256i, i: usize) -> __m256i {
    unsafe {
        // Byte i / 2 of each word to its four bytes, of which each looks at a bit of its own.
        let spread = _mm256_set1_epi32(0x0101_0101 * (i as i32 / 2));
        let in_word =
            _mm256_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c, 0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c);
        let bytes = _mm256_shuffle_epi8(fifths, _mm256_or_si256(spread, in_word));
        let select = _mm256_set1_epi32(if i.is_multiple_of(2) { 0x0804_0201 } else { 0x8040_2010_u32 as i32 });
        let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, select), select);
        _mm256_and_si256(is_set, _mm256_set1_epi8(16))
    }
}

pub(super) struct Q4_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const ZERO: i32 = 8;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8, i: usize, _: bool) -> Codes {
        unsafe { [nibbles(block, 2, 0, i); 4] }
    }
}

pub(super) struct Q4_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 20;
    const HALVES: bool = false;
    const MOST: i32 = 15;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), halves(block, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8, i: usize, _: bool) -> Codes {
        unsafe { [nibbles(block, 4, 0, i); 4] }
    }
}

pub(super) struct Q5_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 22;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const ZERO: i32 = 16;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8, i: usize, _: bool) -> Codes {
        unsafe {
            let fifths = fifth_bits(word(block, 2, 0), i);
            [_mm256_or_si256(nibbles(block, 2, 1, i), fifths); 4]
        }
    }
}

pub(super) struct Q5_1;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 24;
    const HALVES: bool = false;
    const MOST: i32 = 31;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), halves(block, 1)) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8, i: usize, _: bool) -> Codes {
        unsafe {
            let fifths = fifth_bits(word(block, 4, 0), i);
            [_mm256_or_si256(nibbles(block, 4, 1, i), fifths); 4]
        }
    }
}

pub(super) struct Q8_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALVES: bool = false;
    const MOST: i32 = 255;
    const ZERO: i32 = 128;

    #[inline(always)]
    unsafe fn scales<const GROUP: usize>(block: *const u8) -> Scales {
        unsafe { Scales::of_group(halves(block, 0), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8, i: usize, _: bool) -> Codes {
        unsafe { [_mm256_xor_si256(word(block, 2, i), _mm256_set1_epi8(-128)); 4] }
    }
}
