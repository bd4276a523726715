//! The one model of the catalogue that suits a machine best.

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Catalogue, Entry, Purpose},
    facts::{Executor, Facts},
    fit::{Device, Need, Plan, fit, fits, read_bytes_per_token},
};

/// What is known of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// RAM that programs may take now.
    pub ram_free_bytes: u64,
    /// All RAM.
    pub ram_total_bytes: u64,
    /// How fast all cores together read RAM, in 10^9 bytes a second, where it was measured.
    pub read_gb_per_second: Option<f64>,
    /// Free memory of the largest GPU that can be used; `None` without one.
    pub vram_free_bytes: Option<u64>,
    /// How fast that GPU reads its memory, in 10^9 bytes a second, where it is known.
    pub vram_gb_per_second: Option<f64>,
}

/// A model for a machine. The speeds are estimates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The model.
    pub entry: Entry,
    /// Where it would be computed.
    pub device: Device,
    /// The memory that it needs there, for a conversation of 8192 tokens or its longest.
    pub need: Need,
    /// Whether that is free, with a reserve for everything else.
    pub fits_with_room: bool,
    /// How fast it writes: the memory's speed over what a token reads.
    pub expected_tokens_per_second: f64,
    /// Until the first token of the answer to a first message.
    pub expected_first_token_ms: f64,
    /// Why this one, in a sentence or two.
    pub why: String,
}

/// The context that a choice is made for.
const CONTEXT_TOKENS: u32 = 8192;

/// As fast as a person reads: about 6 words a second.
pub(crate) const READING_TOKENS_PER_SECOND: f64 = 8.0;

/// Tokens of a first message with its system prompt.
pub(crate) const FIRST_PROMPT_TOKENS: f64 = 128.0;

/// The slowest memory that machines still have, for those where it was not measured.
const ASSUMED_RAM_GB_PER_SECOND: f64 = 10.0;
const ASSUMED_VRAM_GB_PER_SECOND: f64 = 200.0;

/// Which part of the memory's speed decoding reaches, and how many times faster a prompt is read than an answer is
/// written. Measured (BENCHMARKS.md, two threads): the CPU executor 0.54 to 0.75 and 3.9 to 4.9 on large files, mistral.rs
/// on a CPU 0.05 and 1.2. On GPUs assumed, for cards that a desk has: an H200, with four times their bandwidth, reached 0.26
/// and 21 with Tektra's executor, 0.11 and 47 with mistral.rs.
const fn efficiency(executor: Executor) -> (f64, f64) {
    match executor {
        Executor::TektraCpu => (0.6, 4.0),
        Executor::MistralRsCpu => (0.05, 1.2),
        Executor::TektraGpu => (0.5, 20.0),
        Executor::MistralRsGpu => (0.3, 20.0),
    }
}

/// How fast a model is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Prompt tokens a second.
    pub prefill_tokens_per_second: f64,
    /// Tokens of an answer a second.
    pub decode_tokens_per_second: f64,
}

impl Speed {
    /// What can be expected where nothing was measured: the memory's speed over what a token reads.
    pub(crate) fn expected(facts: &Facts, executor: Executor, gb_per_second: f64) -> Self {
        let (share, prefill) = efficiency(executor);
        let decode = gb_per_second * 1e9 * share / read_bytes_per_token(facts) as f64;
        Self { prefill_tokens_per_second: decode * prefill, decode_tokens_per_second: decode }
    }

    /// Time to the first token after a prompt of `tokens`, in milliseconds.
    pub(crate) fn first_token_ms(self, tokens: f64) -> f64 {
        tokens / self.prefill_tokens_per_second * 1e3
    }
}

/// The largest chat model that fits with room and is expected to write faster than a person reads; where there is none,
/// the fastest that fits, and where none fits, the smallest. `None` only when the catalogue has no chat model.
pub fn best_for(machine: &Machine, catalogue: &Catalogue) -> Option<Choice> {
    let chat = catalogue.entries.iter().filter(|entry| entry.purpose == Purpose::Chat);
    let choices: Vec<Choice> = chat.flat_map(|entry| on_devices(entry, machine)).collect();
    let by = |a: f64, b: f64| a.total_cmp(&b);
    // Of equal ones the later: a GPU comes after the CPU.
    let good = choices
        .iter()
        .filter(|choice| choice.fits_with_room && choice.expected_tokens_per_second >= READING_TOKENS_PER_SECOND)
        .max_by_key(|choice| choice.entry.parameters);
    let fast = || {
        let fitting = choices.iter().filter(|choice| choice.fits_with_room);
        fitting.max_by(|a, b| by(a.expected_tokens_per_second, b.expected_tokens_per_second))
    };
    let small = || choices.iter().min_by_key(|choice| choice.need.held_bytes());
    let (chosen, reason) = match good.or_else(fast) {
        Some(chosen) if good.is_some() => (chosen, "The largest that fits with room and writes faster than you read"),
        Some(chosen) => (chosen, "The fastest that fits; none that fits writes as fast as you read"),
        None => (small()?, "The smallest there is; none fits with room"),
    };
    let mut chosen = chosen.clone();
    chosen.why = why(&chosen, machine, reason);
    Some(chosen)
}

fn on_devices(entry: &Entry, machine: &Machine) -> Vec<Choice> {
    let facts = entry.facts();
    let context = CONTEXT_TOKENS.min(entry.context_length);
    // The window, the browser, everything else that is open.
    let reserve_bytes = (machine.ram_total_bytes / 8).max(1 << 30);
    let on_cpu = (Plan { reserve_bytes, ..Plan::cpu(context) }, machine.ram_free_bytes, ram_speed(machine).0);
    let on_gpu = machine.vram_free_bytes.map(|free| (Plan::gpu(context), free, vram_speed(machine).0));
    let devices = [Some(on_cpu), on_gpu].into_iter().flatten();
    let choice = |(plan, free_bytes, gb_per_second): (Plan, u64, f64)| {
        let need = fit(&facts, &plan);
        let speed = Speed::expected(&facts, need.executor, gb_per_second);
        Choice {
            entry: entry.clone(),
            device: plan.device,
            need,
            fits_with_room: fits(&need, free_bytes),
            expected_tokens_per_second: speed.decode_tokens_per_second,
            expected_first_token_ms: speed.first_token_ms(FIRST_PROMPT_TOKENS),
            why: String::new(),
        }
    };
    devices.map(choice).collect()
}

/// The speed, and whether it is known.
fn known(speed: Option<f64>, assumed: f64) -> (f64, bool) {
    let measured = speed.filter(|speed| speed.is_finite() && *speed > 0.0);
    (measured.unwrap_or(assumed), measured.is_some())
}

pub(crate) fn ram_speed(machine: &Machine) -> (f64, bool) {
    known(machine.read_gb_per_second, ASSUMED_RAM_GB_PER_SECOND)
}

pub(crate) fn vram_speed(machine: &Machine) -> (f64, bool) {
    known(machine.vram_gb_per_second, ASSUMED_VRAM_GB_PER_SECOND)
}

fn why(choice: &Choice, machine: &Machine, reason: &str) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let (free, kind, measured) = match choice.device {
        Device::Cpu => (machine.ram_free_bytes, "memory", ram_speed(machine).1),
        Device::Gpu => (machine.vram_free_bytes.unwrap_or_default(), "GPU memory", vram_speed(machine).1),
    };
    let basis = if measured { "from the memory's measured speed" } else { "the memory's speed is not known yet" };
    format!(
        "{reason}: {:.1} GiB of {:.1} GiB free {kind}, about {:.0} tokens a second (an estimate, {basis}).",
        gib(choice.need.held_bytes()),
        gib(free),
        choice.expected_tokens_per_second,
    )
}
