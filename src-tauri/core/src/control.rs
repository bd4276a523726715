//! What one Tektra asks of another on the same data folder: to take its model out of memory.
//!
//! Each listens on a local socket named after its entry in the run folder, which only the person can read.

use std::sync::Weak;

use interprocess::local_socket::traits::tokio::Listener as _;
use serde::{Deserialize, Serialize};
use tektra_protocol::{Listener, connect, listen, split};

use crate::{Home, Parts, Tektra, UnloadReason, Unloaded, presence};

/// What can be asked.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Unload,
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
        let (mut wanted, mut answers) = split::<Wanted, Vec<Unloaded>>(stream);
        let Some(tektra) = parts.upgrade().map(Tektra) else { return };
        tokio::spawn(async move {
            if let Some(Ok(Wanted::Unload)) = wanted.next().await {
                let unloaded = tektra.engine().unload(UnloadReason::Asked).await;
                // Whoever asked may have gone.
                let _ = answers.send(&unloaded).await;
            }
        });
    }
}

/// Asks every running Tektra on this data folder to unload, each after the answers that it is writing; what that gave
/// back.
pub async fn unload_everywhere(home: &Home) -> Vec<Unloaded> {
    let mut all = Vec::new();
    for id in presence::running(home) {
        let Ok((mut answers, mut wanted)) = connect::<Vec<Unloaded>, Wanted>(&socket(&id)).await else { continue };
        if wanted.send(&Wanted::Unload).await.is_ok()
            && let Some(Ok(unloaded)) = answers.next().await
        {
            all.extend(unloaded);
        }
    }
    all
}
