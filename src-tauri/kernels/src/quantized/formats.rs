//! How each block format is taken apart with AVX2: the codes of one row, the scales of eight rows at a time.

use std::arch::x86_64::*;

/// The blocks of eight rows at the same place, one pointer a row.
pub(super) type Rows = [*const u8; 8];

/// A block format as the kernels need it: element = `scale * (code - ZERO) + offset`, codes unsigned.
///
/// # Safety
/// The functions need AVX2 and F16C, and pointers to whole blocks.
pub(super) unsafe trait Blocks {
    /// Groups of 32 elements in a block.
    const GROUPS: usize;
    const BYTES: usize;
    /// Whether a scale holds for 16 elements instead of 32.
    const HALVES: bool;
    const ZERO: i32;
    /// Whether there are offsets.
    const AFFINE: bool = false;
    /// Whether two products of a code and an activation may not fit 16 bits.
    const WIDE: bool = false;

    /// Scales of eight rows, a vector for each 32 (or 16) elements; offsets alike where there are any.
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]);
    /// The codes of group `GROUP` of the block at `block`, in the order of the elements.
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i;
}

/// The half-precision numbers at byte `at` of eight blocks.
#[inline(always)]
unsafe fn halves(rows: &Rows, at: usize) -> __m256 {
    unsafe {
        let half = |row: usize| rows[row].add(at).cast::<i16>().read_unaligned();
        let all = _mm_set_epi16(half(7), half(6), half(5), half(4), half(3), half(2), half(1), half(0));
        _mm256_cvtph_ps(all)
    }
}

/// The 32-bit words at byte `at` of eight blocks.
#[inline(always)]
unsafe fn words(rows: &Rows, at: usize) -> __m256i {
    unsafe {
        let word = |row: usize| rows[row].add(at).cast::<i32>().read_unaligned();
        _mm256_set_epi32(word(7), word(6), word(5), word(4), word(3), word(2), word(1), word(0))
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

/// 16 bytes: their low nibbles, then their high nibbles.
#[inline(always)]
unsafe fn nibbles(from: *const u8) -> __m256i {
    unsafe {
        let twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast()));
        let shifted = _mm256_srlv_epi64(twice, _mm256_set_epi64x(4, 4, 0, 0));
        _mm256_and_si256(shifted, _mm256_set1_epi8(15))
    }
}

/// 32 bytes, shifted right by `shift` and masked.
#[inline(always)]
unsafe fn bits(from: *const u8, shift: usize, mask: i8) -> __m256i {
    unsafe {
        let bytes = _mm256_loadu_si256(from.cast());
        let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32));
        _mm256_and_si256(shifted, _mm256_set1_epi8(mask))
    }
}

/// 32 bits as 32 bytes of 0 or 16.
#[inline(always)]
unsafe fn fifth_bits(from: *const u8) -> __m256i {
    unsafe {
        let all = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
        let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
        let bytes = _mm256_shuffle_epi8(all, spread);
        let select = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, select), select);
        _mm256_and_si256(is_set, _mm256_set1_epi8(16))
    }
}

pub(super) struct Q4_0;
// SAFETY: reads 18 bytes of a block.
unsafe impl Blocks for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 18;
    const HALVES: bool = false;
    const ZERO: i32 = 8;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        scales[0] = unsafe { halves(rows, 0) };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { nibbles(block.add(2)) }
    }
}

pub(super) struct Q4_1;
// SAFETY: reads 20 bytes of a block.
unsafe impl Blocks for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 20;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe {
            scales[0] = halves(rows, 0);
            offsets[0] = halves(rows, 2);
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { nibbles(block.add(4)) }
    }
}

pub(super) struct Q5_0;
// SAFETY: reads 22 bytes of a block.
unsafe impl Blocks for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 22;
    const HALVES: bool = false;
    const ZERO: i32 = 16;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        scales[0] = unsafe { halves(rows, 0) };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { _mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2))) }
    }
}

pub(super) struct Q5_1;
// SAFETY: reads 24 bytes of a block.
unsafe impl Blocks for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 24;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe {
            scales[0] = halves(rows, 0);
            offsets[0] = halves(rows, 2);
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4))) }
    }
}

pub(super) struct Q8_0;
// SAFETY: reads 34 bytes of a block.
unsafe impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALVES: bool = false;
    const ZERO: i32 = 128;
    const WIDE: bool = true;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        scales[0] = unsafe { halves(rows, 0) };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { _mm256_xor_si256(_mm256_loadu_si256(block.add(2).cast()), _mm256_set1_epi8(-128)) }
    }
}

pub(super) struct Q2K;
// SAFETY: reads 84 bytes of a block.
unsafe impl Blocks for Q2K {
    const GROUPS: usize = 8;
    const BYTES: usize = 84;
    const HALVES: bool = true;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe {
            let scale = halves(rows, 80);
            let offset = _mm256_xor_ps(halves(rows, 82), _mm256_set1_ps(-0.0));
            for word in 0..4 {
                let both = words(rows, 4 * word);
                let high = _mm256_srli_epi32::<4>(both);
                for index in 0..4 {
                    scales[4 * word + index] = _mm256_mul_ps(scale, byte(both, index, 15));
                    offsets[4 * word + index] = _mm256_mul_ps(offset, byte(high, index, 15));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { bits(block.add(16 + GROUP / 4 * 32), GROUP % 4 * 2, 3) }
    }
}

pub(super) struct Q3K;
// SAFETY: reads 110 bytes of a block.
unsafe impl Blocks for Q3K {
    const GROUPS: usize = 8;
    const BYTES: usize = 110;
    const HALVES: bool = true;
    const ZERO: i32 = 4;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        unsafe {
            let scale = halves(rows, 108);
            let low = [words(rows, 96), words(rows, 100)];
            let high = words(rows, 104);
            for i in 0..16 {
                let (word, index) = (i / 4, i % 4);
                // Four bits in one of the first two words, two more in the third.
                let four = _mm256_srl_epi32(low[word % 2], _mm_cvtsi32_si128(4 * (word as i32 / 2) + 8 * index as i32));
                let two = _mm256_srl_epi32(high, _mm_cvtsi32_si128(2 * word as i32 + 8 * index as i32));
                let four = _mm256_and_si256(four, _mm256_set1_epi32(15));
                let two = _mm256_slli_epi32::<4>(_mm256_and_si256(two, _mm256_set1_epi32(3)));
                let factor = _mm256_sub_epi32(_mm256_or_si256(four, two), _mm256_set1_epi32(32));
                scales[i] = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(factor));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe {
            let low = bits(block.add(32 + GROUP / 4 * 32), GROUP % 4 * 2, 3);
            _mm256_or_si256(low, _mm256_slli_epi16::<2>(bits(block, GROUP, 1)))
        }
    }
}

/// Scales and minimums of Q4_K and Q5_K: 6 bits each, packed into three words
/// (`get_scale_min_k4` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).
#[inline(always)]
unsafe fn six_bit_scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
    unsafe {
        let scale = halves(rows, 0);
        let offset = _mm256_xor_ps(halves(rows, 2), _mm256_set1_ps(-0.0));
        let (a, b, c) = (words(rows, 4), words(rows, 8), words(rows, 12));
        let six = _mm256_set1_epi32(0x3f3f_3f3f);
        let four = _mm256_set1_epi32(0x0f0f_0f0f);
        let two = _mm256_set1_epi32(0x3030_3030);
        let top = |words| _mm256_and_si256(_mm256_srli_epi32::<2>(words), two);
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
// SAFETY: reads 144 bytes of a block.
unsafe impl Blocks for Q4K {
    const GROUPS: usize = 8;
    const BYTES: usize = 144;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe { six_bit_scales(rows, scales, offsets) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe { bits(block.add(16 + GROUP / 2 * 32), GROUP % 2 * 4, 15) }
    }
}

pub(super) struct Q5K;
// SAFETY: reads 176 bytes of a block.
unsafe impl Blocks for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = 176;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], offsets: &mut [__m256; 16]) {
        unsafe { six_bit_scales(rows, scales, offsets) }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe {
            let low = bits(block.add(48 + GROUP / 2 * 32), GROUP % 2 * 4, 15);
            _mm256_or_si256(low, _mm256_slli_epi16::<4>(bits(block.add(16), GROUP, 1)))
        }
    }
}

pub(super) struct Q6K;
// SAFETY: reads 210 bytes of a block.
unsafe impl Blocks for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = 210;
    const HALVES: bool = true;
    const ZERO: i32 = 32;

    #[inline(always)]
    unsafe fn scales(rows: &Rows, scales: &mut [__m256; 16], _: &mut [__m256; 16]) {
        unsafe {
            let scale = halves(rows, 208);
            for word in 0..4 {
                let factors = words(rows, 192 + 4 * word);
                for index in 0..4 {
                    let top = _mm256_sll_epi32(factors, _mm_cvtsi32_si128(24 - 8 * index as i32));
                    let factor = _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(top));
                    scales[4 * word + index] = _mm256_mul_ps(scale, factor);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(block: *const u8) -> __m256i {
        unsafe {
            let (part, quarter) = (GROUP / 4, GROUP % 4);
            let low = bits(block.add(part * 64 + quarter % 2 * 32), quarter / 2 * 4, 15);
            let high = bits(block.add(128 + part * 32), quarter * 2, 3);
            _mm256_or_si256(low, _mm256_slli_epi16::<4>(high))
        }
    }
}
