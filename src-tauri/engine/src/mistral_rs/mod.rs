//! Producing an answer with mistral.rs: GPUs, and models that the CPU executor does not know.

mod counts;
mod load;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use either::Either;
use mistralrs::{
    Constraint, Model, NormalRequest, Request, RequestLike, RequestMessage, Response, SamplingParams, Tensor,
    TextMessageRole, TextMessages,
};
use tektra_protocol::{EngineStats, Failure, FinishReason, GenerateRequest, Reply, Role, Stages, Turn, Usage};
use tokio::sync::{mpsc, oneshot};

use counts::Counts;
pub(crate) use counts::metrics;
pub(crate) use load::load;

/// A model that mistral.rs computes.
pub(crate) struct MistralRs {
    model: Model,
    /// As many tokens as its KV cache has room for.
    room_tokens: u32,
    counts: Arc<Counts>,
}

impl MistralRs {
    /// What is known of it: mistral.rs tells nobody what weights and caches take.
    pub(crate) fn stats(&self) -> EngineStats {
        self.counts.read()
    }
}

/// Streams an answer into `out`.
pub(crate) async fn stream(
    runner: &MistralRs,
    context_length: u32,
    request: GenerateRequest,
    cancelled: oneshot::Receiver<()>,
    out: &mpsc::UnboundedSender<Reply>,
) -> Result<(FinishReason, Usage), Failure> {
    let active = runner.counts.begin();
    let answer = stream_counted(runner, context_length, request, cancelled, out).await;
    active.end(&answer);
    answer
}

async fn stream_counted(
    MistralRs { model, room_tokens, counts }: &MistralRs,
    context_length: u32,
    request: GenerateRequest,
    mut cancelled: oneshot::Receiver<()>,
    out: &mpsc::UnboundedSender<Reply>,
) -> Result<(FinishReason, Usage), Failure> {
    let begun = Instant::now();
    let prompt = tokenize(model, &request).await?;
    let prompt_tokens = prompt.len() as u32;
    let tokenize_ms = begun.elapsed().as_secs_f64() * 1e3;
    let context_length = context_length.min(*room_tokens);
    let room = context_length.saturating_sub(prompt_tokens);
    if room == 0 {
        return Err(Failure::ContextOverflow { prompt_tokens, context_length });
    }

    let id = request.id;
    let continued = request.continue_from.is_some();
    // mistral.rs guards the number of generated tokens, not the context: more would end in an error of its KV cache.
    let max_tokens = request.max_tokens.clamp(1, room);
    let clock =
        Arc::new(TokenClock { counts: counts.clone(), prompt_tokens, begun: Instant::now(), ticks: Mutex::default() });
    let mut chunks = send(model, request, prompt, max_tokens, clock.clone()).await?;

    let mut reasoning = false;
    let reason = loop {
        let response = tokio::select! {
            // Dropping the stream is how mistral.rs is told to stop.
            _ = &mut cancelled => break FinishReason::Cancelled,
            response = chunks.recv() => response,
        };
        let Some(response) = response else {
            // A character cut in half by the limit leaves mistral.rs without a last chunk.
            if clock.read().tokens >= max_tokens {
                break FinishReason::Length;
            }
            return Err(Failure::Engine { reason: "the answer ended without a reason".into() });
        };
        let (mut text, finish_reason) = match response {
            Response::Chunk(mut chunk) => {
                let Some(choice) = chunk.choices.pop() else { continue };
                let mut text = String::new();
                if let Some(thought) = choice.delta.reasoning_content {
                    if !std::mem::replace(&mut reasoning, true) {
                        text.push_str("<think>\n");
                    }
                    text.push_str(&thought);
                }
                if let Some(content) = choice.delta.content.filter(|content| !content.is_empty()) {
                    if std::mem::replace(&mut reasoning, false) {
                        text.push_str("\n</think>\n\n");
                    }
                    text.push_str(&content);
                }
                (text, choice.finish_reason)
            }
            Response::CompletionChunk(mut chunk) => {
                let Some(choice) = chunk.choices.pop() else { continue };
                // The first chunk of a sequence is trimmed; the seam of a continued answer needs its space.
                let first = clock.read().tokens <= 1;
                let whole = choice.logprobs.and_then(|logprobs| logprobs.bytes);
                let whole = whole.and_then(|bytes| String::from_utf8(bytes).ok());
                let text = if first && continued { whole.unwrap_or(choice.text) } else { choice.text };
                (text, choice.finish_reason)
            }
            Response::InternalError(error) | Response::ValidationError(error) => {
                return Err(Failure::Engine { reason: error.to_string() });
            }
            Response::ModelError(reason, _) | Response::CompletionModelError(reason, _) => {
                return Err(Failure::Engine { reason });
            }
            _ => continue,
        };
        let finished = match finish_reason.as_deref() {
            None => None,
            Some("length") => Some(FinishReason::Length),
            Some("canceled") => Some(FinishReason::Cancelled),
            Some(_) => Some(FinishReason::Stop),
        };
        if finished.is_some() && reasoning {
            text.push_str("\n</think>\n\n");
        }
        if !text.is_empty() {
            let _ = out.send(Reply::Delta { id, text, completion_tokens: clock.read().tokens });
        }
        if let Some(reason) = finished {
            break reason;
        }
    };
    let ticks = clock.read();
    let usage = Usage {
        prompt_tokens,
        cached_tokens: 0,
        completion_tokens: ticks.tokens,
        prefill_ms: ticks.first.map(|first| (first - begun).as_secs_f64() * 1e3),
        decode_ms: ticks.first.zip(ticks.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64() * 1e3),
        stages: Stages { tokenize_ms, ..Stages::default() },
    };
    Ok((reason, usage))
}

async fn tokenize(model: &Model, request: &GenerateRequest) -> Result<Vec<u32>, Failure> {
    let engine = |error: mistralrs::error::Error| Failure::Engine { reason: error.to_string() };
    let mut tokens =
        model.tokenize(Either::Left(messages(&request.messages)), None, true, true, None).await.map_err(engine)?;
    if let Some(text) = &request.continue_from {
        tokens.extend(model.tokenize(Either::Right(text.clone()), None, false, false, None).await.map_err(engine)?);
    }
    Ok(tokens)
}

async fn send(
    model: &Model,
    request: GenerateRequest,
    prompt: Vec<u32>,
    max_tokens: u32,
    clock: Arc<TokenClock>,
) -> Result<mpsc::Receiver<Response>, Failure> {
    let engine = |reason: String| Failure::Engine { reason };
    let (response, chunks) = mpsc::channel(1);
    let continued = request.continue_from.is_some();
    let message =
        if continued { RequestMessage::CompletionTokens(prompt) } else { messages(&request.messages).take_messages() };
    let sampling = if request.temperature == 0.0 {
        SamplingParams::deterministic()
    } else {
        SamplingParams { temperature: Some(request.temperature), top_p: Some(0.95), ..SamplingParams::neutral() }
    };
    let sampling = SamplingParams { max_len: Some(max_tokens as usize), ..sampling };
    let mut normal = NormalRequest::new_simple(message, sampling, response, request.id as usize, None, None);
    normal.is_streaming = true;
    normal.return_logprobs = continued;
    normal.constraint = Constraint::None;
    normal.logits_processors = Some(vec![Arc::new(move |logits: &Tensor, _: &[u32]| {
        clock.tick();
        Ok(logits.clone())
    })]);
    let sender = model.inner().get_sender(None).map_err(|error| engine(error.to_string()))?;
    sender.send(Request::Normal(Box::new(normal))).await.map_err(|_| engine("the engine's loop has ended".into()))?;
    Ok(chunks)
}

fn messages(turns: &[Turn]) -> TextMessages {
    turns.iter().fold(TextMessages::new(), |messages, turn| {
        let role = match turn.role {
            Role::System => TextMessageRole::System,
            Role::User => TextMessageRole::User,
            Role::Assistant => TextMessageRole::Assistant,
        };
        messages.add_message(role, &turn.text)
    })
}

/// Counts the sampled tokens and notes when: chunks are no measure, since several tokens may share one
/// and the end token has none.
struct TokenClock {
    counts: Arc<Counts>,
    prompt_tokens: u32,
    begun: Instant,
    ticks: Mutex<Ticks>,
}

#[derive(Clone, Copy, Default)]
struct Ticks {
    tokens: u32,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl TokenClock {
    fn tick(&self) {
        self.counts.generated();
        let mut ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if ticks.tokens == 0 {
            self.counts.prompt(self.prompt_tokens, now - self.begun);
        }
        ticks.tokens += 1;
        ticks.first.get_or_insert(now);
        ticks.last = Some(now);
    }

    fn read(&self) -> Ticks {
        *self.ticks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
