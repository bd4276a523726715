//! Fast, Balanced, Quality: what this machine's models are good for.

use serde::{Deserialize, Serialize};

use crate::{
    choose::{FIRST_PROMPT_TOKENS, Machine, READING_TOKENS_PER_SECOND, Speed, ram_speed, vram_speed},
    facts::{Executor, Facts, Runs},
    fit::{Need, trained_context},
    placement::{Devices, Placement, Wish, place},
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
    /// Where it is computed, as [`Placement::words`] says it: `GPU 0 + CPU (20 of 28 layers)`.
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

/// The three profiles for `machine`, whose memory is that of `devices`, placed as [`place`] does when it may choose; none
/// when no candidate fits.
///
/// Better means more parameters, and of equally many the larger file: it lost less to quantization.
pub fn profiles(machine: &Machine, devices: &Devices, candidates: &[Candidate]) -> Vec<Profile> {
    let fitting: Vec<(&Candidate, Placement, Speed)> = candidates
        .iter()
        .filter(|candidate| matches!(candidate.facts.runs, Runs::TektraCpu | Runs::MistralRs))
        .filter_map(|candidate| {
            let placement = placed(candidate, SHORT_CONTEXT, devices)?;
            let speed = candidate.measured.unwrap_or_else(|| expected(&candidate.facts, &placement, machine));
            Some((candidate, placement, speed))
        })
        .collect();
    let decode = |speed: &Speed| speed.decode_tokens_per_second;
    let better = |candidate: &Candidate| (candidate.facts.parameters, candidate.facts.size_bytes);
    let fast = fitting.iter().max_by(|(.., a), (.., b)| decode(a).total_cmp(&decode(b)));
    let quality = fitting.iter().max_by_key(|(candidate, ..)| better(candidate));
    let quick = fitting.iter().filter(|(.., speed)| decode(speed) >= 2.0 * READING_TOKENS_PER_SECOND);
    let balanced = quick.max_by_key(|(candidate, ..)| better(candidate)).or(fast);
    let goals = [(Goal::Fast, fast), (Goal::Balanced, balanced), (Goal::Quality, quality)];
    let mut profiles: Vec<Profile> = Vec::new();
    for (goal, (candidate, short, speed)) in goals.into_iter().filter_map(|(goal, chosen)| Some((goal, chosen?))) {
        let longest = if goal == Goal::Fast { SHORT_CONTEXT } else { LONG_CONTEXT };
        // As long as it goes without moving layers.
        let most = short.max_context.unwrap_or(SHORT_CONTEXT).min(longest);
        let placement = placed(candidate, most, devices).unwrap_or_else(|| short.clone());
        let mut profile = Profile {
            goal,
            model: candidate.name.clone(),
            quantization: candidate.facts.quantization.clone(),
            context_tokens: placement.context_tokens,
            placement: placement.words(),
            need: placement.need,
            tokens_per_second: decode(speed),
            first_token_ms: speed.first_token_ms(FIRST_PROMPT_TOKENS),
            measured: candidate.measured.is_some(),
            same_as: None,
        };
        let same = |other: &&Profile| (&other.model, other.context_tokens) == (&profile.model, profile.context_tokens);
        profile.same_as = profiles.iter().find(same).map(|other| other.goal);
        profiles.push(profile);
    }
    profiles
}

/// Where the model would lie with this context or its limit; `None` when it cannot be loaded.
fn placed(candidate: &Candidate, context_tokens: u32, devices: &Devices) -> Option<Placement> {
    let context_tokens = Some(context_tokens.min(trained_context(&candidate.facts)));
    let placement = place(&candidate.facts, &Wish { context_tokens, ..Wish::default() }, devices);
    placement.is_possible().then_some(placement)
}

/// How fast the model can be expected to be: a token passes the layers on one device after those on the other.
fn expected(facts: &Facts, placement: &Placement, machine: &Machine) -> Speed {
    let (on_gpu, on_cpu) = match placement.executor {
        Executor::TektraGpu => (Executor::TektraGpu, Executor::TektraCpu),
        Executor::MistralRsGpu => (Executor::MistralRsGpu, Executor::MistralRsCpu),
        executor => return Speed::expected(facts, executor, ram_speed(machine).0),
    };
    let on_gpu = Speed::expected(facts, on_gpu, vram_speed(machine).0);
    let on_cpu = Speed::expected(facts, on_cpu, ram_speed(machine).0);
    let (on_gpus, all) = placement.layers();
    let share = f64::from(on_gpus) / f64::from(all.max(1));
    let both = |gpu: f64, cpu: f64| 1.0 / (share / gpu + (1.0 - share) / cpu);
    Speed {
        prefill_tokens_per_second: both(on_gpu.prefill_tokens_per_second, on_cpu.prefill_tokens_per_second),
        decode_tokens_per_second: both(on_gpu.decode_tokens_per_second, on_cpu.decode_tokens_per_second),
    }
}
