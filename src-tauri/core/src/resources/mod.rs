//! Where this machine's time and memory go, sampled while somebody looks.

mod collect;
mod history;
mod observer;
mod sampler;

use std::{
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use serde::Serialize;
use specta::Type;
use tektra_sensors::{CpuSample, DiskSample, GpuSample, MemorySample, NetworkSample, PowerSample, Probe};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, sleep, sleep_until},
};

pub(crate) use collect::Running;
use history::History;
pub use observer::Observer;
use sampler::Sampler;

use crate::{Error, Parts, Result, Tektra, event::CoreEvent, store::now_ms};

/// How often samples may be taken, in milliseconds: more often costs too much, less often shows nothing.
const INTERVALS_MS: std::ops::RangeInclusive<u32> = 500..=5000;
/// Rates and percentages need a time over which they are taken.
const FIRST_AFTER: Duration = Duration::from_millis(200);

/// What was sampled lately.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct ResourceHistory {
    /// Of the last ten minutes, as far as somebody looked, the oldest first.
    pub samples: Vec<ResourceSample>,
    /// Answers that ended meanwhile, the oldest first.
    pub marks: Vec<AnswerMark>,
    /// How often samples are taken.
    pub interval_ms: u32,
}

/// An answer on the time line.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct AnswerMark {
    /// When it was begun, in milliseconds of Unix time.
    pub started_ms: f64,
    /// When it ended, in milliseconds of Unix time.
    pub ended_ms: f64,
    /// Its conversation.
    pub conversation_id: String,
    /// The answer.
    pub message_id: String,
    /// Tokens generated.
    pub tokens: u32,
}

/// The machine, and Tektra's part of it, at one moment. What no sensor tells is absent, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct ResourceSample {
    /// When, in milliseconds of Unix time.
    pub at_ms: f64,
    /// The processor.
    pub cpu: CpuSample,
    /// The memory.
    pub memory: MemorySample,
    /// All disks together.
    pub disk: Option<DiskSample>,
    /// All connections to other machines together.
    pub network: Option<NetworkSample>,
    /// The GPUs that answer.
    pub gpus: Vec<GpuSample>,
    /// Battery and power.
    pub power: Option<PowerSample>,
    /// Whose the memory and the processor's time are.
    pub shares: Shares,
    /// What the engines do; absent while none is loaded.
    pub engine: Option<EngineSample>,
}

/// Whose the memory and the processor's time are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Type)]
pub struct Shares {
    /// What the window's processes hold, in MiB; what several of them share is counted once.
    pub window_mib: Option<f64>,
    /// What the engines' processes hold, in MiB, the two parts below included.
    pub engine_mib: Option<f64>,
    /// The part of the engines' memory that is weights.
    pub weights_mib: Option<f64>,
    /// The part of the engines' memory that is KV caches.
    pub kv_mib: Option<f64>,
    /// What everything else holds, in MiB.
    pub other_mib: Option<f64>,
    /// Processor time of the window's processes, in percent of one core.
    pub window_cpu_percent: Option<f64>,
    /// Processor time of the engines' processes, in percent of one core.
    pub engine_cpu_percent: Option<f64>,
    /// Processor time of everything else, in percent of one core.
    pub other_cpu_percent: Option<f64>,
}

/// What the engines do, and did since the sample before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Type)]
pub struct EngineSample {
    /// Prompt tokens computed a second of the time that this took; absent when none were.
    pub prefill_tokens_per_second: Option<f64>,
    /// Tokens generated a second; absent when none were.
    pub decode_tokens_per_second: Option<f64>,
    /// Answers that are being computed.
    pub active: u32,
    /// Answers that wait.
    pub waiting: u32,
    /// Prompt tokens whose computation was saved.
    pub prefix_hit_tokens: u32,
    /// All KV caches, in MiB; absent where no engine tells.
    pub kv_mib: Option<f64>,
}

/// What this process samples.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    sampler: Sampler,
    history: Mutex<History>,
    /// Held while two samples are taken for one that nobody watches: others between them would shorten its time.
    taking: AsyncMutex<()>,
    /// How often somebody wants samples, in milliseconds; nobody looks when absent.
    wish: watch::Sender<Option<u32>>,
}

impl Resources {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tektra {
    fn resources(&self) -> &Resources {
        &self.0.resources
    }

    /// Starts sampling, or changes how often; each sample is a [`CoreEvent::ResourcesSampled`]. What was sampled in the
    /// last ten minutes is the answer. There is one wish: whoever shows several views wishes for all of them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an interval below 500 or above 5000 ms; nothing has changed then.
    pub fn resources_watch(&self, interval_ms: u32) -> Result<ResourceHistory> {
        if !INTERVALS_MS.contains(&interval_ms) {
            let (least, most) = (INTERVALS_MS.start(), INTERVALS_MS.end());
            let what = format!("The machine can be looked at every {least} to {most} ms, not every {interval_ms} ms.");
            return Err(Error::InvalidInput { what });
        }
        self.resources().wish.send_replace(Some(interval_ms));
        Ok(self.resources().history().told(interval_ms, now_ms() as f64))
    }

    /// Nobody looks any more: nothing is sampled, and what was is kept for a while.
    pub fn resources_unwatch(&self) {
        self.resources().wish.send_replace(None);
    }

    /// Which sensors were looked for, and what came of it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub async fn resources_probes(&self) -> Result<Vec<Probe>> {
        self.resources().sampler.probes().await
    }

    /// An answer ended.
    pub(crate) fn mark_answer(&self, mark: AnswerMark) {
        self.resources().history().mark(mark.clone());
        self.emit(CoreEvent::AnswerMarked { mark });
    }

    /// What this process and its engines do, as they tell it.
    pub(crate) async fn running(&self) -> Running {
        Running { pid: std::process::id(), waiting: self.engine().waiting(), engines: self.engine().now().await }
    }

    /// The machine now: the last sample while somebody looks, else one that is taken for this.
    pub(crate) async fn resources_now(&self) -> Result<ResourceSample> {
        let interval_ms = *self.resources().wish.borrow();
        let fresh = |interval_ms: u32| {
            let last = self.resources().history().latest().next().cloned()?;
            (now_ms() as f64 - last.at_ms < f64::from(interval_ms) * 1.5).then_some(last)
        };
        if let Some(last) = interval_ms.and_then(fresh) {
            return Ok(last);
        }
        let _taking = self.resources().taking.lock().await;
        self.take_sample().await?;
        sleep(FIRST_AFTER).await;
        self.take_sample().await
    }

    async fn take_sample(&self) -> Result<ResourceSample> {
        // Those of a benchmark are its own, and are called the same.
        let names = self.engine().options().names();
        self.resources().sampler.sample(names, vec![self.running().await]).await
    }
}

/// Samples while somebody looks.
pub(crate) async fn sample_while_watched(parts: Weak<Parts>) {
    let Some(mut wish) = parts.upgrade().map(|parts| parts.resources.wish.subscribe()) else { return };
    let mut interval = None;
    loop {
        let wished = *wish.borrow_and_update();
        let Some(wished) = wished.map(|ms| Duration::from_millis(ms.into())) else {
            interval = None;
            if wish.changed().await.is_err() {
                return;
            }
            continue;
        };
        let begun = Instant::now();
        // The first readings only say since when. Not held while waiting: the product may be closed meanwhile.
        let Some(tektra) = parts.upgrade().map(Tektra) else { return };
        let sample = tektra.take_sample().await;
        let mut next = begun + wished;
        match (interval, sample) {
            (None, _) => next = begun + FIRST_AFTER,
            (Some(_), Ok(sample)) => {
                tektra.resources().history().add(sample.clone());
                tektra.emit(CoreEvent::ResourcesSampled { sample: Box::new(sample) });
            }
            (Some(_), Err(error)) => tracing::warn!(%error, "the machine is not sampled"),
        }
        drop(tektra);
        interval = Some(wished);
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                changed = wish.changed() => match (changed, *wish.borrow_and_update()) {
                    (Err(_), _) => return,
                    (Ok(()), None) => break,
                    (Ok(()), Some(ms)) => next = begun + Duration::from_millis(ms.into()),
                },
            }
        }
    }
}
