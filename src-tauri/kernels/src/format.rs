//! The number formats of GGUF tensors.

/// How a tensor's numbers are stored: ggml's block formats.
///
/// Source: `block_*` in <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The format of ggml's type number; `None` for those that are not computed with here.
    pub fn from_ggml(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Elements of one block; a row holds whole blocks.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Bytes of a row of `columns` elements; `None` when the row is not made of whole blocks.
    pub const fn row_bytes(self, columns: usize) -> Option<usize> {
        if columns.is_multiple_of(self.block_len()) {
            Some(columns / self.block_len() * self.block_bytes())
        } else {
            None
        }
    }

    /// Whether the numbers are plain floats.
    pub const fn is_float(self) -> bool {
        self.block_len() == 1
    }
}

/// A weight matrix as it lies in a GGUF file: `rows` rows of `columns` elements each, one after the other.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// How the elements are stored.
    pub format: Format,
    /// Rows: the outputs of a product.
    pub rows: usize,
    /// Columns: the inputs of a product.
    pub columns: usize,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// A matrix over `bytes`; `None` when their number does not fit the shape.
    pub fn new(format: Format, rows: usize, columns: usize, bytes: &'a [u8]) -> Option<Self> {
        let expected = format.row_bytes(columns)?.checked_mul(rows)?;
        (bytes.len() == expected).then_some(Self { format, rows, columns, bytes })
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.columns / self.format.block_len() * self.format.block_bytes()
    }

    /// The bytes of `count` rows from `first` on.
    ///
    /// # Panics
    /// When there are no such rows.
    pub fn rows_bytes(&self, first: usize, count: usize) -> &'a [u8] {
        let bytes = self.row_bytes();
        &self.bytes[first * bytes..][..count * bytes]
    }

    /// The bytes of row `row`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        self.rows_bytes(row, 1)
    }
}
