//! Products with quantized weights on 64-bit Arm, four rows of weights a vector.
//!
//! For a few rows of activations the weights are taken apart on the way; for many, once into a tile. Both add the same
//! numbers in the same order, so that a row's result does not depend on how many rows there are.

use std::{
    arch::{aarch64::*, asm},
    cell::RefCell,
    ops::Range,
};

use super::{
    neon_formats::{At, Blocks, Codes, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Scales},
    shared::{From, each_group, for_format, rows_together},
};
use crate::{
    Activations, Level, Packed,
    activations::GROUP,
    packed::LANES,
    product::{Stream, Streams},
};

/// From this many rows of activations on, taking weights apart once pays.
const ROWS_FOR_TILES: usize = 8;

/// Rows of activations that share what is in registers.
const TOGETHER: usize = 6;

/// Rows of weights in a vector.
const ROWS: usize = 4;

/// The 8-bit dot product of an instruction set: each 32-bit lane gains four products of codes and activations.
///
/// # Safety
/// Needs the instruction set.
unsafe trait Dot {
    /// Four codes of each row times activations `4 * LANE..4 * LANE + 4`.
    unsafe fn dot<const LANE: i32>(sum: int32x4_t, codes: int8x16_t, activations: int8x16_t) -> int32x4_t;
}

struct Instruction;
// SAFETY: one instruction of the dot product extension.
unsafe impl Dot for Instruction {
    #[inline(always)]
    unsafe fn dot<const LANE: i32>(mut sum: int32x4_t, codes: int8x16_t, activations: int8x16_t) -> int32x4_t {
        // The intrinsic is stable from Rust 1.98 on only.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {codes:v}.16b, {activations:v}.4b[{lane}]",
                sum = inout(vreg) sum,
                codes = in(vreg) codes,
                activations = in(vreg) activations,
                lane = const LANE,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    }
}

struct Multiply;
// SAFETY: instructions of NEON.
unsafe impl Dot for Multiply {
    #[inline(always)]
    unsafe fn dot<const LANE: i32>(sum: int32x4_t, codes: int8x16_t, activations: int8x16_t) -> int32x4_t {
        unsafe {
            let four = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(activations)));
            // Two products fit 16 bits: activations are never -128.
            let low = vmull_s8(vget_low_s8(codes), vget_low_s8(four));
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(codes, four)))
        }
    }
}

/// Adds one group's share to the sums of four rows, of which `one` and `two` are the products of the group's halves.
/// The only place that fixes the order of the additions.
#[inline(always)]
unsafe fn accumulate<B: Blocks>(
    sum: float32x4_t,
    one: int32x4_t,
    two: int32x4_t,
    scales: &Scales,
    from: &From,
    group: usize,
) -> float32x4_t {
    unsafe {
        let activation_scale = *from.scales.add(group);
        let scale = vmulq_n_f32(scales.units[0], activation_scale);
        if B::HALVES {
            let in_halves = [*from.half_sums.add(2 * group), *from.half_sums.add(2 * group + 1)].map(i32::from);
            let [factors, offset_factors] = scales.factors;
            let (mut first, mut second) = (one, two);
            if B::ZERO != 0 {
                first = vsubq_s32(first, vdupq_n_s32(B::ZERO * in_halves[0]));
                second = vsubq_s32(second, vdupq_n_s32(B::ZERO * in_halves[1]));
            }
            let whole = vcvtq_f32_s32(vmlaq_s32(vmulq_s32(first, factors[0]), second, factors[1]));
            if !B::AFFINE {
                return vfmaq_f32(sum, whole, scale);
            }
            let offsets = vmlaq_n_s32(vmulq_n_s32(offset_factors[0], in_halves[0]), offset_factors[1], in_halves[1]);
            let share = vmulq_f32(vcvtq_f32_s32(offsets), vmulq_n_f32(scales.units[1], activation_scale));
            return vaddq_f32(sum, vfmaq_f32(share, whole, scale));
        }
        let mut whole = vaddq_s32(one, two);
        if B::ZERO != 0 {
            whole = vsubq_s32(whole, vdupq_n_s32(B::ZERO * *from.sums.add(group)));
        }
        let sum = vfmaq_f32(sum, vcvtq_f32_s32(whole), scale);
        if B::AFFINE { vfmaq_n_f32(sum, scales.units[1], *from.scaled_sums.add(group)) } else { sum }
    }
}

/// Half a group's codes, from vector `first` on, times its sixteen activations.
#[inline(always)]
unsafe fn sixteen<D: Dot>(codes: &Codes, first: usize, activations: *const i8) -> int32x4_t {
    unsafe {
        let activations = vld1q_s8(activations);
        let sum = D::dot::<0>(vdupq_n_s32(0), vreinterpretq_s8_u8(codes[first]), activations);
        let sum = D::dot::<1>(sum, vreinterpretq_s8_u8(codes[first + 1]), activations);
        let sum = D::dot::<2>(sum, vreinterpretq_s8_u8(codes[first + 2]), activations);
        D::dot::<3>(sum, vreinterpretq_s8_u8(codes[first + 3]), activations)
    }
}

/// Adds one group's products to the results of each row of activations.
#[inline(always)]
unsafe fn add_group<D: Dot, B: Blocks, const A: usize>(
    codes: &Codes,
    scales: &Scales,
    group: usize,
    from: &[From; A],
    results: &mut [float32x4_t; A],
) {
    unsafe {
        for a in 0..A {
            let activations = from[a].codes.add(group * GROUP);
            let (one, two) = (sixteen::<D>(codes, 0, activations), sixteen::<D>(codes, 4, activations.add(16)));
            results[a] = accumulate::<B>(results[a], one, two, scales, &from[a], group);
        }
    }
}

/// Writes four results, of which the matrix may have fewer or none.
#[inline(always)]
unsafe fn write(out: *mut f32, results: float32x4_t, row: usize, end: usize) {
    unsafe {
        if row + ROWS <= end {
            vst1q_f32(out.add(row), results);
        } else if row < end {
            let mut all = [0.0_f32; ROWS];
            vst1q_f32(all.as_mut_ptr(), results);
            out.add(row).copy_from_nonoverlapping(all.as_ptr(), end - row);
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
        for row in (first..end).step_by(LANES) {
            let mut block = matrix.rows_from(row).as_ptr();
            let mut results = [[vdupq_n_f32(0.0); A]; 2];
            for index in 0..matrix.columns / GROUP / B::GROUPS {
                each_group!(B, IN_BLOCK => {
                    for half in 0..2 {
                        let at = At { block, half };
                        let (codes, scales) = (B::codes::<IN_BLOCK>(at), B::scales::<IN_BLOCK>(at));
                        let group = index * B::GROUPS + IN_BLOCK;
                        add_group::<D, B, A>(&codes, &scales, group, &from, &mut results[half]);
                    }
                });
                block = block.add(LANES * B::BYTES);
            }
            for a in 0..A {
                let out = out.add((at + a) * matrix.rows);
                write(out, results[0][a], row, end);
                write(out, results[1][a], row + ROWS, end);
            }
        }
    }
}

/// A group of four rows of weights, taken apart.
struct Apart {
    codes: Codes,
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
        for row in (first..end).step_by(ROWS) {
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
        let mut block = matrix.rows_from(row / LANES * LANES).as_ptr();
        let half = row % LANES / ROWS;
        tile.clear();
        for _ in 0..matrix.columns / GROUP / B::GROUPS {
            let at = At { block, half };
            each_group!(B, IN_BLOCK => {
                tile.push(Apart { codes: B::codes::<IN_BLOCK>(at), scales: B::scales::<IN_BLOCK>(at) });
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
        let mut results = [vdupq_n_f32(0.0); A];
        for group in 0..tile.len() {
            let Apart { codes, scales } = &tile[group];
            add_group::<D, B, A>(codes, scales, group, &from, &mut results);
        }
        for a in 0..A {
            write(out.add((at + a) * stride), results[a], row, end);
        }
    }
}

/// Runs the product with the format's and the processor's kernel.
///
/// # Safety
/// As [`super::product`]; `level` is not `Portable`.
pub(super) unsafe fn product(level: Level, streams: &Streams<'_>, activations: &Activations) {
    macro_rules! with {
        ($features:literal, $dot:ty, $tile:ident) => {{
            #[target_feature(enable = $features)]
            unsafe fn run<B: Blocks>(tile: &mut Vec<Apart>, streams: &Streams<'_>, activations: &Activations) {
                for &Stream { weights: matrix, rows: Range { start: first, end }, out } in streams {
                    unsafe {
                        if activations.rows >= ROWS_FOR_TILES {
                            many::<$dot, B>(tile, matrix, first, end, activations, out);
                            continue;
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
            }
            unsafe { for_format!(streams[0].weights.format, run($tile, streams, activations)) }
        }};
    }
    // Borrowed out here: a closure inside of a kernel would not have its instruction set.
    TILE.with_borrow_mut(|tile| match level {
        Level::Neon => with!("neon,dotprod", Instruction, tile),
        _ => with!("neon", Multiply, tile),
    });
}
