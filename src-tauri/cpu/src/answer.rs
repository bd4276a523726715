//! One answer while it is computed: what it has so far, and what it tells.

use std::time::{Duration, Instant};

use crate::{
    executor::{Ended, Job, Outcome, Piece},
    kv::Cache,
    tokenizer::{TextStream, Tokenizer},
};

/// An answer that is being computed.
pub(crate) struct Active {
    pub(crate) job: Job,
    pub(crate) cache: Cache,
    /// The token that was chosen last and is not computed yet; none before the first.
    pub(crate) last: Option<u32>,
    pub(crate) random: fastrand::Rng,
    text: TextStream,
    submitted: Instant,
    begun: Instant,
    pub(crate) sample: Duration,
    detokenize: Duration,
    cached_tokens: usize,
    completion_tokens: usize,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    pub(crate) ended: Option<Outcome>,
}

impl Active {
    /// One whose turn it is; `cache` holds the beginning of its prompt.
    pub(crate) fn begin(job: Job, cache: Cache, submitted: Instant) -> Self {
        Self {
            cached_tokens: cache.tokens.len(),
            cache,
            last: None,
            random: job.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            text: TextStream::default(),
            submitted,
            begun: Instant::now(),
            sample: Duration::ZERO,
            detokenize: Duration::ZERO,
            completion_tokens: 0,
            first_token: None,
            last_token: None,
            ended: if job.prompt.is_empty() || job.max_tokens == 0 { Some(Outcome::Length) } else { None },
            job,
        }
    }

    /// Takes the next token, and tells its text.
    pub(crate) fn accept(&mut self, token: u32, tokenizer: &Tokenizer) {
        let now = Instant::now();
        self.first_token.get_or_insert(now);
        self.last_token = Some(now);
        self.completion_tokens += 1;
        self.last = Some(token);
        if tokenizer.is_end(token) {
            self.ended = Some(Outcome::Stop);
            return;
        }
        let text = self.text.push(tokenizer.bytes(token));
        self.detokenize += now.elapsed();
        if !text.is_empty() {
            self.say(text);
        }
        if self.completion_tokens >= self.job.max_tokens {
            self.ended = Some(Outcome::Length);
        }
    }

    /// Tells what is left of the text, and how it ended.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        let rest = std::mem::take(&mut self.text).finish();
        if !rest.is_empty() {
            self.say(rest);
        }
        let ended = Ended {
            outcome,
            cached_tokens: self.cached_tokens as u32,
            completion_tokens: self.completion_tokens as u32,
            first_token: self.first_token.map(|first| first - self.submitted),
            decode: self.first_token.zip(self.last_token).map_or(Duration::ZERO, |(first, last)| last - first),
            waited: self.begun - self.submitted,
            sample: self.sample,
            detokenize: self.detokenize,
        };
        (self.job.listener)(Piece::Ended(ended));
    }

    fn say(&mut self, text: String) {
        (self.job.listener)(Piece::Text { text, tokens: self.completion_tokens as u32 });
    }
}
