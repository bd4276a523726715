//! Weights in the order in which the kernels read them.

use std::io;

use crate::{
    Format, Matrix, Pool,
    memory::{Arena, Piece},
    simd,
};

/// Rows that lie side by side.
pub(crate) const LANES: usize = 8;

/// A matrix whose rows are interleaved by eights.
///
/// Of quantized rows, a block each: first the half-precision scales of the eight, then their offsets where the format
/// has any, then one 32-bit word of each row after the other, in the order of [`place`]. Of rows of floats: sixteen
/// elements of each row after the other, the last piece shorter.
///
/// The same bytes as in the file, in another order: eight rows are computed with one stream through memory, and each
/// vector holds the same place of eight rows. Padded with rows of zeros to a multiple of eight.
pub struct Packed {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    bytes: Piece,
}

impl Packed {
    /// Packs a matrix, in the next bytes of `arena` or, where those are too few, in memory of its own.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new(pool: &mut Pool, matrix: &Matrix<'_>, arena: &mut Arena) -> io::Result<Self> {
        let row_bytes = matrix.row_bytes();
        let mut bytes = arena.take(Self::bytes_of(matrix))?;
        let mut groups: Vec<_> = bytes.chunks_exact_mut((row_bytes * LANES).max(1)).enumerate().collect();
        pool.for_each(&mut groups, |(group, out)| {
            for lane in 0..LANES.min(matrix.rows - *group * LANES) {
                let row = matrix.row(*group * LANES + lane);
                if matrix.format.is_float() {
                    place_floats(matrix.format, row, lane, out)
                } else {
                    place_blocks(matrix.format, row, lane, out)
                }
            }
        });
        Ok(Self { format: matrix.format, rows: matrix.rows, columns: matrix.columns, bytes })
    }

    /// Bytes that a matrix takes when it is packed.
    pub fn bytes_of(matrix: &Matrix<'_>) -> usize {
        matrix.row_bytes() * matrix.rows.next_multiple_of(LANES)
    }

    /// Bytes held.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The eight rows from `first` on, a multiple of eight.
    #[inline(always)]
    pub(crate) fn eight_rows(&self, first: usize) -> &[u8] {
        let row_bytes = self.columns / self.format.block_len() * self.format.block_bytes();
        &self.bytes[first * row_bytes..][..LANES * row_bytes]
    }

    /// Block `index` of row `row` as it was in the file.
    pub(crate) fn block(&self, row: usize, index: usize, out: &mut [u8]) {
        let bytes = self.format.block_bytes();
        let block = &self.eight_rows(row / LANES * LANES)[index * bytes * LANES..][..bytes * LANES];
        let lane = row % LANES;
        let (halves, words) = split(self.format, out);
        let (packed_halves, packed_words) = block.split_at(halves.len() * LANES);
        for (half, eight) in halves.as_chunks_mut::<2>().0.iter_mut().zip(packed_halves.as_chunks::<{ 2 * LANES }>().0)
        {
            half.copy_from_slice(&eight[2 * lane..][..2]);
        }
        let packed_words = packed_words.as_chunks::<{ 4 * LANES }>().0;
        for (index, word) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            word.copy_from_slice(&packed_words[place(self.format, index)][4 * lane..][..4]);
        }
    }
}

fn place_floats(format: Format, row: &[u8], lane: usize, out: &mut [u8]) {
    let piece = simd::LANES * format.block_bytes();
    for (index, elements) in row.chunks(piece).enumerate() {
        out[index * piece * LANES + lane * elements.len()..][..elements.len()].copy_from_slice(elements);
    }
}

fn place_blocks(format: Format, row: &[u8], lane: usize, out: &mut [u8]) {
    let mut block = [0; 256];
    let block = &mut block[..format.block_bytes()];
    let blocks = out.chunks_exact_mut(format.block_bytes() * LANES);
    for (out, from) in blocks.zip(row.chunks_exact(format.block_bytes())) {
        block.copy_from_slice(from);
        let (halves, words) = split(format, block);
        let (out_halves, out_words) = out.split_at_mut(halves.len() * LANES);
        for (eight, half) in out_halves.as_chunks_mut::<{ 2 * LANES }>().0.iter_mut().zip(halves.as_chunks::<2>().0) {
            eight[2 * lane..][..2].copy_from_slice(half);
        }
        let out_words = out_words.as_chunks_mut::<{ 4 * LANES }>().0;
        for (index, word) in words.as_chunks::<4>().0.iter().enumerate() {
            out_words[place(format, index)][4 * lane..][..4].copy_from_slice(word);
        }
    }
}

/// Where word `index` of a block in the file lies: in the order in which the kernels read. Processors foresee what is
/// read next, and fetch it in time, only where addresses rise steadily.
#[inline(always)]
pub(crate) const fn place(format: Format, index: usize) -> usize {
    let (eight, i) = (index / 8, index % 8);
    match format {
        // Scales first; each word of third bits before the first of the two words of low bits that it belongs to.
        Format::Q3K => match eight {
            0 => 3 + 2 * i,
            1 => 4 + 2 * i,
            2 => 19 + i,
            _ => i,
        },
        // Each word of fifth bits before the first of the four words of nibbles that it belongs to.
        Format::Q5K => match index {
            3..11 => 2 * index - 3,
            11..19 => 2 * index - 18,
            _ => index,
        },
        // Scales first; each word of high bits before the two words of nibbles that it belongs to.
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
