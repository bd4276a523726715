//! A loaded model and the answers that it gives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tektra_cpu::{Executor, Job, Outcome, Piece, Sampling};
use tektra_protocol::{EngineStats, Failure, FinishReason, GenerateRequest, Reply, Stages, Usage};
use tokio::sync::{mpsc, oneshot};

use crate::mistral_rs::{self, MistralRs};

/// A loaded model.
pub(crate) struct Session {
    pub(crate) runner: Runner,
    pub(crate) context_length: u32,
}

/// Who computes.
pub(crate) enum Runner {
    /// Tektra's own executor.
    Tektra(Arc<Executor>),
    /// mistral.rs.
    MistralRs(Box<MistralRs>),
}

impl Session {
    /// What it holds and does now, and what it has done so far.
    pub(crate) fn stats(&self) -> EngineStats {
        let executor = match &self.runner {
            Runner::Tektra(executor) => executor,
            Runner::MistralRs(model) => return model.stats(),
        };
        let counts = executor.counts();
        EngineStats {
            weights_bytes: Some(counts.weights_bytes),
            kv_bytes: Some(counts.kv_bytes),
            active: counts.active,
            waiting: counts.waiting,
            prompt_tokens: counts.prompt_tokens,
            prefill_us: counts.prefill_us,
            generated_tokens: counts.generated_tokens,
            prefix_hit_tokens: counts.prefix_hit_tokens,
        }
    }
}

/// Streams an answer into `out` and returns its last frame.
pub(crate) async fn answer(
    session: &Session,
    request: GenerateRequest,
    cancelled: oneshot::Receiver<()>,
    out: &mpsc::UnboundedSender<Reply>,
) -> Reply {
    let (id, context) = (request.id, session.context_length);
    let result = match &session.runner {
        Runner::Tektra(executor) => stream(executor, context, request, cancelled, out).await,
        Runner::MistralRs(model) => mistral_rs::stream(model, context, request, cancelled, out).await,
    };
    match result {
        Ok((reason, usage)) => Reply::Finished { id, reason, usage },
        Err(failure) => Reply::Failed { id, failure },
    }
}

async fn stream(
    executor: &Arc<Executor>,
    context_length: u32,
    request: GenerateRequest,
    mut cancelled: oneshot::Receiver<()>,
    out: &mpsc::UnboundedSender<Reply>,
) -> Result<(FinishReason, Usage), Failure> {
    let begun = Instant::now();
    let id = request.id;
    let engine = |reason: String| Failure::Engine { reason };
    let tokenizing = executor.clone();
    let sampling = Sampling { temperature: request.temperature as f32, top_p: 0.95 };
    let max_tokens = request.max_tokens;
    // A thread of its own: a pasted book takes a second, in which other answers go on.
    let prompt = tokio::task::spawn_blocking(move || {
        let turns: Vec<_> = request.messages.iter().map(|turn| (turn.role.name(), turn.text.as_str())).collect();
        tokenizing.prompt(&turns, request.continue_from.as_deref())
    });
    let prompt = prompt.await.map_err(|error| engine(error.to_string()))?.map_err(|error| engine(error.to_string()))?;
    let prompt_tokens = prompt.len() as u32;
    let room = context_length.saturating_sub(prompt_tokens);
    if room == 0 {
        return Err(Failure::ContextOverflow { prompt_tokens, context_length });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (say, mut pieces) = mpsc::unbounded_channel();
    let tokenized = begun.elapsed();
    executor.submit(Job {
        prompt,
        max_tokens: max_tokens.clamp(1, room) as usize,
        sampling,
        seed: None,
        cancelled: stop.clone(),
        listener: Box::new(move |piece| drop(say.send(piece))),
    });
    let ended = loop {
        let piece = tokio::select! {
            // Its sender is dropped when the core has hung up; that ends the process elsewhere.
            _ = &mut cancelled, if !stop.load(Ordering::Relaxed) => {
                stop.store(true, Ordering::Relaxed);
                continue;
            }
            piece = pieces.recv() => piece,
        };
        match piece {
            Some(Piece::Text { text, tokens }) => drop(out.send(Reply::Delta { id, text, completion_tokens: tokens })),
            Some(Piece::Ended(ended)) => break ended,
            None => return Err(engine("the answer ended without a reason".into())),
        }
    };
    let reason = match ended.outcome {
        Outcome::Stop => FinishReason::Stop,
        Outcome::Length => FinishReason::Length,
        Outcome::Cancelled => FinishReason::Cancelled,
        Outcome::OutOfGpuMemory => return Err(Failure::OutOfGpuMemory),
        Outcome::GpuFailed => return Err(Failure::GpuFailed),
        Outcome::Unreadable(kind) => return Err(Failure::Unreadable { reason: kind.to_string() }),
    };
    let usage = Usage {
        prompt_tokens,
        cached_tokens: ended.cached_tokens,
        completion_tokens: ended.completion_tokens,
        prefill_ms: ended.first_token.map(|first| ms(tokenized + first)),
        decode_ms: ms(ended.decode),
        stages: Stages {
            tokenize_ms: ms(tokenized),
            wait_ms: Some(ms(ended.waited)),
            sample_ms: Some(ms(ended.sample)),
            detokenize_ms: Some(ms(ended.detokenize)),
        },
    };
    Ok((reason, usage))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
