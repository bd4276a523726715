//! The left side of a product: rows of activations, quantized once for all the matrices that they meet.

/// Elements that share one scale.
pub(crate) const GROUP: usize = 32;

/// Rows of activations as they are and as 8-bit codes: element `i` of a row is about `scale[i / 32] * code[i]`.
///
/// The scale is the group's largest magnitude / 127, as in ggml's `Q8_0`. A row's codes depend on that row alone.
#[derive(Default)]
pub struct Activations {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: Vec<f32>,
    pub(crate) codes: Vec<i8>,
    /// A row: `columns / 32`.
    pub(crate) scales: Vec<f32>,
    /// Sums of 32 codes. A row: `columns / 32`.
    pub(crate) sums: Vec<i32>,
    /// Those times their scale: what an offset of 32 weights is multiplied with. A row: `columns / 32`.
    pub(crate) scaled_sums: Vec<f32>,
    /// Sums of 16 codes. A row: `columns / 16`.
    pub(crate) half_sums: Vec<i16>,
}

impl Activations {
    /// Room for `rows` rows of `columns` elements; what was there is forgotten, its memory is used again.
    pub fn resize(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.values.resize(rows * columns, 0.0);
        self.codes.resize(rows * columns, 0);
        self.scales.resize(rows * (columns / GROUP), 0.0);
        self.sums.resize(rows * (columns / GROUP), 0);
        self.scaled_sums.resize(rows * (columns / GROUP), 0.0);
        self.half_sums.resize(rows * (columns / GROUP) * 2, 0);
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of all rows: rows x columns. To be followed by [`ActivationRow::quantize`] of each row.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Splits into rows that may be written side by side.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = ActivationRow<'_>> {
        self.parts_mut(self.columns)
    }

    /// Splits rows into parts of `columns` elements, by which the rows' length is divisible, and which is divisible by 32
    /// unless it is that length.
    pub fn parts_mut(&mut self, columns: usize) -> impl ExactSizeIterator<Item = ActivationRow<'_>> {
        debug_assert!(columns == self.columns || columns.is_multiple_of(GROUP) && self.columns.is_multiple_of(columns));
        let groups = (columns / GROUP).max(1);
        // Float weights take rows of any length; then there are no groups, and `chunks` of empty vectors must not end early.
        let mut scales = self.scales.chunks_mut(groups);
        let mut sums = self.sums.chunks_mut(groups);
        let mut scaled_sums = self.scaled_sums.chunks_mut(groups);
        let mut half_sums = self.half_sums.chunks_mut(groups * 2);
        let codes = self.codes.chunks_mut(columns.max(1));
        self.values.chunks_mut(columns.max(1)).zip(codes).map(move |(values, codes)| ActivationRow {
            values,
            codes,
            scales: scales.next().unwrap_or_default(),
            sums: sums.next().unwrap_or_default(),
            scaled_sums: scaled_sums.next().unwrap_or_default(),
            half_sums: half_sums.next().unwrap_or_default(),
        })
    }
}

/// One row, or a part of one: write `values`, then [`ActivationRow::quantize`] it.
pub struct ActivationRow<'a> {
    /// Its elements.
    pub values: &'a mut [f32],
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
    scaled_sums: &'a mut [f32],
    half_sums: &'a mut [i16],
}

impl ActivationRow<'_> {
    /// Computes codes, scales and sums from the values.
    pub fn quantize(&mut self) {
        crate::simd::quantize(self.values, self.codes, self.scales, self.sums, self.half_sums);
        for ((scaled_sum, scale), &sum) in self.scaled_sums.iter_mut().zip(&*self.scales).zip(&*self.sums) {
            *scaled_sum = scale * sum as f32;
        }
    }
}
