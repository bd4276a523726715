//! Downloading models: resumable, verified, and never half there.
//!
//! ```no_run
//! # async fn example() -> Result<(), tektra_fetch::Error> {
//! use tektra_fetch::{CancellationToken, Client, Options, Progress, Request};
//!
//! let client = Client::new(Options::from_env())?;
//! let request = Request {
//!     source: "hf://owner/repository/model-Q4_K_M.gguf".parse()?,
//!     target: "models/model-Q4_K_M.gguf".into(),
//!     sha256: None,
//! };
//! let (progress, _watcher) = tokio::sync::watch::channel(Progress::default());
//! client.download(&request, &progress, &CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **The invariants.** A file under its final name is complete. What arrives lies in `<target>.part`; beside it,
//! `<target>.part.json` names only bytes that were flushed to the disk before it was written. The `.part` file is
//! locked while a download runs, so that only one writes it.

mod answer;
mod client;
mod digest;
mod download;
mod error;
mod hub;
mod part;
mod positional;
mod progress;
mod ranges;
mod retry;
mod source;
mod state;
mod transfer;

pub use client::{Client, Options};
pub use download::{Outcome, Request};
pub use error::Error;
pub use hub::{HubFile, HubRepository};
pub use part::unfinished;
pub use progress::{Phase, Progress, Restart};
pub use reqwest::Url;
pub use source::Source;
pub use tokio_util::sync::CancellationToken;
