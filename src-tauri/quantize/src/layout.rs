//! Where everything lies in a GGUF file.

use std::{path::Path, sync::atomic::AtomicBool};

use tektra_kernels::Format;

use crate::{
    Error, Group, Progress, Report,
    format::ggml_number,
    metadata::{Metadata, put_text},
    write::{file_bytes, write},
};

/// Each tensor begins at a multiple of this.
const ALIGNMENT: usize = 32;

/// A tensor to write.
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    /// The innermost first.
    pub(crate) dimensions: Vec<u64>,
    pub(crate) format: Format,
    pub(crate) source: Source<'a>,
}

/// Writes row `index` of a tensor as `f32`.
pub(crate) type ReadRow<'a> = Box<dyn Fn(usize, &mut [f32]) + Send + Sync + 'a>;

/// Where a tensor's data comes from.
pub(crate) enum Source<'a> {
    /// As it is in another file.
    Bytes(&'a [u8]),
    /// From numbers.
    Rows(ReadRow<'a>),
}

impl Tensor<'_> {
    pub(crate) fn columns(&self) -> usize {
        self.dimensions.first().map_or(1, |&columns| columns as usize)
    }

    pub(crate) fn rows(&self) -> usize {
        self.dimensions.iter().skip(1).product::<u64>() as usize
    }

    /// Bytes of one row. The plan made sure that it is made of whole blocks.
    pub(crate) fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.columns()).unwrap_or_default()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.row_bytes() * self.rows()
    }
}

/// A GGUF file that could be written.
pub(crate) struct Layout<'a> {
    header: Vec<u8>,
    tensors: Vec<Tensor<'a>>,
    pub(crate) report: Report,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(
        metadata: &Metadata,
        tensors: Vec<Tensor<'a>>,
        groups: Vec<Group>,
        warnings: Vec<String>,
    ) -> Self {
        let header = header(metadata, &tensors);
        let size_bytes = file_bytes(&header, &tensors, ALIGNMENT);
        Self { header, tensors, report: Report { groups, warnings, size_bytes } }
    }

    /// Writes the file.
    pub(crate) fn write(
        self,
        path: &Path,
        progress: &mut dyn FnMut(Progress),
        cancel: &AtomicBool,
    ) -> Result<Report, Error> {
        write(path, &self.header, &self.tensors, ALIGNMENT, progress, cancel)?;
        Ok(self.report)
    }

    /// How many numbers the tensors hold.
    pub(crate) fn elements(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.dimensions.iter().product::<u64>()).sum()
    }

    /// What a number takes on average.
    pub(crate) fn bits_per_weight(&self) -> f64 {
        let size_bytes: u64 = self.report.groups.iter().map(|group| group.size_bytes).sum();
        size_bytes as f64 * 8.0 / self.elements().max(1) as f64
    }
}

/// The header, up to where the first tensor's data begins.
fn header(metadata: &Metadata, tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend(metadata.count.to_le_bytes());
    bytes.extend(&metadata.bytes);
    let mut offset = 0_u64;
    for tensor in tensors {
        put_text(&mut bytes, &tensor.name);
        bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
        bytes.extend(tensor.dimensions.iter().flat_map(|size| size.to_le_bytes()));
        bytes.extend(ggml_number(tensor.format).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += tensor.len_bytes().next_multiple_of(ALIGNMENT) as u64;
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}
