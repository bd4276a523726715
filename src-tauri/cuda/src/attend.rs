//! Attention: which kernels look back, and how their work is divided.

use std::{ffi::c_void, ops::Range};

use tektra_kernels::KvType;

use crate::{
    GpuError, LayerShape,
    gpu::Grid,
    launches::{LayoutArgument, ProductsArgument, ShapeArgument, launch},
    layers::{Layers, no_scratch},
    scratch::{KeptArgument, PART, RowsArgument, SPAN, Scratch, Tile},
};

/// Queries of a token that are computed together at most.
const QUERIES: usize = 16;
/// Blocks that share a sequence's parts where tokens are generated.
const PART_BLOCKS: usize = 16;
/// Shared memory for values that such a block weighs.
const STAGE_BYTES: usize = 64 << 10;

/// Queries of a prompt that are computed together, and positions: `TILE_QUERIES` and `TILE_POSITIONS` of prompts.cu.
const TILE_QUERIES: usize = 64;
const TILE_POSITIONS: usize = 128;

impl Layers {
    /// Attention of the rows' queries: the first `generated` each alone, the others in tiles.
    pub(crate) fn attend(
        &self,
        products: ProductsArgument,
        shape: ShapeArgument,
        layout: LayoutArgument,
        generated: usize,
        rows: usize,
    ) -> Result<(), GpuError> {
        if generated > 0 {
            self.attend_alone(products, shape, layout, generated)?;
        }
        let Scratch { prompt_tiles: tiles, kept, .. } = self.scratch.as_ref().ok_or_else(no_scratch)?;
        let mut first = 0;
        while first < tiles.len() && rows > generated {
            let first_row = tiles[first].first_row as usize;
            let end_of = |tile: &Tile| (tile.first_row + tile.rows) as usize;
            let fit = tiles[first..].iter().take_while(|tile| end_of(tile) - first_row <= kept.rows);
            let end = first + fit.count().max(1);
            self.attend_tiles(shape, layout, first..end, first_row..end_of(&tiles[end - 1]))?;
            first = end;
        }
        Ok(())
    }

    /// Attention of the first `rows` rows, each a token that is generated, from their products on.
    fn attend_alone(
        &self,
        products: ProductsArgument,
        shape: ShapeArgument,
        layout: LayoutArgument,
        rows: usize,
    ) -> Result<(), GpuError> {
        let scratch = self.scratch.as_ref().ok_or_else(no_scratch)?;
        let LayerShape { heads, kv_heads, head_dim, kv, .. } = self.shape;
        let group = (heads / kv_heads).min(QUERIES);
        let queries = [4, 8].into_iter().find(|&queries| group <= queries).unwrap_or(QUERIES);
        let kept = scratch.kept.of_generated();
        let passes = kv_heads * (heads / kv_heads).div_ceil(group);
        let shared_bytes = STAGE_BYTES + queries * head_dim * 4;
        let parts = Grid { blocks: [PART_BLOCKS, passes, rows], threads: 256, shared_bytes };
        // Sets of threads that have whole values, of two elements each.
        let sets = [8, 4].into_iter().find(|&sets| sets * head_dim / 2 <= 256 && sets <= queries).unwrap_or(2);
        // A group of 32 elements is quantized by who has all of it.
        let at_once = (group * head_dim).is_multiple_of(32) && (heads / kv_heads).is_multiple_of(group);
        launch!(
            self.gpu,
            &format!("look_back_{}_{queries}_{sets}", kv_name(kv)),
            parts,
            products,
            scratch.tokens.device.address,
            scratch.pages.device.address,
            shape,
            layout,
            group as i32,
            kept,
            STAGE_BYTES as i32,
            if at_once { scratch.attended.from(0) } else { RowsArgument::NOWHERE },
        )?;
        if at_once { Ok(()) } else { self.combine(shape, kept, 0..rows, 0, true) }
    }

    /// Attention of the queries of a prompt's `tiles`, which are those of `rows`.
    fn attend_tiles(
        &self,
        shape: ShapeArgument,
        layout: LayoutArgument,
        tiles: Range<usize>,
        rows: Range<usize>,
    ) -> Result<(), GpuError> {
        let scratch = self.scratch.as_ref().ok_or_else(no_scratch)?;
        let LayerShape { heads, kv_heads, head_dim, kv, .. } = self.shape;
        let group = (heads / kv_heads).min(TILE_QUERIES);
        let kept = scratch.kept.of_prompts(rows.start);
        let (tokens, pages) = (scratch.tokens.device.address, scratch.pages.device.address);
        let first_tile = scratch.tiles.device.address + (tiles.start * size_of::<Tile>()) as u64;
        let kv = kv_name(kv);
        let passes = kv_heads * (heads / kv_heads).div_ceil(group);
        let grid = |blocks| Grid::new([blocks, passes, tiles.len()], 128);
        let (query, group) = (scratch.query.address, group as i32);
        let elements = if head_dim <= 64 { 64 } else { 128 };
        let (score, weigh) = (format!("score_tile_{kv}"), format!("weigh_tile_{kv}_{elements}"));
        for span in (0..scratch.positions).step_by(SPAN) {
            // What lies behind a tile's last position ends at once.
            let count = SPAN.min(scratch.positions - span);
            let scores = grid(count.div_ceil(TILE_POSITIONS));
            let first = span as i32;
            launch!(self.gpu, &score, scores, query, tokens, first_tile, pages, shape, layout, group, kept, first)?;
            let parts = grid(count.div_ceil(PART) * head_dim.div_ceil(elements));
            launch!(self.gpu, &weigh, parts, tokens, first_tile, pages, shape, layout, group, kept, first)?;
            self.combine(shape, kept, rows.clone(), span / PART, span + SPAN >= scratch.positions)?;
        }
        Ok(())
    }

    /// Attention of rows from what their parts came to, those of `first_part` on and to the last.
    fn combine(
        &self,
        shape: ShapeArgument,
        kept: KeptArgument,
        rows: Range<usize>,
        first_part: usize,
        is_last: bool,
    ) -> Result<(), GpuError> {
        let scratch = self.scratch.as_ref().ok_or_else(no_scratch)?;
        let columns = self.shape.heads * self.shape.head_dim;
        let grid = Grid::new([columns.div_ceil(4 * 128), rows.len(), 1], 128);
        let (tokens, out) = (scratch.tokens.device.address, scratch.attended.from(rows.start));
        let (first_part, is_last) = (first_part as i32, i32::from(is_last));
        launch!(self.gpu, "combine_rows", grid, tokens, shape, kept, first_part, is_last, out)
    }
}

/// Rows of a prompt that are computed together.
pub(crate) fn tile_rows(shape: &LayerShape) -> usize {
    (TILE_QUERIES / (shape.heads / shape.kv_heads)).max(1)
}

/// The cache's type in the names of kernels.
pub(crate) const fn kv_name(kv: KvType) -> &'static str {
    match kv {
        KvType::F16 => "f16",
        KvType::F32 => "f32",
        KvType::Q8 => "q8",
    }
}
