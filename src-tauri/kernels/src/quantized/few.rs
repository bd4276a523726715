//! Products of a few rows of activations on x86: weights are taken apart on the way.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

use super::{
    dot::Dot,
    formats::Blocks,
    shared::{From, each_group},
    words::Words,
    x86::{As, accumulate, add_group, codes_of_group, zero},
};
use crate::{Activations, Packed, activations::GROUP, ahead};

/// Asks for what lies `ahead` bytes ahead of group `in_block`, unless that is 0.
#[inline(always)]
fn fetch<V: Words, B: Blocks>(at: *const u8, in_block: usize, ahead: usize) {
    if ahead > 0 {
        let share = V::ROWS * B::BYTES / B::GROUPS;
        for line in (0..share).step_by(64) {
            let address = at.wrapping_add(ahead + in_block * share + line).cast();
            // SAFETY: an address that is asked for need not be a good one.
            unsafe {
                // Large codes come faster than the first-level cache could hold them that long.
                if V::WIDE || B::BYTES / B::GROUPS <= 22 {
                    _mm_prefetch::<_MM_HINT_T0>(address);
                } else {
                    _mm_prefetch::<_MM_HINT_T1>(address);
                }
            }
        }
    }
}

/// Groups of a stream through memory that are computed before the other's turn.
const TURN: usize = 8;

/// Rows `first..end` of `matrix` times row `at` of the activations, weights taken apart on the way; in two streams through
/// memory where vectors are wide: one half of the rows beside the other, since memory gives more to two.
#[inline(always)]
pub(super) unsafe fn one_row<D: Dot, B: Blocks>(
    matrix: &Packed,
    first: usize,
    end: usize,
    activations: &Activations,
    at: usize,
    out: *mut f32,
) {
    unsafe {
        let from = From::row(activations, at);
        let ahead = ahead::bytes(matrix.format);
        let rows = D::Words::ROWS;
        let blocks = matrix.columns / GROUP / B::GROUPS;
        let most = if D::Words::WIDE { 2 } else { 1 };
        let half = (end - first).div_ceil(most * rows) * rows;
        for row in (first..first + half).step_by(rows) {
            let streams = if row + half < end { most } else { 1 };
            let starts: [*const u8; 2] = std::array::from_fn(|stream| {
                matrix.rows_from(if stream < streams { row + stream * half } else { row }).as_ptr()
            });
            let mut results = [D::Words::splat(0.0); 2];
            for index in (0..blocks).step_by(TURN / B::GROUPS) {
                for stream in 0..streams {
                    let mut sums = [[D::Words::splat32(0); 2]; 4];
                    for index in index..blocks.min(index + TURN / B::GROUPS) {
                        let block = starts[stream].add(index * rows * B::BYTES);
                        each_group!(B, IN_BLOCK => {
                            let group = index * B::GROUPS + IN_BLOCK;
                            fetch::<D::Words, B>(block, IN_BLOCK, ahead);
                            let in_set = IN_BLOCK % B::TOGETHER;
                            if in_set == 0 {
                                sums = D::products::<B, IN_BLOCK>(block, group, &from);
                            }
                            let scales = B::scales::<D::Words, IN_BLOCK>(block);
                            let codes = As { lifts: D::lifts::<B>()[IN_BLOCK % 4], zero: zero::<D, B>(), scaled: false };
                            results[stream] = accumulate::<D::Words, B>(results[stream], sums[in_set], codes, &scales, &from, group);
                        });
                    }
                }
            }
            for stream in 0..streams {
                let row = row + stream * half;
                D::Words::store(out.add(at * matrix.rows + row), results[stream], end - row);
            }
        }
    }
}

/// Rows `first..end` of `matrix` times rows `at..at + A` of the activations, weights taken apart on the way.
#[inline(always)]
pub(super) unsafe fn few_rows<D: Dot, B: Blocks, const A: usize>(
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
        for row in (first..end).step_by(D::Words::ROWS) {
            let mut block = matrix.rows_from(row).as_ptr();
            let mut results = [D::Words::splat(0.0); A];
            for index in 0..matrix.columns / GROUP / B::GROUPS {
                each_group!(B, IN_BLOCK => {
                    let group = index * B::GROUPS + IN_BLOCK;
                    fetch::<D::Words, B>(block, IN_BLOCK, ahead);
                    let codes = codes_of_group::<D::Words, B, IN_BLOCK>(block);
                    let scales = B::scales::<D::Words, IN_BLOCK>(block);
                    add_group::<D, B, A>(false, &codes, &scales, group, &from, &mut results);
                });
                block = block.add(D::Words::ROWS * B::BYTES);
            }
            for (a, result) in results.into_iter().enumerate() {
                D::Words::store(out.add((at + a) * matrix.rows + row), result, end - row);
            }
        }
    }
}
