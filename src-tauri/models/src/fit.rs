//! The memory that a model needs, before anything is loaded.
//!
//! For the CPU executor the parts are counted from what it does (`tektra-cpu`: `weights.rs`, `forward.rs`, `kv.rs`) and
//! agree with measured processes within 5 %; for mistral.rs they are estimates, on a CPU from measured processes too.

mod mistral_rs;
pub(crate) mod tektra_gpu;

pub use tektra_gpu::MOST_ON_GPU;

use serde::{Deserialize, Serialize};

pub(crate) use self::mistral_rs::{Held, cpu_layers_kv_bytes, gpu_kv_bytes, on_cpu, on_gpu};
use crate::{
    facts::{Executor, Facts, Part, Runs},
    ggml,
    precision::KvType,
};

/// KV caches of finished conversations that the CPU executor keeps for their next turn: its default.
pub const KEPT_KV_BYTES: u64 = 512 << 20;

const MIB: u64 = 1 << 20;

/// Positions of one page of the CPU executor's KV cache: `tektra_kernels::PAGE`.
const PAGE_TOKENS: u64 = 32;

/// Prompt tokens that the CPU executor computes in one step, and how many while other answers are being written.
const STEP_TOKENS: u64 = 128;
const STEP_TOKENS_BESIDE_OTHERS: u64 = 32;

/// What an element of activations takes: itself, its 8-bit code, and the scales and sums of its group.
const ACTIVATION_BYTES: f64 = 4.0 + 1.0 + 4.0 / 32.0 + 4.0 / 32.0 + 2.0 / 16.0;

/// The engine's process without a model, its executable's pages included: measured 14 to 17 MiB.
const PROCESS_BYTES: u64 = 16 * MIB;

/// What the tokenizer keeps of a token and of a merge: measured 210 to 370 bytes for both.
const TOKEN_BYTES: u64 = 130;
const MERGE_BYTES: u64 = 210;

/// Threads whose scores of attention are counted: four queries each over the whole context.
const THREADS: u64 = 8;

/// Where a model is to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The processor, in RAM.
    Cpu,
    /// A GPU that holds the whole model, in its memory.
    Gpu,
}

/// How a model is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Tokens of a conversation, prompt and answer together.
    pub context_tokens: u32,
    /// Where.
    pub device: Device,
    /// Conversations at the same time, each of `context_tokens`.
    pub parallel: u32,
    /// KV caches of finished conversations kept for their next turn; 0 for what a single conversation takes.
    pub kept_kv_bytes: u64,
    /// Memory to leave to the rest of the machine.
    pub reserve_bytes: u64,
    /// How keys and values are stored. mistral.rs has its own way on a CPU, F32, and no [`KvType::Q8`] anywhere.
    #[serde(default)]
    pub kv: KvType,
}

impl Plan {
    /// One conversation on the CPU, with what the executor keeps of others, and half a GiB left to the machine.
    pub fn cpu(context_tokens: u32) -> Self {
        Self {
            context_tokens,
            device: Device::Cpu,
            parallel: 1,
            kept_kv_bytes: KEPT_KV_BYTES,
            reserve_bytes: 512 * MIB,
            kv: KvType::F16,
        }
    }

    /// One conversation on a GPU, with half a GiB left to the display.
    pub fn gpu(context_tokens: u32) -> Self {
        Self { device: Device::Gpu, kept_kv_bytes: 0, ..Self::cpu(context_tokens) }
    }
}

/// How sure a need is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Counted from what the executor does.
    Counted,
    /// An estimate.
    Estimated,
}

/// The memory that a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The weights, in the executor's form.
    pub weights_bytes: u64,
    /// Keys and values.
    pub kv_bytes: u64,
    /// Buffers, tokenizer, the process itself.
    pub compute_bytes: u64,
    /// What is to be left to the rest of the machine.
    pub reserve_bytes: u64,
    /// All of them.
    pub total_bytes: u64,
    /// The most that the process shows at once, pages of the file included that the system may take back at any time:
    /// while the CPU executor loads, a layer of the file lies beside the copy. The sum of the others is what has to be
    /// free.
    pub peak_resident_bytes: u64,
    /// Who computes.
    pub executor: Executor,
    /// How sure this is.
    pub basis: Basis,
}

impl Need {
    /// What the process holds when its conversations are as long as planned.
    pub fn held_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.reserve_bytes)
    }
}

/// The memory that the model needs for `plan`. A model that has to be converted is counted as its unconverted weights.
pub fn fit(facts: &Facts, plan: &Plan) -> Need {
    let executor = match (plan.device, &facts.runs) {
        (Device::Gpu, Runs::TektraCpu) => Executor::TektraGpu,
        (Device::Gpu, _) => Executor::MistralRsGpu,
        (Device::Cpu, Runs::MistralRs) => Executor::MistralRsCpu,
        (Device::Cpu, _) => Executor::TektraCpu,
    };
    let Parts { weights, kv, compute, while_loading } = match executor {
        Executor::TektraCpu => cpu_executor(facts, plan),
        Executor::MistralRsCpu => mistral_rs_cpu(facts, plan),
        Executor::TektraGpu => tektra_gpu(facts, plan),
        Executor::MistralRsGpu => mistral_rs_gpu(facts, plan),
    };
    let counted = executor == Executor::TektraCpu && facts.runs == Runs::TektraCpu;
    let held = weights.saturating_add(kv).saturating_add(compute);
    Need {
        weights_bytes: weights,
        kv_bytes: kv,
        compute_bytes: compute,
        reserve_bytes: plan.reserve_bytes,
        total_bytes: held.saturating_add(plan.reserve_bytes),
        peak_resident_bytes: held.max(while_loading),
        executor,
        basis: if counted { Basis::Counted } else { Basis::Estimated },
    }
}

/// Whether `need` fits into `free_bytes`.
pub fn fits(need: &Need, free_bytes: u64) -> bool {
    need.total_bytes <= free_bytes
}

/// The longest context in tokens for which `plan` fits into `free_bytes`: a multiple of 32, at most what the model was
/// trained for; `None` when not even the shortest fits. [`Plan::context_tokens`] does not matter.
pub fn max_context(facts: &Facts, plan: &Plan, free_bytes: u64) -> Option<u32> {
    longest_context(facts, |context_tokens| fits(&fit(facts, &Plan { context_tokens, ..*plan }), free_bytes))
}

/// The longest context in tokens that `fits`, as [`max_context`] counts them.
pub(crate) fn longest_context(facts: &Facts, fits: impl Fn(u32) -> bool) -> Option<u32> {
    let page = PAGE_TOKENS as u32;
    let trained = trained_context(facts);
    let (mut most, mut fewest) = ((trained / page).max(1), 1);
    if !fits(page) {
        return None;
    }
    while fewest < most {
        let middle = fewest + (most - fewest).div_ceil(2);
        if fits(middle.saturating_mul(page)) {
            fewest = middle;
        } else {
            most = middle - 1;
        }
    }
    Some((fewest * page).min(trained))
}

/// The context in tokens that the model was trained for; a usual one where it does not say.
pub(crate) fn trained_context(facts: &Facts) -> u32 {
    if facts.context_length > 0 { facts.context_length } else { 4096 }
}

/// Bytes, and the most that is resident while the model loads.
struct Parts {
    weights: u64,
    kv: u64,
    compute: u64,
    while_loading: u64,
}

/// Every matrix is copied into packed form, as large as in the file, whose pages are given back layer by layer. Of the
/// embeddings only the rows that tokens need are read, even where a packed copy serves as output.
fn cpu_executor(facts: &Facts, plan: &Plan) -> Parts {
    let shape = Sizes::of(facts);
    let embeddings = facts.part_bytes(Part::Embeddings);
    let matrices = [Part::Attention, Part::FeedForward, Part::Output, Part::Other].map(|part| facts.part_bytes(part));
    let tied = if facts.embeddings_are_output() { embeddings } else { 0 };
    let packed = matrices.iter().fold(tied, |sum, bytes| sum.saturating_add(*bytes));
    let norms = group_parameters(facts, Part::Norms).saturating_mul(4);
    let weights = packed.saturating_add(norms);

    let page = shape.kv_token_bytes(plan.kv).saturating_mul(PAGE_TOKENS).saturating_add(4096);
    let pages = u64::from(plan.context_tokens).div_ceil(PAGE_TOKENS) * u64::from(plan.parallel);
    // What is kept and what is in use share one budget, which only those in use may pass.
    let kv = page.saturating_mul(pages).max(plan.kept_kv_bytes);

    let queries = shape.heads.saturating_mul(shape.key_length);
    let keys = shape.kv_heads.saturating_mul(shape.key_length);
    let floats = [shape.embedding * 2, queries, keys, keys, shape.feed_forward * 2, shape.key_length];
    let activations = [shape.embedding, queries, shape.feed_forward];
    let sum = |of: &[u64]| of.iter().fold(0_u64, |sum, count| sum.saturating_add(*count)) as f64;
    let token_bytes = 4.0 * sum(&floats) + ACTIVATION_BYTES * sum(&activations);
    let step = STEP_TOKENS.max(STEP_TOKENS_BESIDE_OTHERS + u64::from(plan.parallel));
    let logits = (shape.vocabulary * 4).saturating_mul(plan.parallel.into());
    let scores = 4 * 4 * u64::from(plan.context_tokens) * THREADS;
    let tokenizer = shape.vocabulary * TOKEN_BYTES + u64::from(facts.shape.merges) * MERGE_BYTES;
    let base = tokenizer + PROCESS_BYTES;
    // The file's pages are given back after each layer.
    let layer = matrices[0].saturating_add(matrices[1]) / u64::from(facts.shape.layers.max(1));
    let buffers = ((token_bytes * step as f64) as u64).saturating_add(logits).saturating_add(scores);
    Parts {
        weights,
        kv,
        compute: buffers.saturating_add(base),
        while_loading: packed.saturating_add(layer).saturating_add(norms).saturating_add(base),
    }
}

fn mistral_rs_cpu(facts: &Facts, plan: &Plan) -> Parts {
    let Held { layers, ends, compute } = on_cpu(facts);
    let kv = cpu_layers_kv_bytes(facts, plan.context_tokens, KvType::F32).saturating_mul(plan.parallel.into());
    Parts { weights: layers.saturating_add(ends), kv, compute, while_loading: 0 }
}

fn mistral_rs_gpu(facts: &Facts, plan: &Plan) -> Parts {
    let Held { layers, ends, compute } = on_gpu(facts);
    let kv = gpu_kv_bytes(facts, plan.context_tokens, plan.kv).saturating_mul(plan.parallel.into());
    Parts { weights: layers.saturating_add(ends), kv, compute, while_loading: 0 }
}

fn tektra_gpu(facts: &Facts, plan: &Plan) -> Parts {
    let Held { layers, ends, compute } = tektra_gpu::on_gpu(facts, plan.context_tokens);
    let kv = tektra_gpu::kv_bytes(facts, plan.context_tokens, plan.kv).saturating_mul(plan.parallel.into());
    Parts { weights: layers.saturating_add(ends), kv, compute, while_loading: 0 }
}

fn tensor_bytes(facts: &Facts) -> u64 {
    facts.groups.iter().map(|group| facts.part_bytes(group.part)).fold(0, u64::saturating_add)
}

fn group_parameters(facts: &Facts, part: Part) -> u64 {
    facts.groups.iter().find(|group| group.part == part).map_or(0, |group| group.parameters)
}

/// The shape in 64 bits, for products of damaged numbers.
struct Sizes {
    layers: u64,
    embedding: u64,
    feed_forward: u64,
    heads: u64,
    kv_heads: u64,
    key_length: u64,
    value_length: u64,
    vocabulary: u64,
}

impl Sizes {
    fn of(facts: &Facts) -> Self {
        let shape = &facts.shape;
        Self {
            layers: shape.layers.into(),
            embedding: shape.embedding_length.into(),
            feed_forward: shape.feed_forward_length.into(),
            heads: shape.heads.into(),
            kv_heads: shape.kv_heads.into(),
            key_length: shape.key_length.into(),
            value_length: shape.value_length.into(),
            vocabulary: shape.vocabulary.into(),
        }
    }

    /// Keys and values of one position in all layers.
    fn kv_elements(&self) -> u64 {
        let of_head = self.key_length + self.value_length;
        self.layers.saturating_mul(self.kv_heads).saturating_mul(of_head)
    }

    /// Bytes of keys and values of one position in all layers.
    fn kv_token_bytes(&self, kv: KvType) -> u64 {
        match kv {
            KvType::F16 => self.kv_elements().saturating_mul(2),
            KvType::F32 => self.kv_elements().saturating_mul(4),
            // Each head's key has a scale, and each head's value.
            KvType::Q8 => {
                self.kv_elements().saturating_add(self.layers.saturating_mul(self.kv_heads).saturating_mul(2 * 4))
            }
        }
    }

    fn embeddings_as_f32(&self) -> u64 {
        self.vocabulary.saturating_mul(self.embedding).saturating_mul(4)
    }
}

/// Bytes that are read from memory for one generated token at a short context: every matrix once.
pub(crate) fn read_bytes_per_token(facts: &Facts) -> u64 {
    let embeddings = if facts.embeddings_are_output() { 0 } else { facts.part_bytes(Part::Embeddings) };
    tensor_bytes(facts).saturating_sub(embeddings).max(1)
}

/// Bytes of `numbers` numbers in the type called `name`; as F16 when the type is not known.
pub(crate) fn bytes_in(name: &str, numbers: u64) -> u64 {
    (numbers as f64 * ggml::bits_of(name).unwrap_or(16.0) / 8.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_page_of_the_executor() {
        assert_eq!(PAGE_TOKENS as usize, tektra_kernels::PAGE);
    }
}
