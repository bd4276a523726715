//! The metadata of a GGUF file, as it is written.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

const UINT32: u32 = 4;
const INT32: u32 = 5;
const FLOAT32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Names and values in the order of writing.
#[derive(Default)]
pub(crate) struct Metadata {
    pub(crate) count: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Metadata {
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name, STRING);
        put_text(&mut self.bytes, value);
    }

    pub(crate) fn number(&mut self, name: &str, value: u32) {
        self.name(name, UINT32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn float(&mut self, name: &str, value: f32) {
        self.name(name, FLOAT32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.name(name, BOOL);
        self.bytes.push(value.into());
    }

    pub(crate) fn texts(&mut self, name: &str, values: &[String]) {
        self.list(name, STRING, values.len());
        values.iter().for_each(|value| put_text(&mut self.bytes, value));
    }

    pub(crate) fn integers(&mut self, name: &str, values: &[i32]) {
        self.list(name, INT32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(crate) fn floats(&mut self, name: &str, values: &[f32]) {
        self.list(name, FLOAT32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// A name and its value as another file has them.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        self.count += 1;
        self.bytes.extend(bytes);
    }

    fn name(&mut self, name: &str, kind: u32) {
        self.count += 1;
        put_text(&mut self.bytes, name);
        self.bytes.extend(kind.to_le_bytes());
    }

    fn list(&mut self, name: &str, kind: u32, len: usize) {
        self.name(name, ARRAY);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }
}

pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
