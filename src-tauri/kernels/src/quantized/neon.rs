//! Products with quantized weights on 64-bit Arm, four rows of weights a vector.
//!
//! For a few rows of activations the weights are taken apart on the way; for many, once into a tile. Both add the same
//! numbers in the same order, so that a row's result does not depend on how many rows there are.

use std::{
    arch::{aarch64::*, asm},
    cell::RefCell,
};

use super::{From, each_group, for_format};
use crate::{Activations, Level, Packed, activations::GROUP, packed::LANES, simd::four_halves};

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

/// Four of the eight rows of a block as [`Packed`] has them.
#[derive(Clone, Copy)]
struct At {
    block: *const u8,
    /// 0 for the first four rows, 1 for the others.
    half: usize,
}

impl At {
    /// Word `index` of each row, where the words begin after `apart` bytes a row.
    #[inline(always)]
    unsafe fn bytes(self, apart: usize, index: usize) -> uint8x16_t {
        unsafe { vld1q_u8(self.block.add(8 * apart + 32 * index + 16 * self.half)) }
    }

    #[inline(always)]
    unsafe fn words(self, apart: usize, index: usize) -> uint32x4_t {
        unsafe { vreinterpretq_u32_u8(self.bytes(apart, index)) }
    }

    /// Half-precision scales that stand apart.
    #[inline(always)]
    unsafe fn scale_first(self) -> float32x4_t {
        unsafe { four_halves(self.block.add(8 * self.half).cast()) }
    }

    /// The lower and the upper halves of a word as half-precision numbers.
    #[inline(always)]
    unsafe fn both_halves(self, index: usize) -> [float32x4_t; 2] {
        unsafe {
            let words = self.words(0, index);
            let halves = [vmovn_u32(words), vshrn_n_u32::<16>(words)];
            [vcvt_f32_f16(vreinterpret_f16_u16(halves[0])), vcvt_f32_f16(vreinterpret_f16_u16(halves[1]))]
        }
    }

    /// 32 codes a row from four words of nibbles: the low ones first, then the high ones.
    #[inline(always)]
    unsafe fn nibbles(self, apart: usize, first: usize) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..4 {
                let bytes = self.bytes(apart, first + i);
                codes[i] = bits(bytes, 0, 15);
                codes[i + 4] = bits(bytes, 4, 15);
            }
            codes
        }
    }
}

/// The codes of a group, as signed bytes: vector `i` has elements 4i to 4i + 3 of each row.
type Codes = [uint8x16_t; 8];

/// Scales or offsets, a vector for each 32 (or 16) elements.
type Factors = [float32x4_t; 16];

/// Bytes shifted right and masked.
#[inline(always)]
unsafe fn bits(bytes: uint8x16_t, shift: usize, mask: u8) -> uint8x16_t {
    unsafe { vandq_u8(vshlq_u8(bytes, vdupq_n_s8(-(shift as i8))), vdupq_n_u8(mask)) }
}

/// Words shifted right and masked.
#[inline(always)]
unsafe fn word_bits(words: uint32x4_t, shift: usize, mask: u32) -> uint32x4_t {
    unsafe { vandq_u32(vshlq_u32(words, vdupq_n_s32(-(shift as i32))), vdupq_n_u32(mask)) }
}

/// `values` times byte `index` of each word.
#[inline(always)]
unsafe fn times_byte(values: float32x4_t, words: uint32x4_t, index: usize) -> float32x4_t {
    unsafe { vmulq_f32(values, vcvtq_f32_u32(word_bits(words, 8 * index, 255))) }
}

/// A block format as the kernels need it: element = `scale * (code - ZERO) + offset`.
///
/// # Safety
/// The functions need whole blocks.
unsafe trait Blocks {
    /// Groups of 32 elements in a block.
    const GROUPS: usize;
    /// Bytes of a row's block.
    const BYTES: usize;
    /// Whether a scale holds for 16 elements instead of 32.
    const HALVES: bool;
    const ZERO: i32;
    /// Whether there are offsets.
    const AFFINE: bool;

    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors);
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes;
}

/// Nibbles, to which fifth bits and offsets may come.
struct Nibbles<const FIFTH: bool, const OFFSET: bool>;
// SAFETY: reads the blocks' bytes.
unsafe impl<const FIFTH: bool, const OFFSET: bool> Blocks for Nibbles<FIFTH, OFFSET> {
    const GROUPS: usize = 1;
    const BYTES: usize = 18 + 2 * OFFSET as usize + 4 * FIFTH as usize;
    const HALVES: bool = false;
    const ZERO: i32 = if OFFSET { 0 } else { 8 + 8 * FIFTH as i32 };
    const AFFINE: bool = OFFSET;

    #[inline(always)]
    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors) {
        unsafe {
            if OFFSET {
                [scales[0], offsets[0]] = at.both_halves(0);
            } else {
                scales[0] = at.scale_first();
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let (apart, first) = if OFFSET { (0, 1) } else { (2, 0) };
            let mut codes = at.nibbles(apart, first + FIFTH as usize);
            if FIFTH {
                let fifths = at.bytes(apart, first);
                for i in 0..8 {
                    // Byte i / 2 of each word to its four bytes, of which each looks at a bit of its own.
                    let row = vcombine_u8(vcreate_u8(0x0404_0404_0000_0000), vcreate_u8(0x0c0c_0c0c_0808_0808));
                    let bytes = vqtbl1q_u8(fifths, vaddq_u8(row, vdupq_n_u8(i as u8 / 2)));
                    let select = vdupq_n_u32(if i % 2 == 0 { 0x0804_0201 } else { 0x8040_2010 });
                    let is_set = vtstq_u8(bytes, vreinterpretq_u8_u32(select));
                    codes[i] = vorrq_u8(codes[i], vandq_u8(is_set, vdupq_n_u8(16)));
                }
            }
            codes
        }
    }
}

type Q4_0 = Nibbles<false, false>;
type Q4_1 = Nibbles<false, true>;
type Q5_0 = Nibbles<true, false>;
type Q5_1 = Nibbles<true, true>;

struct Q8_0;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = 34;
    const HALVES: bool = false;
    // Elsewhere codes are unsigned and this is 128; the whole numbers that come of it are the same.
    const ZERO: i32 = 0;
    const AFFINE: bool = false;

    #[inline(always)]
    unsafe fn scales(at: At, scales: &mut Factors, _: &mut Factors) {
        scales[0] = unsafe { at.scale_first() };
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..8 {
                codes[i] = at.bytes(2, i);
            }
            codes
        }
    }
}

struct Q2K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q2K {
    const GROUPS: usize = 8;
    const BYTES: usize = 84;
    const HALVES: bool = true;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors) {
        unsafe {
            let [scale, offset] = at.both_halves(20);
            let offset = vnegq_f32(offset);
            for i in 0..16 {
                let factors = at.bytes(0, i / 4);
                scales[i] = times_byte(scale, vreinterpretq_u32_u8(bits(factors, 0, 15)), i % 4);
                offsets[i] = times_byte(offset, vreinterpretq_u32_u8(bits(factors, 4, 15)), i % 4);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..8 {
                codes[i] = bits(at.bytes(0, 4 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
            }
            codes
        }
    }
}

struct Q3K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q3K {
    const GROUPS: usize = 8;
    const BYTES: usize = 110;
    const HALVES: bool = true;
    const ZERO: i32 = 4;
    const AFFINE: bool = false;

    #[inline(always)]
    unsafe fn scales(at: At, scales: &mut Factors, _: &mut Factors) {
        unsafe {
            let scale = at.scale_first();
            for i in 0..16 {
                let (part, index) = (i / 4, i % 4);
                // Four bits in one of the first two words, two more in the third.
                let four = word_bits(at.words(2, 24 + part % 2), part / 2 * 4 + 8 * index, 15);
                let two = word_bits(at.words(2, 26), 2 * part + 8 * index, 3);
                let factor = vreinterpretq_s32_u32(vorrq_u32(four, vshlq_n_u32::<4>(two)));
                scales[i] = vmulq_f32(scale, vcvtq_f32_s32(vsubq_s32(factor, vdupq_n_s32(32))));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..8 {
                let low = bits(at.bytes(2, 8 + GROUP / 4 * 8 + i), GROUP % 4 * 2, 3);
                let high = bits(at.bytes(2, i), GROUP, 1);
                codes[i] = vorrq_u8(low, vshlq_n_u8::<2>(high));
            }
            codes
        }
    }
}

/// Nibbles, to which fifth bits may come, with scales and minimums of 6 bits each, packed into three words
/// (`get_scale_min_k4` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>).
struct SixBits<const FIFTH: bool>;
// SAFETY: reads the blocks' bytes.
unsafe impl<const FIFTH: bool> Blocks for SixBits<FIFTH> {
    const GROUPS: usize = 8;
    const BYTES: usize = 144 + 32 * FIFTH as usize;
    const HALVES: bool = false;
    const ZERO: i32 = 0;
    const AFFINE: bool = true;

    #[inline(always)]
    unsafe fn scales(at: At, scales: &mut Factors, offsets: &mut Factors) {
        unsafe {
            let [scale, offset] = at.both_halves(0);
            let offset = vnegq_f32(offset);
            let (a, b, c) = (at.bytes(0, 1), at.bytes(0, 2), at.bytes(0, 3));
            let top = [vshlq_n_u8::<4>(bits(a, 6, 3)), vshlq_n_u8::<4>(bits(b, 6, 3))];
            let factors = [bits(a, 0, 63), vorrq_u8(bits(c, 0, 15), top[0])];
            let minimums = [bits(b, 0, 63), vorrq_u8(bits(c, 4, 15), top[1])];
            for i in 0..8 {
                scales[i] = times_byte(scale, vreinterpretq_u32_u8(factors[i / 4]), i % 4);
                offsets[i] = times_byte(offset, vreinterpretq_u32_u8(minimums[i / 4]), i % 4);
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let first = if FIFTH { 12 } else { 4 };
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..8 {
                codes[i] = bits(at.bytes(0, first + GROUP / 2 * 8 + i), GROUP % 2 * 4, 15);
                if FIFTH {
                    codes[i] = vorrq_u8(codes[i], vshlq_n_u8::<4>(bits(at.bytes(0, 4 + i), GROUP, 1)));
                }
            }
            codes
        }
    }
}

type Q4K = SixBits<false>;
type Q5K = SixBits<true>;

struct Q6K;
// SAFETY: reads the blocks' bytes.
unsafe impl Blocks for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = 210;
    const HALVES: bool = true;
    const ZERO: i32 = 32;
    const AFFINE: bool = false;

    #[inline(always)]
    unsafe fn scales(at: At, scales: &mut Factors, _: &mut Factors) {
        unsafe {
            let scale = at.scale_first();
            for i in 0..16 {
                let factors = vreinterpretq_s32_u32(at.words(2, 48 + i / 4));
                let top = vshlq_s32(factors, vdupq_n_s32(24 - 8 * (i as i32 % 4)));
                scales[i] = vmulq_f32(scale, vcvtq_f32_s32(vshrq_n_s32::<24>(top)));
            }
        }
    }

    #[inline(always)]
    unsafe fn codes<const GROUP: usize>(at: At) -> Codes {
        unsafe {
            let (part, quarter) = (GROUP / 4, GROUP % 4);
            let mut codes = [vdupq_n_u8(0); 8];
            for i in 0..8 {
                let low = bits(at.bytes(2, part * 16 + quarter % 2 * 8 + i), quarter / 2 * 4, 15);
                let high = bits(at.bytes(2, 32 + part * 8 + i), quarter * 2, 3);
                codes[i] = vorrq_u8(low, vshlq_n_u8::<4>(high));
            }
            codes
        }
    }
}

/// Adds one group's share to the sums of four rows. The only place that fixes the order of the additions.
#[inline(always)]
unsafe fn accumulate<B: Blocks>(
    sum: float32x4_t,
    whole: int32x4_t,
    scale: float32x4_t,
    offset: float32x4_t,
    activation_scale: f32,
    activation_sum: i32,
) -> float32x4_t {
    unsafe {
        let whole = if B::ZERO == 0 { whole } else { vsubq_s32(whole, vdupq_n_s32(B::ZERO * activation_sum)) };
        let sum = vfmaq_f32(sum, vcvtq_f32_s32(whole), vmulq_n_f32(scale, activation_scale));
        if B::AFFINE { vfmaq_n_f32(sum, offset, activation_scale * activation_sum as f32) } else { sum }
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
///
/// `scales` and `offsets`: those of the halves where there are any, or that of the group.
#[inline(always)]
unsafe fn add_group<D: Dot, B: Blocks, const A: usize>(
    codes: &Codes,
    scales: [float32x4_t; 2],
    offsets: [float32x4_t; 2],
    group: usize,
    from: &[From; A],
    results: &mut [float32x4_t; A],
) {
    unsafe {
        for a in 0..A {
            let activations = from[a].codes.add(group * GROUP);
            let (one, two) = (sixteen::<D>(codes, 0, activations), sixteen::<D>(codes, 4, activations.add(16)));
            let scale = *from[a].scales.add(group);
            results[a] = if B::HALVES {
                let (first, second) = (*from[a].half_sums.add(2 * group), *from[a].half_sums.add(2 * group + 1));
                let sum = accumulate::<B>(results[a], one, scales[0], offsets[0], scale, first);
                accumulate::<B>(sum, two, scales[1], offsets[1], scale, second)
            } else {
                let sum = *from[a].sums.add(group);
                accumulate::<B>(results[a], vaddq_s32(one, two), scales[0], offsets[0], scale, sum)
            };
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
        let mut scale = [[vdupq_n_f32(0.0); 16]; 2];
        let mut offset = [[vdupq_n_f32(0.0); 16]; 2];
        for row in (first..end).step_by(LANES) {
            let mut block = matrix.eight_rows(row).as_ptr();
            let mut results = [[vdupq_n_f32(0.0); A]; 2];
            for index in 0..matrix.columns / GROUP / B::GROUPS {
                for half in 0..2 {
                    B::scales(At { block, half }, &mut scale[half], &mut offset[half]);
                }
                each_group!(B, IN_BLOCK => {
                    let (one, two) = if B::HALVES { (2 * IN_BLOCK, 2 * IN_BLOCK + 1) } else { (IN_BLOCK, IN_BLOCK) };
                    for half in 0..2 {
                        let (scales, offsets) = (&scale[half], &offset[half]);
                        let (scales, offsets) = ([scales[one], scales[two]], [offsets[one], offsets[two]]);
                        let codes = B::codes::<IN_BLOCK>(At { block, half });
                        let group = index * B::GROUPS + IN_BLOCK;
                        add_group::<D, B, A>(&codes, scales, offsets, group, &from, &mut results[half]);
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
    scales: [float32x4_t; 2],
    offsets: [float32x4_t; 2],
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
unsafe fn take_apart<B: Blocks>(matrix: &Packed, row: usize, tile: &mut Vec<Apart>) {
    unsafe {
        let mut block = matrix.eight_rows(row / LANES * LANES).as_ptr();
        let half = row % LANES / ROWS;
        let mut scale = [vdupq_n_f32(0.0); 16];
        let mut offset = [vdupq_n_f32(0.0); 16];
        tile.clear();
        for _ in 0..matrix.columns / GROUP / B::GROUPS {
            let at = At { block, half };
            B::scales(at, &mut scale, &mut offset);
            each_group!(B, IN_BLOCK => {
                let (one, two) = if B::HALVES { (2 * IN_BLOCK, 2 * IN_BLOCK + 1) } else { (IN_BLOCK, IN_BLOCK) };
                let (scales, offsets) = ([scale[one], scale[two]], [offset[one], offset[two]]);
                tile.push(Apart { codes: B::codes::<IN_BLOCK>(at), scales, offsets });
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
            let Apart { codes, scales, offsets } = &tile[group];
            add_group::<D, B, A>(codes, *scales, *offsets, group, &from, &mut results);
        }
        for a in 0..A {
            write(out.add((at + a) * stride), results[a], row, end);
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
    // Borrowed out here: a closure inside of a kernel would not have its instruction set.
    TILE.with_borrow_mut(|tile| match level {
        Level::Neon => with!("neon,dotprod", Instruction, tile),
        _ => with!("neon", Multiply, tile),
    });
}
