//! What the engines' processes hold and do, as they tell it themselves.

use std::{
    sync::{Arc, atomic::Ordering},
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

    /// What each process holds and does; nothing while one is being loaded.
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

    fn running(&self) -> Vec<Arc<Process>> {
        let Ok(processes) = self.0.processes.try_lock() else { return Vec::new() };
        processes.iter().filter(|process| process.how_ended().is_none()).cloned().collect()
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
