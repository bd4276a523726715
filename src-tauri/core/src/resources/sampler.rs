//! The thread that owns the sensors. It waits until it is asked: nothing is read while nobody looks.

use std::sync::{OnceLock, mpsc};

use tektra_sensors::Probe;
use tokio::sync::oneshot;

use super::{
    ResourceSample,
    collect::{Collector, Running},
};
use crate::{Error, Result};

/// What the thread can be asked.
enum Ask {
    Sample(Option<String>, Vec<Running>, oneshot::Sender<ResourceSample>),
    Probes(oneshot::Sender<Vec<Probe>>),
}

/// A way to ask the thread; it is started by the first question and ends with this.
#[derive(Debug, Default)]
pub(super) struct Sampler(OnceLock<Option<mpsc::Sender<Ask>>>);

impl Sampler {
    /// The machine now, with the parts of `running` processes. Engines are also those that are called `engine_name`.
    pub(super) async fn sample(&self, engine_name: Option<String>, running: Vec<Running>) -> Result<ResourceSample> {
        self.ask(|answer| Ask::Sample(engine_name, running, answer)).await
    }

    /// Which sensors were looked for, and what came of it.
    pub(super) async fn probes(&self) -> Result<Vec<Probe>> {
        self.ask(Ask::Probes).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T> {
        let gone = || Error::InvalidInput { what: "The sensors cannot be read: the system gives no thread.".into() };
        let start = || {
            let (asks, asked) = mpsc::channel();
            let thread = std::thread::Builder::new().name("sensors".into());
            thread.spawn(move || serve(&asked)).ok().map(|_| asks)
        };
        let (answer, answered) = oneshot::channel();
        let asks = self.0.get_or_init(start).as_ref().ok_or_else(gone)?;
        asks.send(ask(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

fn serve(asked: &mpsc::Receiver<Ask>) {
    let mut collector = Collector::default();
    while let Ok(ask) = asked.recv() {
        // Whoever asked may have gone.
        match ask {
            Ask::Sample(engine_name, running, answer) => {
                let _ = answer.send(collector.collect(engine_name.as_deref(), &running));
            }
            Ask::Probes(answer) => drop(answer.send(collector.probes())),
        }
    }
}
