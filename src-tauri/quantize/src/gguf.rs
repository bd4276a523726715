//! A GGUF file that is read.

use std::{ops::Range, path::Path};

use memmap2::Mmap;
use tektra_gguf::Header;
use tektra_kernels::Format;

use crate::{Error, files::map};

/// A GGUF file, mapped and known to be whole.
pub(crate) struct GgufFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: Mmap,
    pub(crate) header: Header,
}

impl<'a> GgufFile<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, Error> {
        let bytes = map(path)?;
        let header = Header::read(&bytes).map_err(|error| Error::damaged(path, format!("it {error}")))?;
        if header.expected_bytes > bytes.len() as u64 {
            return Err(Error::damaged(path, "it is cut short"));
        }
        if header.number("split.count").is_some_and(|count| count > 1.0) {
            return Err(Error::Unsupported("it is split over several files; merge them first".into()));
        }
        Ok(Self { path, bytes, header })
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::damaged(self.path, what)
    }

    /// A tensor's rows, columns, format and bytes.
    pub(crate) fn matrix(&self, tensor: &tektra_gguf::Tensor) -> Result<Stored<'_>, Error> {
        let name = &tensor.name;
        let format = Format::from_ggml(tensor.kind)
            .ok_or_else(|| Error::Unsupported(format!("`{name}` is of ggml's type {}", tensor.kind)))?;
        let wrong = || self.damaged(format!("`{name}` has a shape that its bytes do not fit"));
        let columns = tensor.dimensions.first().copied().unwrap_or(1);
        if tensor.elements == 0 || columns == 0 {
            return Err(wrong());
        }
        let columns = usize::try_from(columns).map_err(|_| wrong())?;
        let rows = usize::try_from(tensor.elements).map_err(|_| wrong())? / columns;
        let len = format.row_bytes(columns).and_then(|bytes| bytes.checked_mul(rows)).ok_or_else(wrong)?;
        let start = self.header.data_start.checked_add(tensor.offset).and_then(|start| usize::try_from(start).ok());
        let start = start.ok_or_else(wrong)?;
        let bytes = self.bytes.get(start..).and_then(|bytes| bytes.get(..len)).ok_or_else(wrong)?;
        Ok(Stored { format, rows, columns, bytes })
    }

    /// The metadata, each name and value as its bytes are in the file.
    pub(crate) fn metadata(&self) -> Result<Vec<(String, &[u8])>, Error> {
        let mut cursor = Cursor { bytes: &self.bytes, at: 16 };
        cursor.metadata().ok_or_else(|| self.damaged("its metadata end too early"))
    }
}

/// A tensor as it is in a file.
pub(crate) struct Stored<'a> {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// The bytes of row `row`.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        let bytes = self.columns / self.format.block_len() * self.format.block_bytes();
        &self.bytes[row * bytes..][..bytes]
    }
}

/// Walks over metadata whose header was read before.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn metadata(&mut self) -> Option<Vec<(String, &'a [u8])>> {
        let count = self.u64()?;
        let mut all = Vec::new();
        for _ in 0..count {
            let start = self.at;
            let name = self.text()?;
            let name = String::from_utf8_lossy(self.bytes.get(name)?).into_owned();
            let kind = self.u32()?;
            self.skip(kind)?;
            all.push((name, self.bytes.get(start..self.at)?));
        }
        Some(all)
    }

    fn take(&mut self, count: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len())?;
        Some(std::mem::replace(&mut self.at, end)..end)
    }

    fn u32(&mut self) -> Option<u32> {
        let range = self.take(4)?;
        Some(u32::from_le_bytes(self.bytes[range].try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        let range = self.take(8)?;
        Some(u64::from_le_bytes(self.bytes[range].try_into().ok()?))
    }

    fn text(&mut self) -> Option<Range<usize>> {
        let len = self.u64()?;
        self.take(usize::try_from(len).ok()?)
    }

    fn skip(&mut self, kind: u32) -> Option<()> {
        match size(kind) {
            Some(bytes) => self.take(bytes).map(|_| ()),
            None if kind == 8 => self.text().map(|_| ()),
            None if kind == 9 => {
                let (kind, count) = (self.u32()?, self.u64()?);
                match size(kind) {
                    Some(bytes) => self.take(bytes.checked_mul(usize::try_from(count).ok()?)?).map(|_| ()),
                    // The header's reader bounded how deep they are nested.
                    None => (0..count).try_for_each(|_| self.skip(kind)),
                }
            }
            None => None,
        }
    }
}

/// Bytes of a metadata value of fixed size.
fn size(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
