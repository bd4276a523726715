//! Writing a file of tensors as a stream: some rows in memory at a time, encoded on all cores.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rayon::prelude::*;

use crate::{
    EncodeError, Error, encode,
    files::{PartFile, check_space},
    layout::{Source, Tensor},
};

/// How far the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes written.
    pub done_bytes: u64,
    /// Bytes of the whole file; of a folder, its safetensors.
    pub total_bytes: u64,
}

/// Elements that are encoded before they are written: a fraction of a second of work, and 32 MiB at most.
const STRETCH: usize = 4 << 20;

/// Elements that a core takes at a time.
const PIECE: usize = 64 << 10;

/// Bytes of a file of `header` and the tensors' data, each filled up to a multiple of `alignment`.
pub(crate) fn file_bytes(header: &[u8], tensors: &[Tensor<'_>], alignment: usize) -> u64 {
    let data: usize = tensors.iter().map(|tensor| tensor.len_bytes().next_multiple_of(alignment)).sum();
    (header.len() + data) as u64
}

/// Writes that file.
pub(crate) fn write(
    path: &Path,
    header: &[u8],
    tensors: &[Tensor<'_>],
    alignment: usize,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<(), Error> {
    let total_bytes = file_bytes(header, tensors, alignment);
    check_space(path, total_bytes)?;
    let mut file = PartFile::create(path)?;
    let mut done_bytes = 0;
    let mut put = |bytes: &[u8]| {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        file.write(bytes)?;
        done_bytes += bytes.len() as u64;
        progress(Progress { done_bytes, total_bytes });
        Ok(())
    };
    put(header)?;
    let mut encoded = Vec::new();
    for tensor in tensors {
        let (columns, rows, row_bytes) = (tensor.columns(), tensor.rows(), tensor.row_bytes());
        match &tensor.source {
            Source::Bytes(bytes) => bytes.chunks(STRETCH).try_for_each(&mut put)?,
            Source::Rows(read) => {
                let (stretch, piece) = ((STRETCH / columns).max(1), (PIECE / columns).max(1));
                for first in (0..rows).step_by(stretch) {
                    encoded.resize(stretch.min(rows - first) * row_bytes, 0);
                    encode_rows(tensor, read, first, piece, &mut encoded)
                        .map_err(|source| Error::Tensor { tensor: tensor.name.clone(), source })?;
                    put(&encoded)?;
                }
            }
        }
        let bytes = tensor.len_bytes();
        let filling = bytes.next_multiple_of(alignment) - bytes;
        if filling > 0 {
            put(&vec![0; filling])?;
        }
    }
    file.keep()
}

/// Encodes the rows from `first` on that fit `out`, `piece` rows on a core at a time.
fn encode_rows(
    tensor: &Tensor<'_>,
    read: &(dyn Fn(usize, &mut [f32]) + Send + Sync),
    first: usize,
    piece: usize,
    out: &mut [u8],
) -> Result<(), EncodeError> {
    let row_bytes = tensor.row_bytes();
    out.par_chunks_mut(row_bytes * piece).enumerate().try_for_each_init(
        || vec![0.0; tensor.columns()],
        |values, (index, out)| {
            for (row, out) in out.chunks_exact_mut(row_bytes).enumerate() {
                read(first + index * piece + row, values);
                encode(tensor.format, values, None, out)?;
            }
            Ok(())
        },
    )
}
