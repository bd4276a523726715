//! What the engines' processes hold and do, as they tell it themselves.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tektra_protocol::{EngineStats, Reply, Request};
use tokio::{task::JoinSet, time::timeout};

use super::{Engine, Process};

/// The engine answers on a thread that never computes; one that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// An engine's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EngineNow {
    pub(crate) pid: u32,
    /// Absent when it did not answer.
    pub(crate) stats: Option<EngineStats>,
}

impl Engine {
    /// Answers that wait for their turn.
    pub(crate) fn waiting(&self) -> u32 {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// What each process with a loaded model holds and does.
    pub(crate) async fn now(&self) -> Vec<EngineNow> {
        let ask = |process: Arc<Process>| async move {
            let stats = match process.one_reply(|id| Request::Stats { id }).await {
                Some(Reply::Stats { stats, .. }) => Some(stats),
                _ => None,
            };
            EngineNow { pid: process.pid, stats }
        };
        self.running().into_iter().map(ask).collect::<JoinSet<_>>().join_all().await
    }

    /// What each process's executor measures of itself, with the model's name.
    pub(crate) async fn told_metrics(&self) -> Vec<(String, String)> {
        let ask = |process: Arc<Process>| async move {
            let text = match process.one_reply(|id| Request::Metrics { id }).await {
                Some(Reply::Metrics { text, .. }) => text,
                _ => String::new(),
            };
            (process.model.name.clone(), text)
        };
        self.running().into_iter().map(ask).collect::<JoinSet<_>>().join_all().await
    }

    /// The processes with a loaded model, while others are loaded or make way too.
    pub(super) fn running(&self) -> Vec<Arc<Process>> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|process| process.strong_count() > 0);
        running.iter().filter_map(Weak::upgrade).filter(|process| process.how_ended().is_none()).collect()
    }
}

impl Process {
    /// The one reply to a request that is answered at once.
    async fn one_reply(&self, request: impl FnOnce(u64) -> Request) -> Option<Reply> {
        let (id, mut replies) = self.ask(request);
        let reply = timeout(PATIENCE, replies.recv()).await.ok().flatten();
        self.forget(id);
        reply
    }
}
