//! Attention of new tokens over a paged KV cache.

mod head;
mod kv;
mod pages;

use std::{
    marker::PhantomData,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::AcqRel},
};

pub use kv::{KvType, PAGE, UnknownKvType, store_key, store_value};
pub use pages::{KvPage, KvPages};

use self::head::{Head, Query, Softmax, attend_f16, attend_f32, attend_q8, finish, found_len, join};
use crate::Pool;

/// Positions whose softmax is taken together, and whose weighted values are added up one after the other; what parts come
/// to is then put together in their order. Where a sequence can be divided without changing a result.
const PART: usize = 256;

/// Positions of queries that share one piece of work: their keys and values stay in the cache.
const TILE: usize = 16;

/// Pieces of work for each thread, below which sequences are divided: with fewer, one thread ends long before another.
const PIECES_A_THREAD: usize = 4;

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
    let (mut tiles, mut outs) = (Vec::new(), Vec::new());
    for (index, run) in runs.iter_mut().enumerate() {
        let tokens = run.queries.len() / (heads * head_dim);
        assert_eq!(run.out.len(), run.queries.len(), "room for the results");
        assert!(run.pages.len() * PAGE >= run.first_position + tokens, "pages for all positions");
        let end = run.keys.max(run.values) + kv_heads * head_bytes;
        assert!(run.pages.iter().all(|page| page.len() >= end), "whole pages");
        outs.push(Shared(run.out.as_mut_ptr()));
        for first in (0..tokens).step_by(TILE) {
            let tokens = first..(first + TILE).min(tokens);
            let parts = (run.first_position + tokens.end).div_ceil(PART);
            tiles.extend((0..kv_heads).map(|kv_head| Tile::new(index, kv_head, 0..group, &tokens, parts)));
        }
    }
    let are_few = tiles.len() < PIECES_A_THREAD * pool.threads();
    // Then parts are pieces of work; and where that is still not one for each thread, each query head is one.
    if are_few && tiles.iter().map(|tile| tile.parts).sum::<usize>() < pool.threads() {
        let of_head = |tile: &Tile, head| Tile::new(tile.run, tile.kv_head, head..head + 1, &tile.tokens, tile.parts);
        tiles = tiles.iter().flat_map(|tile| (0..group).map(move |head| of_head(tile, head))).collect();
    }
    let (mut pieces, mut found_floats) = (Vec::new(), 0);
    for (index, tile) in tiles.iter_mut().enumerate() {
        tile.found = found_floats;
        let parts = if are_few { tile.parts } else { 1 };
        pieces.extend((0..parts).map(|part| (index, part)));
        found_floats += if are_few { parts * tile.queries() * found_len(head_dim) } else { 0 };
    }
    let mut all_found = vec![0.0_f32; found_floats];
    let all_found = &Shared(all_found.as_mut_ptr());
    let (runs, outs) = (&*runs, &outs);
    pool.run(pieces.len(), &|piece| {
        let (tile, part) = pieces[piece];
        let tile = &tiles[tile];
        let (run, out) = (&runs[tile.run], outs[tile.run]);
        let heads_of = |token| tile.in_group.clone().map(move |head| (token, tile.kv_head * group + head));
        let queries: Vec<Query> = tile
            .tokens
            .clone()
            .flat_map(heads_of)
            .map(|(token, head)| {
                let at = (token * heads + head) * head_dim;
                // SAFETY: inside of `out`, and this tile's alone.
                let out = unsafe { out.0.add(at) };
                Query { query: run.queries[at..].as_ptr(), out, limit: run.first_position + token + 1 }
            })
            .collect();
        let pages = run.pages;
        let (keys, values) = (run.keys + tile.kv_head * head_bytes, run.values + tile.kv_head * head_bytes);
        let attend_part = |part, found| match kv {
            KvType::F16 => attend_f16(Head { pages, keys, values, head_dim, of: PhantomData }, &queries, part, found),
            KvType::Q8 => attend_q8(Head { pages, keys, values, head_dim, of: PhantomData }, &queries, part, found),
            KvType::F32 => attend_f32(Head { pages, keys, values, head_dim, of: PhantomData }, &queries, part, found),
        };
        let mut softmaxes = vec![Softmax::NONE; queries.len()];
        let part_len = queries.len() * found_len(head_dim);
        if are_few {
            // SAFETY: the tile's, and each part has its own.
            let found_by = |part| unsafe { all_found.0.add(tile.found + part * part_len) };
            attend_part(part, found_by(part));
            // The last to be done puts together what all have found.
            if tile.left.fetch_sub(1, AcqRel) > 1 {
                return;
            }
            (0..tile.parts).for_each(|part| join(&queries, &mut softmaxes, found_by(part), head_dim));
        } else {
            let mut found = vec![0.0_f32; part_len];
            for part in 0..tile.parts {
                attend_part(part, found.as_mut_ptr());
                join(&queries, &mut softmaxes, found.as_ptr(), head_dim);
            }
        }
        finish(&queries, &softmaxes, head_dim);
    });
}

/// Queries of consecutive tokens that share a key and value head.
struct Tile {
    run: usize,
    kv_head: usize,
    /// Which query heads of those that share the head.
    in_group: Range<usize>,
    tokens: Range<usize>,
    /// Parts of the positions that they see.
    parts: usize,
    /// Where what its parts come to begins.
    found: usize,
    /// Parts that are not done.
    left: AtomicUsize,
}

impl Tile {
    fn new(run: usize, kv_head: usize, in_group: Range<usize>, tokens: &Range<usize>, parts: usize) -> Self {
        Self { run, kv_head, in_group, tokens: tokens.clone(), parts, found: 0, left: AtomicUsize::new(parts) }
    }

    fn queries(&self) -> usize {
        self.in_group.len() * self.tokens.len()
    }
}

/// Floats that pieces of work write, each its own.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
// SAFETY: pieces of work write disjoint elements, and read those of others only after these are done.
unsafe impl Sync for Shared {}
