//! The softmax of a part of the positions, and what all parts come to.

use super::{
    PAGE, PART,
    head::{Queries, found_len},
};
use crate::simd::{LANES, Simd, at_every_level};

/// What the parts of a query's softmax have come to: the largest score, and the sum of e^(score - largest).
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    pub(super) largest: f32,
    pub(super) total: f32,
}

impl Softmax {
    /// Of no positions.
    pub(super) const NONE: Self = Self { largest: f32::NEG_INFINITY, total: 0.0 };
}

/// Makes the first `seen` scores of each query e^(score - the part's largest), and the others exactly nothing; `count` is the
/// most that one has seen. The queries in turn, so that none waits for its own last step.
#[inline(always)]
pub(super) unsafe fn softmaxes<S: Simd, const N: usize>(
    scores: &mut [[f32; PART]; N],
    seen: &[usize; N],
    count: usize,
) -> [Softmax; N] {
    let padded = count.next_multiple_of(PAGE);
    for (scores, &seen) in scores.iter_mut().zip(seen) {
        scores[seen..padded].fill(f32::NEG_INFINITY);
    }
    let at = scores.as_mut_ptr().cast::<f32>();
    // SAFETY: whole vectors within the scores.
    unsafe {
        let mut lanes = [S::splat(f32::NEG_INFINITY); N];
        for i in (0..padded).step_by(LANES) {
            for n in 0..N {
                lanes[n] = S::max(lanes[n], S::load(at.add(n * PART + i)));
            }
        }
        let mut found = [Softmax::NONE; N];
        for n in 0..N {
            found[n].largest = S::largest(lanes[n]);
        }
        for i in (0..padded).step_by(LANES) {
            for n in 0..N {
                let at = at.add(n * PART + i);
                S::store(at, S::exp(S::add(S::load(at), S::splat(-found[n].largest))));
            }
        }
        // So that what lies after a query's own position cannot change it.
        for n in 0..N {
            scores[n][seen[n]..].fill(0.0);
        }
        let at = scores.as_ptr().cast::<f32>();
        let mut sums = [S::splat(0.0); N];
        for i in (0..padded).step_by(LANES) {
            for n in 0..N {
                sums[n] = S::add(sums[n], S::load(at.add(n * PART + i)));
            }
        }
        for n in 0..N {
            found[n].total = S::sum(sums[n]);
        }
        found
    }
}

at_every_level! {
    /// Takes what the next part came to into the results of queries, and what their softmaxes have come to.
    pub(super) fn join(queries: Queries, softmaxes: &mut [Softmax], found: *const f32) = join_part
}

#[inline(always)]
unsafe fn join_part<S: Simd>(queries: Queries, softmaxes: &mut [Softmax], found: *const f32) {
    let head_dim = queries.head_dim;
    for (n, softmax) in softmaxes.iter_mut().enumerate() {
        // SAFETY: `attend_part` wrote so much for each query, and results have `head_dim` elements.
        unsafe {
            let found = found.add(n * found_len(head_dim));
            let part = Softmax { largest: *found.add(head_dim), total: *found.add(head_dim + 1) };
            // The query sees nothing of it.
            if part.total == 0.0 {
                continue;
            }
            let is_first = softmax.total == 0.0;
            let largest = softmax.largest.max(part.largest);
            let mut factors = [0.0; LANES];
            (factors[0], factors[1]) = (softmax.largest - largest, part.largest - largest);
            let [before, this, ..] = S::lanes(S::exp(S::load(factors.as_ptr())));
            *softmax = Softmax { largest, total: softmax.total * before + part.total * this };
            let (before, this) = (S::splat(before), S::splat(this));
            for element in (0..head_dim).step_by(LANES) {
                let out = queries.get(n).to.add(element);
                let sum = S::mul(S::load(found.add(element)), this);
                S::store(out, if is_first { sum } else { S::fma(S::load(out), before, sum) });
            }
        }
    }
}

at_every_level! {
    /// Divides the results of queries by the sums of their weights, when all parts are in.
    pub(super) fn finish(queries: Queries, softmaxes: &[Softmax]) = divide
}

#[inline(always)]
unsafe fn divide<S: Simd>(queries: Queries, softmaxes: &[Softmax]) {
    for (n, softmax) in softmaxes.iter().enumerate() {
        // SAFETY: results have `head_dim` elements.
        unsafe {
            let inverse = S::splat(1.0 / softmax.total);
            for element in (0..queries.head_dim).step_by(LANES) {
                let out = queries.get(n).to.add(element);
                S::store(out, S::mul(S::load(out), inverse));
            }
        }
    }
}
