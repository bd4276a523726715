//! The conversation with the core.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use tektra_protocol::{FrameError, Hello, Launch, LoadRequest, PROTOCOL_VERSION, Reply, Request, Writer, connect};
use tokio::sync::{mpsc, oneshot};

use crate::{
    load::{LoadFailure, load},
    mistral_rs,
    session::{Session, answer},
};

/// Ends an answer when it is dropped or sent to.
type Cancels = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

/// Connects to the core and serves it until it hangs up.
///
/// # Errors
/// When the connection breaks or the core sends something that is not a message.
pub(crate) async fn serve(launch: Launch) -> Result<(), FrameError> {
    let (mut requests, replies) = connect::<Request, Reply>(&launch.socket).await?;
    // Unbounded, because mistral.rs stalls every answer while one reader is slow; the core reads at once.
    let (out, queue) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write(replies, queue));
    let _ = out.send(Reply::Hello(Hello {
        protocol_version: PROTOCOL_VERSION,
        token: launch.token,
        pid: std::process::id(),
        engine_version: env!("CARGO_PKG_VERSION").into(),
    }));

    let mut session: Option<Arc<Session>> = None;
    let cancels = Cancels::default();
    while let Some(request) = requests.next().await {
        match request? {
            Request::Load(request) => session = begin(request, &out).await,
            Request::Generate(request) => {
                let Some(session) = session.clone() else {
                    return Err(io::Error::other("asked for an answer before a model was loaded").into());
                };
                let (cancel, cancelled) = oneshot::channel();
                let id = request.id;
                lock(&cancels).insert(id, cancel);
                let (out, cancels) = (out.clone(), cancels.clone());
                tokio::spawn(async move {
                    let last = answer(&session, request, cancelled, &out).await;
                    lock(&cancels).remove(&id);
                    let _ = out.send(last);
                });
            }
            Request::Cancel { id } => drop(lock(&cancels).remove(&id)),
            Request::Profile { id, seconds } => {
                let (cancel, mut cancelled) = oneshot::channel();
                lock(&cancels).insert(id, cancel);
                let (out, cancels) = (out.clone(), cancels.clone());
                tokio::task::spawn_blocking(move || {
                    let stopped = || cancelled.try_recv() != Err(oneshot::error::TryRecvError::Empty);
                    let (stacks, error) = match tektra_profile::record(seconds, stopped) {
                        Ok(stacks) => (stacks, None),
                        Err(error) => (None, Some(error.to_string())),
                    };
                    lock(&cancels).remove(&id);
                    let _ = out.send(Reply::Profiled { id, stacks, error });
                });
            }
            Request::Stats { id } => {
                let stats = session.as_ref().map(|session| session.stats()).unwrap_or_default();
                let _ = out.send(Reply::Stats { id, stats });
            }
            Request::Metrics { id } => drop(out.send(Reply::Metrics { id, text: mistral_rs::metrics() })),
            Request::Ping { nonce } => drop(out.send(Reply::Pong { nonce })),
            Request::Shutdown => break,
        }
    }
    writer.abort();
    Ok(())
}

async fn begin(request: LoadRequest, out: &mpsc::UnboundedSender<Reply>) -> Option<Arc<Session>> {
    match load(&request, out).await {
        Ok((runner, loaded)) => {
            tracing::info!(load_ms = loaded.load_ms, device = loaded.device, "model loaded");
            end_on_panic();
            let _ = out.send(Reply::Loaded(loaded));
            Some(Arc::new(Session { runner, context_length: request.context_length }))
        }
        Err(LoadFailure { reason, gpu_memory_full }) => {
            tracing::warn!(reason, "model not loaded");
            let _ = out.send(Reply::LoadFailed { reason, gpu_memory_full });
            None
        }
    }
}

/// A panic after the load has killed the thread that computes: nothing would ever be answered again,
/// so the process ends and the core starts another.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(crate::EXIT_PANIC);
    }));
}

async fn write(mut replies: Writer<Reply>, mut queue: mpsc::UnboundedReceiver<Reply>) {
    while let Some(reply) = queue.recv().await {
        if let Err(error) = replies.send(&reply).await {
            tracing::error!(%error, "cannot reach the core");
            std::process::exit(1);
        }
    }
}

fn lock(cancels: &Cancels) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<()>>> {
    cancels.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
