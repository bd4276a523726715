//! How well a model predicts a text, and how far its predictions are from another's.

use tektra_kernels::Pool;

use super::{MeasureError, Subject};
use crate::{forward::Run, kv::Cache};

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// e to the mean negative log-likelihood of the text's tokens.
    pub perplexity: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// How far the predictions are from the reference's, where there is one.
    pub divergence: Option<Divergence>,
}

/// How far a model's predictions are from a reference's.
#[derive(Clone, Copy, Debug)]
pub struct Divergence {
    /// The Kullback-Leibler divergence of the model from the reference, in nats: the mean over all predictions.
    pub kl_mean: f64,
    /// What 99 % of the predictions do not exceed, in nats.
    pub kl_p99: f64,
    /// How many predictions have the same likeliest token, in percent.
    pub same_top_percent: f64,
}

/// The prediction of one token.
struct Prediction<'a> {
    logits: &'a [f32],
    reference: Option<&'a [f32]>,
    target: u32,
    /// The negative log-likelihood of the target.
    loss: f64,
    kl: f64,
    same_top: bool,
}

impl Subject {
    /// Measures the model on `tokens`, which are read in windows of `window`; all tokens are predicted but the first of
    /// each window. With a `reference`, which is given the same tokens, the predictions are compared as llama.cpp does
    /// (<https://github.com/ggml-org/llama.cpp/blob/master/tools/perplexity/README.md>): "KL divergence" is
    /// KL(reference ‖ model) over the whole vocabulary, "same top p" the share of predictions whose likeliest token is the
    /// same. Only, llama.cpp counts the second half of each window, and this counts all of it: texts here are short.
    ///
    /// No more than 128 predictions of each model are in memory.
    ///
    /// # Errors
    /// [`MeasureError::TooShort`], [`MeasureError::Context`], [`MeasureError::Vocabularies`],
    /// [`MeasureError::NotANumber`] or [`MeasureError::Unreadable`].
    pub fn quality(
        &mut self,
        mut reference: Option<&mut Self>,
        tokens: &[u32],
        window: usize,
    ) -> Result<Quality, MeasureError> {
        let longest = window.min(tokens.len());
        self.check_context(longest)?;
        if let Some(reference) = &reference {
            self.check_vocabulary(reference)?;
            reference.check_context(longest)?;
        }
        let vocabulary = self.forward.weights.shape.vocabulary;
        let mut pool = Pool::new(self.threads)?;
        let (mut loss, mut same_top, mut divergences) = (0.0, 0_usize, Vec::new());
        for window in tokens.chunks(window.max(1)) {
            // The last token is only predicted; a window of one has nothing to predict it from.
            let Some((_, context)) = window.split_last() else { continue };
            let (mut cache, mut reference_cache) = (Cache::default(), Cache::default());
            let mut targets = window.iter().skip(1);
            for tokens in context.chunks(self.step_tokens) {
                let generated = self.step_tokens == 1;
                let run = Run { cache: &mut cache, tokens, logits: tokens.len(), generated };
                let logits = self.forward.step(&mut [run])?;
                let reference = reference.as_deref_mut().map(|reference| {
                    let run = Run { cache: &mut reference_cache, tokens, logits: tokens.len(), generated: false };
                    reference.forward.step(&mut [run])
                });
                let reference = reference.transpose()?;
                let mut rows = reference.map(|logits| logits.chunks_exact(vocabulary));
                let targets = targets.by_ref().take(tokens.len());
                let mut predictions: Vec<Prediction<'_>> = logits
                    .chunks_exact(vocabulary)
                    .zip(targets)
                    .map(|(logits, &target)| Prediction {
                        logits,
                        reference: rows.as_mut().and_then(Iterator::next),
                        target,
                        loss: 0.0,
                        kl: 0.0,
                        same_top: false,
                    })
                    .collect();
                pool.for_each(&mut predictions, Prediction::judge);
                for prediction in predictions {
                    loss += prediction.loss;
                    same_top += usize::from(prediction.same_top);
                    divergences.push(prediction.kl);
                }
            }
        }
        let count = divergences.len();
        if count == 0 {
            return Err(MeasureError::TooShort);
        }
        let perplexity = (loss / count as f64).exp();
        let kl_mean = divergences.iter().sum::<f64>() / count as f64;
        if !perplexity.is_finite() || !kl_mean.is_finite() {
            return Err(MeasureError::NotANumber);
        }
        let divergence = reference.map(|_| Divergence {
            kl_mean,
            kl_p99: percentile(&mut divergences, 0.99),
            same_top_percent: same_top as f64 / count as f64 * 100.0,
        });
        Ok(Quality { perplexity, tokens: count, divergence })
    }

    /// The perplexity alone.
    ///
    /// # Errors
    /// As [`Subject::quality`].
    pub fn perplexity(&mut self, tokens: &[u32], window: usize) -> Result<f64, MeasureError> {
        Ok(self.quality(None, tokens, window)?.perplexity)
    }

    fn check_vocabulary(&self, other: &Self) -> Result<(), MeasureError> {
        let tokens = |subject: &Self| (subject.tokenizer.len(), subject.forward.weights.shape.vocabulary);
        let same = tokens(self) == tokens(other)
            && (0..self.tokenizer.len() as u32).all(|id| self.tokenizer.text_of(id) == other.tokenizer.text_of(id));
        if same { Ok(()) } else { Err(MeasureError::Vocabularies) }
    }
}

impl Prediction<'_> {
    fn judge(&mut self) {
        let largest = largest(self.logits);
        let sum: f64 = self.logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
        let target = self.logits.get(self.target as usize).map_or(f64::NAN, |logit| f64::from(*logit));
        self.loss = sum.ln() - (target - largest);
        if let Some(reference) = self.reference {
            self.kl = kl_divergence(reference, self.logits, sum.ln());
            self.same_top = likeliest(reference) == likeliest(self.logits);
        }
    }
}

/// KL(p ‖ q) in nats, of what softmax makes of the logits `p` and `q`; `q_ln_sum` is the logarithm of the sum of
/// e to each of q's logits less their largest.
///
/// With x and y as the logits less the largest of p and of q: Σ p (ln p − ln q) = Σ eˣ (x − y) / Σ eˣ − ln Σ eˣ + ln Σ eʸ.
pub(super) fn kl_divergence(p: &[f32], q: &[f32], q_ln_sum: f64) -> f64 {
    let (p_largest, q_largest) = (largest(p), largest(q));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (p, q) in p.iter().zip(q) {
        let (x, y) = (f64::from(*p) - p_largest, f64::from(*q) - q_largest);
        let likelihood = x.exp();
        sum += likelihood;
        // What is impossible adds nothing, however impossible it is for the other.
        if likelihood > 0.0 {
            weighted += likelihood * (x - y);
        }
    }
    // Never below 0 but for rounding; a `NaN` stays one.
    let kl: f64 = weighted / sum - sum.ln() + q_ln_sum;
    if kl < 0.0 { 0.0 } else { kl }
}

fn largest(logits: &[f32]) -> f64 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max).into()
}

fn likeliest(logits: &[f32]) -> Option<usize> {
    let largest = largest(logits);
    logits.iter().position(|logit| f64::from(*logit) == largest)
}

/// The value below which `share` of the values lie, linear between the two nearest, as llama.cpp takes it. At least one
/// value.
pub(super) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    values[below] + (values[above] - values[below]) * place.fract()
}
