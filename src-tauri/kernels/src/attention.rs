//! Attention of new tokens over a paged KV cache in half precision.

use std::cell::RefCell;

use crate::{
    Pool,
    simd::{LANES, Simd, at_every_level},
};

/// Positions of one page of the KV cache.
pub const PAGE: usize = 32;

/// Queries computed together; more would not fit the registers.
const TOGETHER: usize = 4;

/// Positions of queries that share one piece of work: their keys and values stay in the cache.
const TILE: usize = 16;

/// The heads of a layer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head; a multiple of 16.
    pub head_dim: usize,
}

/// Consecutive new tokens of one sequence.
pub struct AttentionRun<'a> {
    /// Position of the first of them. Each sees every position up to its own.
    pub first_position: usize,
    /// Queries, already scaled: tokens x heads x head_dim.
    pub queries: &'a [f32],
    /// The sequence's pages, each with [`PAGE`] positions.
    pub pages: &'a [&'a [u16]],
    /// Where in a page this layer's keys begin: kv_heads x head_dim x [`PAGE`], so that one load has many positions.
    pub keys: usize,
    /// Where in a page this layer's values begin: kv_heads x [`PAGE`] x head_dim.
    pub values: usize,
    /// Results: tokens x heads x head_dim.
    pub out: &'a mut [f32],
}

/// Writes a token's key of one head into the layer's keys of a page.
///
/// # Panics
/// When `keys` is shorter than a head's keys.
pub fn store_key(keys: &mut [u16], position: usize, key: &[f32]) {
    for (element, &value) in key.iter().enumerate() {
        keys[element * PAGE + position] = crate::f32_to_f16(value);
    }
}

/// Writes a token's value of one head into the layer's values of a page.
///
/// # Panics
/// When `values` is shorter than a head's values.
pub fn store_value(values: &mut [u16], position: usize, value: &[f32]) {
    for (to, &value) in values[position * value.len()..].iter_mut().zip(value) {
        *to = crate::f32_to_f16(value);
    }
}

/// Softmax(queries x keys) x values for every run.
///
/// # Panics
/// When shapes do not fit.
pub fn attend(pool: &mut Pool, shape: AttentionShape, runs: &mut [AttentionRun<'_>]) {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    assert!(heads.is_multiple_of(kv_heads) && head_dim.is_multiple_of(16), "a shape that the kernel knows");
    let group = heads / kv_heads;
    let mut work = Vec::new();
    let mut outs = Vec::new();
    for (index, run) in runs.iter_mut().enumerate() {
        let tokens = run.queries.len() / (heads * head_dim);
        assert_eq!(run.out.len(), run.queries.len(), "room for the results");
        assert!(run.pages.len() * PAGE >= run.first_position + tokens, "pages for all positions");
        let end = run.keys.max(run.values) + kv_heads * head_dim * PAGE;
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
        let keys = run.keys + kv_head * head_dim * PAGE;
        let values = run.values + kv_head * head_dim * PAGE;
        // Borrowed out here: a closure inside of a kernel would not have its instruction set.
        SCORES.with_borrow_mut(|scores| attend_head(run.pages, keys, values, head_dim, &queries, scores));
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

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

at_every_level! {
    /// Queries that share one key and value head.
    fn attend_head(
        pages: &[&[u16]],
        keys: usize,
        values: usize,
        head_dim: usize,
        queries: &[Query],
        scores: &mut Vec<f32>,
    ) = head
}

#[inline(always)]
unsafe fn head<S: Simd>(
    pages: &[&[u16]],
    keys: usize,
    values: usize,
    head_dim: usize,
    queries: &[Query],
    scores: &mut Vec<f32>,
) {
    for queries in queries.chunks(TOGETHER) {
        let mut positions = 0;
        for query in queries {
            positions = positions.max(query.limit.next_multiple_of(PAGE));
        }
        if scores.len() < positions * TOGETHER {
            scores.resize(positions * TOGETHER, 0.0);
        }
        let scores = &mut scores[..positions * queries.len()];
        // SAFETY: `attend` checked the pages; `queries.len()` is the number of queries.
        unsafe {
            match queries.len() {
                1 => together::<S, 1>(pages, keys, values, head_dim, queries, scores),
                2 => together::<S, 2>(pages, keys, values, head_dim, queries, scores),
                3 => together::<S, 3>(pages, keys, values, head_dim, queries, scores),
                _ => together::<S, 4>(pages, keys, values, head_dim, queries, scores),
            }
        }
    }
}

#[inline(always)]
unsafe fn together<S: Simd, const N: usize>(
    pages: &[&[u16]],
    keys: usize,
    values: usize,
    head_dim: usize,
    queries: &[Query],
    scores: &mut [f32],
) {
    unsafe {
        let positions = scores.len() / N;
        let row: [*mut f32; N] = std::array::from_fn(|n| scores.as_mut_ptr().add(n * positions));
        let query: [*const f32; N] = std::array::from_fn(|n| queries[n].query);
        for (index, page) in pages[..positions / PAGE].iter().enumerate() {
            let keys = page.as_ptr().add(keys);
            for at in (0..PAGE).step_by(2 * LANES) {
                let mut sums = [[S::splat(0.0); 2]; N];
                for element in 0..head_dim {
                    let keys = keys.add(element * PAGE + at);
                    let keys = [S::load_f16(keys), S::load_f16(keys.add(LANES))];
                    for n in 0..N {
                        let query = S::splat(*query[n].add(element));
                        sums[n] = [S::fma(keys[0], query, sums[n][0]), S::fma(keys[1], query, sums[n][1])];
                    }
                }
                for n in 0..N {
                    S::store(row[n].add(index * PAGE + at), sums[n][0]);
                    S::store(row[n].add(index * PAGE + at + LANES), sums[n][1]);
                }
            }
        }
        let mut inverse = [0.0_f32; N];
        for n in 0..N {
            inverse[n] = 1.0 / softmax::<S>(&mut scores[n * positions..][..positions], queries[n].limit);
        }
        let mut element = 0;
        while element + 2 * LANES <= head_dim {
            weigh::<S, N, 2>(pages, values, head_dim, element, queries, &row, &inverse);
            element += 2 * LANES;
        }
        while element < head_dim {
            weigh::<S, N, 1>(pages, values, head_dim, element, queries, &row, &inverse);
            element += LANES;
        }
    }
}

/// Exponentials of the first `limit` scores, zeros after them; returns their sum.
#[inline(always)]
unsafe fn softmax<S: Simd>(scores: &mut [f32], limit: usize) -> f32 {
    unsafe {
        let padded = limit.next_multiple_of(PAGE);
        scores[limit..padded].fill(f32::NEG_INFINITY);
        let at = scores.as_mut_ptr();
        let mut largest = S::splat(f32::NEG_INFINITY);
        for i in (0..padded).step_by(LANES) {
            largest = S::max(largest, S::load(at.add(i)));
        }
        let minus_largest = S::splat(-S::largest(largest));
        for i in (0..padded).step_by(LANES) {
            S::store(at.add(i), S::exp(S::add(S::load(at.add(i)), minus_largest)));
        }
        // Exactly nothing, so that what lies after a query's own position cannot change it.
        scores[limit..].fill(0.0);
        let at = scores.as_ptr();
        let mut sum = S::splat(0.0);
        for i in (0..padded).step_by(LANES) {
            sum = S::add(sum, S::load(at.add(i)));
        }
        S::sum(sum)
    }
}

/// Elements `element..` of the weighted sums of the values, `C` vectors of them.
#[inline(always)]
unsafe fn weigh<S: Simd, const N: usize, const C: usize>(
    pages: &[&[u16]],
    values: usize,
    head_dim: usize,
    element: usize,
    queries: &[Query],
    weights: &[*mut f32; N],
    inverse: &[f32; N],
) {
    unsafe {
        let limit = queries.iter().map(|query| query.limit).max().unwrap_or(0);
        let mut sums = [[S::splat(0.0); C]; N];
        for (index, page) in pages[..limit.div_ceil(PAGE)].iter().enumerate() {
            let from = page.as_ptr().add(values + element);
            for position in 0..PAGE.min(limit - index * PAGE) {
                let from = from.add(position * head_dim);
                let values: [S::F; C] = std::array::from_fn(|c| S::load_f16(from.add(c * LANES)));
                for n in 0..N {
                    let weight = S::splat(*weights[n].add(index * PAGE + position));
                    for c in 0..C {
                        sums[n][c] = S::fma(values[c], weight, sums[n][c]);
                    }
                }
            }
        }
        for n in 0..N {
            for c in 0..C {
                S::store(queries[n].out.add(element + c * LANES), S::mul(sums[n][c], S::splat(inverse[n])));
            }
        }
    }
}
