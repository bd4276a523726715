//! The unfinished file on the disk, and what is remembered of it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use same_file::Handle;

use crate::{
    Error, positional,
    state::{self, State},
};

/// `<target>.part` with `<target>.part.json`, locked against every other download.
pub(crate) struct Part {
    target: PathBuf,
    path: PathBuf,
    state_path: PathBuf,
    file: Arc<File>,
    state: Mutex<Option<State>>,
    /// How many bytes the state on the disk names; held while it is written.
    saved_bytes: Mutex<u64>,
}

impl Part {
    /// Opens or creates it, with the folders that are missing.
    pub(crate) fn open(target: &Path) -> Result<Self, Error> {
        let folder = folder(target);
        fs::create_dir_all(folder).map_err(|error| Error::disk(folder, "created", error))?;
        let path = append(target, ".part");
        let state_path = append(target, ".part.json");
        let file = locked(&path, target)?;
        let state = load(&state_path, &file);
        let saved_bytes = Mutex::new(state.as_ref().map_or(0, |state| state.done.total()));
        Ok(Self {
            target: target.into(),
            path,
            state_path,
            file: Arc::new(file),
            state: Mutex::new(state),
            saved_bytes,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(crate) fn folder(&self) -> &Path {
        folder(&self.target)
    }

    /// What is known of the download, if it has begun.
    pub(crate) fn state(&self) -> Option<State> {
        lock(&self.state).clone()
    }

    /// Bytes that are there, and the size if it is known.
    pub(crate) fn bytes(&self) -> (u64, Option<u64>) {
        lock(&self.state).as_ref().map_or((0, None), |state| (state.done.total(), state.size_bytes))
    }

    /// Changes what is known; written to the disk with the next checkpoint.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = lock(&self.state).as_mut() {
            change(state);
        }
    }

    /// Begins a download: nothing of an earlier one stays.
    pub(crate) fn begin(&self, state: State) -> Result<(), Error> {
        self.reset()?;
        if let Some(size_bytes) = state.size_bytes {
            // Sparse: takes no space until bytes are written.
            self.file.set_len(size_bytes).map_err(|error| Error::disk(&self.path, "written", error))?;
            if state.is_resumable() {
                self.save(&state)?;
            }
        }
        *lock(&self.state) = Some(state);
        Ok(())
    }

    /// Forgets what is there. The state goes first, so that it never speaks of bytes that are gone.
    pub(crate) fn reset(&self) -> Result<(), Error> {
        let mut saved_bytes = lock(&self.saved_bytes);
        *lock(&self.state) = None;
        remove(&self.state_path)?;
        sync_folder(self.folder())?;
        self.file.set_len(0).map_err(|error| Error::disk(&self.path, "written", error))?;
        *saved_bytes = 0;
        Ok(())
    }

    /// Writes bytes at their place.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        positional::write_all(&self.file, bytes, offset).map_err(|error| Error::disk(&self.path, "written", error))?;
        self.update(|state| state.done.insert(offset..offset + bytes.len() as u64));
        Ok(())
    }

    /// Makes sure that what is there survives: first the bytes reach the disk, then the state that names them.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        let mut saved_bytes = lock(&self.saved_bytes);
        let Some(state) = self.state().filter(State::is_resumable) else { return Ok(()) };
        if state.done.total() == *saved_bytes {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| Error::disk(&self.path, "written", error))?;
        self.save(&state)?;
        *saved_bytes = state.done.total();
        Ok(())
    }

    fn save(&self, state: &State) -> Result<(), Error> {
        let new_path = append(&self.state_path, ".tmp");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new_path)?;
            file.write_all(&serde_json::to_vec(state)?)?;
            file.sync_data()?;
            fs::rename(&new_path, &self.state_path)
        };
        write().map_err(|error| Error::disk(&self.state_path, "written", error))
    }

    /// Gives the complete file its final name.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| Error::disk(&self.path, "written", error))?;
        fs::rename(&self.path, &self.target).map_err(|error| Error::disk(&self.target, "created", error))?;
        sync_folder(self.folder())?;
        self.remove_state()
    }

    /// Removes everything.
    pub(crate) fn discard(&self) -> Result<(), Error> {
        self.remove_state()?;
        remove(&self.path)
    }

    fn remove_state(&self) -> Result<(), Error> {
        remove(&append(&self.state_path, ".tmp"))?;
        remove(&self.state_path)
    }
}

/// Opens and locks a file. The lock ends with the process at the latest, however that ends.
fn locked(path: &Path, target: &Path) -> Result<File, Error> {
    let failed = |action| move |error| Error::disk(path, action, error);
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed("created"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { target: target.into() }),
            Err(TryLockError::Error(error)) => return Err(failed("locked")(error)),
        }
        // Between opening and locking, another download may have ended and moved the file away.
        let ours = Handle::from_file(file.try_clone().map_err(failed("opened"))?).map_err(failed("opened"))?;
        match Handle::from_path(path) {
            Ok(there) if there == ours => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("opened")(error)),
        }
    }
}

/// The state on the disk, if it belongs to this file.
/// What an interrupted download of `target` has: its bytes and the size of the whole file; `None` when there is nothing to
/// continue.
pub fn unfinished(target: &Path) -> Option<(u64, Option<u64>)> {
    let file = File::open(append(target, ".part")).ok()?;
    let state = load(&append(target, ".part.json"), &file)?;
    Some((state.done.total(), state.size_bytes))
}

fn load(path: &Path, file: &File) -> Option<State> {
    let state: State = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let length = file.metadata().ok()?.len();
    let fits = state.version == state::VERSION && state.size_bytes == Some(length) && state.done.end() <= length;
    fits.then_some(state)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn append(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::disk(path, "removed", error)),
        _ => Ok(()),
    }
}

/// Makes renames and removals in a folder durable; Windows has no such call and does it by itself.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::disk(folder, "written", error))?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what waits for the disk where it does not hold up the network.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Disk {
        path: PathBuf::from("."),
        action: "used",
        source: io::Error::other(error),
    })
}
