//! The data folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, Result, error::file_error};

/// The one folder under which everything of Tektra lies.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// `TEKTRA_HOME`, else the platform's data folder (`~/.local/share/tektra` on Linux).
    ///
    /// # Errors
    /// When neither is known.
    pub fn find() -> Result<Self> {
        if let Some(folder) = std::env::var_os("TEKTRA_HOME").filter(|folder| !folder.is_empty()) {
            return Ok(Self(std::path::absolute(folder).map_err(|error| Error::InvalidInput {
                what: format!("TEKTRA_HOME is not a usable path: {error}."),
            })?));
        }
        directories::ProjectDirs::from("", "", "tektra").map(|folders| Self(folders.data_dir().into())).ok_or_else(
            || Error::InvalidInput {
                what: "No home folder is known for this user: set TEKTRA_HOME to a folder.".into(),
            },
        )
    }

    /// A data folder at `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The data folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where models are looked for.
    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    /// Where logs are written.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Where a copy of the database goes before a migration.
    pub fn backups(&self) -> PathBuf {
        self.0.join("backups")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("tektra.db")
    }

    /// Locks of the running processes.
    pub(crate) fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Makes the folders, readable by their owner alone.
    ///
    /// # Errors
    /// [`Error::StoreReadOnly`] or [`Error::StoreFull`].
    pub fn create(&self) -> Result<()> {
        for folder in [self.0.clone(), self.models(), self.logs(), self.run()] {
            make_private(&folder).map_err(|error| file_error(&self.0, &error))?;
        }
        Ok(())
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
