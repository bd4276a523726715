//! Downloads: started, paused, continued after a restart, forgotten.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use specta::Type;
use tektra_fetch::{CancellationToken, Client, Options, Outcome, Phase, Progress, Request, Source};
use tektra_gguf::PartName;
use tokio::sync::{broadcast, watch};

use super::mib;
use crate::{CoreEvent, Error, ErrorReport, Home, Result, Store};

/// Name of the unfinished downloads in the store.
const NAME: &str = "downloads";

const MIB: f64 = 1_048_576.0;

/// A file to fetch into the models folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// `hf://owner/repository/file`, or an address.
    pub source: String,
    /// The file's name in the models folder.
    pub file: String,
    /// What the file has to be, if that is known.
    pub sha256: Option<String>,
}

impl Wanted {
    /// Understands a name of the catalogue, `hf://owner/repository/file` or an address.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for anything else, and for files that are no GGUF.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::InvalidInput { what };
        let catalogue = tektra_models::catalogue().map_err(|error| wrong(error.to_string()))?;
        if let Some(entry) = catalogue.find(text) {
            let file = entry.file.rsplit('/').next().unwrap_or(&entry.file);
            return Ok(Self { source: entry.source(), file: file.into(), sha256: entry.sha256.clone() });
        }
        if !text.contains("://") {
            return Err(wrong(format!(
                "\"{text}\" is neither in the catalogue nor an address: write hf://owner/repository/file.gguf."
            )));
        }
        let source: Source = text.parse().map_err(|error: tektra_fetch::Error| wrong(error.to_string()))?;
        let file = source.file_name().unwrap_or_default();
        if !file.to_ascii_lowercase().ends_with(".gguf") || file.contains(['/', '\\']) {
            return Err(wrong(format!("\"{text}\" does not name a GGUF file.")));
        }
        Ok(Self { file: file.into(), source: text.into(), sha256: None })
    }

    /// Every file of the model: of one in several parts all of them, with the one that was named.
    pub fn parts(self) -> Vec<Self> {
        let Some(part) = PartName::of(Path::new(&self.file)) else { return vec![self] };
        let named = part.all(Path::new(&self.file));
        let name = |path: &PathBuf| path.to_string_lossy().into_owned();
        let other = |file: String| {
            let sha256 = self.sha256.clone().filter(|_| file == self.file);
            Self { source: self.source.replacen(&self.file, &file, 1), sha256, file }
        };
        named.iter().map(name).map(other).collect()
    }

    fn request(&self, home: &Home) -> Result<Request> {
        let source = self.source.parse().map_err(|error: tektra_fetch::Error| failed(&error))?;
        Ok(Request { source, target: home.models().join(&self.file), sha256: self.sha256.clone() })
    }
}

fn failed(error: &tektra_fetch::Error) -> Error {
    Error::DownloadFailed { reason: error.to_string() }
}

/// Fetches a file and returns its path; `None` when it was cancelled, and the next time continues it.
///
/// # Errors
/// [`Error::DownloadFailed`]; what has arrived is kept unless the text says otherwise.
pub async fn download(
    home: &Home,
    wanted: &Wanted,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Option<PathBuf>> {
    let client = Client::new(Options::from_env()).map_err(|error| failed(&error))?;
    fetch(&client, home, wanted, progress, cancel).await
}

async fn fetch(
    client: &Client,
    home: &Home,
    wanted: &Wanted,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Option<PathBuf>> {
    let request = wanted.request(home)?;
    match client.download(&request, progress, cancel).await.map_err(|error| failed(&error))? {
        Outcome::Finished { .. } => Ok(Some(request.target)),
        Outcome::Cancelled { .. } => Ok(None),
    }
}

/// What a download is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DownloadState {
    /// Asking the server.
    Connecting,
    /// Bytes are coming.
    Downloading,
    /// The next attempt comes later.
    Waiting {
        /// In seconds.
        seconds: u32,
    },
    /// What is there is compared with its checksum.
    Verifying,
    /// Stopped by the person or by a restart; it goes on when asked to.
    Paused,
    /// It could not go on; what has arrived is kept.
    Failed {
        /// Why.
        error: ErrorReport,
    },
    /// The file is in the models folder.
    Done,
}

/// A download as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct Download {
    /// Its file's name, which no other download has.
    pub file: String,
    /// Where it comes from.
    pub source: String,
    /// What it is doing.
    pub state: DownloadState,
    /// What is there, in MiB.
    pub done_mib: f64,
    /// The file's size in MiB, once it is known.
    pub total_mib: Option<u32>,
    /// Mean speed of the last seconds, in MiB a second.
    pub mib_per_second: f64,
    /// Time left at that speed.
    pub seconds_left: Option<u32>,
}

/// Every download of this process. Clones share them.
#[derive(Clone)]
pub struct Downloads(Arc<Inner>);

struct Inner {
    home: Home,
    store: Store,
    all: Mutex<BTreeMap<String, Entry>>,
    client: Mutex<Option<Client>>,
    events: broadcast::Sender<CoreEvent>,
}

struct Entry {
    wanted: Wanted,
    now: Download,
    /// While it runs.
    cancel: Option<CancellationToken>,
}

impl Downloads {
    /// The downloads that an earlier process left unfinished, paused.
    pub(crate) async fn open(home: Home, store: Store, events: broadcast::Sender<CoreEvent>) -> Result<Self> {
        let unfinished: Vec<Wanted> = store.setting(NAME).await?.unwrap_or_default();
        let entry = |wanted: Wanted| {
            let mut now = Download::new(&wanted, DownloadState::Paused);
            if let Some((done_bytes, total_bytes)) = tektra_fetch::unfinished(&home.models().join(&wanted.file)) {
                (now.done_mib, now.total_mib) = (done_bytes as f64 / MIB, total_bytes.map(mib));
            }
            (wanted.file.clone(), Entry { wanted, now, cancel: None })
        };
        let all = Mutex::new(unfinished.into_iter().map(entry).collect());
        Ok(Self(Arc::new(Inner { home, store, all, client: Mutex::default(), events })))
    }

    /// Every download, by name.
    pub fn list(&self) -> Vec<Download> {
        self.all().values().map(|entry| entry.now.clone()).collect()
    }

    /// Starts a download, or continues it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for what names no file; [`Error::DownloadFailed`] when nothing can be fetched at all.
    pub async fn start(&self, what: &str) -> Result<()> {
        let known = self.all().get(what).map(|entry| entry.wanted.clone());
        let wanted = known.map_or_else(|| Wanted::parse(what).map(Wanted::parts), |known| Ok(vec![known]))?;
        let client = self.client()?;
        for wanted in wanted {
            self.start_one(client.clone(), wanted);
        }
        self.keep().await?;
        self.changed();
        Ok(())
    }

    fn start_one(&self, client: Client, wanted: Wanted) {
        let cancel = CancellationToken::new();
        {
            let mut all = self.all();
            if all.get(&wanted.file).is_some_and(|entry| entry.cancel.is_some()) {
                return;
            }
            let now = Download::new(&wanted, DownloadState::Connecting);
            let entry = Entry { wanted: wanted.clone(), now, cancel: Some(cancel.clone()) };
            all.insert(wanted.file.clone(), entry);
        }
        let downloads = self.clone();
        tokio::spawn(async move { downloads.run(&client, &wanted, &cancel).await });
    }

    /// Stops a download; what has arrived is kept.
    pub fn pause(&self, file: &str) {
        if let Some(cancel) = self.all().get(file).and_then(|entry| entry.cancel.clone()) {
            cancel.cancel();
        }
    }

    /// Stops a download and removes what has arrived; a finished one is only no longer listed.
    ///
    /// # Errors
    /// When the list cannot be stored.
    pub async fn remove(&self, file: &str) -> Result<()> {
        self.pause(file);
        // It closes its files before it leaves the list of the running.
        while self.all().get(file).is_some_and(|entry| entry.cancel.is_some()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if let Some(entry) = self.all().remove(file)
            && entry.now.state != DownloadState::Done
        {
            let target = self.0.home.models().join(&entry.wanted.file).into_os_string();
            for ending in [".part", ".part.json"] {
                let mut path = target.clone();
                path.push(ending);
                let _ = std::fs::remove_file(path);
            }
        }
        self.keep().await?;
        self.changed();
        Ok(())
    }

    async fn run(&self, client: &Client, wanted: &Wanted, cancel: &CancellationToken) {
        let (progress, mut watching) = watch::channel(Progress::default());
        let downloads = self.clone();
        let file = wanted.file.clone();
        let telling = tokio::spawn(async move {
            while watching.changed().await.is_ok() {
                let progress = *watching.borrow_and_update();
                downloads.update(&file, |now| now.progress(&progress));
            }
        });
        let outcome = fetch(client, &self.0.home, wanted, &progress, cancel).await;
        drop(progress);
        let _ = telling.await;
        let state = match outcome {
            Ok(Some(_)) => DownloadState::Done,
            Ok(None) => DownloadState::Paused,
            Err(error) => DownloadState::Failed { error: error.report() },
        };
        if let Some(entry) = self.all().get_mut(&wanted.file) {
            entry.cancel = None;
            entry.now.state = state;
            (entry.now.mib_per_second, entry.now.seconds_left) = (0.0, None);
        }
        if let Err(error) = self.keep().await {
            tracing::warn!(%error, "the list of downloads is not stored");
        }
        self.changed();
    }

    fn update(&self, file: &str, change: impl FnOnce(&mut Download)) {
        if let Some(entry) = self.all().get_mut(file) {
            change(&mut entry.now);
        }
        self.changed();
    }

    fn changed(&self) {
        let _ = self.0.events.send(CoreEvent::DownloadsChanged { downloads: self.list() });
    }

    /// Stores what is unfinished.
    async fn keep(&self) -> Result<()> {
        let unfinished: Vec<Wanted> = {
            let all = self.all();
            let unfinished = all.values().filter(|entry| entry.now.state != DownloadState::Done);
            unfinished.map(|entry| entry.wanted.clone()).collect()
        };
        self.0.store.set_setting(NAME, &unfinished).await
    }

    /// The one HTTP client.
    pub(crate) fn client(&self) -> Result<Client> {
        let mut client = self.0.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.is_none() {
            *client = Some(Client::new(Options::from_env()).map_err(|error| failed(&error))?);
        }
        client.clone().ok_or(Error::Interrupted)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Download {
    fn new(wanted: &Wanted, state: DownloadState) -> Self {
        Self {
            file: wanted.file.clone(),
            source: wanted.source.clone(),
            state,
            done_mib: 0.0,
            total_mib: None,
            mib_per_second: 0.0,
            seconds_left: None,
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.done_mib = progress.bytes_done as f64 / MIB;
        self.total_mib = progress.bytes_total.map(mib);
        self.mib_per_second = progress.bytes_per_second / MIB;
        self.seconds_left = progress.seconds_left.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        self.state = match progress.phase {
            Phase::Connecting => DownloadState::Connecting,
            Phase::Downloading | Phase::Done => DownloadState::Downloading,
            Phase::Waiting { seconds } => DownloadState::Waiting { seconds: seconds as u32 },
            Phase::Verifying => DownloadState::Verifying,
        };
    }
}
