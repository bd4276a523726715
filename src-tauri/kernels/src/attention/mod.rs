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

use self::head::{Head, Queries, Softmax, attend_f16, attend_f32, attend_q8, finish, join};
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
    let Divided { pieces, left, mut found } = Divided::new(tiles(shape, runs), pool.threads());
    let found = &Shared(found.as_mut_ptr());
    pool.run(pieces.len(), &|piece| pieces[piece].attend(kv, &left, found));
}

/// Pieces that have all parts of what they see.
fn tiles<'a>(shape: AttentionShape, runs: &mut [AttentionRun<'a>]) -> Vec<Piece<'a>> {
    let AttentionShape { heads, kv_heads, head_dim, kv } = shape;
    let (group, stride) = (heads / kv_heads, heads * head_dim);
    let head_bytes = kv.bytes_per_head(head_dim) * PAGE;
    let mut tiles = Vec::new();
    for run in runs {
        let tokens = run.queries.len() / stride;
        assert_eq!(run.out.len(), run.queries.len(), "room for the results");
        assert!(run.pages.len() * PAGE >= run.first_position + tokens, "pages for all positions");
        let end = run.keys.max(run.values) + kv_heads * head_bytes;
        assert!(run.pages.iter().all(|page| page.len() >= end), "whole pages");
        let to = run.out.as_mut_ptr();
        for first in (0..tokens).step_by(TILE) {
            let tokens = TILE.min(tokens - first);
            let first_position = run.first_position + first;
            let all = (first_position + tokens).div_ceil(PART);
            for kv_head in 0..kv_heads {
                let at = first * stride + kv_head * group * head_dim;
                let (from, to) = (run.queries[at..].as_ptr(), to.wrapping_add(at));
                let queries = Queries { from, to, tokens, heads: group, head_dim, stride, first_position };
                let (keys, values) = (run.keys + kv_head * head_bytes, run.values + kv_head * head_bytes);
                tiles.push(Piece { pages: run.pages, keys, values, queries, all, parts: 0..all, tile: 0, found: 0 });
            }
        }
    }
    tiles
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
    /// Where others have other parts, which counter says how many of them are not done.
    tile: usize,
    /// In that case, where what the parts come to begins.
    found: usize,
}

/// Pieces of work for threads.
struct Divided<'a> {
    pieces: Vec<Piece<'a>>,
    /// Parts of each tile that are not done.
    left: Vec<AtomicUsize>,
    /// Room for what parts come to that others put together.
    found: Vec<f32>,
}

impl<'a> Divided<'a> {
    /// Of `tiles`: where they are few, parts are pieces of work; and where that is still not one for each thread, each query
    /// head is one.
    fn new(mut tiles: Vec<Piece<'a>>, threads: usize) -> Self {
        let (mut left, mut found) = (Vec::new(), 0);
        if tiles.len() >= PIECES_A_THREAD * threads {
            return Self { pieces: tiles, left, found: Vec::new() };
        }
        if tiles.iter().map(|tile| tile.all).sum::<usize>() < threads {
            tiles = tiles.iter().flat_map(Piece::heads).collect();
        }
        let mut pieces = Vec::with_capacity(tiles.len());
        for tile in tiles {
            let part = |part| Piece { parts: part..part + 1, tile: left.len(), found, ..tile.clone() };
            pieces.extend((0..tile.all).map(part));
            left.push(AtomicUsize::new(tile.all));
            if tile.all > 1 {
                found += tile.all * tile.queries.found_len();
            }
        }
        Self { pieces, left, found: vec![0.0; found] }
    }
}

impl Piece<'_> {
    /// The same of each of the query heads alone.
    fn heads(&self) -> impl Iterator<Item = Self> {
        (0..self.queries.heads).map(move |head| Self { queries: self.queries.of_head(head), ..self.clone() })
    }

    fn attend(&self, kv: KvType, left: &[AtomicUsize], all_found: &Shared) {
        let &Self { pages, keys, values, queries, all, .. } = self;
        let head_dim = queries.head_dim;
        let attend_part = |part, found| match kv {
            KvType::F16 => attend_f16(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
            KvType::Q8 => attend_q8(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
            KvType::F32 => attend_f32(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
        };
        if all == 1 {
            return attend_part(0, None);
        }
        let mut softmaxes = vec![Softmax::NONE; queries.len()];
        if self.parts.len() < all {
            // SAFETY: the tile's, and each part has its own.
            let found_by = |part| unsafe { all_found.0.add(self.found + part * queries.found_len()) };
            attend_part(self.parts.start, Some(found_by(self.parts.start)));
            // The last to be done puts together what all have found.
            if left[self.tile].fetch_sub(1, AcqRel) > 1 {
                return;
            }
            (0..all).for_each(|part| join(queries, &mut softmaxes, found_by(part)));
        } else {
            let mut found = vec![0.0_f32; queries.found_len()];
            for part in self.parts.clone() {
                attend_part(part, Some(found.as_mut_ptr()));
                join(queries, &mut softmaxes, found.as_ptr());
            }
        }
        finish(queries, &softmaxes);
    }
}

/// Floats that pieces of work write, each its own.
struct Shared(*mut f32);
// SAFETY: pieces of work write disjoint elements, and read those of others only after these are done.
unsafe impl Sync for Shared {}
