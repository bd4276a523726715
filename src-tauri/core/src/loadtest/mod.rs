//! How the engine does when several people use it at once: requests come when they come, whether it keeps up or not.

mod run;
mod window;

use serde::{Deserialize, Serialize};
use specta::Type;

pub use run::load_test;
pub(crate) use window::Running;

use crate::{Error, ErrorReport, Result};

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct LoadRequest {
    /// People, each with a conversation of their own.
    pub users: u32,
    /// Requests a second of all of them together, at random times (a Poisson process).
    pub rate_per_second: f64,
    /// How long requests arrive.
    pub seconds: u32,
    /// How long it takes until they arrive at the full rate.
    pub ramp_seconds: u32,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
    /// A first token within this time is a good one, in milliseconds.
    pub target_first_token_ms: f64,
    /// How often each scenario comes; what is left out does not.
    pub mix: Vec<LoadWeight>,
}

/// How often a scenario comes, beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct LoadWeight {
    /// The scenario.
    pub scenario: LoadScenario,
    /// Its part of all requests is this over the sum of all weights.
    pub weight: u32,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum LoadScenario {
    /// A short message that begins a conversation.
    Chat,
    /// The next message of the same conversation.
    FollowUp,
    /// A message of about 800 tokens.
    LongPrompt,
    /// What a program asks: instructions and a question, and no conversation afterwards.
    Api,
}

impl LoadScenario {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Chat, Self::FollowUp, Self::LongPrompt, Self::Api];
}

/// Latencies of many requests in milliseconds; nothing where there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Type)]
pub struct Latencies {
    /// Requests.
    pub count: u32,
    /// Half are faster.
    pub p50_ms: Option<f64>,
    /// Nine of ten are faster.
    pub p90_ms: Option<f64>,
    /// 95 of 100 are faster.
    pub p95_ms: Option<f64>,
    /// 99 of 100 are faster.
    pub p99_ms: Option<f64>,
    /// The slowest.
    pub max_ms: Option<f64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct LoadReport {
    /// What was asked for.
    pub request: LoadRequest,
    /// The model's name.
    pub model: String,
    /// Whether it was stopped; the requests that this stopped count nowhere.
    pub cancelled: bool,
    /// Until the last answer was written, in seconds.
    pub seconds: f64,
    /// Requests that came to an end.
    pub requests: u32,
    /// Of those, answered.
    pub answered: u32,
    /// Of those, failed.
    pub failed: u32,
    /// Why, the commonest first.
    pub errors: Vec<LoadError>,
    /// From the moment a request should have begun to its first token.
    pub first_token: Latencies,
    /// From the moment a request should have begun to its end.
    pub total: Latencies,
    /// First tokens of the scenarios that were asked for.
    pub scenarios: Vec<ScenarioLatencies>,
    /// Tokens of all answers a second, until the last was written.
    pub tokens_per_second: f64,
    /// Share of the requests whose first token came in time, 0 to 1; none where none came to an end.
    pub good_share: Option<f64>,
    /// Requests a second whose first token came in time.
    pub goodput_per_second: f64,
}

/// A reason why requests failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Type)]
pub struct LoadError {
    /// In a sentence.
    pub text: String,
    /// How many.
    pub count: u32,
}

/// First tokens of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Type)]
pub struct ScenarioLatencies {
    /// The scenario.
    pub scenario: LoadScenario,
    /// From the moment a request should have begun.
    pub first_token: Latencies,
}

/// How far a load test is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Type)]
pub struct LoadProgress {
    /// The model is being loaded; nothing arrives yet.
    pub loading: bool,
    /// Since the first could arrive; past the request's, the last answers are awaited.
    pub seconds: f64,
    /// Requests that have arrived.
    pub arrived: u32,
    /// Of those, answered.
    pub answered: u32,
    /// Of those, failed.
    pub failed: u32,
}

/// The load test of this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LoadState {
    /// None was begun yet.
    #[default]
    None,
    /// One goes on.
    Running {
        /// What was asked for.
        request: LoadRequest,
        /// The model's name.
        model: String,
        /// How far it is.
        progress: LoadProgress,
    },
    /// The last one is over.
    Over {
        /// What came of it.
        report: Box<LoadReport>,
    },
    /// The last one could not be done.
    Failed {
        /// What was asked for.
        request: LoadRequest,
        /// Why not.
        error: ErrorReport,
    },
}

impl LoadRequest {
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
        if !(1..=3600).contains(&self.seconds) || self.ramp_seconds > self.seconds {
            return wrong("The duration must be 1 to 3600 seconds, and the ramp no longer than that.");
        }
        if self.max_tokens == 0 || !(self.target_first_token_ms > 0.0 && self.target_first_token_ms.is_finite()) {
            return wrong("Answers must have at least 1 token, and the target must be more than 0 ms.");
        }
        if self.mix.iter().all(|part| part.weight == 0) || self.mix.iter().any(|part| part.weight > 1000) {
            return wrong("At least one scenario must have a weight, and none more than 1000.");
        }
        Ok(())
    }
}
