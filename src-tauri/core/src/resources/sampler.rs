//! The thread that owns the sensors. It waits until it is asked: nothing is read while nobody looks.

use std::{
    io,
    sync::{Mutex, PoisonError, mpsc},
};

use tektra_sensors::Probe;
use tokio::sync::oneshot;

use super::{
    ResourceSample,
    collect::{Collector, Running},
};
use crate::{Error, Result};

/// What the thread can be asked.
enum Ask {
    Sample(Vec<String>, Vec<Running>, oneshot::Sender<ResourceSample>),
    Probes(oneshot::Sender<Vec<Probe>>),
}

/// A way to ask the thread; it is started by the first question, again after a failure, and ends with this.
#[derive(Debug, Default)]
pub(super) struct Sampler(Mutex<Option<mpsc::Sender<Ask>>>);

impl Sampler {
    /// The machine now, with the parts of `running` processes. Engines are also those that are called as in `engine_names`.
    pub(super) async fn sample(&self, engine_names: Vec<String>, running: Vec<Running>) -> Result<ResourceSample> {
        self.ask(|answer| Ask::Sample(engine_names, running, answer)).await
    }

    /// Which sensors were looked for, and what came of it.
    pub(super) async fn probes(&self) -> Result<Vec<Probe>> {
        self.ask(Ask::Probes).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let failed = |why: &str| Error::SensorsFailed { why: why.into() };
        {
            let mut asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let sender = match asks.take() {
                Some(sender) => sender,
                None => start().map_err(|error| failed(&format!("the system gives no thread ({error})")))?,
            };
            // One that has ended is not kept: the next question starts another.
            if sender.send(ask(answer)).is_ok() {
                *asks = Some(sender);
            }
        }
        answered.await.map_err(|_| failed("their thread ended"))
    }
}

fn start() -> io::Result<mpsc::Sender<Ask>> {
    let (asks, asked) = mpsc::channel();
    std::thread::Builder::new().name("sensors".into()).spawn(move || serve(&asked))?;
    Ok(asks)
}

fn serve(asked: &mpsc::Receiver<Ask>) {
    let mut collector = Collector::default();
    while let Ok(ask) = asked.recv() {
        // Whoever asked may have gone.
        match ask {
            Ask::Sample(engine_names, running, answer) => {
                let _ = answer.send(collector.collect(&engine_names, &running));
            }
            Ask::Probes(answer) => drop(answer.send(collector.probes())),
        }
    }
}
