//! Reading the header of a GGUF file, safely: every length is checked against the file, so that no
//! bytes can make it panic, hang or take memory.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.

mod parts;

use std::collections::HashMap;

pub use parts::{PartName, parts};

/// What Tektra needs to know of a GGUF file.
#[derive(Debug)]
pub struct Header {
    /// The metadata by name.
    pub metadata: HashMap<String, Value>,
    /// The tensors in the file's order.
    pub tensors: Vec<Tensor>,
    /// Where the tensors' data begins, in bytes from the file's start.
    pub data_start: u64,
    /// Where the last tensor ends, in bytes from the file's start.
    pub expected_bytes: u64,
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any number, whole or not.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// A string.
    Text(String),
    /// Where an array is: tokenizers hold tens of thousands of strings, so they are read only when asked for.
    Array(Array),
}

/// An array that was checked to lie inside of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    kind: u32,
    /// Number of elements.
    pub count: u64,
    start: usize,
}

/// A tensor as the header describes it.
#[derive(Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// ggml's number of its type.
    pub kind: u32,
    /// Its sizes, the innermost first.
    pub dimensions: Vec<u64>,
    /// The product of its sizes.
    pub elements: u64,
    /// Where its data begins, in bytes after [`Header::data_start`].
    pub offset: u64,
}

/// Why the bytes are not a usable header. Displays as a clause after "the file".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first four bytes are others.
    #[error("is not a GGUF file")]
    Magic,
    /// A version before 2 or after 3.
    #[error("is GGUF version {0}; versions 2 and 3 can be read")]
    Version(u32),
    /// The file was cut.
    #[error("ends in the middle of its header")]
    Short,
    /// Something that no writer writes.
    #[error("has a damaged header")]
    Damaged,
}

/// ggml's tensor types: number, name, elements per block, bytes per block
/// (`ggml_type` and `type_traits` in <https://github.com/ggml-org/ggml/blob/master/src/ggml.c>).
const TENSOR_TYPES: [(u32, &str, u64, u64); 15] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (30, "BF16", 1, 2),
];

/// Nesting of arrays that is still read; models have none.
const MAX_DEPTH: u8 = 4;

impl Header {
    /// Reads the header at the start of `file`.
    ///
    /// # Errors
    /// When the bytes are not a whole header.
    pub fn read(file: &[u8]) -> Result<Self, HeaderError> {
        let mut bytes = Bytes { rest: file, len: file.len() };
        if bytes.take(4).map_err(|_| HeaderError::Magic)? != b"GGUF" {
            return Err(HeaderError::Magic);
        }
        let version = bytes.u32()?;
        if !(2..=3).contains(&version) {
            return Err(HeaderError::Version(version));
        }
        let (tensor_count, value_count) = (bytes.u64()?, bytes.u64()?);
        let mut metadata = HashMap::new();
        for _ in 0..value_count {
            let name = bytes.text()?;
            let kind = bytes.u32()?;
            metadata.insert(name, bytes.value(kind, 0)?);
        }
        let mut tensors = Vec::new();
        let mut data_bytes = 0;
        for _ in 0..tensor_count {
            let name = bytes.text()?;
            let mut dimensions = Vec::new();
            let mut elements = 1_u64;
            for _ in 0..bytes.u32()? {
                let size = bytes.u64()?;
                elements = elements.checked_mul(size).ok_or(HeaderError::Damaged)?;
                dimensions.push(size);
            }
            let kind = bytes.u32()?;
            let offset = bytes.u64()?;
            let end = offset.checked_add(tensor_bytes(kind, elements)).ok_or(HeaderError::Damaged)?;
            data_bytes = u64::max(data_bytes, end);
            tensors.push(Tensor { name, kind, dimensions, elements, offset });
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Number(bytes)) if *bytes >= 1.0 => *bytes as u64,
            _ => 32,
        };
        let header_bytes = (file.len() - bytes.rest.len()) as u64;
        let data_start = header_bytes.checked_next_multiple_of(alignment).ok_or(HeaderError::Damaged)?;
        let expected_bytes = data_start.checked_add(data_bytes).ok_or(HeaderError::Damaged)?;
        Ok(Self { metadata, tensors, data_start, expected_bytes })
    }

    /// The value `name` as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.metadata.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value `name` as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.metadata.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The value `name` as true or false.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.metadata.get(name) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// The array `name` of strings, read from `file`, the bytes that this header was read from.
    pub fn texts(&self, file: &[u8], name: &str) -> Option<Vec<String>> {
        let (array, mut bytes) = self.array(file, name)?;
        (array.kind == 8).then(|| (0..array.count).map_while(|_| bytes.text().ok()).collect())
    }

    /// The array `name` of numbers, read from `file`, the bytes that this header was read from.
    pub fn numbers(&self, file: &[u8], name: &str) -> Option<Vec<f64>> {
        let (array, mut bytes) = self.array(file, name)?;
        let numbers = (0..array.count).map_while(|_| match bytes.value(array.kind, MAX_DEPTH) {
            Ok(Value::Number(number)) => Some(number),
            _ => None,
        });
        let numbers: Vec<f64> = numbers.collect();
        (numbers.len() as u64 == array.count).then_some(numbers)
    }

    fn array<'a>(&self, file: &'a [u8], name: &str) -> Option<(Array, Bytes<'a>)> {
        let Some(&Value::Array(array)) = self.metadata.get(name) else { return None };
        Some((array, Bytes { rest: file.get(array.start..)?, len: file.len() }))
    }

    /// The type that holds most of the weights.
    pub fn quantization(&self) -> Option<&'static str> {
        let mut elements = HashMap::new();
        for tensor in &self.tensors {
            *elements.entry(tensor.kind).or_insert(0_u64) += tensor.elements.min(u64::from(u32::MAX));
        }
        let most = elements.into_iter().max_by_key(|&(kind, elements)| (elements, kind))?.0;
        type_name(most)
    }

    /// The first tensor type that the engine cannot read.
    pub fn unknown_type(&self) -> Option<u32> {
        self.tensors.iter().map(|tensor| tensor.kind).find(|&kind| type_name(kind).is_none())
    }
}

fn type_name(kind: u32) -> Option<&'static str> {
    TENSOR_TYPES.iter().find(|known| known.0 == kind).map(|known| known.1)
}

/// An unknown type counts nothing: it is refused elsewhere, with its reason.
fn tensor_bytes(kind: u32, elements: u64) -> u64 {
    TENSOR_TYPES
        .iter()
        .find(|known| known.0 == kind)
        .map_or(0, |&(_, _, per_block, block_bytes)| elements.div_ceil(per_block).saturating_mul(block_bytes))
}

/// No name or template is longer; a damaged length could otherwise ask for the whole file's size in memory.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// A cursor that cannot run past its end.
struct Bytes<'a> {
    rest: &'a [u8],
    /// Length of the whole file.
    len: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HeaderError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(HeaderError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        self.take(N)?.try_into().map_err(|_| HeaderError::Short)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, HeaderError> {
        let length = self.u64()?;
        let bytes = self.take(usize::try_from(length).map_err(|_| HeaderError::Short)?)?;
        if bytes.len() > MAX_TEXT_BYTES {
            return Err(HeaderError::Damaged);
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn value(&mut self, kind: u32, depth: u8) -> Result<Value, HeaderError> {
        Ok(match kind {
            0 => Value::Number(self.array::<1>()?[0].into()),
            1 => Value::Number(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Number(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Number(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Number(self.u32()?.into()),
            5 => Value::Number(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Number(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => self.list(depth)?,
            10 => Value::Number(self.u64()? as f64),
            11 => Value::Number(i64::from_le_bytes(self.array()?) as f64),
            12 => Value::Number(f64::from_le_bytes(self.array()?)),
            _ => return Err(HeaderError::Damaged),
        })
    }

    fn list(&mut self, depth: u8) -> Result<Value, HeaderError> {
        if depth == MAX_DEPTH {
            return Err(HeaderError::Damaged);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        let start = self.len - self.rest.len();
        let fixed = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 | 9 => 0,
            _ => return Err(HeaderError::Damaged),
        };
        if fixed > 0 {
            let bytes = count.checked_mul(fixed).and_then(|bytes| usize::try_from(bytes).ok());
            self.take(bytes.ok_or(HeaderError::Short)?)?;
        } else {
            // Each element takes at least 8 bytes of the file, so the file's length bounds the loop.
            for _ in 0..count {
                if kind == 8 {
                    let length = usize::try_from(self.u64()?).map_err(|_| HeaderError::Short)?;
                    self.take(length)?;
                } else {
                    self.list(depth + 1)?;
                }
            }
        }
        Ok(Value::Array(Array { kind, count, start }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A header with one Q4_0 tensor of 64 elements.
    fn sample() -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend(1_u64.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "general.architecture");
        out.extend(8_u32.to_le_bytes());
        text(&mut out, "llama");
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9_u32.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "b");
        text(&mut out, "output.weight");
        out.extend(1_u32.to_le_bytes());
        out.extend(64_u64.to_le_bytes());
        out.extend(2_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out
    }

    #[test]
    fn reads_what_was_written() {
        let header = Header::read(&sample()).unwrap();
        assert_eq!(header.text("general.architecture"), Some("llama"));
        assert_eq!(header.texts(&sample(), "tokenizer.ggml.tokens"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(header.numbers(&sample(), "tokenizer.ggml.tokens"), None);
        assert_eq!((header.tensors[0].name.as_str(), &header.tensors[0].dimensions[..]), ("output.weight", &[64][..]));
        assert_eq!(header.quantization(), Some("Q4_0"));
        assert_eq!(header.expected_bytes, (sample().len() as u64).next_multiple_of(32) + 36);
    }

    #[test]
    fn every_cut_is_an_error_and_no_panic() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(Header::read(&whole[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn no_byte_can_make_it_panic_or_hang() {
        let whole = sample();
        for at in 0..whole.len() {
            for byte in [0, 1, 9, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Header::read(&bytes);
            }
        }
    }

    #[test]
    fn huge_counts_end_at_the_end_of_the_file() {
        let mut bytes = sample();
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Header::read(&bytes).unwrap_err(), HeaderError::Short);
    }
}
