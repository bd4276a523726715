//! The left side of a product: rows of activations, quantized once for all the matrices that they meet.

use std::{marker::PhantomData, ops::Range, slice::from_raw_parts_mut};

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

    pub(crate) fn shared(&mut self) -> SharedActivations<'_> {
        SharedActivations {
            of: PhantomData,
            columns: self.columns,
            values: self.values.as_mut_ptr(),
            codes: self.codes.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            scaled_sums: self.scaled_sums.as_mut_ptr(),
            half_sums: self.half_sums.as_mut_ptr(),
        }
    }

    /// Splits into rows that may be written side by side.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = ActivationRow<'_>> {
        let (rows, columns) = (self.rows, self.columns);
        let shared = self.shared();
        // SAFETY: each row once, and the iterator has them all.
        (0..rows).map(move |row| unsafe { shared.part(row, 0..columns) })
    }
}

/// [`Activations`] whose parts threads write, each its own.
pub(crate) struct SharedActivations<'a> {
    of: PhantomData<&'a mut Activations>,
    columns: usize,
    values: *mut f32,
    codes: *mut i8,
    scales: *mut f32,
    sums: *mut i32,
    scaled_sums: *mut f32,
    half_sums: *mut i16,
}

// SAFETY: whoever writes a part has it alone.
unsafe impl Sync for SharedActivations<'_> {}

impl<'a> SharedActivations<'a> {
    /// Some columns of a row, from a whole group on.
    ///
    /// # Safety
    /// The row has them, and nobody else touches their groups as long as the part is there.
    pub(crate) unsafe fn part(&self, row: usize, columns: Range<usize>) -> ActivationRow<'a> {
        let at = row * self.columns + columns.start;
        let group = row * (self.columns / GROUP) + columns.start / GROUP;
        let groups = columns.len() / GROUP;
        // SAFETY: inside of what `resize` made, and the caller's alone.
        unsafe {
            ActivationRow {
                values: from_raw_parts_mut(self.values.add(at), columns.len()),
                codes: from_raw_parts_mut(self.codes.add(at), columns.len()),
                scales: from_raw_parts_mut(self.scales.add(group), groups),
                sums: from_raw_parts_mut(self.sums.add(group), groups),
                scaled_sums: from_raw_parts_mut(self.scaled_sums.add(group), groups),
                half_sums: from_raw_parts_mut(self.half_sums.add(2 * group), 2 * groups),
            }
        }
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
