//! Quantized weights in the order in which the kernels read them.

use crate::{Format, Matrix, Pool};

/// Rows that lie side by side.
pub(crate) const LANES: usize = 8;

/// A quantized matrix whose rows are interleaved by eights: first the eight half-precision scales of a block where the
/// format's blocks are not made of whole 32-bit words, then one word of each row after the other.
///
/// The same bytes as in the file, in another order: eight rows are computed with one stream through memory, and each
/// vector holds the same place of eight rows. Padded with rows of zeros to a multiple of eight.
pub struct Packed {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    bytes: Vec<u8>,
}

impl Packed {
    /// Packs a matrix.
    ///
    /// # Panics
    /// When its format is a float format, which is computed with as it is.
    pub fn new(pool: &mut Pool, matrix: &Matrix<'_>) -> Self {
        let (format, row_bytes) = (matrix.format, matrix.row_bytes());
        assert!(!format.is_float(), "floats are not packed");
        let mut bytes = vec![0; row_bytes * matrix.rows.next_multiple_of(LANES)];
        let mut groups: Vec<_> = bytes.chunks_exact_mut(row_bytes * LANES).enumerate().collect();
        pool.for_each(&mut groups, |(group, out)| {
            for lane in 0..LANES.min(matrix.rows - *group * LANES) {
                let row = matrix.row(*group * LANES + lane);
                let blocks = out.chunks_exact_mut(format.block_bytes() * LANES);
                for (out, block) in blocks.zip(row.chunks_exact(format.block_bytes())) {
                    let (scale, words) = scale_first(format, block);
                    out[lane * scale.len()..][..scale.len()].copy_from_slice(scale);
                    let out = out[scale.len() * LANES..].as_chunks_mut::<{ 4 * LANES }>().0;
                    for (out, word) in out.iter_mut().zip(words.as_chunks::<4>().0) {
                        out[4 * lane..][..4].copy_from_slice(word);
                    }
                }
            }
        });
        Self { format, rows: matrix.rows, columns: matrix.columns, bytes }
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
        let at_end = matches!(self.format, Format::Q3K | Format::Q6K);
        let scale = scale_first(self.format, &block[..bytes]).0.len();
        let (scale_at, words_at) = if at_end { (bytes - scale, 0) } else { (0, scale) };
        out[scale_at..][..scale].copy_from_slice(&block[lane * scale..][..scale]);
        let words = block[scale * LANES..].as_chunks::<{ 4 * LANES }>().0;
        for (out, word) in out[words_at..][..bytes - scale].as_chunks_mut::<4>().0.iter_mut().zip(words) {
            out.copy_from_slice(&word[4 * lane..][..4]);
        }
    }
}

/// A block's scale, where it has to stand apart for the rest to be whole words, and the rest in the file's order.
fn scale_first(format: Format, block: &[u8]) -> (&[u8], &[u8]) {
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => block.split_at(2),
        // Their scale is at the end.
        Format::Q3K | Format::Q6K => {
            let (words, scale) = block.split_at(block.len() - 2);
            (scale, words)
        }
        _ => (&[], block),
    }
}
