//! Products of 8-bit codes with 8-bit activations on x86, by instruction set.

use std::arch::x86_64::*;

use super::{
    formats::{Blocks, Lifts},
    shared::From,
    words::Words,
    x86::{four, zero},
};

/// Calls a macro's body for each of a group's eight vectors of codes: the vector is a constant, and the loop is none, which
/// the compiler left one in some formats.
macro_rules! each_vector {
    ($i:ident => $body:block) => {
        each_vector!(@ $i, $body, 0 1 2 3 4 5 6 7);
    };
    (@ $i:ident, $body:block, $($number:literal)*) => {
        $({
            const $i: usize = $number;
            $body
        })*
    };
}

/// The 8-bit dot product of an instruction set: each 32-bit lane gains four products of codes and activations.
///
/// # Safety
/// Needs the instruction set.
pub(super) unsafe trait Dot: Sized {
    /// The vectors that it multiplies.
    type Words: Words;
    /// Whether codes beyond 128 are multiplied as the signed numbers that they stand for, 128 less.
    const SIGNED: bool = false;
    unsafe fn dot(sum: Self::Words, codes: Self::Words, activations: Self::Words) -> Self::Words;

    /// The products of a group's halves; of formats with one scale for both, the first may hold all.
    #[inline(always)]
    unsafe fn group<B: Blocks>(codes: &[Self::Words; 8], activations: [Self::Words; 8]) -> [Self::Words; 2] {
        unsafe {
            let mut sums = [Self::Words::splat32(0); 2];
            for i in 0..8 {
                sums[i / 4] = Self::dot(sums[i / 4], codes[i], activations[i]);
            }
            sums
        }
    }

    /// How [`Dot::products`] lifts codes.
    #[inline(always)]
    fn lifts<B: Blocks>() -> Lifts {
        B::LIFTS
    }

    /// What the sums of groups that lie together begin with.
    #[inline(always)]
    unsafe fn begin<B: Blocks>(begun: *const [i32; 2], group: usize) -> [[Self::Words; 2]; 4] {
        unsafe {
            let mut sums = [[Self::Words::splat32(0); 2]; 4];
            if zero::<Self, B>() != 0 {
                for (k, sums) in sums.iter_mut().enumerate().take(B::TOGETHER) {
                    let begun = *begun.add(group + k);
                    *sums = [Self::Words::splat32(begun[0]), Self::Words::splat32(begun[1])];
                }
            }
            sums
        }
    }

    /// The products of the halves of the groups that lie together, of which `group` is the first, with one row; as for
    /// [`Dot::group`], but lifted, and added to what `begun` has of each group. Every word is read once; `before` is called
    /// before each vector of codes.
    #[inline(always)]
    unsafe fn products<B: Blocks, const IN_BLOCK: usize>(
        at: *const u8,
        group: usize,
        from: &From,
        begun: *const [i32; 2],
        before: impl Fn(usize),
    ) -> [[Self::Words; 2]; 4] {
        unsafe {
            let mut sums = Self::begin::<B>(begun, group);
            each_vector!(I => {
                before(I);
                let codes = B::codes::<Self::Words, IN_BLOCK>(at, I, Self::lifts::<B>());
                for k in 0..B::TOGETHER {
                    sums[k][I / 4] = Self::dot(sums[k][I / 4], codes[k], four(from, group + k, I));
                }
            });
            sums
        }
    }
}

pub(super) struct Vnni512;
// SAFETY: one instruction of AVX-512 VNNI.
unsafe impl Dot for Vnni512 {
    type Words = __m512i;

    #[inline(always)]
    unsafe fn dot(sum: __m512i, codes: __m512i, activations: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, codes, activations) }
    }
}

pub(super) struct VnniAvx;
// SAFETY: one instruction of AVX-VNNI.
unsafe impl Dot for VnniAvx {
    type Words = __m256i;

    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, activations: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, codes, activations) }
    }
}

pub(super) struct Multiply;

impl Multiply {
    /// Pairs of products, in 16 bits.
    #[inline(always)]
    unsafe fn pairs<B: Blocks>(codes: __m256i, activations: __m256i) -> __m256i {
        unsafe {
            if B::MOST > 128 {
                let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
                _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(activations, signed))
            } else {
                _mm256_maddubs_epi16(codes, activations)
            }
        }
    }

    /// Adds the pairs of vector `i` of `count` to what is in 16 bits, and that to `wide` whenever no more would fit.
    #[inline(always)]
    unsafe fn add<B: Blocks>(i: usize, count: usize, pairs: __m256i, narrow: &mut __m256i, wide: &mut __m256i) {
        unsafe {
            let fit = (i16::MAX as i32 / (2 * 127 * B::MOST_16)).max(1) as usize;
            *narrow = if i.is_multiple_of(fit) { pairs } else { _mm256_add_epi16(*narrow, pairs) };
            if (i + 1).is_multiple_of(fit) || i + 1 == count {
                *wide = _mm256_add_epi32(*wide, _mm256_madd_epi16(*narrow, _mm256_set1_epi16(1)));
            }
        }
    }

    /// Pairs of products, in 16 bits, of as many vectors as fit, then in 32.
    #[inline(always)]
    unsafe fn sum<B: Blocks, const N: usize>(codes: [__m256i; N], activations: [__m256i; N]) -> __m256i {
        unsafe {
            let (mut narrow, mut wide) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            for i in 0..N {
                Self::add::<B>(i, N, Self::pairs::<B>(codes[i], activations[i]), &mut narrow, &mut wide);
            }
            wide
        }
    }
}

// SAFETY: instructions of AVX2.
unsafe impl Dot for Multiply {
    type Words = __m256i;
    const SIGNED: bool = true;

    #[inline(always)]
    fn lifts<B: Blocks>() -> Lifts {
        B::LIFTS_16
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, activations: __m256i) -> __m256i {
        unsafe {
            let pairs = _mm256_maddubs_epi16(codes, activations);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn group<B: Blocks>(codes: &[__m256i; 8], activations: [__m256i; 8]) -> [__m256i; 2] {
        unsafe {
            if !B::HALVES {
                return [Self::sum::<B, 8>(*codes, activations), _mm256_setzero_si256()];
            }
            let half = |first: usize| {
                let of = |all: &[__m256i; 8]| [all[first], all[first + 1], all[first + 2], all[first + 3]];
                (of(codes), of(&activations))
            };
            let ((one, with_one), (two, with_two)) = (half(0), half(4));
            [Self::sum::<B, 4>(one, with_one), Self::sum::<B, 4>(two, with_two)]
        }
    }

    #[inline(always)]
    unsafe fn products<B: Blocks, const IN_BLOCK: usize>(
        at: *const u8,
        group: usize,
        from: &From,
        begun: *const [i32; 2],
        before: impl Fn(usize),
    ) -> [[__m256i; 2]; 4] {
        unsafe {
            let count = if B::HALVES { 4 } else { 8 };
            let (mut narrow, mut sums) = ([_mm256_setzero_si256(); 4], Self::begin::<B>(begun, group));
            each_vector!(I => {
                before(I);
                let codes = B::codes::<__m256i, IN_BLOCK>(at, I, Self::lifts::<B>());
                for k in 0..B::TOGETHER {
                    let pairs = Self::pairs::<B>(codes[k], four(from, group + k, I));
                    Self::add::<B>(I % count, count, pairs, &mut narrow[k], &mut sums[k][I / count]);
                }
            });
            sums
        }
    }
}
