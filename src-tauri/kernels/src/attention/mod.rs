//! Attention of new tokens over a paged KV cache.

mod head;
mod kv;
mod pages;
mod softmax;

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering::AcqRel},
};

pub use kv::{KvType, PAGE, UnknownKvType, store_key, store_value};
pub use pages::{KvPage, KvPages};

use self::{
    head::{Head, Queries, attend_f16, attend_f32, attend_q8},
    softmax::{Softmax, finish, join},
};
use crate::Pool;

/// Positions whose softmax is taken together, and whose weighted values are added up one after the other; what parts come
/// to is then put together in their order. Where a sequence can be divided without changing a result.
const PART: usize = if cfg!(miri) { PAGE } else { 256 };

/// Positions of queries that share one piece of work: their keys and values stay in the cache.
const TILE: usize = 16;

/// Floats of two cache lines, which is what processors fetch.
const LINES: usize = 32;

/// Units of work for each thread, below which sequences are divided: with fewer, one thread ends long before another.
const UNITS_A_THREAD: usize = 4;

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
    let work = Divided::new(tiles(shape, runs), pool.threads());
    pool.run(work.units(), &|unit| work.attend(kv, unit));
}

/// The runs' queries, in order.
fn tiles<'a>(shape: AttentionShape, runs: &mut [AttentionRun<'a>]) -> Vec<Tile<'a>> {
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
                tiles.push(Tile { pages: run.pages, keys, values, queries, all, found: 0, left: all.into() });
            }
        }
    }
    tiles
}

/// Some queries that share a key and value head.
struct Tile<'a> {
    pages: &'a [&'a [u8]],
    /// The byte of a page at which the head's keys begin.
    keys: usize,
    /// The byte of a page at which its values begin.
    values: usize,
    queries: Queries,
    /// Parts of the positions that they see.
    all: usize,
    /// Where parts are units of work, the float at which what they come to begins.
    found: usize,
    /// Parts that are not done.
    left: AtomicUsize,
}

/// Tiles in units of work for threads: where tiles are few, their parts, one after the other, and where parts are few, too,
/// those of single query heads; otherwise the tiles.
struct Divided<'a> {
    tiles: Vec<Tile<'a>>,
    /// The number of each tile's first part, and of all; nothing if tiles are units.
    firsts: Vec<usize>,
    /// Room for what parts come to, until it is put together.
    found: *mut f32,
    /// Owns that room.
    _room: Vec<f32>,
}

// SAFETY: units write floats of their own, and read those of others only after these are done.
unsafe impl Sync for Divided<'_> {}

impl<'a> Divided<'a> {
    fn new(mut tiles: Vec<Tile<'a>>, threads: usize) -> Self {
        let (mut firsts, mut found) = (Vec::new(), 0);
        if tiles.len() < UNITS_A_THREAD * threads {
            if tiles.iter().map(|tile| tile.all).sum::<usize>() < threads {
                tiles = tiles.iter().flat_map(Tile::heads).collect();
            }
            firsts.reserve(tiles.len() + 1);
            let mut parts = 0;
            firsts.push(parts);
            for tile in &mut tiles {
                tile.found = found;
                found += tile.all * tile.found_len();
                parts += tile.all;
                firsts.push(parts);
            }
        }
        let mut room = Vec::with_capacity(found);
        Self { tiles, firsts, found: room.as_mut_ptr(), _room: room }
    }

    /// How many there are.
    fn units(&self) -> usize {
        self.firsts.last().copied().unwrap_or(self.tiles.len())
    }

    fn attend(&self, kv: KvType, unit: usize) {
        if self.firsts.is_empty() {
            return self.tiles[unit].attend(kv);
        }
        let number = self.firsts.partition_point(|&first| first <= unit) - 1;
        let tile = &self.tiles[number];
        if tile.all == 1 {
            return tile.attend_part(kv, 0, None);
        }
        // SAFETY: the tile has so much room, and each part its own.
        let found_by = |part| unsafe { self.found.add(tile.found + part * tile.found_len()) };
        let part = unit - self.firsts[number];
        tile.attend_part(kv, part, Some(found_by(part)));
        // The last to be done puts together what all have found.
        if tile.left.fetch_sub(1, AcqRel) == 1 {
            let mut softmaxes = vec![Softmax::NONE; tile.queries.len()];
            (0..tile.all).for_each(|part| join(tile.queries, &mut softmaxes, found_by(part)));
            finish(tile.queries, &softmaxes);
        }
    }
}

impl Tile<'_> {
    /// The same of each of the query heads alone.
    fn heads(&self) -> impl Iterator<Item = Self> {
        let &Self { pages, keys, values, queries, all, found, .. } = self;
        let head =
            move |head| Tile { pages, keys, values, queries: queries.of_head(head), all, found, left: all.into() };
        (0..queries.heads).map(head)
    }

    /// Floats that a part comes to, in cache lines of its own where it is not the first.
    fn found_len(&self) -> usize {
        self.queries.found_len().next_multiple_of(LINES)
    }

    /// All parts.
    fn attend(&self, kv: KvType) {
        if self.all == 1 {
            return self.attend_part(kv, 0, None);
        }
        let mut found = vec![0.0_f32; self.queries.found_len()];
        let mut softmaxes = vec![Softmax::NONE; self.queries.len()];
        for part in 0..self.all {
            self.attend_part(kv, part, Some(found.as_mut_ptr()));
            join(self.queries, &mut softmaxes, found.as_ptr());
        }
        finish(self.queries, &softmaxes);
    }

    fn attend_part(&self, kv: KvType, part: usize, found: Option<*mut f32>) {
        let &Self { pages, keys, values, queries, .. } = self;
        let head_dim = queries.head_dim;
        match kv {
            KvType::F16 => attend_f16(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
            KvType::Q8 => attend_q8(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
            KvType::F32 => attend_f32(Head { pages, keys, values, head_dim, of: PhantomData }, queries, part, found),
        }
    }
}
