//! Fast, Balanced, Quality: what this machine's models are good for.

use serde::{Deserialize, Serialize};

use crate::{
    choose::{FIRST_PROMPT_TOKENS, Machine, READING_TOKENS_PER_SECOND, Speed, ram_speed},
    facts::{Facts, Runs},
    fit::{Need, Plan, fit, fits, max_context},
};

/// What a profile is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// The shortest wait.
    Fast,
    /// The best answers that come twice as fast as a person reads.
    Balanced,
    /// The best answers.
    Quality,
}

/// A model on this machine.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name in the library.
    pub name: String,
    /// What is known of it.
    pub facts: Facts,
    /// How fast it was, where it has been used.
    pub measured: Option<Speed>,
}

/// A model with the settings that suit a goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// What for.
    pub goal: Goal,
    /// The model's name.
    pub model: String,
    /// The type that holds most of its weights.
    pub quantization: String,
    /// Tokens of a conversation.
    pub context_tokens: u32,
    /// Where it is computed: `cpu`.
    pub placement: String,
    /// The memory that it needs.
    pub need: Need,
    /// How fast it writes.
    pub tokens_per_second: f64,
    /// Until the first token of the answer to a first message.
    pub first_token_ms: f64,
    /// Whether the speeds were measured here, or are estimates.
    pub measured: bool,
    /// The goal whose profile is the same, if one before this is.
    pub same_as: Option<Goal>,
}

/// Contexts beyond this only cost memory in most conversations.
const LONG_CONTEXT: u32 = 32_768;
const SHORT_CONTEXT: u32 = 4096;

/// The three profiles for `machine`; none when no candidate fits.
///
/// Better means more parameters, and of equally many the larger file: it lost less to quantization.
pub fn profiles(machine: &Machine, candidates: &[Candidate]) -> Vec<Profile> {
    let fitting: Vec<(&Candidate, Speed)> = candidates
        .iter()
        .filter(|candidate| matches!(candidate.facts.runs, Runs::TektraCpu | Runs::MistralRs))
        .filter_map(|candidate| {
            let need = fit(&candidate.facts, &plan(candidate, SHORT_CONTEXT));
            let expected = || Speed::expected(&candidate.facts, need.executor, ram_speed(machine).0);
            fits(&need, machine.ram_free_bytes).then(|| (candidate, candidate.measured.unwrap_or_else(expected)))
        })
        .collect();
    let decode = |speed: &Speed| speed.decode_tokens_per_second;
    let better = |candidate: &Candidate| (candidate.facts.parameters, candidate.facts.size_bytes);
    let fast = fitting.iter().max_by(|(_, a), (_, b)| decode(a).total_cmp(&decode(b)));
    let quality = fitting.iter().max_by_key(|(candidate, _)| better(candidate));
    let quick = fitting.iter().filter(|(_, speed)| decode(speed) >= 2.0 * READING_TOKENS_PER_SECOND);
    let balanced = quick.max_by_key(|(candidate, _)| better(candidate)).or(fast);
    let goals = [(Goal::Fast, fast), (Goal::Balanced, balanced), (Goal::Quality, quality)];
    let mut profiles: Vec<Profile> = Vec::new();
    for (goal, (candidate, speed)) in goals.into_iter().filter_map(|(goal, chosen)| Some((goal, chosen?))) {
        let longest = if goal == Goal::Fast { SHORT_CONTEXT } else { LONG_CONTEXT };
        let most = max_context(&candidate.facts, &plan(candidate, longest), machine.ram_free_bytes);
        let context_tokens = most.unwrap_or(SHORT_CONTEXT).min(longest);
        let mut profile = Profile {
            goal,
            model: candidate.name.clone(),
            quantization: candidate.facts.quantization.clone(),
            context_tokens,
            placement: "cpu".into(),
            need: fit(&candidate.facts, &plan(candidate, context_tokens)),
            tokens_per_second: decode(speed),
            first_token_ms: speed.first_token_ms(FIRST_PROMPT_TOKENS),
            measured: candidate.measured.is_some(),
            same_as: None,
        };
        let same = |other: &&Profile| (&other.model, other.context_tokens) == (&profile.model, context_tokens);
        profile.same_as = profiles.iter().find(same).map(|other| other.goal);
        profiles.push(profile);
    }
    profiles
}

fn plan(candidate: &Candidate, context_tokens: u32) -> Plan {
    Plan::cpu(context_tokens.min(candidate.facts.context_length.max(1)))
}
