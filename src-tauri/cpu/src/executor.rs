//! Answers in motion: any number of them, advanced together by one thread.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tektra_cuda::GpuError;
use tektra_kernels::{KvType, PAGE};

use crate::{
    LoadError, Sampling,
    answer::Active,
    counters::{Counters, Counts},
    file::ModelFile,
    forward::{Forward, Run, StepError},
    kv::Kept,
    template::{ChatTemplate, TemplateError},
    tokenizer::{Tokenizer, TokenizerError, Vocabulary, Warning},
};

/// How an [`Executor`] computes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that compute; at least 1.
    pub threads: usize,
    /// KV caches of finished conversations are kept for later turns, up to this size with those in use.
    pub kept_kv: Room,
    /// What the KV caches' elements are.
    pub kv: KvType,
    /// How many of the model's layers, from the first on, lie on each of the GPUs that this process sees; none for the
    /// CPU alone.
    pub gpu_layers: Vec<usize>,
}

/// Room for KV caches.
#[derive(Clone, Copy, Debug)]
pub enum Room {
    /// So many bytes.
    Bytes(usize),
    /// As much as so many tokens take.
    Tokens(usize),
}

/// An answer to compute.
pub struct Job {
    /// The prompt's tokens, at least one.
    pub prompt: Vec<u32>,
    /// The answer's tokens at most; prompt and answer together must fit the context.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Makes sampled answers repeatable.
    pub seed: Option<u64>,
    /// Set to end the answer.
    pub cancelled: Arc<AtomicBool>,
    /// Hears of every piece, on the executor's thread; [`Piece::Ended`] is the last.
    pub listener: Box<dyn FnMut(Piece) + Send>,
}

/// Something new of an answer.
#[derive(Debug)]
pub enum Piece {
    /// Text to append.
    Text {
        /// The text.
        text: String,
        /// Tokens generated so far.
        tokens: u32,
    },
    /// Nothing more comes.
    Ended(Ended),
}

/// How an answer ended and what it took.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Why it ended.
    pub outcome: Outcome,
    /// Prompt tokens that were in the KV cache.
    pub cached_tokens: u32,
    /// Tokens generated, the end token included.
    pub completion_tokens: u32,
    /// From [`Executor::submit`] to the first token.
    pub first_token: Option<Duration>,
    /// From the first token to the last.
    pub decode: Duration,
    /// From [`Executor::submit`] until it was its turn.
    pub waited: Duration,
    /// Choosing tokens.
    pub sample: Duration,
    /// From tokens to text.
    pub detokenize: Duration,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The model said that it is done.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
    /// It was cancelled.
    Cancelled,
    /// The model's file, which the embeddings are read from, cannot be read any more.
    Unreadable(io::ErrorKind),
    /// The GPU's memory is full.
    OutOfGpuMemory,
    /// The GPU failed: nothing can be computed with it any more.
    GpuFailed,
}

/// A loaded model and the thread that computes with it; dropped, it ends what is running.
pub struct Executor {
    jobs: Option<mpsc::Sender<(Job, Instant)>>,
    thread: Option<std::thread::JoinHandle<()>>,
    threads: usize,
    most_together: usize,
    weights_bytes: u64,
    counters: Arc<Counters>,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
}

/// A conversation that the model cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// In the template's own words.
    #[error("the model's chat template refuses this conversation: {0}")]
    Template(#[from] TemplateError),
    /// In the tokenizer's own words.
    #[error("the model's tokenizer refuses this conversation: {0}")]
    Tokenizer(#[from] TokenizerError),
}

impl Executor {
    /// Loads the model at `path`; `progress` hears how many bytes of its files are done.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] where another executor may do, otherwise the file's fault.
    pub fn load(path: &Path, options: Options, progress: &mut dyn FnMut(u64)) -> Result<Self, LoadError> {
        let Options { threads, kept_kv, kv, gpu_layers } = options;
        let file = ModelFile::open(path)?;
        let (tokenizer, template) = (Arc::new(read_tokenizer(&file)?), file.header.text("tokenizer.chat_template"));
        let name = |token: Option<u32>| token.and_then(|token| tokenizer.text_of(token)).unwrap_or_default();
        let eos = file.header.number("tokenizer.ggml.eos_token_id").map(|id| id as u32);
        let template = match template {
            Some(source) => ChatTemplate::new(source, name(tokenizer.bos()), name(eos))
                .map_err(|error| LoadError::Unsupported(format!("its chat template: {error}")))?,
            None => ChatTemplate::chatml(),
        };
        let forward = Forward::load(file, threads, kv, &gpu_layers, &tokenizer, progress)?;
        let (jobs, queue) = mpsc::channel();
        let (weights_bytes, counters) = (forward.weights_bytes(), Arc::new(Counters::default()));
        let most_together = forward.most_together();
        let kept_kv_bytes = match kept_kv {
            Room::Bytes(bytes) => bytes,
            Room::Tokens(tokens) => tokens.div_ceil(PAGE).saturating_mul(forward.layout.bytes()),
        };
        let work = Work {
            counters: counters.clone(),
            kept: Kept::new(forward.layout, kept_kv_bytes),
            forward,
            tokenizer: tokenizer.clone(),
            active: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("executor".into()).spawn(move || work.run(&queue))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            threads,
            most_together,
            weights_bytes,
            counters,
            tokenizer,
            template,
        })
    }

    /// What a person should know of this model.
    pub fn warnings(&self) -> Vec<Warning> {
        self.tokenizer.unknown_pre().map(|pre| Warning::UnknownPre(pre.into())).into_iter().collect()
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Answers that it computes side by side; more wait.
    pub fn most_together(&self) -> usize {
        self.most_together
    }

    /// What it holds and does now, and what it has done so far. Disturbs nothing.
    pub fn counts(&self) -> Counts {
        self.counters.read(self.weights_bytes)
    }

    /// The tokens of a conversation of `(role, text)`, up to where the model answers; with `continue_from`, up to the end
    /// of that beginning of an answer.
    ///
    /// # Errors
    /// When the chat template refuses, in its words.
    pub fn prompt(&self, messages: &[(&str, &str)], continue_from: Option<&str>) -> Result<Vec<u32>, PromptError> {
        let text = self.template.render(messages, true)?;
        let mut tokens = self.tokenizer.encode(&text, true)?;
        if let Some(bos) = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos())
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        if let Some(text) = continue_from {
            tokens.extend(self.tokenizer.encode(text, false)?);
        }
        Ok(tokens)
    }

    /// Begins an answer. It waits while [`Executor::most_together`] others are being computed.
    pub fn submit(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            self.counters.submitted();
            // Fails only when the thread panicked, which ends the process.
            let _ = jobs.send((job, Instant::now()));
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn read_tokenizer(file: &ModelFile) -> Result<Tokenizer, LoadError> {
    let vocabulary = Vocabulary::read(&file.header, file.bytes());
    Tokenizer::new(vocabulary).map_err(|error| LoadError::Unsupported(format!("its tokenizer: {error}")))
}

/// What the executor's thread owns.
struct Work {
    counters: Arc<Counters>,
    forward: Forward,
    kept: Kept,
    tokenizer: Arc<Tokenizer>,
    active: Vec<Active>,
}

impl Work {
    fn run(mut self, queue: &mpsc::Receiver<(Job, Instant)>) {
        loop {
            while self.active.len() < self.forward.most_together() {
                let next = if self.active.is_empty() {
                    // The only place that waits; an error means that the executor was dropped.
                    let Ok(next) = queue.recv() else { return };
                    Some(next)
                } else {
                    queue.try_recv().ok()
                };
                let Some((job, submitted)) = next else { break };
                self.begin(job, submitted);
            }
            for active in &mut self.active {
                if active.job.cancelled.load(Ordering::Relaxed) {
                    active.ended = Some(Outcome::Cancelled);
                }
            }
            self.end_answers();
            if !self.active.is_empty() {
                self.step();
                self.end_answers();
            }
        }
    }

    fn begin(&mut self, job: Job, submitted: Instant) {
        let cache = self.kept.beginning_of(&job.prompt);
        self.counters.begun(cache.tokens.len());
        tracing::debug!(prompt = job.prompt.len(), cached = cache.tokens.len(), "answer begins");
        self.active.push(Active::begin(job, cache, submitted));
    }

    /// Advances every answer that is being written by one token, and the first prompts by as many as there is room for.
    fn step(&mut self) {
        let stepped = Instant::now();
        let writing = self.active.iter().any(|active| active.last.is_some());
        let mut room = self.forward.prefill_tokens(writing);
        let (mut runs, mut prompts) = (Vec::new(), Vec::new());
        let (mut choosing, mut choosing_first, mut prompt_tokens) = (Vec::new(), Vec::new(), 0);
        for (index, active) in self.active.iter_mut().enumerate() {
            let done = active.cache.tokens.len();
            if let Some(token) = &active.last {
                choosing.push(index);
                let tokens = std::slice::from_ref(token);
                runs.push(Run { cache: &mut active.cache, tokens, logits: 1, generated: true });
                continue;
            }
            let tokens = &active.job.prompt[done..];
            let tokens = &tokens[..tokens.len().min(room)];
            if tokens.is_empty() {
                continue;
            }
            room -= tokens.len();
            prompt_tokens += tokens.len();
            let logits = usize::from(done + tokens.len() == active.job.prompt.len());
            if logits == 1 {
                choosing_first.push(index);
            }
            prompts.push(Run { cache: &mut active.cache, tokens, logits, generated: false });
        }
        runs.append(&mut prompts);
        choosing.append(&mut choosing_first);
        let vocabulary = self.forward.weights.shape.vocabulary;
        let logits = match self.forward.step(&mut runs) {
            Ok(logits) => logits,
            Err(error) => {
                drop(runs);
                return self.fail(&error);
            }
        };
        for (&index, logits) in choosing.iter().zip(logits.chunks_exact_mut(vocabulary)) {
            let active = &mut self.active[index];
            let choosing = Instant::now();
            let token = active.job.sampling.choose(logits, &mut active.random);
            active.sample += choosing.elapsed();
            active.accept(token, &self.tokenizer);
        }
        self.counters.computed(prompt_tokens, choosing.len(), stepped.elapsed());
        self.shrink();
    }

    /// Ends what a step that was not taken leaves no way for.
    fn fail(&mut self, error: &StepError) {
        tracing::error!(%error, "a step failed");
        let outcome = match error {
            StepError::Unreadable(error) => Outcome::Unreadable(error.kind()),
            StepError::Gpu(GpuError::OutOfMemory { .. }) => {
                // Conversations that are only kept go first; then the answer that began last gives way to the others.
                if !self.kept.forget()
                    && let Some(active) = self.active.last_mut()
                {
                    active.ended = Some(Outcome::OutOfGpuMemory);
                }
                return;
            }
            StepError::Gpu(_) => Outcome::GpuFailed,
        };
        self.active.iter_mut().for_each(|active| active.ended = Some(outcome));
    }

    /// Keeps the caches within their bounds, and counts them.
    fn shrink(&mut self) {
        let kv_bytes = self.kept.shrink(self.active.iter().map(|active| &active.cache));
        self.counters.held(self.active.len(), kv_bytes);
    }

    fn end_answers(&mut self) {
        let mut index = 0;
        while index < self.active.len() {
            let Some(outcome) = self.active[index].ended else {
                index += 1;
                continue;
            };
            let mut active = self.active.remove(index);
            active.end(outcome);
            if !active.cache.tokens.is_empty() {
                self.kept.keep(active.cache);
            }
        }
        self.shrink();
    }
}
