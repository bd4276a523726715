//! What one Tektra asks of another on the same data folder: to take its model out of memory, what it measured, and what
//! its engines do.
//!
//! Each listens on a local socket named after its entry in the run folder, which only the person can read.

use std::{sync::Weak, time::Duration};

use interprocess::local_socket::traits::tokio::Listener as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tektra_protocol::{Listener, connect, listen, split};
use tokio::{task::JoinSet, time::timeout};

use crate::{Home, Parts, Tektra, UnloadReason, Unloaded, presence, resources::Running};

/// What can be asked.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Unload,
    Metrics,
    Resources,
}

impl Wanted {
    /// How long whoever asks waits for one process: one that was stopped keeps its socket and never answers. An unload
    /// waits for the answers that are being written, however long they are.
    fn patience(self) -> Duration {
        match self {
            Self::Unload => Duration::MAX,
            Self::Metrics => Duration::from_secs(3),
            Self::Resources => Duration::from_secs(1),
        }
    }
}

fn socket(id: &str) -> String {
    format!("tektra-control-{id}")
}

/// Answers whoever asks, until the product is closed.
pub(crate) fn serve(parts: Weak<Parts>, id: &str) {
    match listen(&socket(id)) {
        Ok(listener) => drop(tokio::spawn(accept(parts, listener))),
        Err(error) => tracing::warn!(%error, "other processes cannot ask this one to unload"),
    }
}

async fn accept(parts: Weak<Parts>, listener: Listener) {
    while let Ok(stream) = listener.accept().await {
        let (mut wanted, mut answers) = split::<Wanted, Value>(stream);
        let Some(tektra) = parts.upgrade().map(Tektra) else { return };
        tokio::spawn(async move {
            let answer = match wanted.next().await {
                Some(Ok(Wanted::Unload)) => serde_json::to_value(tektra.engine().unload(UnloadReason::Asked).await),
                Some(Ok(Wanted::Metrics)) => serde_json::to_value(tektra.metrics().await),
                Some(Ok(Wanted::Resources)) => serde_json::to_value(tektra.running().await),
                _ => return,
            };
            // Whoever asked may have gone.
            let _ = answers.send(&answer.unwrap_or_default()).await;
        });
    }
}

/// The answers of every running Tektra on this data folder.
async fn ask_everywhere<T: DeserializeOwned>(home: &Home, wanted: Wanted) -> Vec<T> {
    let ask = |id: String| async move {
        let (mut answers, mut asking) = connect::<Value, Wanted>(&socket(&id)).await.ok()?;
        asking.send(&wanted).await.ok()?;
        answers.next().await?.ok()
    };
    let ask_patiently = |id| timeout(wanted.patience(), ask(id));
    let answers = presence::running(home).into_iter().map(ask_patiently).collect::<JoinSet<_>>().join_all().await;
    answers.into_iter().flatten().flatten().filter_map(|answer| serde_json::from_value(answer).ok()).collect()
}

/// Asks every running Tektra on this data folder to unload, each after the answers that it is writing; what that gave
/// back.
pub async fn unload_everywhere(home: &Home) -> Vec<Unloaded> {
    ask_everywhere::<Vec<Unloaded>>(home, Wanted::Unload).await.into_iter().flatten().collect()
}

/// The metrics of every running Tektra on this data folder, each in the text format of Prometheus.
pub async fn metrics_everywhere(home: &Home) -> Vec<String> {
    ask_everywhere(home, Wanted::Metrics).await
}

/// Every running Tektra on this data folder with its engines.
pub(crate) async fn running_everywhere(home: &Home) -> Vec<Running> {
    ask_everywhere(home, Wanted::Resources).await
}
