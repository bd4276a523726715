//! AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::{Register, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Both halves of sixteen lanes.
type Halves = [__m256; 2];

/// The sum of sixteen lanes in the order of [`Simd::sum`], without a way through memory.
#[inline(always)]
unsafe fn sum([low, high]: Halves) -> f32 {
    unsafe {
        let eight = _mm256_add_ps(low, high);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The largest of sixteen lanes in the order of [`Simd::largest`].
#[inline(always)]
unsafe fn largest([low, high]: Halves) -> f32 {
    unsafe {
        let eight = _mm256_max_ps(low, high);
        let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The sum of sixteen codes.
#[inline(always)]
unsafe fn sum_of_codes(codes: __m128i) -> i32 {
    unsafe {
        let lifted = _mm_xor_si128(codes, _mm_set1_epi8(-128));
        let eights = _mm_sad_epu8(lifted, _mm_setzero_si128());
        _mm_cvtsi128_si32(_mm_add_epi32(eights, _mm_unpackhi_epi64(eights, eights))) - 16 * 128
    }
}

// SAFETY: instructions of AVX2, FMA and F16C, whose presence the trait's contract asks for.
unsafe impl Register for __m256 {
    const LANES: usize = 8;
    const FLOAT_ROWS: usize = 4;

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        unsafe {
            let whole = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(whole))
        }
    }

    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
}

// SAFETY: each function is one instruction of AVX-512 F, or two, whose presence the trait's contract asks for.
unsafe impl Register for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        unsafe { Avx512::load_f16(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) }
    }

    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
}

// SAFETY: instructions of AVX2, FMA and F16C, whose presence the trait's contract asks for.
unsafe impl Simd for Avx2 {
    type F = Halves;
    type Register = __m256;
    const SUMS: usize = 6;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Halves {
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Halves {
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Halves) {
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Halves {
        unsafe { [__m256::load_f16(from), __m256::load_f16(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Halves {
        unsafe {
            let whole = |at: usize| _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(at).cast()));
            [_mm256_cvtepi32_ps(whole(0)), _mm256_cvtepi32_ps(whole(8))]
        }
    }

    #[inline(always)]
    unsafe fn fma(a: Halves, b: Halves, c: Halves) -> Halves {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn add(a: Halves, b: Halves) -> Halves {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn mul(a: Halves, b: Halves) -> Halves {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn div(a: Halves, b: Halves) -> Halves {
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn max(a: Halves, b: Halves) -> Halves {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn min(a: Halves, b: Halves) -> Halves {
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn round(a: Halves) -> Halves {
        unsafe { [_mm256_round_ps::<NEAREST>(a[0]), _mm256_round_ps::<NEAREST>(a[1])] }
    }

    #[inline(always)]
    unsafe fn power_of_two(whole: Halves) -> Halves {
        unsafe {
            let power = |whole| {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            };
            [power(whole[0]), power(whole[1])]
        }
    }

    #[inline(always)]
    unsafe fn sum(value: Halves) -> f32 {
        unsafe { sum(value) }
    }

    #[inline(always)]
    unsafe fn largest(value: Halves) -> f32 {
        unsafe { largest(value) }
    }

    #[inline(always)]
    unsafe fn store_codes(to: *mut i8, [low, high]: Halves) -> i32 {
        unsafe {
            // Packed within each half of the register, so the quarters are put in order.
            let words = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let codes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.cast(), codes);
            sum_of_codes(codes)
        }
    }
}

// SAFETY: each function is one instruction of AVX-512 F, whose presence the trait's contract asks for.
unsafe impl Simd for Avx512 {
    type F = __m512;
    type Register = __m512;
    const SUMS: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<NEAREST>(a) }
    }

    #[inline(always)]
    unsafe fn power_of_two(whole: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(whole), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }

    #[inline(always)]
    unsafe fn sum(value: __m512) -> f32 {
        unsafe { sum([_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value)]) }
    }

    #[inline(always)]
    unsafe fn largest(value: __m512) -> f32 {
        unsafe { largest([_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value)]) }
    }

    #[inline(always)]
    unsafe fn store_codes(to: *mut i8, value: __m512) -> i32 {
        unsafe {
            let codes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value));
            _mm_storeu_si128(to.cast(), codes);
            sum_of_codes(codes)
        }
    }
}
