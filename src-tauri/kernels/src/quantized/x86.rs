//! Products with quantized weights on x86: eight rows of weights a vector, sixteen with AVX-512.
//!
//! For a few rows of activations the weights are taken apart on the way; for many, once into a tile. Both add the same
//! numbers in the same order, so that a row's result does not depend on how many rows there are.

use std::{
    arch::x86_64::{__m256i, __m512i},
    cell::RefCell,
};

use super::{
    amx,
    dot::{Dot, Multiply, Vnni512, VnniAvx},
    few::few_rows,
    formats::{Blocks, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Scales, UNLIFTED},
    formats_k::{Q2K, Q3K, Q4K, Q5K, Q6K},
    shared::{From, each_group, for_format, rows_together},
    words::{Words, bits},
};
use crate::{
    Activations, Level, Packed,
    activations::GROUP,
    product::{Stream, Streams},
};

/// What has to be subtracted from the codes that an instruction set multiplies.
#[inline(always)]
pub(super) const fn zero<D: Dot, B: Blocks>() -> i32 {
    if D::SIGNED && B::MOST > 128 { B::ZERO - 128 } else { B::ZERO }
}

/// Whether codes are multiplied with the scales of their halves as they are taken apart for a tile: then a group's products
/// are one sum. Elsewhere as many of these sums would not fit 16 bits.
pub(super) const fn scaled<V: Words, B: Blocks>() -> bool {
    V::WIDE && B::SCALED_FIT
}

/// What the codes of products are.
#[derive(Clone, Copy, Default)]
pub(super) struct As {
    /// How many bits too high, in each half.
    pub(super) lifts: [i32; 2],
    /// How much too large.
    pub(super) zero: i32,
    /// Whether they are times the scales of their halves.
    pub(super) scaled: bool,
}

/// Adds one group's share to the sums of the rows, of which `one` and `two` are the products of the group's halves. The only
/// place that fixes the order of the additions.
#[inline(always)]
pub(super) unsafe fn accumulate<V: Words, B: Blocks>(
    sum: V::Floats,
    [one, two]: [V; 2],
    As { lifts, zero, scaled }: As,
    scales: &Scales<V>,
    from: &From,
    group: usize,
) -> V::Floats {
    unsafe {
        let activation_scale = V::splat(*from.scales.add(group));
        let scale = V::mul(scales.units[0], activation_scale);
        if B::HALVES {
            let in_halves = V::splat32(from.half_sums.add(2 * group).cast::<i32>().read_unaligned());
            let whole = if scaled {
                V::add32(one, two)
            } else if 16 * 127 * (B::MOST + zero) <= i16::MAX as i32 {
                let pairs = V::join16(V::right32(one, bits(lifts[0])), V::left32(two, bits(16 - lifts[1])));
                let zeros = V::mul16(in_halves, V::splat16(zero as i16));
                V::mul_pairs16(V::sub16(pairs, zeros), scales.factors[0])
            } else {
                let first = V::signed_right32(V::left32(scales.factors[0], bits(16)), bits(16));
                let second = V::signed_right32(scales.factors[0], bits(16));
                let products = V::add32(V::mul32(one, first), V::mul32(two, second));
                let products = V::signed_right32(products, bits(lifts[0]));
                let zeros = V::mul_pairs16(scales.factors[0], in_halves);
                V::sub32(products, V::mul32(zeros, V::splat32(zero)))
            };
            if !B::AFFINE {
                return V::fma(V::floats(whole), scale, sum);
            }
            let offsets = V::floats(V::mul_pairs16(scales.factors[1], in_halves));
            let share = V::mul(offsets, V::mul(scales.units[1], activation_scale));
            return V::add(sum, V::fma(V::floats(whole), scale, share));
        }
        let mut whole = if lifts[0] == lifts[1] {
            V::signed_right32(V::add32(one, two), bits(lifts[0]))
        } else {
            V::add32(V::signed_right32(one, bits(lifts[0])), V::signed_right32(two, bits(lifts[1])))
        };
        if zero != 0 {
            whole = V::sub32(whole, V::splat32(zero * *from.sums.add(group)));
        }
        let sum = V::fma(V::floats(whole), scale, sum);
        if B::AFFINE { V::fma(scales.units[1], V::splat(*from.scaled_sums.add(group)), sum) } else { sum }
    }
}

/// The activations that vector `i` of the codes of group `group` meets.
#[inline(always)]
pub(super) unsafe fn four<V: Words>(from: &From, group: usize, i: usize) -> V {
    unsafe { V::splat32(from.codes.add(group * GROUP + 4 * i).cast::<i32>().read_unaligned()) }
}

/// The codes of one group alone: vector `i` has elements 4i to 4i + 3 of each row.
#[inline(always)]
pub(super) unsafe fn codes_of_group<V: Words, B: Blocks, const IN_BLOCK: usize>(at: *const u8) -> [V; 8] {
    unsafe {
        let mut codes = [V::splat32(0); 8];
        for i in 0..8 {
            codes[i] = B::codes::<V, IN_BLOCK>(at, i, UNLIFTED)[IN_BLOCK % B::TOGETHER];
        }
        codes
    }
}

/// Adds one group's products to the results of each row of activations.
#[inline(always)]
pub(super) unsafe fn add_group<D: Dot, B: Blocks, const A: usize>(
    scaled: bool,
    codes: &[D::Words; 8],
    scales: &Scales<D::Words>,
    group: usize,
    from: &[From; A],
    results: &mut [<D::Words as Words>::Floats; A],
) {
    unsafe {
        for a in 0..A {
            let mut activations = [D::Words::splat32(0); 8];
            for i in 0..8 {
                activations[i] = four(&from[a], group, i);
            }
            let sums = D::group::<B>(codes, activations);
            let codes = As { zero: zero::<D, B>(), scaled, ..As::default() };
            results[a] = accumulate::<D::Words, B>(results[a], sums, codes, scales, &from[a], group);
        }
    }
}

/// A group of rows of weights, taken apart.
pub(super) struct Apart<V: Words> {
    pub(super) codes: [V; 8],
    pub(super) scales: Scales<V>,
}

/// What a thread's products need, and use again.
pub(super) struct Scratch<V: Words> {
    /// Rows of weights, group by group.
    pub(super) tile: Vec<Apart<V>>,
    /// What the sums of a row's products begin with.
    begun: Vec<[i32; 2]>,
}

impl<V: Words> Scratch<V> {
    const NEW: Self = Self { tile: Vec::new(), begun: Vec::new() };
}

/// Takes the rows from `row` on apart. `SIGNED`: what stands for nothing is subtracted from the codes.
#[inline(always)]
pub(super) unsafe fn take_apart<V: Words, B: Blocks, const SIGNED: bool>(
    matrix: &Packed,
    row: usize,
    tile: &mut Vec<Apart<V>>,
) {
    unsafe {
        let mut block = matrix.rows_from(row).as_ptr();
        tile.clear();
        for _ in 0..matrix.columns / GROUP / B::GROUPS {
            each_group!(B, IN_BLOCK => {
                let mut codes = codes_of_group::<V, B, IN_BLOCK>(block);
                if SIGNED {
                    for code in &mut codes {
                        *code = V::sub8(*code, V::splat8(B::ZERO as u8 as i8));
                    }
                }
                let scales = B::scales::<V, IN_BLOCK>(block);
                if scaled::<V, B>() {
                    // Two codes at a time: the product of the lower one stays below that of the upper one.
                    let upper = V::right32(scales.factors[0], bits(16));
                    let lower = V::right32(V::left32(scales.factors[0], bits(16)), bits(16));
                    let halves = [V::or(lower, V::left32(lower, bits(16))), V::or(upper, V::left32(upper, bits(16)))];
                    for i in 0..8 {
                        codes[i] = V::mul16(codes[i], halves[i / 4]);
                    }
                }
                tile.push(Apart { codes, scales });
            });
            block = block.add(V::ROWS * B::BYTES);
        }
    }
}

/// Rows of weights, taken apart, times the rows of activations from `from` on; the first `count` results of each are
/// written. `SIGNED`: as they were taken apart.
#[inline(always)]
pub(super) unsafe fn multiply<D: Dot, B: Blocks, const SIGNED: bool>(
    tile: &[Apart<D::Words>],
    activations: &Activations,
    from: usize,
    out: *mut f32,
    stride: usize,
    count: usize,
) {
    unsafe {
        // Rows of activations that share what is in registers.
        if D::Words::WIDE {
            rows_together!(from, activations.rows, 8, at, COUNT => {
                multiply_some::<D, B, SIGNED, COUNT>(tile, activations, at, out, stride, count);
            });
        } else {
            rows_together!(from, activations.rows, 6, at, COUNT => {
                multiply_some::<D, B, SIGNED, COUNT>(tile, activations, at, out, stride, count);
            });
        }
    }
}

#[inline(always)]
unsafe fn multiply_some<D: Dot, B: Blocks, const SIGNED: bool, const A: usize>(
    tile: &[Apart<D::Words>],
    activations: &Activations,
    at: usize,
    out: *mut f32,
    stride: usize,
    count: usize,
) {
    unsafe {
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let mut results = [D::Words::splat(0.0); A];
        for (group, Apart { codes, scales }) in tile.iter().enumerate() {
            let mut codes = *codes;
            if SIGNED && B::ZERO != 0 {
                // Here codes must not be negative.
                for code in &mut codes {
                    *code = D::Words::add8(*code, D::Words::splat8(B::ZERO as u8 as i8));
                }
            }
            add_group::<D, B, A>(scaled::<D::Words, B>(), &codes, scales, group, &from, &mut results);
        }
        for (a, result) in results.into_iter().enumerate() {
            D::Words::store(out.add((at + a) * stride), result, count);
        }
    }
}

/// Some rows of weights times every row of activations, as is fastest for so many.
#[inline(always)]
unsafe fn any<D: Dot, B: Blocks>(scratch: &mut Scratch<D::Words>, streams: &Streams<'_>, activations: &Activations) {
    unsafe {
        // Up to how many rows weights are taken apart on the way, and how many share what is in registers.
        let (few, together) = if D::Words::WIDE { (8, 8) } else { (7, 4) };
        if activations.rows > few {
            for Stream { weights, rows, out } in streams {
                for row in rows.clone().step_by(D::Words::ROWS) {
                    take_apart::<D::Words, B, false>(weights, row, &mut scratch.tile);
                    multiply::<D, B, false>(&scratch.tile, activations, 0, out.add(row), weights.rows, rows.end - row);
                }
            }
            return;
        }
        let mut at = 0;
        while at < activations.rows {
            let rows = together.min(activations.rows - at);
            match rows {
                1 => few_rows::<D, B, 1>(streams, activations, at, &mut scratch.begun),
                2 => few_rows::<D, B, 2>(streams, activations, at, &mut scratch.begun),
                3 => few_rows::<D, B, 3>(streams, activations, at, &mut scratch.begun),
                4 => few_rows::<D, B, 4>(streams, activations, at, &mut scratch.begun),
                5 if D::Words::WIDE => few_rows::<D, B, 5>(streams, activations, at, &mut scratch.begun),
                6 if D::Words::WIDE => few_rows::<D, B, 6>(streams, activations, at, &mut scratch.begun),
                7 if D::Words::WIDE => few_rows::<D, B, 7>(streams, activations, at, &mut scratch.begun),
                8 if D::Words::WIDE => few_rows::<D, B, 8>(streams, activations, at, &mut scratch.begun),
                _ => unreachable!("more than share registers"),
            }
            at += rows;
        }
    }
}

thread_local! {
    static NARROW: RefCell<Scratch<__m256i>> = const { RefCell::new(Scratch::NEW) };
    static WIDE: RefCell<Scratch<__m512i>> = const { RefCell::new(Scratch::NEW) };
}

/// Runs the product with the format's and the processor's kernel.
///
/// # Safety
/// As [`super::product`]; `level` is not `Portable`.
pub(super) unsafe fn product(level: Level, streams: &Streams<'_>, activations: &Activations) {
    macro_rules! with {
        ($features:literal, $dot:ty, $scratch:ident, $product:path) => {{
            #[target_feature(enable = $features)]
            unsafe fn run<B: Blocks>(
                scratch: &mut Scratch<<$dot as Dot>::Words>,
                streams: &Streams<'_>,
                activations: &Activations,
            ) {
                unsafe { $product(scratch, streams, activations) }
            }
            // Borrowed out here: a closure inside of a kernel would not have its instruction set.
            $scratch.with_borrow_mut(|scratch| unsafe {
                for_format!(streams[0].weights.format, run(scratch, streams, activations))
            })
        }};
    }
    match level {
        Level::Amx if activations.rows >= amx::ROWS => {
            with!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", Vnni512, WIDE, amx::product::<B>)
        }
        Level::Avx512 | Level::Amx => {
            with!("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", Vnni512, WIDE, any::<Vnni512, B>)
        }
        Level::AvxVnni => with!("avx2,fma,f16c,avxvnni", VnniAvx, NARROW, any::<VnniAvx, B>),
        Level::Avx2 => with!("avx2,fma,f16c", Multiply, NARROW, any::<Multiply, B>),
        Level::Portable | Level::NeonMultiply | Level::Neon => unreachable!("not a level of x86"),
    }
}
