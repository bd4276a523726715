//! Products of many rows of activations with AMX: sixteen rows of them with sixteen of weights at a time.
//!
//! The same numbers in the same order as without, in a fraction of the instructions.

use std::arch::x86_64::{__m512i, _mm512_load_si512, _mm512_setzero_ps, _mm512_setzero_si512};

use super::{
    dot::Vnni512,
    formats::Blocks,
    shared::From,
    tiles::{self, Products, Shapes},
    words::Words,
    x86::{Apart, As, Scratch, accumulate, multiply, scaled, take_apart},
};
use crate::{
    Activations,
    activations::GROUP,
    product::{Stream, Streams},
};

/// Rows of activations from which on tiles are used.
pub(super) const ROWS: usize = tiles::ROWS;

/// Whether the products of a group's halves are wanted apart.
const fn in_halves<B: Blocks>() -> bool {
    B::HALVES && !scaled::<__m512i, B>()
}

/// Sixteen rows of weights, taken apart with signed codes, times as many rows of activations as are whole sixteens; how
/// many they were.
#[inline(always)]
unsafe fn multiply_tiles<B: Blocks>(
    tile: &[Apart<__m512i>],
    activations: &Activations,
    out: *mut f32,
    stride: usize,
    count: usize,
) -> usize {
    unsafe {
        let in_halves = in_halves::<B>();
        let mut products = [const { [const { Products([[0; 16]; ROWS]) }; 2] }; 2];
        let mut at = 0;
        while at + ROWS <= activations.rows {
            let from: [From; ROWS] = std::array::from_fn(|a| From::row(activations, at + a));
            let mut results = [_mm512_setzero_ps(); ROWS];
            // A group is multiplied while the one before it is added up.
            let multiply_group = |group: usize, products: &mut [Products; 2]| {
                let Some(apart) = tile.get(group) else { return };
                for half in 0..1 + usize::from(in_halves) {
                    let codes = from[0].codes.add(group * GROUP + half * GROUP / 2);
                    let words = apart.codes.as_ptr().add(4 * half);
                    tiles::multiply(codes, activations.columns, words.cast(), &mut products[half]);
                }
            };
            multiply_group(0, &mut products[0]);
            for (group, Apart { scales, .. }) in tile.iter().enumerate() {
                multiply_group(group + 1, &mut products[(group + 1) % 2]);
                let products = &products[group % 2];
                for a in 0..ROWS {
                    let one = _mm512_load_si512(products[0].0[a].as_ptr().cast());
                    let two = if in_halves {
                        _mm512_load_si512(products[1].0[a].as_ptr().cast())
                    } else {
                        _mm512_setzero_si512()
                    };
                    let codes = As { scaled: scaled::<__m512i, B>(), ..As::default() };
                    results[a] = accumulate::<__m512i, B>(results[a], [one, two], codes, scales, &from[a], group);
                }
            }
            for (a, result) in results.into_iter().enumerate() {
                __m512i::store(out.add((at + a) * stride), result, count);
            }
            at += ROWS;
        }
        at
    }
}

/// Some rows of weights times every row of activations, of which there are at least [`ROWS`].
///
/// # Safety
/// As for the product without; the processor has AMX, and AVX-512 with VNNI.
#[inline(always)]
pub(super) unsafe fn product<B: Blocks>(
    Scratch { tile, .. }: &mut Scratch<__m512i>,
    streams: &Streams<'_>,
    activations: &Activations,
) {
    unsafe {
        let _shapes = Shapes::set(if in_halves::<B>() { 4 } else { 8 });
        for Stream { weights, rows, out } in streams {
            for row in rows.clone().step_by(__m512i::ROWS) {
                take_apart::<__m512i, B, true>(weights, row, tile);
                let (out, count) = (out.add(row), rows.end - row);
                let done = multiply_tiles::<B>(tile, activations, out, weights.rows, count);
                multiply::<Vnni512, B, true>(tile, activations, done, out, weights.rows, count);
            }
        }
    }
}
