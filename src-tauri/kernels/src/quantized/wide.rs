//! Products of many rows of activations with AVX-512: sixteen rows of weights a vector, two eights of them side by side.
//!
//! The same numbers in the same order as with eight, in half as many instructions.

use std::{arch::x86_64::*, cell::RefCell};

use super::{
    formats::{Blocks, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0},
    formats_k::{Q2K, Q3K, Q4K, Q5K, Q6K},
    shared::{From, each_group, for_format, rows_together},
    tiles::{self, Products, Shapes},
    x86::codes_of_group,
};
use crate::{Activations, Packed, activations::GROUP, packed::LANES};

/// Rows of weights at a time.
const ROWS: usize = 2 * LANES;

/// Rows of activations that share what is in registers.
const TOGETHER: usize = 8;

/// A group of sixteen rows of weights, taken apart: as `Scales` of eight. For tiles codes are signed: what stands for
/// nothing is subtracted from them.
struct Apart {
    codes: [__m512i; 8],
    units: [__m512; 2],
    factors: [__m512i; 2],
}

thread_local! {
    static TILE: RefCell<Vec<Apart>> = const { RefCell::new(Vec::new()) };
}

// No closures around instructions: they would not have the instruction set.

#[inline(always)]
unsafe fn both(low: __m256i, high: __m256i) -> __m512i {
    unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) }
}

#[inline(always)]
unsafe fn both_floats(low: __m256, high: __m256) -> __m512 {
    unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high) }
}

#[inline(always)]
unsafe fn take_apart<B: Blocks>(signed: bool, matrix: &Packed, row: usize, tile: &mut Vec<Apart>) {
    unsafe {
        let zero = _mm512_set1_epi8(if signed { B::ZERO as u8 as i8 } else { 0 });
        // Where there is no second eight, nobody wants its results.
        let second = if row + LANES < matrix.rows { row + LANES } else { row };
        let (mut block, mut other) = (matrix.eight_rows(row).as_ptr(), matrix.eight_rows(second).as_ptr());
        tile.clear();
        for _ in 0..matrix.columns / GROUP / B::GROUPS {
            each_group!(B, IN_BLOCK => {
                let (low, high) = (codes_of_group::<B, IN_BLOCK>(block), codes_of_group::<B, IN_BLOCK>(other));
                let (scales, more) = (B::scales::<IN_BLOCK>(block), B::scales::<IN_BLOCK>(other));
                let mut codes = [_mm512_setzero_si512(); 8];
                for i in 0..8 {
                    codes[i] = _mm512_sub_epi8(both(low[i], high[i]), zero);
                }
                tile.push(Apart {
                    codes,
                    units: [both_floats(scales.units[0], more.units[0]), both_floats(scales.units[1], more.units[1])],
                    factors: [both(scales.factors[0], more.factors[0]), both(scales.factors[1], more.factors[1])],
                });
            });
            (block, other) = (block.add(LANES * B::BYTES), other.add(LANES * B::BYTES));
        }
    }
}

/// Adds one group's share to the sums of sixteen rows: `accumulate` of eight, addition for addition. `SIGNED`: what stands
/// for nothing was subtracted from the codes.
#[inline(always)]
unsafe fn accumulate<B: Blocks, const SIGNED: bool>(
    sum: __m512,
    [one, two]: [__m512i; 2],
    Apart { units, factors, .. }: &Apart,
    from: &From,
    group: usize,
) -> __m512 {
    unsafe {
        let activation_scale = _mm512_set1_ps(*from.scales.add(group));
        let scale = _mm512_mul_ps(units[0], activation_scale);
        if B::HALVES {
            let in_halves = _mm512_set1_epi32(from.half_sums.add(2 * group).cast::<i32>().read_unaligned());
            let mut whole = if 16 * 127 * B::MOST <= i16::MAX as i32 {
                let pairs = _mm512_mask_blend_epi16(0xaaaa_aaaa, one, _mm512_slli_epi32::<16>(two));
                _mm512_madd_epi16(pairs, factors[0])
            } else {
                let first = _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(factors[0]));
                let second = _mm512_srai_epi32::<16>(factors[0]);
                _mm512_add_epi32(_mm512_mullo_epi32(one, first), _mm512_mullo_epi32(two, second))
            };
            if B::ZERO != 0 && !SIGNED {
                let zeros = _mm512_madd_epi16(factors[0], in_halves);
                whole = _mm512_sub_epi32(whole, _mm512_mullo_epi32(zeros, _mm512_set1_epi32(B::ZERO)));
            }
            if !B::AFFINE {
                return _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sum);
            }
            let offsets = _mm512_cvtepi32_ps(_mm512_madd_epi16(factors[1], in_halves));
            let share = _mm512_mul_ps(offsets, _mm512_mul_ps(units[1], activation_scale));
            return _mm512_add_ps(sum, _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, share));
        }
        let mut whole = _mm512_add_epi32(one, two);
        if B::ZERO != 0 && !SIGNED {
            whole = _mm512_sub_epi32(whole, _mm512_set1_epi32(B::ZERO * *from.sums.add(group)));
        }
        let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, sum);
        if B::AFFINE { _mm512_fmadd_ps(units[1], _mm512_set1_ps(*from.scaled_sums.add(group)), sum) } else { sum }
    }
}

/// Sixteen rows, taken apart, times rows `at..at + A` of the activations; the first `count` of each are written. `signed`:
/// they were taken apart for tiles.
#[inline(always)]
unsafe fn multiply<B: Blocks, const A: usize>(
    signed: bool,
    tile: &[Apart],
    activations: &Activations,
    at: usize,
    out: *mut f32,
    stride: usize,
    count: usize,
) {
    unsafe {
        let zero = _mm512_set1_epi8(if signed { B::ZERO as u8 as i8 } else { 0 });
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let mut results = [_mm512_setzero_ps(); A];
        for (group, apart) in tile.iter().enumerate() {
            // Here codes must not be negative.
            let mut codes = apart.codes;
            if B::ZERO != 0 {
                for code in &mut codes {
                    *code = _mm512_add_epi8(*code, zero);
                }
            }
            for a in 0..A {
                let mut sums = [_mm512_setzero_si512(); 2];
                for i in 0..8 {
                    let four = from[a].codes.add(group * GROUP + 4 * i).cast::<i32>().read_unaligned();
                    sums[i / 4] = _mm512_dpbusd_epi32(sums[i / 4], codes[i], _mm512_set1_epi32(four));
                }
                results[a] = accumulate::<B, false>(results[a], sums, apart, &from[a], group);
            }
        }
        let mask = if count < ROWS { (1 << count) - 1 } else { u16::MAX };
        for (a, result) in results.into_iter().enumerate() {
            _mm512_mask_storeu_ps(out.add((at + a) * stride), mask, result);
        }
    }
}

/// As [`multiply`], sixteen rows of activations at a time as long as there are as many; how many they were.
#[inline(always)]
unsafe fn multiply_tiles<B: Blocks>(
    tile: &[Apart],
    activations: &Activations,
    out: *mut f32,
    stride: usize,
    count: usize,
) -> usize {
    unsafe {
        let mask = if count < ROWS { (1 << count) - 1 } else { u16::MAX };
        let mut products = [const { [const { Products([[0; ROWS]; tiles::ROWS]) }; 2] }; 2];
        let mut at = 0;
        while at + tiles::ROWS <= activations.rows {
            let from: [From; tiles::ROWS] = std::array::from_fn(|a| From::row(activations, at + a));
            let mut results = [_mm512_setzero_ps(); tiles::ROWS];
            // A group is multiplied while the one before it is added up.
            let multiply_group = |group: usize, products: &mut [Products; 2]| {
                let Some(apart) = tile.get(group) else { return };
                for half in 0..1 + usize::from(B::HALVES) {
                    let codes = from[0].codes.add(group * GROUP + half * GROUP / 2);
                    let words = apart.codes.as_ptr().add(4 * half);
                    tiles::multiply(codes, activations.columns, words.cast(), &mut products[half]);
                }
            };
            multiply_group(0, &mut products[0]);
            for (group, apart) in tile.iter().enumerate() {
                multiply_group(group + 1, &mut products[(group + 1) % 2]);
                let products = &products[group % 2];
                for a in 0..tiles::ROWS {
                    let one = _mm512_load_si512(products[0].0[a].as_ptr().cast());
                    let two = if B::HALVES {
                        _mm512_load_si512(products[1].0[a].as_ptr().cast())
                    } else {
                        _mm512_setzero_si512()
                    };
                    results[a] = accumulate::<B, true>(results[a], [one, two], apart, &from[a], group);
                }
            }
            for (a, result) in results.into_iter().enumerate() {
                _mm512_mask_storeu_ps(out.add((at + a) * stride), mask, result);
            }
            at += tiles::ROWS;
        }
        at
    }
}

/// Rows `first..end` of `matrix` times every row of activations, tile by tile.
///
/// # Safety
/// As for the product with eight rows; the processor has AVX-512 with VNNI, and AMX where it is to be used.
pub(super) unsafe fn product(
    with_amx: bool,
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    out: *mut f32,
) {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn run<B: Blocks>(
        (with_amx, tile): (bool, &mut Vec<Apart>),
        matrix: &Packed,
        first: usize,
        end: usize,
        activations: &Activations,
        out: *mut f32,
    ) {
        unsafe {
            // With offsets for 16, adding up takes longer than multiplying, and tiles only add a way through memory.
            let with_tiles = with_amx && !(B::AFFINE && B::HALVES) && activations.rows >= tiles::ROWS;
            let shapes = with_tiles.then(|| Shapes::set(if B::HALVES { 4 } else { 8 }));
            for row in (first..end).step_by(ROWS) {
                take_apart::<B>(with_tiles, matrix, row, tile);
                let (out, count) = (out.add(row), end - row);
                let done =
                    if shapes.is_some() { multiply_tiles::<B>(tile, activations, out, matrix.rows, count) } else { 0 };
                rows_together!(done, activations.rows, TOGETHER, at, COUNT => {
                    multiply::<B, COUNT>(with_tiles, tile, activations, at, out, matrix.rows, count);
                });
            }
        }
    }
    // Borrowed out here: a closure inside of a kernel would not have its instruction set.
    TILE.with_borrow_mut(|tile| unsafe {
        for_format!(matrix.format, run((with_amx, tile), matrix, first, end, activations, out))
    });
}
