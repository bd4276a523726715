//! Vectors of 32-bit words, one of each row of weights: of eight rows with AVX2, of sixteen with AVX-512.

use std::arch::x86_64::*;

use crate::packed::LANES;

/// A vector of words, with the operations that products with quantized weights are made of. Numbers in names are the bits
/// of the elements.
///
/// # Safety
/// The functions may only be called where the processor has the instructions: AVX2, FMA and F16C, or AVX-512 F, BW, DQ
/// and VL. Places are of whole blocks, as [`Packed`] has them, in front of the offset.
pub(super) unsafe trait Words: Copy {
    /// A float of each row.
    type Floats: Copy;
    /// Whether they are of AVX-512, which has twice as many registers, too.
    const WIDE: bool;
    /// Rows of weights.
    const ROWS: usize = if Self::WIDE { 2 * LANES } else { LANES };

    /// A word of each row.
    unsafe fn load(at: *const u8, offset: usize) -> Self;
    /// A half-precision number of each row.
    unsafe fn load_halves(at: *const u8, offset: usize) -> Self::Floats;
    /// Writes the floats of the first `count` rows, all where there are fewer rows than that.
    unsafe fn store(to: *mut f32, values: Self::Floats, count: usize);

    unsafe fn splat8(value: i8) -> Self;
    unsafe fn splat16(value: i16) -> Self;
    unsafe fn splat32(value: i32) -> Self;
    /// The same in each quarter, or half.
    unsafe fn splat128(value: __m128i) -> Self;
    unsafe fn and(a: Self, b: Self) -> Self;
    unsafe fn or(a: Self, b: Self) -> Self;
    unsafe fn xor(a: Self, b: Self) -> Self;
    unsafe fn add8(a: Self, b: Self) -> Self;
    unsafe fn sub8(a: Self, b: Self) -> Self;
    unsafe fn sub16(a: Self, b: Self) -> Self;
    unsafe fn add32(a: Self, b: Self) -> Self;
    unsafe fn sub32(a: Self, b: Self) -> Self;
    unsafe fn mul16(a: Self, b: Self) -> Self;
    unsafe fn mul32(a: Self, b: Self) -> Self;
    /// Products of 16 bits, two of them a sum of 32.
    unsafe fn mul_pairs16(a: Self, b: Self) -> Self;
    unsafe fn left16(a: Self, bits: __m128i) -> Self;
    unsafe fn right16(a: Self, bits: __m128i) -> Self;
    unsafe fn signed_right16(a: Self, bits: __m128i) -> Self;
    unsafe fn left32(a: Self, bits: __m128i) -> Self;
    unsafe fn right32(a: Self, bits: __m128i) -> Self;
    unsafe fn signed_right32(a: Self, bits: __m128i) -> Self;
    /// Bytes of `a`, within 128 bits, by their number in `places`; 0 where that is negative.
    unsafe fn shuffle8(a: Self, places: Self) -> Self;
    /// The lower halves of `low` with the upper ones of `high`.
    unsafe fn join16(low: Self, high: Self) -> Self;

    unsafe fn floats(a: Self) -> Self::Floats;
    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`.
    unsafe fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    unsafe fn flip(a: Self::Floats, bits: Self::Floats) -> Self::Floats;
}

/// The count of a shift; a constant one becomes part of the instruction.
#[inline(always)]
pub(super) fn bits(count: i32) -> __m128i {
    // SAFETY: every x86-64 has it.
    unsafe { _mm_cvtsi32_si128(count) }
}

/// Functions of one instruction.
macro_rules! instructions {
    ($($name:ident($($arg:ident: $type:ty),+) -> $result:ty = $instruction:ident;)*) => {
        $(#[inline(always)]
        unsafe fn $name($($arg: $type),+) -> $result {
            unsafe { $instruction($($arg),+) }
        })*
    };
}

// SAFETY: instructions of AVX2, FMA and F16C, whose presence the trait's contract asks for.
unsafe impl Words for __m256i {
    type Floats = __m256;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn load(at: *const u8, offset: usize) -> Self {
        unsafe { _mm256_loadu_si256(at.add(offset).cast()) }
    }

    #[inline(always)]
    unsafe fn load_halves(at: *const u8, offset: usize) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.add(offset).cast())) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: __m256, count: usize) {
        unsafe {
            if count >= Self::ROWS {
                _mm256_storeu_ps(to, values);
            } else {
                let mut all = [0.0_f32; Self::ROWS];
                _mm256_storeu_ps(all.as_mut_ptr(), values);
                to.copy_from_nonoverlapping(all.as_ptr(), count);
            }
        }
    }

    #[inline(always)]
    unsafe fn join16(low: Self, high: Self) -> Self {
        unsafe { _mm256_blend_epi16::<0b1010_1010>(low, high) }
    }

    instructions! {
        splat8(value: i8) -> Self = _mm256_set1_epi8;
        splat16(value: i16) -> Self = _mm256_set1_epi16;
        splat32(value: i32) -> Self = _mm256_set1_epi32;
        splat128(value: __m128i) -> Self = _mm256_broadcastsi128_si256;
        and(a: Self, b: Self) -> Self = _mm256_and_si256;
        or(a: Self, b: Self) -> Self = _mm256_or_si256;
        xor(a: Self, b: Self) -> Self = _mm256_xor_si256;
        add8(a: Self, b: Self) -> Self = _mm256_add_epi8;
        sub8(a: Self, b: Self) -> Self = _mm256_sub_epi8;
        sub16(a: Self, b: Self) -> Self = _mm256_sub_epi16;
        add32(a: Self, b: Self) -> Self = _mm256_add_epi32;
        sub32(a: Self, b: Self) -> Self = _mm256_sub_epi32;
        mul16(a: Self, b: Self) -> Self = _mm256_mullo_epi16;
        mul32(a: Self, b: Self) -> Self = _mm256_mullo_epi32;
        mul_pairs16(a: Self, b: Self) -> Self = _mm256_madd_epi16;
        left16(a: Self, bits: __m128i) -> Self = _mm256_sll_epi16;
        right16(a: Self, bits: __m128i) -> Self = _mm256_srl_epi16;
        signed_right16(a: Self, bits: __m128i) -> Self = _mm256_sra_epi16;
        left32(a: Self, bits: __m128i) -> Self = _mm256_sll_epi32;
        right32(a: Self, bits: __m128i) -> Self = _mm256_srl_epi32;
        signed_right32(a: Self, bits: __m128i) -> Self = _mm256_sra_epi32;
        shuffle8(a: Self, places: Self) -> Self = _mm256_shuffle_epi8;
        floats(a: Self) -> __m256 = _mm256_cvtepi32_ps;
        splat(value: f32) -> __m256 = _mm256_set1_ps;
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps;
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps;
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps;
        flip(a: __m256, bits: __m256) -> __m256 = _mm256_xor_ps;
    }
}

// SAFETY: instructions of AVX-512 F, BW, DQ and VL, whose presence the trait's contract asks for.
unsafe impl Words for __m512i {
    type Floats = __m512;
    const WIDE: bool = true;

    #[inline(always)]
    unsafe fn load(at: *const u8, offset: usize) -> Self {
        unsafe { _mm512_loadu_si512(at.add(offset).cast()) }
    }

    #[inline(always)]
    unsafe fn load_halves(at: *const u8, offset: usize) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.add(offset).cast())) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, values: __m512, count: usize) {
        let mask = if count < Self::ROWS { (1 << count) - 1 } else { u16::MAX };
        unsafe { _mm512_mask_storeu_ps(to, mask, values) }
    }

    #[inline(always)]
    unsafe fn join16(low: Self, high: Self) -> Self {
        unsafe { _mm512_mask_blend_epi16(0xaaaa_aaaa, low, high) }
    }

    instructions! {
        splat8(value: i8) -> Self = _mm512_set1_epi8;
        splat16(value: i16) -> Self = _mm512_set1_epi16;
        splat32(value: i32) -> Self = _mm512_set1_epi32;
        splat128(value: __m128i) -> Self = _mm512_broadcast_i32x4;
        and(a: Self, b: Self) -> Self = _mm512_and_si512;
        or(a: Self, b: Self) -> Self = _mm512_or_si512;
        xor(a: Self, b: Self) -> Self = _mm512_xor_si512;
        add8(a: Self, b: Self) -> Self = _mm512_add_epi8;
        sub8(a: Self, b: Self) -> Self = _mm512_sub_epi8;
        sub16(a: Self, b: Self) -> Self = _mm512_sub_epi16;
        add32(a: Self, b: Self) -> Self = _mm512_add_epi32;
        sub32(a: Self, b: Self) -> Self = _mm512_sub_epi32;
        mul16(a: Self, b: Self) -> Self = _mm512_mullo_epi16;
        mul32(a: Self, b: Self) -> Self = _mm512_mullo_epi32;
        mul_pairs16(a: Self, b: Self) -> Self = _mm512_madd_epi16;
        left16(a: Self, bits: __m128i) -> Self = _mm512_sll_epi16;
        right16(a: Self, bits: __m128i) -> Self = _mm512_srl_epi16;
        signed_right16(a: Self, bits: __m128i) -> Self = _mm512_sra_epi16;
        left32(a: Self, bits: __m128i) -> Self = _mm512_sll_epi32;
        right32(a: Self, bits: __m128i) -> Self = _mm512_srl_epi32;
        signed_right32(a: Self, bits: __m128i) -> Self = _mm512_sra_epi32;
        shuffle8(a: Self, places: Self) -> Self = _mm512_shuffle_epi8;
        floats(a: Self) -> __m512 = _mm512_cvtepi32_ps;
        splat(value: f32) -> __m512 = _mm512_set1_ps;
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps;
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps;
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps;
        flip(a: __m512, bits: __m512) -> __m512 = _mm512_xor_ps;
    }
}
