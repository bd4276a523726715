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

use self::head::{Head, Queries, Softmax, attend_f16, attend_f32, attend_q8, finish, found_len, join};
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
    let mut tiles = Vec::new();
    for run in runs {
        let stride = heads * head_dim;
        let tokens = run.queries.len() / stride;
        assert_eq!(run.out.len(), run.queries.len(), "room for the results");
        assert!(run.pages.len() * PAGE >= run.first_position + tokens, "pages for all positions");
        let end = run.keys.max(run.values) + kv_heads * head_bytes;
        assert!(run.pages.iter().all(|page| page.len() >= end), "whole pages");
        let to = run.out.as_mut_ptr();
        for first in (0..tokens).step_by(TILE) {
            let tokens = TILE.min(tokens - first);
            let all = (run.first_position + first + tokens).div_ceil(PART);
            for kv_head in 0..kv_heads {
                let at = first * stride + kv_head * group * head_dim;
                let queries = Queries {
                    from: run.queries[at..].as_ptr(),
                    to: to.wrapping_add(at),
                    tokens,
                    heads: group,
                    head_dim,
                    stride,
                    first_position: run.first_position + first,
                };
                let (keys, values) = (run.keys + kv_head * head_bytes, run.values + kv_head * head_bytes);
                tiles.push(Piece { pages: run.pages, keys, values, queries, all, parts: 0..all, tile: 0, found: 0 });
            }
        }
    }
    let mut left = Vec::new();
    let mut found_floats = 0;
    let pieces = if tiles.len() >= PIECES_A_THREAD * pool.threads() {
        tiles
    } else {
        // Then parts are pieces of work; and where that is still not one for each thread, each query head is one.
        if tiles.iter().map(|tile| tile.all).sum::<usize>() < pool.threads() {
            tiles = tiles.iter().flat_map(|tile| (0..group).map(|head| tile.of_head(head))).collect();
        }
        let mut pieces = Vec::with_capacity(tiles.len());
        for tile in tiles {
            for part in 0..tile.all {
                pieces.push(Piece { parts: part..part + 1, tile: left.len(), found: found_floats, ..tile.clone() });
                found_floats += if tile.all > 1 { tile.queries.len() * found_len(head_dim) } else { 0 };
            }
            left.push(AtomicUsize::new(tile.all));
        }
        pieces
    };
    let mut all_found = vec![0.0_f32; found_floats];
    let all_found = &Shared(all_found.as_mut_ptr());
    pool.run(pieces.len(), &|piece| {
        let piece = &pieces[piece];
        let &Piece { pages, keys, values, queries, all, .. } = piece;
        let attend_part = |part, found| match kv {
            KvType::F16 => attend_f16(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
            KvType::Q8 => attend_q8(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
            KvType::F32 => attend_f32(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
        };
        if all == 1 {
            return attend_part(0, None);
        }
        let mut softmaxes = vec![Softmax::NONE; queries.len()];
        let part_len = queries.len() * found_len(head_dim);
        if piece.parts.len() < all {
            // SAFETY: the tile's, and each part has its own.
            let found_by =
                |part| unsafe { all_found.0.add(piece.found + part * part_len - piece.parts.start * part_len) };
            attend_part(piece.parts.start, Some(found_by(piece.parts.start)));
            // The last to be done puts together what all have found.
            if left[piece.tile].fetch_sub(1, AcqRel) > 1 {
                return;
            }
            (0..all).for_each(|part| join(queries, &mut softmaxes, found_by(part)));
        } else {
            let mut found = vec![0.0_f32; part_len];
            for part in piece.parts.clone() {
                attend_part(part, Some(found.as_mut_ptr()));
                join(queries, &mut softmaxes, found.as_ptr());
            }
        }
        finish(queries, &softmaxes);
    });
}

/// What one thread does at a time: some queries that share a key and value head, over some parts of the positions.
#[derive(Clone)]
struct Piece<'a> {
    pages: &'a [&'a [u8]],
    /// The byte of a page at which the head's keys begin.
    keys: usize,
    /// The byte of a page at which its values begin.
    values: usize,
    queries: Queries,
    /// Parts of the positions that they see.
    all: usize,
    parts: Range<usize>,
    /// Which counter says how many of them are not done, where others have other parts.
    tile: usize,
    /// Where what its part comes to begins, in that case.
    found: usize,
}

impl Piece<'_> {
    /// The same of one of the query heads alone.
    fn of_head(&self, head: usize) -> Self {
        Self { queries: self.queries.of_head(head), ..self.clone() }
    }
}

/// Floats that pieces of work write, each its own.
struct Shared(*mut f32);
// SAFETY: pieces of work write disjoint elements, and read those of others only after these are done.
unsafe impl Sync for Shared {}
