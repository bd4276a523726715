//! What the window keeps between commands.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tauri::{AppHandle, Manager, async_runtime::JoinHandle, ipc::Channel};
use tektra_core::{CoreEvent, EngineOptions, ErrorReport, Home, Tektra};

use crate::carry::{GATHER, carry};

/// The core, once its data folder could be opened, and the task that carries its events.
pub(crate) struct Shell {
    pub(crate) home: Home,
    core: tokio::sync::Mutex<Option<Tektra>>,
    events: Mutex<Option<JoinHandle<()>>>,
}

impl Shell {
    pub(crate) fn new(home: Home) -> Self {
        Self { home, core: tokio::sync::Mutex::default(), events: Mutex::default() }
    }

    pub(crate) fn of(app: &AppHandle) -> tauri::State<'_, Self> {
        app.state()
    }

    /// The core; opened by the first command that needs it, and tried again after a failure.
    pub(crate) async fn core(&self) -> Result<Tektra, ErrorReport> {
        let mut core = self.core.lock().await;
        if core.is_none() {
            let opened = Tektra::open(self.home.clone(), EngineOptions::find()).await;
            *core = Some(opened.map_err(|error| {
                tracing::error!(%error, "the data folder cannot be opened");
                error.report()
            })?);
        }
        core.clone().ok_or_else(|| tektra_core::Error::Interrupted.report())
    }

    /// Sends everything that happens into `channel`, in place of an earlier one: a reloaded page subscribes anew.
    pub(crate) async fn subscribe(&self, channel: Channel<CoreEvent>) -> Result<(), ErrorReport> {
        let core = self.core().await?;
        let events = core.events();
        let _ = channel.send(CoreEvent::EngineState { state: core.engine().state().borrow().clone() });
        let _ = channel.send(CoreEvent::StoreTrouble { error: core.trouble() });
        let carrying = tauri::async_runtime::spawn(carry(events, GATHER, move |event| {
            let answer = match &event {
                CoreEvent::AnswerDelta { message_id, .. } => Some(message_id.clone()),
                _ => None,
            };
            let begun = Instant::now();
            let _ = channel.send(event);
            if let Some(answer) = answer {
                core.profile_ipc(&answer, begun.elapsed());
            }
        }));
        let earlier = self.events.lock().unwrap_or_else(PoisonError::into_inner).replace(carrying);
        if let Some(earlier) = earlier {
            earlier.abort();
        }
        Ok(())
    }

    /// A page begins, the first or one that was reloaded: what an earlier one wished is forgotten.
    pub(crate) fn page_begins(&self) {
        if let Ok(core) = self.core.try_lock()
            && let Some(core) = &*core
        {
            core.resources_unwatch();
        }
    }

    pub(crate) async fn close(&self) {
        if let Some(core) = self.core.lock().await.take() {
            core.close().await;
        }
    }
}
