//! Which Tektra processes are alive: each holds the lock of a file named by its id for as long as it runs.
//! The operating system gives the lock up however the process ends, so a stale one cannot exist.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::PathBuf,
};

use crate::{Home, Result, error::file_error};

/// This process's entry.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) id: String,
    path: PathBuf,
    _lock: File,
}

impl Presence {
    /// Takes an id and its lock.
    pub(crate) fn enter(home: &Home) -> Result<Self> {
        let id = uuid::Uuid::now_v7().to_string();
        let path = path(home, &id);
        let lock = open(&path).and_then(|file| file.lock().map(|()| file));
        Ok(Self { id, path, _lock: lock.map_err(|error| file_error(home.folder(), &error))? })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the process `id` has ended; its file is removed then.
pub(crate) fn is_gone(home: &Home, id: &str) -> bool {
    let path = path(home, id);
    match File::open(&path).map(|file| file.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => false,
        Ok(_) => {
            let _ = std::fs::remove_file(&path);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The processes on this data folder that are alive.
pub(crate) fn running(home: &Home) -> Vec<String> {
    let names = std::fs::read_dir(home.run()).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".lock")?.to_owned()));
    names.filter(|id| uuid::Uuid::parse_str(id).is_ok() && !is_gone(home, id)).collect()
}

/// The lock that the one window on this data folder holds; `None` when another holds it.
///
/// # Errors
/// When the data folder cannot be written.
pub fn claim_window(home: &Home) -> Result<Option<File>> {
    home.create()?;
    let failed = |error: io::Error| file_error(home.folder(), &error);
    let file = open(&home.run().join("window.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn path(home: &Home, id: &str) -> PathBuf {
    home.run().join(format!("{id}.lock"))
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}
