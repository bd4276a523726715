//! Attention of new tokens over a paged KV cache.

mod kv;

use std::marker::PhantomData;

pub use kv::{KvPage, KvType, PAGE, UnknownKvType, store_key, store_value};

use crate::{
    Pool,
    simd::{LANES, Simd, at_every_level},
};

/// Queries computed together; more would not fit the registers.
const TOGETHER: usize = 4;

/// Positions whose softmax is taken together, and whose weighted values are added up one after the other; what parts come
/// to is then put together in their order. Where a sequence can be divided without changing a result.
const PART: usize = 256;

/// Positions of queries that share one piece of work: their keys and values stay in the cache.
const TILE: usize = 16;

/// The heads of a layer and their cache.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head; a multiple of 16.
    pub head_dim: usize,
    /// What the pages' elements are.
    pub kv: KvType,
}

/// Consecutive new tokens of one sequence.
pub struct AttentionRun<'a> {
    /// Position of the first of them. Each sees every position up to its own.
    pub first_position: usize,
    /// Queries, already scaled: tokens x heads x head_dim.
    pub queries: &'a [f32],
    /// The sequence's pages, each with [`PAGE`] positions, best as [`KvPage`] aligns them.
    pub pages: &'a [&'a [u8]],
    /// The byte of a page at which this layer's keys begin, one key head after the other.
    pub keys: usize,
    /// The byte of a page at which this layer's values begin, one value head after the other.
    pub values: usize,
    /// Results: tokens x heads x head_dim.
    pub out: &'a mut [f32],
}

/// Softmax(queries x keys) x values for every run.
///
/// # Panics
/// When shapes do not fit.
pub fn attend(pool: &mut Pool, shape: AttentionShape, runs: &mut [AttentionRun<'_>]) {
    let AttentionShape { heads, kv_heads, head_dim, kv } = shape;
    assert!(heads.is_multiple_of(kv_heads) && head_dim.is_multiple_of(16), "a shape that the kernel knows");
    let group = heads / kv_heads;
    let head_bytes = kv.bytes_per_head(head_dim) * PAGE;
    let mut work = Vec::new();
    let mut outs = Vec::new();
    for (index, run) in runs.iter_mut().enumerate() {
        let tokens = run.queries.len() / (heads * head_dim);
        assert_eq!(run.out.len(), run.queries.len(), "room for the results");
        assert!(run.pages.len() * PAGE >= run.first_position + tokens, "pages for all positions");
        let end = run.keys.max(run.values) + kv_heads * head_bytes;
        assert!(run.pages.iter().all(|page| page.len() >= end), "whole pages");
        outs.push(Out(run.out.as_mut_ptr()));
        for first in (0..tokens).step_by(TILE) {
            work.extend((0..kv_heads).map(|kv_head| (index, kv_head, 0..group, first..(first + TILE).min(tokens))));
        }
    }
    // One token and few heads leave threads idle: then each query head is a piece of work.
    if work.len() < pool.threads() {
        let split = |(index, kv_head, _, tokens): (usize, usize, std::ops::Range<usize>, std::ops::Range<usize>)| {
            (0..group).map(move |head| (index, kv_head, head..head + 1, tokens.clone()))
        };
        work = work.into_iter().flat_map(split).collect();
    }
    let (runs, outs) = (&*runs, &outs);
    pool.run(work.len(), &|chunk| {
        let (index, kv_head, in_group, tokens) = work[chunk].clone();
        let run = &runs[index];
        let out = outs[index];
        let queries: Vec<Query> = tokens
            .flat_map(|token| in_group.clone().map(move |head| (token, kv_head * group + head)))
            .map(|(token, head)| {
                let at = (token * heads + head) * head_dim;
                // SAFETY: inside of `out`, and this chunk's alone.
                let out = unsafe { out.0.add(at) };
                Query { query: run.queries[at..].as_ptr(), out, limit: run.first_position + token + 1 }
            })
            .collect();
        let (keys, values) = (run.keys + kv_head * head_bytes, run.values + kv_head * head_bytes);
        let pages = run.pages;
        match kv {
            KvType::F16 => attend_f16(Head { pages, keys, values, head_dim, of: PhantomData }, &queries),
            KvType::Q8 => attend_q8(Head { pages, keys, values, head_dim, of: PhantomData }, &queries),
            KvType::F32 => attend_f32(Head { pages, keys, values, head_dim, of: PhantomData }, &queries),
        }
    });
}

#[derive(Clone, Copy)]
struct Out(*mut f32);
// SAFETY: the chunks write disjoint elements.
unsafe impl Sync for Out {}

struct Query {
    query: *const f32,
    out: *mut f32,
    /// Positions it sees.
    limit: usize,
}

/// What the elements of a cache are in memory: half precision in a `u16`, a code in an `i8`, or an `f32`.
trait Element: Copy {
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
struct Head<'a, E> {
    pages: &'a [&'a [u8]],
    /// The byte of a page at which its keys begin.
    keys: usize,
    /// The byte of a page at which its values begin.
    values: usize,
    head_dim: usize,
    of: PhantomData<E>,
}

at_every_level! {
    fn attend_f16(head: Head<'_, u16>, queries: &[Query]) = attend_head
}

at_every_level! {
    fn attend_q8(head: Head<'_, i8>, queries: &[Query]) = attend_head
}

at_every_level! {
    fn attend_f32(head: Head<'_, f32>, queries: &[Query]) = attend_head
}

/// Queries that share one key and value head.
#[inline(always)]
unsafe fn attend_head<S: Simd>(head: Head<'_, impl Element>, queries: &[Query]) {
    for queries in queries.chunks(TOGETHER) {
        // SAFETY: `attend` checked the pages; `queries.len()` is the number of queries.
        unsafe {
            match queries.len() {
                1 => together::<S, _, 1>(head, queries),
                2 => together::<S, _, 2>(head, queries),
                3 => together::<S, _, 3>(head, queries),
                _ => together::<S, _, 4>(head, queries),
            }
        }
    }
}

#[inline(always)]
unsafe fn together<S: Simd, E: Element, const N: usize>(head: Head<'_, E>, queries: &[Query]) {
    unsafe {
        let mut positions = 0;
        for query in queries {
            positions = positions.max(query.limit);
        }
        let mut scores = [[0.0_f32; PART]; N];
        let mut softmaxes = [Softmax { largest: f32::NEG_INFINITY, total: 0.0 }; N];
        for first in (0..positions).step_by(PART) {
            let count = PART.min(positions - first);
            score::<S, E, N>(head, first, count, queries, &mut scores);
            let mut factors = [[0.0; 2]; N];
            for n in 0..N {
                let seen = queries[n].limit.saturating_sub(first).min(count);
                factors[n] = softmaxes[n].add::<S>(&mut scores[n], seen);
                if E::SCALED {
                    scale_weights::<S, E>(head, first, &mut scores[n], seen);
                }
            }
            let mut element = 0;
            while element + 2 * LANES <= head.head_dim {
                weigh::<S, E, N, 2>(head, element, first, count, queries, &scores, &factors);
                element += 2 * LANES;
            }
            while element < head.head_dim {
                weigh::<S, E, N, 1>(head, element, first, count, queries, &scores, &factors);
                element += LANES;
            }
        }
        for n in 0..N {
            let inverse = S::splat(1.0 / softmaxes[n].total);
            for element in (0..head.head_dim).step_by(LANES) {
                let out = queries[n].out.add(element);
                S::store(out, S::mul(S::load(out), inverse));
            }
        }
    }
}

/// The scores of `count` positions from `first` on, and of what follows them in their page.
#[inline(always)]
unsafe fn score<S: Simd, E: Element, const N: usize>(
    head: Head<'_, E>,
    first: usize,
    count: usize,
    queries: &[Query],
    scores: &mut [[f32; PART]; N],
) {
    let Head { pages, keys, head_dim, .. } = head;
    unsafe {
        let query: [*const f32; N] = std::array::from_fn(|n| queries[n].query);
        for (index, page) in pages[first / PAGE..(first + count).div_ceil(PAGE)].iter().enumerate() {
            let next = pages.get(first / PAGE + index + 1).unwrap_or(page).as_ptr().add(keys).cast::<E>();
            let keys: *const E = page.as_ptr().add(keys).cast();
            let scales: *const f32 = keys.add(head_dim * PAGE).cast();
            for at in (0..PAGE).step_by(2 * LANES) {
                let mut sums = [[S::splat(0.0); 2]; N];
                for element in 0..head_dim {
                    prefetch::<S, E>(next, element * PAGE + at, 2 * LANES);
                    let keys = keys.add(element * PAGE + at);
                    let keys = [E::load::<S>(keys), E::load::<S>(keys.add(LANES))];
                    for n in 0..N {
                        let query = S::splat(*query[n].add(element));
                        sums[n] = [S::fma(keys[0], query, sums[n][0]), S::fma(keys[1], query, sums[n][1])];
                    }
                }
                if E::SCALED {
                    let scales = [S::load(scales.add(at)), S::load(scales.add(at + LANES))];
                    for n in 0..N {
                        sums[n] = [S::mul(sums[n][0], scales[0]), S::mul(sums[n][1], scales[1])];
                    }
                }
                for n in 0..N {
                    let to = scores[n].as_mut_ptr().add(index * PAGE + at);
                    S::store(to, sums[n][0]);
                    S::store(to.add(LANES), sums[n][1]);
                }
            }
        }
    }
}

/// What the parts of a query's softmax have come to: the largest score, and the sum of e^(score - largest).
#[derive(Clone, Copy)]
struct Softmax {
    largest: f32,
    total: f32,
}

impl Softmax {
    /// Takes in another part, whose first `seen` scores become e^(score - the part's largest), and the others exactly
    /// nothing. Returns what the sums of weighted values before it are to be multiplied with, and those of this part.
    #[inline(always)]
    unsafe fn add<S: Simd>(&mut self, scores: &mut [f32; PART], seen: usize) -> [f32; 2] {
        let padded = seen.next_multiple_of(PAGE);
        if seen == 0 {
            scores.fill(0.0);
            return [1.0, 0.0];
        }
        unsafe {
            scores[seen..padded].fill(f32::NEG_INFINITY);
            let at = scores.as_mut_ptr();
            let mut largest = S::splat(f32::NEG_INFINITY);
            for i in (0..padded).step_by(LANES) {
                largest = S::max(largest, S::load(at.add(i)));
            }
            let largest = S::largest(largest);
            for i in (0..padded).step_by(LANES) {
                S::store(at.add(i), S::exp(S::add(S::load(at.add(i)), S::splat(-largest))));
            }
            // So that what lies after a query's own position cannot change it.
            scores[seen..].fill(0.0);
            let at = scores.as_ptr();
            let mut sum = S::splat(0.0);
            for i in (0..padded).step_by(LANES) {
                sum = S::add(sum, S::load(at.add(i)));
            }
            let mut both = [0.0; LANES];
            let of_all = self.largest.max(largest);
            (both[0], both[1]) = (self.largest - of_all, largest - of_all);
            S::store(both.as_mut_ptr(), S::exp(S::load(both.as_ptr())));
            let [before, this, ..] = both;
            *self = Self { largest: of_all, total: self.total * before + S::sum(sum) * this };
            [before, this]
        }
    }
}

/// Asks for the cache lines of `count` elements of the next page, from `element` on: the hardware foresees the lines of
/// a page, but not the page.
#[inline(always)]
unsafe fn prefetch<S: Simd, E>(next: *const E, element: usize, count: usize) {
    for line in (0..count).step_by(64 / size_of::<E>()) {
        // SAFETY: an address is all that this takes.
        unsafe { S::prefetch(next.wrapping_add(element + line).cast()) };
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

/// Elements `element..` of the weighted sums of the values of `count` positions from `first` on, `C` vectors of them,
/// added to what the positions before came to.
#[inline(always)]
unsafe fn weigh<S: Simd, E: Element, const N: usize, const C: usize>(
    head: Head<'_, E>,
    element: usize,
    first: usize,
    count: usize,
    queries: &[Query],
    weights: &[[f32; PART]; N],
    factors: &[[f32; 2]; N],
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
            let (before, this) = (S::splat(factors[n][0]), S::splat(factors[n][1]));
            for c in 0..C {
                let out = queries[n].out.add(element + c * LANES);
                let sum = S::mul(sums[n][c], this);
                let sum = if first == 0 { sum } else { S::fma(S::load(out), before, sum) };
                S::store(out, sum);
            }
        }
    }
}
