//! Weights in the order in which the kernels read them.

pub(crate) mod bits;

use std::io;

use crate::{
    Format, Level, Matrix, Pool, level,
    memory::{Arena, Piece},
    simd,
};

/// Rows of floats that lie side by side, and of quantized weights where vectors have no room for more.
pub(crate) const LANES: usize = 8;

/// Rows that lie side by side for the kernels of a level.
pub(crate) fn lanes(level: Level, format: Format) -> usize {
    let wide = matches!(level, Level::Avx512 | Level::Amx);
    if wide && !format.is_float() { 2 * LANES } else { LANES }
}

/// A matrix whose rows are interleaved by eights, or by sixteens: as many as a vector of the processor has words.
///
/// Of quantized rows, a block each: first the half-precision scales of these rows, then their offsets where the format has
/// any, then one 32-bit word of each row after the other, in the order of [`place`], among which bits are moved ([`bits`]).
/// Of rows of floats: sixteen elements of each row after the other, the last piece shorter.
///
/// What the file has, in another order (a few bits are turned over): rows that are computed together are one stream through
/// memory, and each vector holds the same place of these rows. Padded with rows of zeros to whole eights or sixteens.
pub struct Packed {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Rows that lie side by side.
    pub(crate) lanes: usize,
    /// Bytes of a row, wherever they lie.
    pub(crate) row_bytes: usize,
    bytes: Piece,
}

impl Packed {
    /// Packs a matrix, in the next bytes of `arena` or, where those are too few, in memory of its own.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new(pool: &mut Pool, matrix: &Matrix<'_>, arena: &mut Arena) -> io::Result<Self> {
        Self::for_level(level(), pool, matrix, arena)
    }

    pub(crate) fn for_level(level: Level, pool: &mut Pool, matrix: &Matrix<'_>, arena: &mut Arena) -> io::Result<Self> {
        let &Matrix { format, rows, columns, .. } = matrix;
        let lanes = lanes(level, format);
        let mut bytes = arena.take(matrix.row_bytes() * rows.next_multiple_of(lanes))?;
        let mut groups: Vec<_> = bytes.chunks_exact_mut((matrix.row_bytes() * lanes).max(1)).enumerate().collect();
        pool.for_each(&mut groups, |(group, out)| {
            for lane in 0..lanes.min(rows - *group * lanes) {
                let row = matrix.row(*group * lanes + lane);
                if format.is_float() {
                    place_floats(format, row, lane, out)
                } else {
                    place_blocks(format, row, lane, lanes, out)
                }
            }
        });
        Ok(Self { format, rows, columns, lanes, row_bytes: matrix.row_bytes(), bytes })
    }

    /// Bytes that a matrix takes when it is packed.
    pub fn bytes_of(matrix: &Matrix<'_>) -> usize {
        matrix.row_bytes() * matrix.rows.next_multiple_of(lanes(level(), matrix.format))
    }

    /// Bytes held.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The rows that lie side by side from `first` on, the first of such.
    #[inline(always)]
    pub(crate) fn rows_from(&self, first: usize) -> &[u8] {
        &self.bytes[first * self.row_bytes..][..self.lanes * self.row_bytes]
    }

    /// Block `index` of row `row` as it was in the file.
    pub(crate) fn block(&self, row: usize, index: usize, out: &mut [u8]) {
        let (bytes, lanes) = (self.format.block_bytes(), self.lanes);
        let block = &self.rows_from(row / lanes * lanes)[index * bytes * lanes..][..bytes * lanes];
        let lane = row % lanes;
        let (halves, words) = split(self.format, out);
        let (packed_halves, packed_words) = block.split_at(halves.len() * lanes);
        for (half, packed) in halves.as_chunks_mut::<2>().0.iter_mut().zip(packed_halves.chunks_exact(2 * lanes)) {
            half.copy_from_slice(&packed[2 * lane..][..2]);
        }
        let words = words.as_chunks_mut::<4>().0;
        for (index, word) in words.iter_mut().enumerate() {
            word.copy_from_slice(&packed_words[4 * (lanes * place(self.format, index) + lane)..][..4]);
        }
        bits::restore(self.format, words);
    }
}

fn place_floats(format: Format, row: &[u8], lane: usize, out: &mut [u8]) {
    let piece = simd::LANES * format.block_bytes();
    for (index, elements) in row.chunks(piece).enumerate() {
        out[index * piece * LANES + lane * elements.len()..][..elements.len()].copy_from_slice(elements);
    }
}

fn place_blocks(format: Format, row: &[u8], lane: usize, lanes: usize, out: &mut [u8]) {
    let mut block = [0; 256];
    let block = &mut block[..format.block_bytes()];
    let blocks = out.chunks_exact_mut(format.block_bytes() * lanes);
    for (out, from) in blocks.zip(row.chunks_exact(format.block_bytes())) {
        block.copy_from_slice(from);
        let (halves, words) = split(format, block);
        let (out_halves, out_words) = out.split_at_mut(halves.len() * lanes);
        for (out, half) in out_halves.chunks_exact_mut(2 * lanes).zip(halves.as_chunks::<2>().0) {
            out[2 * lane..][..2].copy_from_slice(half);
        }
        let words = words.as_chunks_mut::<4>().0;
        bits::arrange(format, words);
        for (index, word) in words.iter().enumerate() {
            out_words[4 * (lanes * place(format, index) + lane)..][..4].copy_from_slice(word);
        }
    }
}

/// Where word `index` of a block in the file lies: in the order in which the kernels read. Processors foresee what is
/// read next, and fetch it in time, only where addresses rise steadily.
#[inline(always)]
pub(crate) const fn place(format: Format, index: usize) -> usize {
    let (eight, i) = (index / 8, index % 8);
    match format {
        // Scales first; each word that both fours of groups share before the first of the two that they have alone.
        Format::Q3K => match eight {
            0 => 3 + 2 * i,
            1 => 4 + 2 * i,
            2 => 19 + i,
            _ => i,
        },
        // Scales first; the three words of a set one after the other.
        Format::Q6K => match eight {
            0..4 => 4 + eight / 2 * 24 + 3 * i + 1 + eight % 2,
            4..6 => 4 + (eight - 4) * 24 + 3 * i,
            _ => i,
        },
        _ => index,
    }
}

/// A block's half-precision scale, and offset where there is one, and the rest in the file's order.
fn split(format: Format, block: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    let (at_end, len) = match format {
        Format::Q3K | Format::Q6K => (true, 2),
        Format::Q2K => (true, 4),
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => (false, 4),
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::F32 | Format::F16 | Format::BF16 => (false, 2),
    };
    if at_end {
        let (words, halves) = block.split_at_mut(block.len() - len);
        (halves, words)
    } else {
        block.split_at_mut(len)
    }
}
