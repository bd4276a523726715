//! What the tests share.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use tektra_gguf::Header;
use tektra_kernels::{Format, dequantize};
use tektra_quantize::{Architecture, Error, Plan, Report, convert, tiny, to_safetensors};
use tempfile::TempDir;

/// The starter model.
pub(crate) fn starter() -> PathBuf {
    let home = std::env::var_os("TEKTRA_HOME").map(PathBuf::from);
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    let home = home.or_else(|| data.map(|data| data.join("tektra"))).expect("a data folder");
    let path = home.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.is_file(), "{} is missing: run `make setup` first", path.display());
    path
}

/// A place for files of this test, on the disk of the build.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A place with the folder "model" of a tiny model in it.
pub(crate) fn tiny_model(architecture: Architecture) -> TempDir {
    let folder = folder();
    tiny::write_model(architecture, &starter(), &folder.path().join("model"), 7).unwrap();
    folder
}

pub(crate) fn run(folder: &Path, plan: impl Into<Plan>, out: &Path) -> Result<Report, Error> {
    convert(folder, &plan.into(), out, &mut |_| {}, &AtomicBool::new(false))
}

pub(crate) fn to_folder(file: &Path, out: &Path) -> Result<(), Error> {
    to_safetensors(file, out, &mut |_| {}, &AtomicBool::new(false))
}

/// Names of what is in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Changes a JSON file.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// A GGUF file in memory.
pub(crate) struct Gguf {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
}

impl Gguf {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let header = Header::read(&bytes).unwrap();
        assert!(header.expected_bytes <= bytes.len() as u64);
        Self { bytes, header }
    }

    pub(crate) fn format(&self, name: &str) -> Format {
        let tensor = self.header.tensors.iter().find(|tensor| tensor.name == name).expect(name);
        Format::from_ggml(tensor.kind).unwrap()
    }

    /// A tensor's numbers.
    pub(crate) fn values(&self, name: &str) -> Vec<f32> {
        let tensor = self.header.tensors.iter().find(|tensor| tensor.name == name).expect(name);
        let format = Format::from_ggml(tensor.kind).unwrap();
        let bytes = &self.bytes[(self.header.data_start + tensor.offset) as usize..];
        let mut values = vec![0.0; tensor.elements as usize];
        dequantize(format, &bytes[..format.row_bytes(values.len()).unwrap()], &mut values);
        values
    }
}
