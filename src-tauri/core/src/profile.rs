//! Where the time of the last answers went, stage by stage, and the stacks of a process on demand.
//!
//! The stages are sums that are taken anyway, a few clock readings a token; stacks are sampled only while they are recorded.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use specta::Type;
use tektra_protocol::Usage;
use tokio::sync::watch;

use crate::{Error, Receipt, Result, Tektra, models::sentence, store::now_ms};

/// Answers whose stages are kept, in memory only.
const KEPT: usize = 20;
/// Longer recordings show nothing that these do not, in seconds.
const LONGEST_SECONDS: u32 = 60;

/// Where the time of one answer went.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct AnswerTrace {
    /// The answer.
    pub message_id: String,
    /// Its conversation.
    pub conversation_id: String,
    /// The conversation's title; empty when it is gone.
    pub title: String,
    /// When it was asked for, in milliseconds of Unix time.
    pub started_ms: f64,
    /// From sending to the end.
    pub total_ms: f64,
    /// In the order of their start; the first is the whole answer.
    pub spans: Vec<Span>,
}

/// A stretch of an answer's time. One of depth n + 1 belongs to the one of depth n before it.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct Span {
    /// What happened.
    pub name: StageName,
    /// After the beginning of the answer.
    pub start_ms: f64,
    /// How long. What happens a little at a time, with each token, is one span with the sum.
    pub duration_ms: f64,
    /// 0 for the answer.
    pub depth: u32,
    /// More about it in a few words.
    pub detail: Option<String>,
}

/// Stages of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// All of it.
    Answer,
    /// Waiting for other answers.
    Queue,
    /// Starting the engine and loading the model.
    Load,
    /// From text to tokens.
    Tokenize,
    /// Computing the prompt.
    Prefill,
    /// Generating tokens.
    Decode,
    /// From tokens to text.
    Detokenize,
    /// Choosing tokens.
    Sample,
    /// Writing to the disk.
    Store,
    /// Handing pieces to the page.
    Ipc,
    /// Painting them.
    Render,
}

/// A process whose stacks can be sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum ProfiledProcess {
    /// The engine that was used last.
    Engine,
    /// This one.
    Window,
}

/// Many small times.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    ms: f64,
    times: u32,
}

impl Sum {
    fn add(&mut self, time: Duration) {
        self.ms += time.as_secs_f64() * 1e3;
        self.times += 1;
    }
}

#[derive(Debug)]
struct Traced {
    message_id: String,
    conversation_id: String,
    started_ms: f64,
    begun: Instant,
    /// Once it is over.
    total_ms: Option<f64>,
    cost: Option<(Receipt, Usage)>,
    /// While it was written, and its end.
    saves: Sum,
    end: Sum,
    ipc: Sum,
    render: Sum,
}

/// What this process knows of its last answers.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    last: Mutex<VecDeque<Traced>>,
    /// Tells the recording to end; taken while one goes on.
    recording: Mutex<Option<watch::Sender<bool>>>,
}

impl Profile {
    fn last(&self) -> MutexGuard<'_, VecDeque<Traced>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recording(&self) -> MutexGuard<'_, Option<watch::Sender<bool>>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, message_id: &str, change: impl FnOnce(&mut Traced)) {
        if let Some(traced) = self.last().iter_mut().find(|traced| traced.message_id == message_id) {
            change(traced);
        }
    }

    pub(crate) fn begin(&self, message_id: &str, conversation_id: &str) {
        let mut last = self.last();
        // One that is continued begins anew.
        last.retain(|traced| traced.message_id != message_id);
        last.truncate(KEPT - 1);
        last.push_front(Traced {
            message_id: message_id.into(),
            conversation_id: conversation_id.into(),
            started_ms: now_ms() as f64,
            begun: Instant::now(),
            total_ms: None,
            cost: None,
            saves: Sum::default(),
            end: Sum::default(),
            ipc: Sum::default(),
            render: Sum::default(),
        });
    }

    pub(crate) fn saved(&self, message_id: &str, took: Duration) {
        self.change(message_id, |traced| traced.saves.add(took));
    }

    pub(crate) fn end(&self, message_id: &str, cost: Option<(Receipt, Usage)>, saving: Duration) {
        self.change(message_id, |traced| {
            traced.cost = cost;
            traced.end.add(saving);
            traced.total_ms = Some(traced.begun.elapsed().as_secs_f64() * 1e3);
        });
    }
}

impl Traced {
    fn spans(&self, total_ms: f64) -> Vec<Span> {
        let span = |name, depth, start_ms, duration_ms, detail| Span { name, start_ms, duration_ms, depth, detail };
        let mut spans = vec![span(StageName::Answer, 0, 0.0, total_ms, None)];
        let mut at = 0.0;
        let mut next = |spans: &mut Vec<Span>, name, duration_ms: f64, detail: Option<String>| {
            if duration_ms > 0.0 {
                spans.push(span(name, 1, at, duration_ms, detail));
                at += duration_ms;
            }
            at
        };
        let mut parts =
            vec![(StageName::Store, self.saves), (StageName::Ipc, self.ipc), (StageName::Render, self.render)];
        if let Some((receipt, usage)) = &self.cost {
            let (stages, before) = (usage.stages, usage.stages.tokenize_ms + usage.stages.wait_ms.unwrap_or_default());
            let computed = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
            let prompt = format!("{computed} tokens, {} from the cache", usage.cached_tokens);
            next(&mut spans, StageName::Load, receipt.load_ms, None);
            next(&mut spans, StageName::Queue, receipt.queue_ms, None);
            next(&mut spans, StageName::Tokenize, stages.tokenize_ms, Some(format!("{} tokens", usage.prompt_tokens)));
            next(&mut spans, StageName::Queue, stages.wait_ms.unwrap_or_default(), Some("in the engine".into()));
            next(&mut spans, StageName::Prefill, usage.prefill_ms.unwrap_or_default() - before, Some(prompt));
            next(&mut spans, StageName::Decode, usage.decode_ms, Some(format!("{} tokens", usage.completion_tokens)));
            let times = usage.completion_tokens;
            let each = [(StageName::Detokenize, stages.detokenize_ms), (StageName::Sample, stages.sample_ms)];
            for (name, ms) in each {
                parts.insert(0, (name, Sum { ms: ms.unwrap_or_default(), times }));
            }
        }
        let mut inside =
            spans.last().filter(|last| last.name == StageName::Decode).map_or(0.0, |decode| decode.start_ms);
        for (name, sum) in parts {
            if sum.ms > 0.0 {
                let depth = if spans.len() > 1 { 2 } else { 1 };
                spans.push(span(name, depth, inside, sum.ms, Some(format!("{} times", sum.times))));
                inside += sum.ms;
            }
        }
        let at = next(&mut spans, StageName::Store, 0.0, None);
        if self.end.ms > 0.0 {
            spans.push(span(StageName::Store, 1, at.max(total_ms - self.end.ms), self.end.ms, Some("the end".into())));
        }
        spans
    }
}

/// The flame graph of folded stacks as SVG.
fn draw(stacks: &str, process: ProfiledProcess) -> Result<String> {
    let mut options = inferno::flamegraph::Options::default();
    options.title = match process {
        ProfiledProcess::Engine => "The engine's processor time".into(),
        ProfiledProcess::Window => "The window's processor time".into(),
    };
    let mut svg = Vec::new();
    let drawn = inferno::flamegraph::from_lines(&mut options, stacks.lines(), &mut svg);
    drawn.map_err(|error| Error::EngineFailed { reason: error.to_string() })?;
    Ok(String::from_utf8_lossy(&svg).into_owned())
}

impl Tektra {
    pub(crate) fn profile(&self) -> &Profile {
        &self.0.profile
    }

    /// Where the time of the last answers went, the latest first.
    pub async fn profile_traces(&self) -> Result<Vec<AnswerTrace>> {
        let titles = self.store().conversations().await?;
        let title = |id: &str| titles.iter().find(|it| it.id == id).map(|it| it.title.clone()).unwrap_or_default();
        let last = self.profile().last();
        let trace = |traced: &Traced| {
            let total_ms = traced.total_ms?;
            Some(AnswerTrace {
                message_id: traced.message_id.clone(),
                conversation_id: traced.conversation_id.clone(),
                title: title(&traced.conversation_id),
                started_ms: traced.started_ms,
                total_ms,
                spans: traced.spans(total_ms),
            })
        };
        Ok(last.iter().filter_map(trace).collect())
    }

    /// What the page spent on painting an answer.
    pub fn profile_render(&self, message_id: &str, milliseconds: f64, frames: u32) {
        if milliseconds.is_finite() && milliseconds >= 0.0 {
            self.profile().change(message_id, |traced| traced.render = Sum { ms: milliseconds, times: frames });
        }
    }

    /// What handing a piece of an answer to the page took.
    pub fn profile_ipc(&self, message_id: &str, took: Duration) {
        self.profile().change(message_id, |traced| traced.ipc.add(took));
    }

    /// Samples the stacks of a process for so many seconds: the flame graph as SVG, or nothing when it was cancelled.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] while one is recorded, for absurd lengths and where no engine runs;
    /// [`Error::EngineFailed`] where it is not possible.
    pub async fn profile_record(&self, process: ProfiledProcess, seconds: u32) -> Result<Option<String>> {
        let wrong = |what: &str| Err(Error::InvalidInput { what: what.into() });
        if !(1..=LONGEST_SECONDS).contains(&seconds) {
            return wrong("A profile takes 1 to 60 seconds.");
        }
        let (stop, stopping) = watch::channel(false);
        {
            let mut recording = self.profile().recording();
            if recording.is_some() {
                return wrong("A profile is being recorded already. Wait for it, or stop it.");
            }
            *recording = Some(stop);
        }
        let recorded = match process {
            ProfiledProcess::Engine => self.engine().record(seconds, stopping).await,
            ProfiledProcess::Window => {
                let record = move || tektra_profile::record(seconds, || *stopping.borrow());
                let recorded = tokio::task::spawn_blocking(record).await.map_err(|_| Error::Interrupted);
                recorded.and_then(|recorded| {
                    recorded.map_err(|error| Error::InvalidInput { what: sentence(&error.to_string()) + "." })
                })
            }
        };
        *self.profile().recording() = None;
        recorded?.map(|stacks| draw(&stacks, process)).transpose()
    }

    /// Ends the recording, where there is one.
    pub fn profile_cancel(&self) {
        if let Some(stop) = &*self.profile().recording() {
            stop.send_replace(true);
        }
    }
}
