//! Products with quantized weights on x86, eight rows of weights a vector.
//!
//! For a few rows of activations the weights are taken apart on the way; for many, once into a tile. Both add the same
//! numbers in the same order, so that a row's result does not depend on how many rows there are.

use std::{arch::x86_64::*, cell::RefCell};

use super::{
    formats::{Blocks, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0},
    shared::{From, each_group, for_format},
};
use crate::{Activations, Level, Packed, activations::GROUP, packed::LANES};

/// From this many rows of activations on, taking weights apart once pays.
const ROWS_FOR_TILES: usize = 8;

/// How far ahead weights are asked for where the parts of a block are not read in order, which hardware does not foresee.
const AHEAD_BYTES: usize = 4096;

/// Rows of activations that share what is in registers.
const TOGETHER: usize = 6;

/// The 8-bit dot product of an instruction set: each 32-bit lane gains four products of codes and activations.
///
/// # Safety
/// Needs the instruction set.
unsafe trait Dot {
    /// `wide`: the codes may exceed 128.
    unsafe fn dot(sum: __m256i, codes: __m256i, activations: __m256i, wide: bool) -> __m256i;
}

struct Vnni512;
// SAFETY: one instruction of AVX-512 VNNI with VL.
unsafe impl Dot for Vnni512 {
    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, activations: __m256i, _: bool) -> __m256i {
        unsafe { _mm256_dpbusd_epi32(sum, codes, activations) }
    }
}

struct VnniAvx;
// SAFETY: one instruction of AVX-VNNI.
unsafe impl Dot for VnniAvx {
    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, activations: __m256i, _: bool) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, codes, activations) }
    }
}

struct Multiply;
// SAFETY: instructions of AVX2.
unsafe impl Dot for Multiply {
    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, activations: __m256i, wide: bool) -> __m256i {
        unsafe {
            let products = if wide {
                // Two such products overflow the 16 bits of `maddubs`.
                let zero = _mm256_setzero_si256();
                let signs = _mm256_cmpgt_epi8(zero, activations);
                let low =
                    _mm256_madd_epi16(_mm256_unpacklo_epi8(codes, zero), _mm256_unpacklo_epi8(activations, signs));
                let high =
                    _mm256_madd_epi16(_mm256_unpackhi_epi8(codes, zero), _mm256_unpackhi_epi8(activations, signs));
                _mm256_hadd_epi32(low, high)
            } else {
                _mm256_madd_epi16(_mm256_maddubs_epi16(codes, activations), _mm256_set1_epi16(1))
            };
            _mm256_add_epi32(sum, products)
        }
    }
}

/// Adds one group's share to the sums of eight rows. The only place that fixes the order of the additions.
#[inline(always)]
unsafe fn accumulate<B: Blocks>(
    sum: __m256,
    whole: __m256i,
    scale: __m256,
    offset: __m256,
    activation_scale: f32,
    activation_sum: i32,
) -> __m256 {
    unsafe {
        let whole =
            if B::ZERO == 0 { whole } else { _mm256_sub_epi32(whole, _mm256_set1_epi32(B::ZERO * activation_sum)) };
        let scale = _mm256_mul_ps(scale, _mm256_set1_ps(activation_scale));
        let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, sum);
        if B::AFFINE {
            _mm256_fmadd_ps(offset, _mm256_set1_ps(activation_scale * activation_sum as f32), sum)
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

/// Adds one group's products to the results of each row of activations.
///
/// `scales` and `offsets`: those of the halves where there are any, or that of the group.
#[inline(always)]
unsafe fn add_group<D: Dot, B: Blocks, const A: usize>(
    weights: [__m256i; 8],
    scales: [__m256; 2],
    offsets: [__m256; 2],
    group: usize,
    from: &[From; A],
    results: &mut [__m256; A],
) {
    unsafe {
        for (from, result) in from.iter().zip(results) {
            let mut sum = [_mm256_setzero_si256(); 2];
            for (i, weights) in weights.into_iter().enumerate() {
                let four = from.codes.add(group * GROUP + 4 * i).cast::<i32>().read_unaligned();
                sum[i / 4] = D::dot(sum[i / 4], weights, _mm256_set1_epi32(four), B::WIDE);
            }
            let scale = *from.scales.add(group);
            *result = if B::HALVES {
                let (first, second) = (*from.half_sums.add(2 * group), *from.half_sums.add(2 * group + 1));
                let one = accumulate::<B>(*result, sum[0], scales[0], offsets[0], scale, first);
                accumulate::<B>(one, sum[1], scales[1], offsets[1], scale, second)
            } else {
                let both = _mm256_add_epi32(sum[0], sum[1]);
                accumulate::<B>(*result, both, scales[0], offsets[0], scale, *from.sums.add(group))
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
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let mut scale = [_mm256_setzero_ps(); 16];
        let mut offset = [_mm256_setzero_ps(); 16];
        for row in (first..end).step_by(LANES) {
            let mut block = matrix.eight_rows(row).as_ptr();
            let mut results = [_mm256_setzero_ps(); A];
            for index in 0..matrix.columns / GROUP / B::GROUPS {
                B::scales(block, &mut scale, &mut offset);
                each_group!(B, IN_BLOCK => {
                    let one = if B::HALVES { [2 * IN_BLOCK, 2 * IN_BLOCK + 1] } else { [IN_BLOCK, IN_BLOCK] };
                    let (scales, offsets) = ([scale[one[0]], scale[one[1]]], [offset[one[0]], offset[one[1]]]);
                    if B::SCATTERED {
                        let lines = (LANES * B::BYTES).div_ceil(64);
                        for line in IN_BLOCK * lines / B::GROUPS..(IN_BLOCK + 1) * lines / B::GROUPS {
                            _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(AHEAD_BYTES + 64 * line).cast());
                        }
                    }
                    let weights = B::codes::<IN_BLOCK>(block);
                    let group = index * B::GROUPS + IN_BLOCK;
                    add_group::<D, B, A>(weights, scales, offsets, group, &from, &mut results);
                });
                block = block.add(LANES * B::BYTES);
            }
            for (a, result) in results.into_iter().enumerate() {
                write(out.add((at + a) * matrix.rows + row), result, end - row);
            }
        }
    }
}

/// Eight rows of weights, taken apart.
#[derive(Default)]
struct Tile {
    codes: Vec<[__m256i; 8]>,
    scales: Vec<[__m256; 2]>,
    offsets: Vec<[__m256; 2]>,
}

thread_local! {
    static TILE: RefCell<Tile> = RefCell::default();
}

/// Rows `first..end` of `matrix` times every row of activations, tile by tile.
#[inline(always)]
unsafe fn many<D: Dot, B: Blocks>(
    tile: &mut Tile,
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    unsafe {
        let groups = matrix.columns / GROUP;
        tile.codes.resize(groups, [_mm256_setzero_si256(); 8]);
        tile.scales.resize(groups, [_mm256_setzero_ps(); 2]);
        tile.offsets.resize(groups, [_mm256_setzero_ps(); 2]);
        for row in (first..end).step_by(LANES) {
            take_apart::<B>(matrix, row, tile);
            let mut at = 0;
            while at + TOGETHER <= activations.rows {
                multiply::<D, B, TOGETHER>(tile, activations, at, out, matrix.rows, row, end);
                at += TOGETHER;
            }
            while at < activations.rows {
                multiply::<D, B, 1>(tile, activations, at, out, matrix.rows, row, end);
                at += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn take_apart<B: Blocks>(matrix: &Packed, row: usize, tile: &mut Tile) {
    unsafe {
        let mut block = matrix.eight_rows(row).as_ptr();
        let mut scale = [_mm256_setzero_ps(); 16];
        let mut offset = [_mm256_setzero_ps(); 16];
        for index in 0..matrix.columns / GROUP / B::GROUPS {
            B::scales(block, &mut scale, &mut offset);
            each_group!(B, IN_BLOCK => {
                let group = index * B::GROUPS + IN_BLOCK;
                let one = if B::HALVES { [2 * IN_BLOCK, 2 * IN_BLOCK + 1] } else { [IN_BLOCK, IN_BLOCK] };
                tile.codes[group] = B::codes::<IN_BLOCK>(block);
                tile.scales[group] = [scale[one[0]], scale[one[1]]];
                tile.offsets[group] = [offset[one[0]], offset[one[1]]];
            });
            block = block.add(LANES * B::BYTES);
        }
    }
}

#[inline(always)]
unsafe fn multiply<D: Dot, B: Blocks, const A: usize>(
    tile: &Tile,
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
        let parameters = tile.scales.iter().zip(&tile.offsets);
        for (group, (codes, (scales, offsets))) in tile.codes.iter().zip(parameters).enumerate() {
            add_group::<D, B, A>(*codes, *scales, *offsets, group, &from, &mut results);
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
                tile: &mut Tile,
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
    // Borrowed out here: a closure inside of a kernel would not have its instruction set.
    TILE.with_borrow_mut(|tile| match level {
        Level::Avx512 => with!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", Vnni512, tile),
        Level::AvxVnni => with!("avx2,fma,f16c,avxvnni", VnniAvx, tile),
        Level::Avx2 => with!("avx2,fma,f16c", Multiply, tile),
        Level::Portable | Level::NeonMultiply | Level::Neon => unreachable!("not a level of x86"),
    });
}
