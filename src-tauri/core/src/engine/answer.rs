//! An answer: its turn, its pieces, its end, and what it cost.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tektra_protocol::{Failure, GenerateRequest, Reply, Request, Turn, Usage};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, mpsc, watch};

use super::{
    Engine, Process, ms,
    turn::{Thinking, Waiting},
};
use crate::{
    Error, Result,
    event::{FinishReason, Receipt},
    metrics::{self, Pace},
    models::Model,
};

/// How long a stopped answer may take to say what it cost.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// What to answer.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The conversation, oldest first.
    pub turns: Vec<Turn>,
    /// Text of the answer that exists already.
    pub continue_from: Option<String>,
    /// At most this many tokens.
    pub max_tokens: u32,
    /// 0 picks the likeliest token every time.
    pub temperature: f64,
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Text to append.
    pub text: String,
    /// Tokens generated so far.
    pub completion_tokens: u32,
}

/// A finished answer. Its text went through the pieces.
pub type Answer = Result<Receipt>;

impl Engine {
    /// Produces an answer, its pieces into `pieces`, until `stop` says true.
    ///
    /// # Errors
    /// Why it could not be produced, or not to its end; the pieces sent before stand.
    pub async fn answer(
        &self,
        model: &Model,
        ask: Ask,
        pieces: mpsc::UnboundedSender<Piece>,
        stop: watch::Receiver<bool>,
    ) -> Answer {
        self.answer_and_usage(model, ask, pieces, stop).await.map(|(receipt, _)| receipt)
    }

    /// The same, with what the engine says of the time that it took; nothing of an answer that ended before it began.
    pub(crate) async fn answer_and_usage(
        &self,
        model: &Model,
        ask: Ask,
        pieces: mpsc::UnboundedSender<Piece>,
        stop: watch::Receiver<bool>,
    ) -> Result<(Receipt, Option<Usage>)> {
        let (begun, mut usage) = (Instant::now(), None);
        let answer = self.produce(begun, model, ask, pieces, stop, &mut usage).await;
        metrics::answered(&answer, begun.elapsed());
        answer.map(|receipt| (receipt, usage))
    }

    async fn produce(
        &self,
        begun: Instant,
        model: &Model,
        ask: Ask,
        pieces: mpsc::UnboundedSender<Piece>,
        mut stop: watch::Receiver<bool>,
        cost: &mut Option<Usage>,
    ) -> Answer {
        let mut receipt = Receipt {
            queue_ms: 0.0,
            load_ms: 0.0,
            ttft_ms: None,
            total_ms: 0.0,
            prefill_tokens_per_second: None,
            decode_tokens_per_second: None,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            finish_reason: FinishReason::Cancelled,
            model: model.name.clone(),
            architecture: model.architecture.clone(),
            quantization: model.quantization.clone(),
            context_length: model.context_length,
            device: String::new(),
        };
        let stopped = |mut receipt: Receipt| {
            receipt.total_ms = ms(begun);
            Ok(receipt)
        };
        let (process, turn) = loop {
            // A task of its own: a load goes on when the person stops waiting, and the next message profits.
            let loading = Instant::now();
            let (engine, wanted) = (self.clone(), model.clone());
            let load = tokio::spawn(async move { engine.ensure(&wanted).await });
            let (process, fresh) = tokio::select! {
                process = load => process.unwrap_or_else(|error| Err(Error::EngineFailed { reason: error.to_string() }))?,
                _ = stop.wait_for(|stop| *stop) => return stopped(receipt),
            };
            if fresh {
                receipt.load_ms += ms(loading);
            }
            let turn = tokio::select! {
                turn = self.queue(&process) => turn,
                _ = stop.wait_for(|stop| *stop) => return stopped(receipt),
            };
            // It may have ended while others had their turn.
            if let (Ok(turn), None) = (turn, process.how_ended()) {
                break (process, turn);
            }
        };
        receipt.queue_ms = (ms(begun) - receipt.load_ms).max(0.0);
        receipt.device.clone_from(&process.loaded.device);
        let _thinking = Thinking::new(self.clone(), &process, turn);

        let (id, mut replies) = process.ask(|id| {
            Request::Generate(GenerateRequest {
                id,
                messages: ask.turns,
                continue_from: ask.continue_from,
                max_tokens: ask.max_tokens,
                temperature: ask.temperature,
            })
        });
        let mut cancelled_at = None;
        let mut pace = Pace::default();
        let last = loop {
            let grace = async {
                match cancelled_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Text that has arrived comes before everything else.
                biased;
                reply = replies.recv() => match reply {
                    Some(Reply::Delta { text, completion_tokens, .. }) => {
                        receipt.ttft_ms.get_or_insert_with(|| ms(begun));
                        receipt.completion_tokens = completion_tokens;
                        pace.at(completion_tokens);
                        let _ = pieces.send(Piece { text, completion_tokens });
                    }
                    last => break last,
                },
                () = grace => break None,
                _ = stop.wait_for(|stop| *stop), if cancelled_at.is_none() => {
                    process.cancel(id);
                    cancelled_at = Some(tokio::time::Instant::now() + CANCEL_GRACE);
                }
            }
        };
        process.forget(id);
        receipt.total_ms = ms(begun);
        match last {
            Some(Reply::Finished { reason, usage, .. }) => {
                self.0.crashes.store(0, Ordering::Relaxed);
                receipt.finish_reason = match reason {
                    tektra_protocol::FinishReason::Stop => FinishReason::Stop,
                    tektra_protocol::FinishReason::Length => FinishReason::Length,
                    tektra_protocol::FinishReason::Cancelled => FinishReason::Cancelled,
                };
                receipt.account(&usage);
                *cost = Some(usage);
                Ok(receipt)
            }
            Some(Reply::Failed { failure: Failure::ContextOverflow { prompt_tokens, context_length }, .. }) => {
                Err(Error::ContextOverflow { prompt_tokens, context_length })
            }
            Some(Reply::Failed { failure: Failure::Unreadable { reason }, .. }) => {
                // It holds the file that has gone; another opens it anew.
                self.discard(&process).await;
                Err(Error::ModelUnreadable { path: model.path.clone(), reason })
            }
            Some(Reply::Failed { failure: Failure::OutOfGpuMemory, .. }) => {
                Err(Error::GpuMemoryFull { what: "conversation" })
            }
            Some(Reply::Failed { failure: Failure::GpuFailed, .. }) => {
                self.discard(&process).await;
                Err(Error::EngineCrashed { how: "the GPU failed".into() })
            }
            Some(Reply::Failed { failure: Failure::Engine { reason }, .. }) => Err(Error::EngineFailed { reason }),
            _ if cancelled_at.is_some() => Ok(receipt),
            _ => Err(Error::EngineCrashed { how: process.ended().await }),
        }
    }

    /// Waits until the process takes one more answer; an error when it never will.
    async fn queue(&self, process: &Process) -> Result<OwnedSemaphorePermit, AcquireError> {
        let _waiting = Waiting::new(self.clone());
        process.turns.clone().acquire_owned().await
    }
}

impl Receipt {
    fn account(&mut self, usage: &Usage) {
        self.prompt_tokens = usage.prompt_tokens;
        self.cached_tokens = usage.cached_tokens;
        self.completion_tokens = usage.completion_tokens;
        let computed = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
        self.prefill_tokens_per_second = usage.prefill_ms.map(|time_ms| f64::from(computed) / time_ms.max(0.001) * 1e3);
        self.decode_tokens_per_second = (usage.completion_tokens > 1)
            .then(|| f64::from(usage.completion_tokens - 1) / usage.decode_ms.max(0.001) * 1e3);
    }
}
