//! Requests that arrive, and what is made of their answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tektra_protocol::{Role, Turn};
use tokio::sync::{Mutex, mpsc, watch};

use super::{Latencies, LoadError, LoadProgress, LoadReport, LoadRequest, LoadScenario, ScenarioLatencies};
use crate::{Ask, Engine, FinishReason, Model, Piece, Result};

/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// A long prompt, repeated.
const LONG: &str = "The keeper wrote down the weather, the ships and the state of the lamp every evening. ";
const LONG_TIMES: usize = 40;

/// What a program begins every request with.
const INSTRUCTIONS: &str = "Answer with one short sentence and nothing else.";

/// How often is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl LoadRequest {
    /// When requests arrive, after the beginning, and what each is.
    fn arrivals(&self, seed: u64) -> Vec<(Duration, LoadScenario)> {
        let mut random = fastrand::Rng::with_seed(seed);
        let (end, ramp) = (f64::from(self.seconds), f64::from(self.ramp_seconds));
        let all: u32 = self.mix.iter().map(|part| part.weight).sum();
        let mut arrivals = Vec::new();
        let mut at = 0.0;
        loop {
            at -= (1.0 - random.f64()).ln() / self.rate_per_second;
            if at >= end {
                return arrivals;
            }
            // Thinning: while the rate grows, only its part of the arrivals counts.
            if at < ramp && random.f64() * ramp > at {
                continue;
            }
            let mut drawn = random.u32(0..all);
            let chosen = self.mix.iter().find(|part| {
                let here = drawn < part.weight;
                drawn = drawn.wrapping_sub(part.weight);
                here
            });
            arrivals.push((Duration::from_secs_f64(at), chosen.map_or(LoadScenario::Chat, |part| part.scenario)));
        }
    }
}

/// One request that is over.
struct Done {
    scenario: LoadScenario,
    first_token: Option<Duration>,
    total: Duration,
    tokens: u32,
    error: Option<String>,
    /// The test was stopped before it was answered.
    stopped: bool,
}

/// Loads `model` and lets requests arrive; `told` hears how far it is, `stop` ends it. The same `seed`, the same
/// requests at the same times.
///
/// # Errors
/// [`crate::Error::InvalidInput`], or why the model cannot be loaded. Requests that fail are part of the report.
pub async fn load_test(
    engine: &Engine,
    model: &Model,
    test: &LoadRequest,
    seed: u64,
    told: impl Fn(LoadProgress),
    mut stop: watch::Receiver<bool>,
) -> Result<LoadReport> {
    test.check()?;
    let mut progress = LoadProgress { loading: true, ..LoadProgress::default() };
    told(progress);
    tokio::select! {
        loaded = engine.warm(model) => loaded?,
        _ = stop.wait_for(|stop| *stop) => return Ok(report(&[], test, &model.name, true, Duration::ZERO)),
    }
    progress.loading = false;
    let conversations: Vec<_> = (0..test.users).map(|_| Arc::new(Mutex::new(Vec::<Turn>::new()))).collect();
    let (ended, mut over) = mpsc::unbounded_channel();
    let (begun, arrivals) = (Instant::now(), test.arrivals(seed));
    let (mut arrived, mut done) = (0, Vec::<Done>::new());
    let stopping = stop.clone();
    let mut beat = tokio::time::interval(TELL_EVERY);
    loop {
        let next = arrivals.get(arrived).filter(|_| !*stopping.borrow());
        if next.is_none() && done.len() == arrived {
            break;
        }
        let due = async {
            match next {
                Some((at, _)) => tokio::time::sleep_until((begun + *at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                let Some((at, scenario)) = next.copied() else { continue };
                let conversation = conversations[arrived % conversations.len()].clone();
                let request = Request { scenario, intended: begun + at, number: arrived, max_tokens: test.max_tokens };
                let (engine, model, stop, ended) = (engine.clone(), model.clone(), stopping.clone(), ended.clone());
                tokio::spawn(async move {
                    // Nobody counts any more when it was stopped.
                    let _ = ended.send(request.run(&engine, &model, &conversation, stop).await);
                });
                arrived += 1;
            }
            Some(request) = over.recv() => {
                progress.failed += u32::from(request.error.is_some());
                progress.answered += u32::from(request.error.is_none() && !request.stopped);
                done.push(request);
            }
            _ = stop.wait_for(|stop| *stop), if !*stopping.borrow() => {}
            _ = beat.tick() => {
                progress.seconds = begun.elapsed().as_secs_f64();
                progress.arrived = arrived as u32;
                told(progress);
            }
        }
    }
    done.retain(|request| !request.stopped);
    let cancelled = *stopping.borrow();
    Ok(report(&done, test, &model.name, cancelled, begun.elapsed()))
}

#[derive(Clone, Copy)]
struct Request {
    scenario: LoadScenario,
    intended: Instant,
    number: usize,
    max_tokens: u32,
}

impl Request {
    async fn run(self, engine: &Engine, model: &Model, said: &Mutex<Vec<Turn>>, stop: watch::Receiver<bool>) -> Done {
        // A person asks the next thing after the answer, but the clock has been running since.
        let mut turns = said.lock().await;
        let number = self.number;
        let text = match self.scenario {
            LoadScenario::FollowUp => format!("And what came after that? ({number})"),
            LoadScenario::Chat => format!("Tell me about the sea. ({number})"),
            LoadScenario::LongPrompt => format!("{}What did he write? ({number})", LONG.repeat(LONG_TIMES)),
            LoadScenario::Api => format!("What is a lighthouse for? ({number})"),
        };
        if self.scenario != LoadScenario::FollowUp {
            turns.clear();
        }
        if self.scenario == LoadScenario::Api {
            turns.push(Turn { role: Role::System, text: INSTRUCTIONS.into() });
        }
        turns.push(Turn { role: Role::User, text });
        let (pieces, mut arriving) = mpsc::unbounded_channel::<Piece>();
        let ask = Ask { turns: turns.clone(), continue_from: None, max_tokens: self.max_tokens, temperature: 0.0 };
        let reading = async {
            let (mut first, mut tokens, mut text) = (None, 0, String::new());
            while let Some(piece) = arriving.recv().await {
                first.get_or_insert_with(|| self.intended.elapsed());
                tokens = piece.completion_tokens;
                text.push_str(&piece.text);
            }
            (first, tokens, text)
        };
        let (answer, (first_token, tokens, text)) = tokio::join!(engine.answer(model, ask, pieces, stop), reading);
        turns.push(Turn { role: Role::Assistant, text });
        let stopped = matches!(&answer, Ok(receipt) if receipt.finish_reason == FinishReason::Cancelled);
        let error = answer.err().map(|error| error.to_string());
        if error.is_some() || self.scenario == LoadScenario::Api {
            turns.clear();
        }
        Done { scenario: self.scenario, first_token, total: self.intended.elapsed(), tokens, error, stopped }
    }
}

fn latencies(all: impl Iterator<Item = Duration>) -> Latencies {
    // Three significant figures; values past the end count as the end.
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3) else { return Latencies::default() };
    all.for_each(|time| histogram.saturating_record(time.as_micros() as u64));
    if histogram.is_empty() {
        return Latencies::default();
    }
    let ms = |microseconds: u64| Some(microseconds as f64 / 1e3);
    Latencies {
        count: histogram.len() as u32,
        p50_ms: ms(histogram.value_at_quantile(0.5)),
        p90_ms: ms(histogram.value_at_quantile(0.9)),
        p95_ms: ms(histogram.value_at_quantile(0.95)),
        p99_ms: ms(histogram.value_at_quantile(0.99)),
        max_ms: ms(histogram.max()),
    }
}

fn report(done: &[Done], test: &LoadRequest, model: &str, cancelled: bool, took: Duration) -> LoadReport {
    let answered = || done.iter().filter(|request| request.error.is_none());
    let first_tokens = |scenario: Option<LoadScenario>| {
        let wanted = answered().filter(move |request| scenario.is_none_or(|scenario| request.scenario == scenario));
        wanted.filter_map(|request| request.first_token)
    };
    let good = first_tokens(None).filter(|time| time.as_secs_f64() * 1e3 <= test.target_first_token_ms).count();
    let mut errors: Vec<LoadError> = Vec::new();
    for text in done.iter().filter_map(|request| request.error.as_ref()) {
        match errors.iter_mut().find(|error| error.text == *text) {
            Some(error) => error.count += 1,
            None => errors.push(LoadError { text: text.clone(), count: 1 }),
        }
    }
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    let wanted = |scenario: &LoadScenario| test.mix.iter().any(|part| part.scenario == *scenario && part.weight > 0);
    let scenarios = LoadScenario::ALL.into_iter().filter(wanted).map(|scenario| {
        let first_token = latencies(first_tokens(Some(scenario)));
        ScenarioLatencies { scenario, first_token }
    });
    let seconds = took.as_secs_f64();
    let a_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
    LoadReport {
        request: test.clone(),
        model: model.into(),
        cancelled,
        seconds,
        requests: done.len() as u32,
        answered: answered().count() as u32,
        failed: (done.len() - answered().count()) as u32,
        errors,
        first_token: latencies(first_tokens(None)),
        total: latencies(answered().map(|request| request.total)),
        scenarios: scenarios.collect(),
        tokens_per_second: a_second(answered().map(|request| f64::from(request.tokens)).sum()),
        good_share: (!done.is_empty()).then(|| good as f64 / done.len() as f64),
        goodput_per_second: a_second(good as f64),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
