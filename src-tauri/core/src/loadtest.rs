//! How the engine does when several people use it at once: requests come when they come, whether it keeps up or not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tektra_protocol::{Role, Turn};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{Ask, Engine, Error, Model, Piece, Result};

/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Instructions for a long prompt, repeated.
const LONG: &str = "The keeper wrote down the weather, the ships and the state of the lamp every evening. ";
const LONG_TIMES: usize = 40;

/// What to do.
#[derive(Clone, Debug)]
pub struct LoadTest {
    /// People, each with a conversation of their own.
    pub users: u32,
    /// Requests a second of all of them together, at random times (a Poisson process).
    pub rate_per_second: f64,
    /// How long requests arrive.
    pub duration: Duration,
    /// How long it takes until they arrive at the full rate.
    pub ramp: Duration,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
    /// A first token within this time is a good one, in milliseconds.
    pub first_token_target_ms: f64,
    /// The same seed, the same requests at the same times.
    pub seed: u64,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// A short message that begins a conversation.
    Chat,
    /// The next message of the same conversation.
    FollowUp,
    /// A message of about 800 tokens.
    LongPrompt,
}

/// Of ten requests so many are of each scenario.
const WEIGHTS: [(Scenario, u32); 3] = [(Scenario::Chat, 5), (Scenario::FollowUp, 3), (Scenario::LongPrompt, 2)];

/// Latencies of many requests, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latencies {
    /// Requests.
    pub count: u64,
    /// Half are faster.
    pub p50_ms: f64,
    /// Nine of ten are faster.
    pub p90_ms: f64,
    /// 95 of 100 are faster.
    pub p95_ms: f64,
    /// 99 of 100 are faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// Requests that arrived.
    pub requests: u64,
    /// Of those, answered.
    pub answered: u64,
    /// Of those, failed, with the first reason of each kind.
    pub errors: u64,
    /// Reasons.
    pub reasons: Vec<String>,
    /// From the moment a request should have begun to its first token.
    pub first_token: Latencies,
    /// From the moment a request should have begun to its end.
    pub total: Latencies,
    /// First tokens by scenario.
    pub scenarios: Vec<(Scenario, Latencies)>,
    /// Tokens of all answers a second, until the last was written.
    pub tokens_per_second: f64,
    /// Share of the requests whose first token came in time.
    pub good_share: f64,
    /// Requests a second whose first token came in time.
    pub goodput_per_second: f64,
    /// Until the last answer was written, in seconds.
    pub seconds: f64,
}

impl LoadTest {
    /// # Errors
    /// [`Error::InvalidInput`] for what cannot be done.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::InvalidInput { what: what.into() });
        if !(1..=256).contains(&self.users) {
            return wrong("There must be 1 to 256 users.");
        }
        if !(self.rate_per_second > 0.0 && self.rate_per_second <= 1000.0) {
            return wrong("The rate must be more than 0 and at most 1000 requests a second.");
        }
        if !(1..=3600).contains(&self.duration.as_secs()) || self.ramp > self.duration {
            return wrong("The duration must be 1 to 3600 seconds, and the ramp no longer than that.");
        }
        if self.max_tokens == 0 || self.first_token_target_ms <= 0.0 {
            return wrong("Answers must have at least 1 token, and the target must be more than 0 ms.");
        }
        Ok(())
    }

    /// When requests arrive, after the beginning, and what each is.
    fn arrivals(&self) -> Vec<(Duration, Scenario)> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (end, ramp) = (self.duration.as_secs_f64(), self.ramp.as_secs_f64());
        let all: u32 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
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
            let chosen = WEIGHTS.iter().find(|(_, weight)| {
                let here = drawn < *weight;
                drawn = drawn.wrapping_sub(*weight);
                here
            });
            arrivals.push((Duration::from_secs_f64(at), chosen.map_or(Scenario::Chat, |(scenario, _)| *scenario)));
        }
    }
}

/// One request that is over.
struct Done {
    scenario: Scenario,
    first_token: Option<Duration>,
    total: Duration,
    tokens: u32,
    error: Option<String>,
}

/// Loads `model` and lets requests arrive; `told` hears how many have arrived and how many are over, `stop` ends it.
///
/// # Errors
/// [`Error::InvalidInput`], or why the model cannot be loaded. Requests that fail are part of the report.
pub async fn load_test(
    engine: &Engine,
    model: &Model,
    test: &LoadTest,
    told: impl Fn(usize, usize),
    mut stop: watch::Receiver<bool>,
) -> Result<LoadReport> {
    test.check()?;
    engine.warm(model).await?;
    let conversations: Vec<_> = (0..test.users).map(|_| Arc::new(Mutex::new(Vec::<Turn>::new()))).collect();
    let (ended, mut over) = mpsc::unbounded_channel();
    let (begun, arrivals) = (Instant::now(), test.arrivals());
    let (mut arrived, mut done) = (0, Vec::new());
    let stopping = stop.clone();
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
            Some(request) = over.recv() => done.push(request),
            _ = stop.wait_for(|stop| *stop), if !*stopping.borrow() => {}
        }
        told(arrived, done.len());
    }
    Ok(report(&done, test, begun.elapsed()))
}

#[derive(Clone, Copy)]
struct Request {
    scenario: Scenario,
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
            Scenario::FollowUp => format!("And what came after that? ({number})"),
            Scenario::Chat => format!("Tell me about the sea. ({number})"),
            Scenario::LongPrompt => format!("{}What did he write? ({number})", LONG.repeat(LONG_TIMES)),
        };
        if self.scenario != Scenario::FollowUp {
            turns.clear();
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
        let error = answer.err().map(|error| error.to_string());
        if error.is_some() {
            turns.clear();
        }
        Done { scenario: self.scenario, first_token, total: self.intended.elapsed(), tokens, error }
    }
}

fn latencies(all: impl Iterator<Item = Duration>) -> Latencies {
    // Three significant figures; values past the end count as the end.
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3) else {
        return Latencies { count: 0, p50_ms: 0.0, p90_ms: 0.0, p95_ms: 0.0, p99_ms: 0.0, max_ms: 0.0 };
    };
    all.for_each(|time| histogram.saturating_record(time.as_micros() as u64));
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Latencies {
        count: histogram.len(),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: histogram.max() as f64 / 1e3,
    }
}

fn report(done: &[Done], test: &LoadTest, took: Duration) -> LoadReport {
    let answered = || done.iter().filter(|request| request.error.is_none());
    let first_tokens = |scenario: Option<Scenario>| {
        let wanted = answered().filter(move |request| scenario.is_none_or(|scenario| request.scenario == scenario));
        wanted.filter_map(|request| request.first_token)
    };
    let good = first_tokens(None).filter(|time| time.as_secs_f64() * 1e3 <= test.first_token_target_ms).count();
    let mut reasons: Vec<String> = done.iter().filter_map(|request| request.error.clone()).collect();
    reasons.sort();
    reasons.dedup();
    let seconds = took.as_secs_f64();
    LoadReport {
        requests: done.len() as u64,
        answered: answered().count() as u64,
        errors: (done.len() - answered().count()) as u64,
        reasons,
        first_token: latencies(first_tokens(None)),
        total: latencies(answered().map(|request| request.total)),
        scenarios: WEIGHTS.iter().map(|&(kind, _)| (kind, latencies(first_tokens(Some(kind))))).collect(),
        tokens_per_second: answered().map(|request| f64::from(request.tokens)).sum::<f64>() / seconds,
        good_share: good as f64 / done.len().max(1) as f64,
        goodput_per_second: good as f64 / seconds,
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(rate_per_second: f64, seconds: u64, ramp: u64) -> LoadTest {
        LoadTest {
            users: 4,
            rate_per_second,
            duration: Duration::from_secs(seconds),
            ramp: Duration::from_secs(ramp),
            max_tokens: 8,
            first_token_target_ms: 500.0,
            seed: 3,
        }
    }

    #[test]
    fn arrivals_come_at_the_rate_and_the_ramp_halves_its_part() {
        let full = test(10.0, 1000, 0).arrivals();
        // 10,000 expected, a standard deviation of 100.
        assert!((9_500..10_500).contains(&full.len()), "{}", full.len());
        assert!(full.is_sorted_by_key(|(at, _)| *at) && full.last().is_some_and(|(at, _)| at.as_secs() < 1000));
        let long = full.iter().filter(|(_, scenario)| *scenario == Scenario::LongPrompt).count();
        assert!((1_800..2_200).contains(&long), "a fifth: {long}");
        let ramped = test(10.0, 1000, 1000).arrivals().len();
        assert!((4_700..5_300).contains(&ramped), "half: {ramped}");
        assert_eq!(full, test(10.0, 1000, 0).arrivals(), "the same seed");
    }

    #[test]
    fn the_report_counts_what_is_late_as_late() {
        let ms = Duration::from_millis;
        let request = |first: u64, error: Option<&str>| Done {
            scenario: Scenario::Chat,
            first_token: error.is_none().then(|| ms(first)),
            total: ms(first + 100),
            tokens: 10,
            error: error.map(Into::into),
        };
        let mut done: Vec<Done> = (1..=98).map(|i| request(i * 10, None)).collect();
        done.extend([request(0, Some("broken")), request(0, Some("broken"))]);
        let told = report(&done, &test(1.0, 100, 0), Duration::from_secs(100));
        assert_eq!((told.requests, told.answered, told.errors), (100, 98, 2));
        assert_eq!(told.reasons, ["broken"]);
        assert!((told.first_token.p50_ms - 490.0).abs() < 1.0, "{:?}", told.first_token);
        assert!((told.first_token.max_ms - 980.0).abs() < 1.0);
        assert_eq!((told.good_share, told.goodput_per_second), (0.5, 0.5), "50 of 100 within 500 ms");
        assert!((told.tokens_per_second - 9.8).abs() < 1e-9);
    }

    #[test]
    fn absurd_tests_are_refused() {
        for wrong in [
            LoadTest { users: 0, ..test(1.0, 1, 0) },
            LoadTest { rate_per_second: f64::NAN, ..test(1.0, 1, 0) },
            LoadTest { max_tokens: 0, ..test(1.0, 1, 0) },
            test(0.0, 1, 0),
            test(1.0, 0, 0),
            test(1.0, 5, 6),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
