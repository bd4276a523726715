//! The stacks of an engine's process.

use std::time::Duration;

use tektra_protocol::{Reply, Request};
use tokio::sync::watch;

use super::Engine;
use crate::{Error, Result};

/// A process that samples its stacks answers this much later at most.
const GRACE: Duration = Duration::from_secs(20);

impl Engine {
    /// Samples the stacks of the process that was used last.
    pub(crate) async fn record(&self, seconds: u32, mut stop: watch::Receiver<bool>) -> Result<Option<String>> {
        let Some(process) = self.latest().await else {
            return Err(Error::InvalidInput { what: "No engine runs: send a message first.".into() });
        };
        let (id, mut replies) = process.ask(|id| Request::Profile { id, seconds });
        let late = tokio::time::sleep(Duration::from_secs(seconds.into()) + GRACE);
        let reply = tokio::select! {
            reply = replies.recv() => reply,
            _ = stop.wait_for(|stop| *stop) => {
                process.cancel(id);
                process.forget(id);
                return Ok(None);
            }
            () = late => None,
        };
        process.forget(id);
        match reply {
            Some(Reply::Profiled { error: Some(reason), .. }) => Err(Error::EngineFailed { reason }),
            Some(Reply::Profiled { stacks, .. }) => Ok(stacks),
            _ => Err(Error::EngineFailed { reason: "it ended, or did not answer".into() }),
        }
    }
}
