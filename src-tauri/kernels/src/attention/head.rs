//! Attention of some queries over a part of one head's keys and values.

use std::marker::PhantomData;

use super::{
    PAGE, PART,
    softmax::{Softmax, softmaxes},
};
use crate::simd::{LANES, Register, Simd, at_every_level};

/// Queries that share a key and value head: of one or several query heads, and of consecutive tokens.
#[derive(Clone, Copy)]
pub(super) struct Queries {
    /// Of the first token's first head; the next head's follows.
    pub(super) from: *const f32,
    /// Where the results belong, in the same order.
    pub(super) to: *mut f32,
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// Elements from one token to the next.
    pub(super) stride: usize,
    /// Of the first token.
    pub(super) first_position: usize,
}

// SAFETY: each thread has queries, and places for results, of its own.
unsafe impl Sync for Queries {}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Query {
    from: *const f32,
    pub(super) to: *mut f32,
    /// Positions it sees.
    limit: usize,
}

impl Queries {
    pub(super) fn len(&self) -> usize {
        self.tokens * self.heads
    }

    /// Floats that a part comes to for all of them.
    pub(super) fn found_len(&self) -> usize {
        self.len() * found_len(self.head_dim)
    }

    /// Those of one of the heads.
    pub(super) fn of_head(&self, head: usize) -> Self {
        let at = head * self.head_dim;
        Self { from: self.from.wrapping_add(at), to: self.to.wrapping_add(at), heads: 1, ..*self }
    }

    pub(super) fn get(&self, index: usize) -> Query {
        let (token, head) = (index / self.heads, index % self.heads);
        let at = token * self.stride + head * self.head_dim;
        let limit = self.first_position + token + 1;
        Query { from: self.from.wrapping_add(at), to: self.to.wrapping_add(at), limit }
    }
}

/// What the elements of a cache are in memory: half precision in a `u16`, a code in an `i8`, or an `f32`.
pub(super) trait Element: Copy {
    /// Whether the scales of all positions follow the elements of a head.
    const SCALED: bool = false;
    /// # Safety
    /// As for [`Simd`]'s loads.
    unsafe fn load<S: Simd>(from: *const Self) -> S::F;
}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F {
        unsafe { S::load_f16(from) }
    }
}

impl Element for i8 {
    const SCALED: bool = true;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F {
        unsafe { S::load_i8(from) }
    }
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F {
        unsafe { S::load(from) }
    }
}

/// One key and value head in the pages of a sequence. `attend` checked that every page has it.
#[derive(Clone, Copy)]
pub(super) struct Head<'a, E> {
    pub(super) pages: &'a [&'a [u8]],
    /// The byte of a page at which its keys begin.
    pub(super) keys: usize,
    /// The byte of a page at which its values begin.
    pub(super) values: usize,
    pub(super) head_dim: usize,
    pub(super) of: PhantomData<E>,
}

at_every_level! {
    pub(super) fn attend_f16(head: Head<'_, u16>, queries: Queries, part: usize, found: Option<*mut f32>) = attend_part
}

at_every_level! {
    pub(super) fn attend_q8(head: Head<'_, i8>, queries: Queries, part: usize, found: Option<*mut f32>) = attend_part
}

at_every_level! {
    pub(super) fn attend_f32(head: Head<'_, f32>, queries: Queries, part: usize, found: Option<*mut f32>) = attend_part
}

/// Floats that a part comes to for one query: the weighted sum of its values, the largest score and the sum of weights.
pub(super) const fn found_len(head_dim: usize) -> usize {
    head_dim + 2
}

/// What part `part` of the positions comes to for the queries, [`found_len`] floats each; where there is no other, their
/// results.
#[inline(always)]
unsafe fn attend_part<S: Simd>(head: Head<'_, impl Element>, all: Queries, part: usize, found: Option<*mut f32>) {
    let most = S::SUMS.min(8);
    for first in (0..all.len()).step_by(most) {
        // SAFETY: `attend` checked the pages, and has room for what all queries find; so many are left.
        unsafe {
            let found = found.map(|found| found.add(first * found_len(head.head_dim)));
            match (all.len() - first).min(most) {
                1 => together::<S, _, 1>(head, all, first, part, found),
                2 => together::<S, _, 2>(head, all, first, part, found),
                3 => together::<S, _, 3>(head, all, first, part, found),
                4 => together::<S, _, 4>(head, all, first, part, found),
                5 if S::SUMS >= 5 => together::<S, _, 5>(head, all, first, part, found),
                6 if S::SUMS >= 6 => together::<S, _, 6>(head, all, first, part, found),
                7 if S::SUMS >= 7 => together::<S, _, 7>(head, all, first, part, found),
                8 if S::SUMS >= 8 => together::<S, _, 8>(head, all, first, part, found),
                _ => unreachable!("not so many together"),
            }
        }
    }
}

#[inline(always)]
unsafe fn together<S: Simd, E: Element, const N: usize>(
    head: Head<'_, E>,
    all: Queries,
    first_query: usize,
    part: usize,
    found: Option<*mut f32>,
) {
    let first = part * PART;
    let queries: [Query; N] = std::array::from_fn(|n| all.get(first_query + n));
    unsafe {
        // Later queries see more.
        let count = queries[N - 1].limit.saturating_sub(first).min(PART);
        let mut scores = [[0.0_f32; PART]; N];
        // More sums than the registers are good for would be in memory.
        let two = 2 * N <= S::SUMS;
        if two {
            score::<S, E, N, 2>(head, first, count, &queries, &mut scores);
        } else {
            score::<S, E, N, 1>(head, first, count, &queries, &mut scores);
        }
        let (mut to, mut factors) = (queries.map(|query| query.to), [1.0; N]);
        let seen = queries.map(|query| query.limit.saturating_sub(first).min(count));
        for (n, Softmax { largest, total }) in softmaxes::<S, N>(&mut scores, &seen, count).into_iter().enumerate() {
            if let Some(found) = found {
                to[n] = found.add(n * found_len(head.head_dim));
                let end = to[n].add(head.head_dim);
                (*end, *end.add(1)) = (largest, total);
            } else {
                factors[n] = 1.0 / total;
            }
            if E::SCALED {
                scale_weights::<S, E>(head, first, &mut scores[n], seen[n]);
            }
        }
        let mut element = 0;
        while 4 * N <= S::SUMS && element + 4 * LANES <= head.head_dim {
            weigh::<S, E, N, 4>(head, element, first, count, &scores, &to, &factors);
            element += 4 * LANES;
        }
        while two && element + 2 * LANES <= head.head_dim {
            weigh::<S, E, N, 2>(head, element, first, count, &scores, &to, &factors);
            element += 2 * LANES;
        }
        while element < head.head_dim {
            weigh::<S, E, N, 1>(head, element, first, count, &scores, &to, &factors);
            element += LANES;
        }
    }
}

/// The scores of `count` positions from `first` on, `C` vectors of them at a time, and of what follows them in their page.
#[inline(always)]
unsafe fn score<S: Simd, E: Element, const N: usize, const C: usize>(
    head: Head<'_, E>,
    first: usize,
    count: usize,
    queries: &[Query; N],
    scores: &mut [[f32; PART]; N],
) {
    let Head { pages, keys, values, head_dim, .. } = head;
    unsafe {
        let query: [*const f32; N] = std::array::from_fn(|n| queries[n].from);
        let pages = &pages[first / PAGE..(first + count).div_ceil(PAGE)];
        for (index, page) in pages.iter().enumerate() {
            // After the last keys come the values of the first page.
            let next =
                pages.get(index + 1).map_or(pages[0][values..].as_ptr(), |page| page[keys..].as_ptr()).cast::<E>();
            let keys: *const E = page.as_ptr().add(keys).cast();
            let scales: *const f32 = keys.add(head_dim * PAGE).cast();
            for at in (0..PAGE).step_by(C * LANES) {
                let mut sums = [[S::splat(0.0); C]; N];
                for element in 0..head_dim {
                    prefetch::<S, E>(next, element * PAGE + at, C * LANES);
                    let keys = keys.add(element * PAGE + at);
                    let keys: [S::F; C] = std::array::from_fn(|c| E::load::<S>(keys.add(c * LANES)));
                    for n in 0..N {
                        let query = S::splat(*query[n].add(element));
                        for c in 0..C {
                            sums[n][c] = S::fma(keys[c], query, sums[n][c]);
                        }
                    }
                }
                for c in 0..C {
                    let at = at + c * LANES;
                    for n in 0..N {
                        if E::SCALED {
                            sums[n][c] = S::mul(sums[n][c], S::load(scales.add(at)));
                        }
                        S::store(scores[n].as_mut_ptr().add(index * PAGE + at), sums[n][c]);
                    }
                }
            }
        }
    }
}

/// Asks for the cache lines of `count` elements of the next page, from `element` on: the hardware foresees the lines of
/// a page, but not the page.
#[inline(always)]
unsafe fn prefetch<S: Simd, E>(next: *const E, element: usize, count: usize) {
    for line in (0..count).step_by(64 / size_of::<E>()) {
        // SAFETY: an address is all that this takes.
        unsafe { S::Register::prefetch(next.wrapping_add(element + line).cast()) };
    }
}

/// Takes the scales of the values from position `first` on into the first `seen` weights, once for all elements.
#[inline(always)]
unsafe fn scale_weights<S: Simd, E: Element>(head: Head<'_, E>, first: usize, weights: &mut [f32; PART], seen: usize) {
    let pages = head.pages[first / PAGE..].iter().take(seen.div_ceil(PAGE));
    for (page, weights) in pages.zip(weights.as_chunks_mut::<PAGE>().0) {
        // SAFETY: `attend` checked that the page has this head, whose values' scales follow its values.
        unsafe {
            let values: *const E = page.as_ptr().add(head.values).cast();
            let scales: *const f32 = values.add(head.head_dim * PAGE).cast();
            for at in (0..PAGE).step_by(LANES) {
                let weights = weights.as_mut_ptr().add(at);
                S::store(weights, S::mul(S::load(weights), S::load(scales.add(at))));
            }
        }
    }
}

/// Elements `element..` of the weighted sums of the values of `count` positions from `first` on, `C` vectors of them, times a
/// factor of each query.
#[inline(always)]
unsafe fn weigh<S: Simd, E: Element, const N: usize, const C: usize>(
    head: Head<'_, E>,
    element: usize,
    first: usize,
    count: usize,
    weights: &[[f32; PART]; N],
    to: &[*mut f32; N],
    factors: &[f32; N],
) {
    let Head { pages, values, head_dim, .. } = head;
    unsafe {
        let mut sums = [[S::splat(0.0); C]; N];
        for (index, page) in pages[first / PAGE..(first + count).div_ceil(PAGE)].iter().enumerate() {
            let next = pages.get(first / PAGE + index + 1).unwrap_or(page).as_ptr().add(values).cast::<E>();
            let from = page.as_ptr().add(values).cast::<E>().add(element);
            for position in 0..PAGE.min(count - index * PAGE) {
                prefetch::<S, E>(next, position * head_dim + element, C * LANES);
                let from = from.add(position * head_dim);
                let values: [S::F; C] = std::array::from_fn(|c| E::load::<S>(from.add(c * LANES)));
                for n in 0..N {
                    let weight = S::splat(*weights[n].as_ptr().add(index * PAGE + position));
                    for c in 0..C {
                        sums[n][c] = S::fma(values[c], weight, sums[n][c]);
                    }
                }
            }
        }
        for n in 0..N {
            for c in 0..C {
                S::store(to[n].add(element + c * LANES), S::mul(sums[n][c], S::splat(factors[n])));
            }
        }
    }
}
