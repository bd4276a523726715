//! Files read as maps, and files that appear only when they are complete.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use crate::Error;

/// Text files of a model folder are never larger; tokenizers are the largest, at some 30 MB.
const MOST_TEXT_BYTES: u64 = 256 << 20;

pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Unreadable { path: path.clone(), source }
}

pub(crate) fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Unwritable { path: path.clone(), source }
}

/// Maps a file for reading.
pub(crate) fn map(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(unreadable(path))?;
    // SAFETY: the map is only read, and as plain bytes. Whoever shortens a model's file while it is being converted ends
    // this process, as with any mapped file; nothing of the copy is left under its final name then.
    #[allow(unsafe_code)]
    unsafe { Mmap::map(&file) }.map_err(unreadable(path))
}

/// A text file of a model folder; `None` when there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(path)(source)),
    };
    if size > MOST_TEXT_BYTES {
        return Err(Error::damaged(path, format!("{size} bytes are too many for a file of its kind")));
    }
    let bytes = fs::read(path).map_err(unreadable(path))?;
    String::from_utf8(bytes).map(Some).map_err(|_| Error::damaged(path, "it is not text"))
}

/// A JSON file of a model folder; `None` when there is none.
pub(crate) fn read_json(path: &Path) -> Result<Option<serde_json::Value>, Error> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::damaged(path, error.to_string()))
}

/// Where a file or folder grows before it has its name.
fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fails when `path` is on a disk with less than `needed_bytes` of room.
pub(crate) fn check_space(path: &Path, needed_bytes: u64) -> Result<(), Error> {
    let free_bytes = fs4::available_space(parent(path)).map_err(unwritable(path))?;
    if free_bytes < needed_bytes { Err(Error::NoSpace { needed_bytes, free_bytes }) } else { Ok(()) }
}

/// A file under the name `….part`, removed unless it is kept.
pub(crate) struct PartFile {
    file: Option<File>,
    path: PathBuf,
    part: PathBuf,
}

impl PartFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let part = part_path(path);
        let failed = unwritable(&part);
        // Not truncated before it is known to be nobody else's.
        let file = File::options().create(true).write(true).truncate(false).open(&part).map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!("{} is being written already", path.display())));
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let this = Self { file: Some(file), path: path.into(), part };
        this.file.as_ref().map_or(Ok(()), |file| file.set_len(0)).map_err(unwritable(&this.part))?;
        Ok(this)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.as_mut().map_or(Ok(()), |file| io::Write::write_all(file, bytes)).map_err(unwritable(&self.part))
    }

    /// Gives the file its name, once all of it is on the disk.
    pub(crate) fn keep(mut self) -> Result<(), Error> {
        let failed = unwritable(&self.path);
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(&failed)?;
        }
        fs::rename(&self.part, &self.path).map_err(&failed)?;
        sync_folder(parent(&self.path)).map_err(&failed)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After `keep` there is none, or what could not be renamed.
        drop(self.file.take());
        let _ = fs::remove_file(&self.part);
    }
}

/// A folder under the name `….part`, removed unless it is kept.
pub(crate) struct PartFolder {
    path: PathBuf,
    part: PathBuf,
}

impl PartFolder {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        if path.exists() {
            return Err(Error::Refused(format!("{} exists already; choose another folder", path.display())));
        }
        let this = Self { path: path.into(), part: part_path(path) };
        if this.part.exists() {
            fs::remove_dir_all(&this.part).map_err(unwritable(&this.part))?;
        }
        fs::create_dir(&this.part).map_err(unwritable(&this.part))?;
        Ok(this)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.part.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.join(name);
        fs::write(&path, content).map_err(unwritable(&path))
    }

    /// Gives the folder its name, once all of it is on the disk.
    pub(crate) fn keep(self) -> Result<(), Error> {
        let failed = unwritable(&self.path);
        for entry in fs::read_dir(&self.part).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            File::options().write(true).open(path).and_then(|file| file.sync_all()).map_err(&failed)?;
        }
        fs::rename(&self.part, &self.path).map_err(&failed)?;
        sync_folder(parent(&self.path)).map_err(&failed)
    }
}

impl Drop for PartFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.part);
    }
}

/// Puts a rename on the disk. Windows does so by itself and opens no folders.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}
