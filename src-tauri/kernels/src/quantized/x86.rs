//! Products with quantized weights on x86, eight rows of weights a vector.
//!
//! For a few rows of activations the weights are taken apart on the way; for many, once into a tile. Both add the same
//! numbers in the same order, so that a row's result does not depend on how many rows there are.

use std::{arch::x86_64::*, cell::RefCell};

use super::{
    dot::{Dot, Multiply, Vnni512, VnniAvx},
    formats::{Blocks, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Scales},
    formats_k::{Q2K, Q3K, Q4K, Q5K, Q6K},
    shared::{From, each_group, for_format, rows_together},
};
use crate::{Activations, Level, Packed, activations::GROUP, ahead, packed::LANES};

/// From this many rows of activations on, taking weights apart once pays.
const ROWS_FOR_TILES: usize = 8;

/// Rows of activations that share what is in registers.
const TOGETHER: usize = 6;

/// Adds one group's share to the sums of eight rows, of which `one` and `two` are the products of the group's halves,
/// times two to the power of `lift`. The only place that fixes the order of the additions.
#[inline(always)]
unsafe fn accumulate<D: Dot, B: Blocks>(
    sum: __m256,
    [one, two]: [__m256i; 2],
    lift: i32,
    scales: &Scales,
    from: &From,
    group: usize,
) -> __m256 {
    unsafe {
        let activation_scale = _mm256_set1_ps(*from.scales.add(group));
        let scale = _mm256_mul_ps(scales.units[0], activation_scale);
        let zero = if D::SIGNED && B::MOST > 128 { B::ZERO - 128 } else { B::ZERO };
        if B::HALVES {
            let in_halves = _mm256_set1_epi32(from.half_sums.add(2 * group).cast::<i32>().read_unaligned());
            let whole = if 16 * 127 * (B::MOST + zero) <= i16::MAX as i32 {
                let two = _mm256_sll_epi32(two, _mm_cvtsi32_si128(16 - lift));
                let one = _mm256_srl_epi32(one, _mm_cvtsi32_si128(lift));
                let pairs = _mm256_blend_epi16::<0b1010_1010>(one, two);
                let zeros = _mm256_mullo_epi16(in_halves, _mm256_set1_epi16(zero as i16));
                _mm256_madd_epi16(_mm256_sub_epi16(pairs, zeros), scales.factors[0])
            } else {
                let first = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(scales.factors[0]));
                let second = _mm256_srai_epi32::<16>(scales.factors[0]);
                let products = _mm256_add_epi32(_mm256_mullo_epi32(one, first), _mm256_mullo_epi32(two, second));
                let zeros = _mm256_madd_epi16(scales.factors[0], in_halves);
                _mm256_sub_epi32(products, _mm256_mullo_epi32(zeros, _mm256_set1_epi32(zero)))
            };
            if !B::AFFINE {
                return _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, sum);
            }
            let offsets = _mm256_cvtepi32_ps(_mm256_madd_epi16(scales.factors[1], in_halves));
            let share = _mm256_mul_ps(offsets, _mm256_mul_ps(scales.units[1], activation_scale));
            return _mm256_add_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, share));
        }
        let mut whole = _mm256_add_epi32(one, two);
        if zero != 0 {
            whole = _mm256_sub_epi32(whole, _mm256_set1_epi32(zero * *from.sums.add(group)));
        }
        let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, sum);
        if B::AFFINE {
            _mm256_fmadd_ps(scales.units[1], _mm256_set1_ps(*from.scaled_sums.add(group)), sum)
        } else {
            sum
        }
    }
}

/// Writes eight results, of which the matrix may have fewer.
#[inline(always)]
unsafe fn write(out: *mut f32, results: __m256, count: usize) {
    unsafe {
        if count >= 8 {
            _mm256_storeu_ps(out, results);
        } else {
            let mut all = [0.0_f32; 8];
            _mm256_storeu_ps(all.as_mut_ptr(), results);
            out.copy_from_nonoverlapping(all.as_ptr(), count);
        }
    }
}

/// The activations that vector `i` of the codes of group `group` meets.
#[inline(always)]
pub(super) unsafe fn four(from: &From, group: usize, i: usize) -> __m256i {
    unsafe { _mm256_set1_epi32(from.codes.add(group * GROUP + 4 * i).cast::<i32>().read_unaligned()) }
}

/// The codes of one group alone: vector `i` has elements 4i to 4i + 3 of each row.
#[inline(always)]
pub(super) unsafe fn codes_of_group<B: Blocks, const IN_BLOCK: usize>(block: *const u8) -> [__m256i; 8] {
    unsafe {
        let mut codes = [_mm256_setzero_si256(); 8];
        for i in 0..8 {
            codes[i] = B::codes::<IN_BLOCK>(block, i, false)[IN_BLOCK % B::TOGETHER];
        }
        codes
    }
}

/// Adds one group's products to the results of each row of activations.
#[inline(always)]
unsafe fn add_group<D: Dot, B: Blocks, const A: usize>(
    codes: &[__m256i; 8],
    scales: &Scales,
    group: usize,
    from: &[From; A],
    results: &mut [__m256; A],
) {
    unsafe {
        for a in 0..A {
            let mut activations = [_mm256_setzero_si256(); 8];
            for i in 0..8 {
                activations[i] = four(&from[a], group, i);
            }
            let sums = D::group::<B>(codes, activations);
            results[a] = accumulate::<D, B>(results[a], sums, 0, scales, &from[a], group);
        }
    }
}

/// Asks for what lies `ahead` bytes ahead of group `in_block`, unless that is 0.
#[inline(always)]
unsafe fn fetch<B: Blocks>(block: *const u8, in_block: usize, ahead: usize) {
    if ahead > 0 {
        let share = LANES * B::BYTES / B::GROUPS;
        for line in (0..share).step_by(64) {
            let address = block.wrapping_add(ahead + in_block * share + line).cast();
            // Large codes come faster than the first-level cache could hold them that long.
            // SAFETY: an address that is asked for need not be a good one.
            unsafe {
                if B::BYTES / B::GROUPS > 22 {
                    _mm_prefetch::<_MM_HINT_T1>(address)
                } else {
                    _mm_prefetch::<_MM_HINT_T0>(address)
                }
            };
        }
    }
}

/// Rows `first..end` of `matrix` times rows `at..at + A` of the activations, weights taken apart on the way.
#[inline(always)]
unsafe fn few<D: Dot, B: Blocks, const A: usize>(
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    at: usize,
    out: *mut f32,
) {
    unsafe {
        let ahead = ahead::bytes(matrix.format);
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        for row in (first..end).step_by(LANES) {
            let mut block = matrix.eight_rows(row).as_ptr();
            let mut results = [_mm256_setzero_ps(); A];
            let mut sums = [[_mm256_setzero_si256(); 2]; 4];
            for index in 0..matrix.columns / GROUP / B::GROUPS {
                each_group!(B, IN_BLOCK => {
                    let group = index * B::GROUPS + IN_BLOCK;
                    fetch::<B>(block, IN_BLOCK, ahead);
                    // The sums of several groups and more than one row would not stay in registers.
                    if A == 1 {
                        let in_set = IN_BLOCK % B::TOGETHER;
                        if in_set == 0 {
                            sums = D::products::<B, IN_BLOCK>(block, group, &from[0]);
                        }
                        let scales = B::scales::<IN_BLOCK>(block);
                        results[0] = accumulate::<D, B>(results[0], sums[in_set], B::LIFTS[in_set], &scales, &from[0], group);
                    } else {
                        let (codes, scales) = (codes_of_group::<B, IN_BLOCK>(block), B::scales::<IN_BLOCK>(block));
                        add_group::<D, B, A>(&codes, &scales, group, &from, &mut results);
                    }
                });
                block = block.add(LANES * B::BYTES);
            }
            for (a, result) in results.into_iter().enumerate() {
                write(out.add((at + a) * matrix.rows + row), result, end - row);
            }
        }
    }
}

/// A group of eight rows of weights, taken apart.
struct Apart {
    codes: [__m256i; 8],
    scales: Scales,
}

thread_local! {
    static TILE: RefCell<Vec<Apart>> = const { RefCell::new(Vec::new()) };
}

/// Rows `first..end` of `matrix` times every row of activations, tile by tile.
#[inline(always)]
unsafe fn many<D: Dot, B: Blocks>(
    tile: &mut Vec<Apart>,
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    unsafe {
        for row in (first..end).step_by(LANES) {
            take_apart::<B>(matrix, row, tile);
            rows_together!(0, activations.rows, TOGETHER, at, COUNT => {
                multiply::<D, B, COUNT>(tile, activations, at, out, matrix.rows, row, end);
            });
        }
    }
}

#[inline(always)]
unsafe fn take_apart<B: Blocks>(matrix: &Packed, row: usize, tile: &mut Vec<Apart>) {
    unsafe {
        let mut block = matrix.eight_rows(row).as_ptr();
        tile.clear();
        for _ in 0..matrix.columns / GROUP / B::GROUPS {
            each_group!(B, IN_BLOCK => {
                let codes = codes_of_group::<B, IN_BLOCK>(block);
                tile.push(Apart { codes, scales: B::scales::<IN_BLOCK>(block) });
            });
            block = block.add(LANES * B::BYTES);
        }
    }
}

#[inline(always)]
unsafe fn multiply<D: Dot, B: Blocks, const A: usize>(
    tile: &[Apart],
    activations: &Activations,
    at: usize,
    out: *mut f32,
    stride: usize,
    row: usize,
    end: usize,
) {
    unsafe {
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let mut results = [_mm256_setzero_ps(); A];
        for group in 0..tile.len() {
            let Apart { codes, scales } = &tile[group];
            add_group::<D, B, A>(codes, scales, group, &from, &mut results);
        }
        for (a, result) in results.into_iter().enumerate() {
            write(out.add((at + a) * stride + row), result, end - row);
        }
    }
}

/// Runs the product with the format's and the processor's kernel.
///
/// # Safety
/// `out` is good for `activations.rows * matrix.rows` elements, of which nobody else touches those of rows
/// `first..end`; the shapes fit; the processor has `level`, which is not `Portable`.
pub(super) unsafe fn product(
    level: Level,
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    macro_rules! with {
        ($features:literal, $dot:ty, $tile:ident) => {{
            #[target_feature(enable = $features)]
            unsafe fn run<B: Blocks>(
                tile: &mut Vec<Apart>,
                matrix: &Packed,
                first: usize,
                end: usize,
                activations: &Activations,
                out: *mut f32,
            ) {
                unsafe {
                    if activations.rows >= ROWS_FOR_TILES {
                        return many::<$dot, B>(tile, matrix, first, end, activations, out);
                    }
                    let mut at = 0;
                    while at + 4 <= activations.rows {
                        few::<$dot, B, 4>(matrix, first, end, activations, at, out);
                        at += 4;
                    }
                    match activations.rows - at {
                        1 => few::<$dot, B, 1>(matrix, first, end, activations, at, out),
                        2 => few::<$dot, B, 2>(matrix, first, end, activations, at, out),
                        3 => few::<$dot, B, 3>(matrix, first, end, activations, at, out),
                        _ => {}
                    }
                }
            }
            unsafe { for_format!(matrix.format, run($tile, matrix, first, end, activations, out)) }
        }};
    }
    if matches!(level, Level::Avx512 | Level::Amx) && activations.rows >= ROWS_FOR_TILES {
        // SAFETY: the caller's promises.
        return unsafe { super::wide::product(level == Level::Amx, matrix, first, end, activations, out) };
    }
    // Borrowed out here: a closure inside of a kernel would not have its instruction set.
    TILE.with_borrow_mut(|tile| match level {
        Level::Avx512 | Level::Amx => {
            with!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", Vnni512, tile)
        }
        Level::AvxVnni => with!("avx2,fma,f16c,avxvnni", VnniAvx, tile),
        Level::Avx2 => with!("avx2,fma,f16c", Multiply, tile),
        Level::Portable | Level::NeonMultiply | Level::Neon => unreachable!("not a level of x86"),
    });
}
