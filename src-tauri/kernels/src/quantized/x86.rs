//! Products with quantized weights on x86: eight rows of weights at a time, straight from the file's bytes, for a few
//! rows of activations; tiles of sixteen, taken apart once, for many.
//!
//! Both add the same numbers in the same order, so that a row's result does not depend on how many rows there are.

use std::{arch::x86_64::*, cell::RefCell};

use super::formats::{Blocks, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Rows};
use crate::{Activations, Format, Level, Matrix, activations::GROUP};

/// From this many rows of activations on, taking tiles apart pays.
const ROWS_FOR_TILES: usize = 8;

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

/// Asks for a line of memory before it is needed: in the nearest cache, or where that has no room, in the next.
#[inline(always)]
unsafe fn prefetch(line: *const u8, near: bool) {
    unsafe { if near { _mm_prefetch::<_MM_HINT_T0>(line.cast()) } else { _mm_prefetch::<_MM_HINT_T1>(line.cast()) } }
}

/// Sums over lanes of eight vectors: of lanes 0 to 3, and of lanes 4 to 7, one row a lane.
#[inline(always)]
unsafe fn sum_lanes(rows: [__m256i; 8]) -> (__m256i, __m256i) {
    unsafe {
        let pair = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let quad = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        let first = quad(pair(rows[0], rows[1]), pair(rows[2], rows[3]));
        let second = quad(pair(rows[4], rows[5]), pair(rows[6], rows[7]));
        (_mm256_permute2x128_si256::<0x20>(first, second), _mm256_permute2x128_si256::<0x31>(first, second))
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

#[inline(always)]
fn row_pointers(matrix: &Matrix<'_>, first: usize) -> Rows {
    // Past the end the last row is computed again and thrown away.
    std::array::from_fn(|i| matrix.row((first + i).min(matrix.rows - 1)).as_ptr())
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

/// Rows `first..end` of `matrix` times every row of activations, `A` of them at a time.
#[inline(always)]
unsafe fn few<D: Dot, B: Blocks>(
    matrix: &Matrix<'_>,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    unsafe {
        for row in (first..end).step_by(8) {
            let mut at = 0;
            while at < activations.rows {
                match activations.rows - at {
                    1 => eight_rows::<D, B, 1>(matrix, row, end, activations, at, out),
                    2 | 3 => eight_rows::<D, B, 2>(matrix, row, end, activations, at, out),
                    _ => eight_rows::<D, B, 4>(matrix, row, end, activations, at, out),
                }
                at += match activations.rows - at {
                    1 => 1,
                    2 | 3 => 2,
                    _ => 4,
                };
            }
        }
    }
}

#[inline(always)]
unsafe fn eight_rows<D: Dot, B: Blocks, const A: usize>(
    matrix: &Matrix<'_>,
    first: usize,
    end: usize,
    activations: &Activations,
    at: usize,
    out: *mut f32,
) {
    unsafe {
        let mut rows = row_pointers(matrix, first);
        // Eight short streams are more than the hardware foresees; the next eight rows follow these in the file.
        let mut ahead = rows[0].wrapping_add(8 * matrix.row_bytes());
        let near = matrix.row_bytes() < 1024;
        let groups = matrix.columns / 32;
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let mut results = [_mm256_setzero_ps(); A];
        let mut scale = [_mm256_setzero_ps(); 16];
        let mut offset = [_mm256_setzero_ps(); 16];
        for block in 0..groups / B::GROUPS {
            B::scales(&rows, &mut scale, &mut offset);
            macro_rules! group {
                ($($group:literal)*) => {
                    $(if $group < B::GROUPS {
                        if at == 0 {
                            let lines = (8 * B::BYTES).div_ceil(64);
                            for line in $group * lines / B::GROUPS..($group + 1) * lines / B::GROUPS {
                                prefetch(ahead.wrapping_add(64 * line), near);
                            }
                        }
                        let scales = [scale[2 * $group], scale[2 * $group + 1], scale[$group]];
                        let offsets = [offset[2 * $group], offset[2 * $group + 1], offset[$group]];
                        let group = block * B::GROUPS + $group;
                        eight_rows_of_a_group::<D, B, A, $group>(&rows, scales, offsets, group, &from, &mut results);
                    })*
                };
            }
            group!(0 1 2 3 4 5 6 7);
            rows = rows.map(|row| row.wrapping_add(B::BYTES));
            ahead = ahead.wrapping_add(8 * B::BYTES);
        }
        for (a, result) in results.into_iter().enumerate() {
            write(out.add((at + a) * matrix.rows + first), result, end - first);
        }
    }
}

/// Where a row of activations is.
struct From {
    codes: *const i8,
    scales: *const f32,
    sums: *const i32,
    half_sums: *const i32,
}

impl From {
    #[inline(always)]
    fn row(activations: &Activations, row: usize) -> Self {
        let (columns, groups) = (activations.columns, activations.columns / GROUP);
        Self {
            codes: activations.codes[row * columns..].as_ptr(),
            scales: activations.scales[row * groups..].as_ptr(),
            sums: activations.sums[row * groups..].as_ptr(),
            half_sums: activations.half_sums[row * groups * 2..].as_ptr(),
        }
    }
}

/// `scales` and `offsets`: those of the halves, then that of the whole group.
#[inline(always)]
unsafe fn eight_rows_of_a_group<D: Dot, B: Blocks, const A: usize, const IN_BLOCK: usize>(
    rows: &Rows,
    scales: [__m256; 3],
    offsets: [__m256; 3],
    group: usize,
    from: &[From; A],
    results: &mut [__m256; A],
) {
    unsafe {
        let weights: [__m256i; 8] = std::array::from_fn(|row| B::codes::<IN_BLOCK>(rows[row]));
        for (from, result) in from.iter().zip(results) {
            let activation = _mm256_loadu_si256(from.codes.add(group * GROUP).cast());
            let products = weights.map(|weights| D::dot(_mm256_setzero_si256(), weights, activation, B::WIDE));
            let (first, second) = sum_lanes(products);
            let activation_scale = *from.scales.add(group);
            *result = if B::HALVES {
                let (sum, next) = (*from.half_sums.add(group * 2), *from.half_sums.add(group * 2 + 1));
                let one = accumulate::<B>(*result, first, scales[0], offsets[0], activation_scale, sum);
                accumulate::<B>(one, second, scales[1], offsets[1], activation_scale, next)
            } else {
                let both = _mm256_add_epi32(first, second);
                accumulate::<B>(*result, both, scales[2], offsets[2], activation_scale, *from.sums.add(group))
            };
        }
    }
}

/// Sixteen rows of weights, taken apart: four codes of a row side by side, the rows next to each other.
#[derive(Default)]
struct Tile {
    codes: Vec<[u8; 64]>,
    scales: Vec<[f32; 16]>,
    offsets: Vec<[f32; 16]>,
}

thread_local! {
    static TILE: RefCell<Tile> = RefCell::default();
}

/// Rows `first..end` of `matrix` times every row of activations, tile by tile.
#[inline(always)]
unsafe fn many<D: Dot, B: Blocks>(
    tile: &mut Tile,
    matrix: &Matrix<'_>,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    let groups = matrix.columns / 32;
    let scales = groups * if B::HALVES { 2 } else { 1 };
    tile.codes.resize(groups * 8, [0; 64]);
    tile.scales.resize(scales, [0.0; 16]);
    tile.offsets.resize(scales, [0.0; 16]);
    for row in (first..end).step_by(16) {
        unsafe {
            for half in 0..2 {
                take_apart::<B>(matrix, row + 8 * half, half, tile);
            }
            for half in 0..(end - row).div_ceil(8).min(2) {
                let row = row + 8 * half;
                let mut at = 0;
                while at + 6 <= activations.rows {
                    multiply::<D, B, 6>(tile, half, activations, at, out, matrix.rows, row, end);
                    at += 6;
                }
                while at < activations.rows {
                    multiply::<D, B, 1>(tile, half, activations, at, out, matrix.rows, row, end);
                    at += 1;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn take_apart<B: Blocks>(matrix: &Matrix<'_>, first: usize, half: usize, tile: &mut Tile) {
    unsafe {
        let mut rows = row_pointers(matrix, first);
        let mut scale = [_mm256_setzero_ps(); 16];
        let mut offset = [_mm256_setzero_ps(); 16];
        let per_block = B::GROUPS * if B::HALVES { 2 } else { 1 };
        for block in 0..matrix.columns / 32 / B::GROUPS {
            B::scales(&rows, &mut scale, &mut offset);
            for i in 0..per_block {
                _mm256_storeu_ps(tile.scales[block * per_block + i].as_mut_ptr().add(8 * half), scale[i]);
                if B::AFFINE {
                    _mm256_storeu_ps(tile.offsets[block * per_block + i].as_mut_ptr().add(8 * half), offset[i]);
                }
            }
            macro_rules! group {
                ($($group:literal)*) => {
                    $(if $group < B::GROUPS {
                        let codes = transpose(std::array::from_fn(|row| B::codes::<$group>(rows[row])));
                        let target = tile.codes[(block * B::GROUPS + $group) * 8..][..8].iter_mut();
                        for (codes, target) in codes.into_iter().zip(target) {
                            _mm256_storeu_si256(target.as_mut_ptr().add(32 * half).cast(), codes);
                        }
                    })*
                };
            }
            group!(0 1 2 3 4 5 6 7);
            rows = rows.map(|row| row.wrapping_add(B::BYTES));
        }
    }
}

/// Eight rows of eight 32-bit lanes, turned.
#[inline(always)]
unsafe fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    unsafe {
        let pairs: [__m256i; 8] = std::array::from_fn(|i| {
            let (a, b) = (rows[i / 2 * 2], rows[i / 2 * 2 + 1]);
            if i % 2 == 0 { _mm256_unpacklo_epi32(a, b) } else { _mm256_unpackhi_epi32(a, b) }
        });
        // quads[4 * h + c]: column c (and c + 4) of rows 4h to 4h + 3.
        let quads: [__m256i; 8] = std::array::from_fn(|i| {
            let (half, column) = (i / 4, i % 4);
            let (a, b) = (pairs[4 * half + column / 2], pairs[4 * half + column / 2 + 2]);
            if column % 2 == 0 { _mm256_unpacklo_epi64(a, b) } else { _mm256_unpackhi_epi64(a, b) }
        });
        std::array::from_fn(|i| {
            let (a, b) = (quads[i % 4], quads[4 + i % 4]);
            if i < 4 { _mm256_permute2x128_si256::<0x20>(a, b) } else { _mm256_permute2x128_si256::<0x31>(a, b) }
        })
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn multiply<D: Dot, B: Blocks, const A: usize>(
    tile: &Tile,
    half: usize,
    activations: &Activations,
    at: usize,
    out: *mut f32,
    stride: usize,
    row: usize,
    end: usize,
) {
    unsafe {
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let tile_codes = tile.codes.as_ptr().cast::<u8>().add(32 * half);
        let tile_scales = tile.scales.as_ptr().cast::<f32>().add(8 * half);
        let tile_offsets = tile.offsets.as_ptr().cast::<f32>().add(8 * half);
        let mut results = [_mm256_setzero_ps(); A];
        for group in 0..activations.columns / GROUP {
            let weights: [__m256i; 8] =
                std::array::from_fn(|i| _mm256_loadu_si256(tile_codes.add((group * 8 + i) * 64).cast()));
            for (from, result) in from.iter().zip(&mut results) {
                let mut sum = [_mm256_setzero_si256(); 2];
                for (i, weights) in weights.into_iter().enumerate() {
                    let four = from.codes.add(group * GROUP + 4 * i).cast::<i32>().read_unaligned();
                    sum[i / 4] = D::dot(sum[i / 4], weights, _mm256_set1_epi32(four), B::WIDE);
                }
                let activation_scale = *from.scales.add(group);
                let parameters = |index: usize| {
                    (_mm256_loadu_ps(tile_scales.add(16 * index)), _mm256_loadu_ps(tile_offsets.add(16 * index)))
                };
                *result = if B::HALVES {
                    let (i, j) = (2 * group, 2 * group + 1);
                    let (scale, offset) = parameters(i);
                    let one = accumulate::<B>(*result, sum[0], scale, offset, activation_scale, *from.half_sums.add(i));
                    let (scale, offset) = parameters(j);
                    accumulate::<B>(one, sum[1], scale, offset, activation_scale, *from.half_sums.add(j))
                } else {
                    let (scale, offset) = parameters(group);
                    let both = _mm256_add_epi32(sum[0], sum[1]);
                    accumulate::<B>(*result, both, scale, offset, activation_scale, *from.sums.add(group))
                };
            }
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
    matrix: &Matrix<'_>,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    macro_rules! formats {
        ($run:ident, $tile:ident) => {
            match matrix.format {
                Format::Q4_0 => $run::<Q4_0>($tile, matrix, first, end, activations, out),
                Format::Q4_1 => $run::<Q4_1>($tile, matrix, first, end, activations, out),
                Format::Q5_0 => $run::<Q5_0>($tile, matrix, first, end, activations, out),
                Format::Q5_1 => $run::<Q5_1>($tile, matrix, first, end, activations, out),
                Format::Q8_0 => $run::<Q8_0>($tile, matrix, first, end, activations, out),
                Format::Q2K => $run::<Q2K>($tile, matrix, first, end, activations, out),
                Format::Q3K => $run::<Q3K>($tile, matrix, first, end, activations, out),
                Format::Q4K => $run::<Q4K>($tile, matrix, first, end, activations, out),
                Format::Q5K => $run::<Q5K>($tile, matrix, first, end, activations, out),
                Format::Q6K => $run::<Q6K>($tile, matrix, first, end, activations, out),
                Format::F32 | Format::F16 | Format::BF16 => unreachable!("floats have kernels of their own"),
            }
        };
    }
    macro_rules! with {
        ($features:literal, $dot:ty, $tile:ident) => {{
            #[target_feature(enable = $features)]
            unsafe fn run<B: Blocks>(
                tile: &mut Tile,
                matrix: &Matrix<'_>,
                first: usize,
                end: usize,
                activations: &Activations,
                out: *mut f32,
            ) {
                unsafe {
                    if activations.rows < ROWS_FOR_TILES {
                        few::<$dot, B>(matrix, first, end, activations, out);
                    } else {
                        many::<$dot, B>(tile, matrix, first, end, activations, out);
                    }
                }
            }
            unsafe { formats!(run, $tile) }
        }};
    }
    // Borrowed out here: a closure inside of a kernel would not have its instruction set.
    TILE.with_borrow_mut(|tile| match level {
        Level::Avx512 => with!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", Vnni512, tile),
        Level::AvxVnni => with!("avx2,fma,f16c,avxvnni", VnniAvx, tile),
        Level::Avx2 => with!("avx2,fma,f16c", Multiply, tile),
        Level::Portable => unreachable!("not a level of x86"),
    });
}
