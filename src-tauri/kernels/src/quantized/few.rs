//! Products of a few rows of activations on x86: weights are taken apart on the way.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

use super::{
    dot::Dot,
    formats::Blocks,
    shared::{From, each_group},
    words::Words,
    x86::{As, accumulate, add_group, codes_of_group, zero},
};
use crate::{
    Activations,
    activations::GROUP,
    ahead,
    product::{Stream, Streams},
};

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

/// Where a stream's weights begin, if it has any.
#[inline(always)]
fn start_of(Stream { weights, rows, .. }: &Stream<'_>) -> *const u8 {
    if rows.is_empty() { std::ptr::null() } else { weights.rows_from(rows.start).as_ptr() }
}

/// Groups of a stream that are computed before the other's turn.
const TURN: usize = 8;

/// Some rows of weights times rows `at..at + A` of the activations.
#[inline(always)]
pub(super) unsafe fn few_rows<D: Dot, B: Blocks, const A: usize>(
    streams: &Streams<'_>,
    activations: &Activations,
    at: usize,
) {
    unsafe {
        let ahead = ahead::bytes(streams[0].weights.format);
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let blocks = activations.columns / GROUP / B::GROUPS;
        let mut start = streams.each_ref().map(start_of);
        for step in (0..streams[0].rows.len()).step_by(D::Words::ROWS) {
            let count = if step < streams[1].rows.len() { 2 } else { 1 };
            let mut results = [[D::Words::splat(0.0); A]; 2];
            for turn in (0..blocks).step_by(TURN / B::GROUPS) {
                for stream in 0..count {
                    let start = start[stream];
                    let mut sums = [[D::Words::splat32(0); 2]; 4];
                    for index in turn..blocks.min(turn + TURN / B::GROUPS) {
                        let block = start.add(index * D::Words::ROWS * B::BYTES);
                        each_group!(B, IN_BLOCK => {
                            let group = index * B::GROUPS + IN_BLOCK;
                            fetch::<D::Words, B>(block, IN_BLOCK, ahead);
                            let results = &mut results[stream];
                            // The sums of several groups and more than one row would not stay in registers.
                            if A == 1 {
                                let in_set = IN_BLOCK % B::TOGETHER;
                                if in_set == 0 {
                                    sums = D::products::<B, IN_BLOCK>(block, group, &from[0]);
                                }
                                let scales = B::scales::<D::Words, IN_BLOCK>(block);
                                let lifts = D::lifts::<B>()[IN_BLOCK];
                                let codes = As { lifts, zero: zero::<D, B>(), scaled: false };
                                let sums = sums[in_set];
                                results[0] = accumulate::<D::Words, B>(results[0], sums, codes, &scales, &from[0], group);
                            } else {
                                let codes = codes_of_group::<D::Words, B, IN_BLOCK>(block);
                                let scales = B::scales::<D::Words, IN_BLOCK>(block);
                                add_group::<D, B, A>(false, &codes, &scales, group, &from, results);
                            }
                        });
                    }
                }
            }
            for stream in 0..count {
                start[stream] = start[stream].wrapping_add(D::Words::ROWS * blocks * B::BYTES);
                let Stream { weights, rows, out } = &streams[stream];
                for a in 0..A {
                    let out = out.add((at + a) * weights.rows + rows.start + step);
                    D::Words::store(out, results[stream][a], rows.len() - step);
                }
            }
        }
    }
}
