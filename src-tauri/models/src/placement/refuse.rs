//! What cannot be done, in plain words.

use super::{Devices, Dtype, Executor, Facts, Gpu, KvType, Problem, Runs, Where, Wish};

/// Architectures whose layers may lie on several devices: their forward pass brings the result back to the main device
/// before the last norm (`layer_in.to_device(&self.device)` in `ModelWeights::forward` of `models/quantized_llama.rs`,
/// which mistral3 uses too, and `xs.to_device(&self.device)` in that of `models/quantized_phi2.rs`, mistralrs-core 0.8.1).
/// `quantized_phi3.rs`, `quantized_starcoder2.rs`, `quantized_qwen.rs` and `quantized_qwen3.rs` apply the last norm where
/// the last layer left the result, and fail with tensors on two devices.
const DIVIDED: [&str; 3] = ["llama", "mistral3", "phi2"];

/// Least compute capabilities (`MIN_BF16_CC` and `MIN_F16_CC` in `utils/normal.rs` of mistralrs-core 0.8.1).
const BF16_CAPABILITY: (u32, u32) = (8, 0);
const F16_CAPABILITY: (u32, u32) = (5, 3);

fn problem(reason: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem { reason: reason.into(), hint: hint.into() }
}

/// The least that Tektra's own kernels need: `LEAST_CAPABILITY` in `gpu.rs` of tektra-cuda.
const TEKTRA_CAPABILITY: (u32, u32) = (8, 0);

/// Who computes this on GPUs. What is computed in is only chosen for mistral.rs.
pub(super) fn gpu_executor(facts: &Facts, wish: &Wish, devices: &Devices, gpus: &[&Gpu]) -> Executor {
    let new = |gpu: &&Gpu| gpu.compute_capability.is_none_or(|capability| capability >= TEKTRA_CAPABILITY);
    let tektra = devices.gpu_executors.tektra
        && facts.runs == Runs::TektraCpu
        && wish.dtype == Dtype::Auto
        && gpus.iter().all(new);
    if tektra { Executor::TektraGpu } else { Executor::MistralRsGpu }
}

/// Whether mistral.rs can divide it.
pub(super) fn can_divide(facts: &Facts) -> bool {
    DIVIDED.contains(&facts.architecture.as_str())
}

/// Whether the GPU computes in `dtype`, as far as is known.
pub(super) fn knows(gpu: &Gpu, dtype: Dtype) -> bool {
    let least = match dtype {
        Dtype::Bf16 => BF16_CAPABILITY,
        Dtype::F16 => F16_CAPABILITY,
        Dtype::Auto | Dtype::F32 => return true,
    };
    gpu.compute_capability.is_none_or(|capability| capability >= least)
}

/// Whatever the device.
pub(super) fn anywhere(facts: &Facts, wish: &Wish) -> Vec<Problem> {
    let mut refused: Vec<Problem> = facts.problem().cloned().into_iter().collect();
    if facts.runs == Runs::Convert {
        refused.push(problem("it is not a GGUF file yet.", "Quantize it first; that makes one of it."));
    }
    match wish.context_tokens {
        Some(0) => refused.push(problem("it cannot converse in 0 tokens.", "Choose a longer context.")),
        Some(tokens) if facts.context_length > 0 && tokens > facts.context_length => refused.push(problem(
            format!("it was trained for a context of {} tokens, not of {tokens}.", facts.context_length),
            format!("Choose at most {} tokens.", facts.context_length),
        )),
        _ => {}
    }
    if !wish.shares.is_empty() && !matches!(wish.place, Where::Gpus(_)) {
        refused.push(problem(
            "shares are given, but no GPUs that they belong to.",
            "Name the GPUs, or leave the shares out.",
        ));
    }
    refused
}

/// On the CPU alone.
pub(super) fn on_cpu(wish: &Wish, executor: Executor, gpu_layers: Option<u32>) -> Vec<Problem> {
    let mut refused = Vec::new();
    if let Some(layers) = gpu_layers.filter(|&layers| layers > 0) {
        refused.push(problem(
            format!("{layers} of its layers are to lie on a GPU, but only the CPU is chosen."),
            "Choose a GPU, or no layers on GPUs.",
        ));
    }
    if executor == Executor::TektraCpu && wish.dtype != Dtype::Auto {
        refused.push(problem(
            format!("Tektra's own executor computes it on the CPU, in 8-bit integers and f32, not in {}.", wish.dtype),
            "Choose \"auto\".",
        ));
    }
    if executor == Executor::MistralRsCpu && wish.kv == KvType::Q8 {
        refused.push(no_q8());
    }
    refused
}

/// On these GPUs.
pub(super) fn on_gpus(facts: &Facts, wish: &Wish, devices: &Devices, gpus: &[&Gpu]) -> Vec<Problem> {
    let mut refused = Vec::new();
    if gpu_executor(facts, wish, devices, gpus) == Executor::TektraGpu {
        return refused;
    }
    if !devices.gpu_executors.mistral_rs {
        refused.push(if facts.runs != Runs::TektraCpu {
            problem(
                "mistral.rs computes it, which this engine has only for the CPU.",
                "Choose the CPU, or build the engine with `make engine-cuda MODELS=all`.",
            )
        } else if wish.dtype != Dtype::Auto {
            problem(
                format!("Tektra's own executor computes it, in 8-bit integers and f32, not in {}.", wish.dtype),
                "Choose \"auto\".",
            )
        } else {
            problem("the GPU is older than Tektra's kernels, which need compute capability 8.0.", "Choose the CPU.")
        });
        return refused;
    }
    if facts.files.len() > 1 && facts.runs == Runs::TektraCpu {
        refused.push(problem(
            format!(
                "it is split into {} files, and mistral.rs, which computes on GPUs, is given one.",
                facts.files.len()
            ),
            "Choose the CPU, or a model in a single file.",
        ));
    }
    match (wish.kv, wish.dtype) {
        (KvType::Q8, _) => refused.push(no_q8()),
        (KvType::F32, Dtype::Auto | Dtype::Bf16 | Dtype::F16) => refused.push(problem(
            "mistral.rs stores keys and values in the type that it computes in, which is not f32.",
            "Choose \"f32\" to compute in too, or \"f16\" for keys and values.",
        )),
        _ => {}
    }
    for gpu in gpus.iter().filter(|gpu| !knows(gpu, wish.dtype)) {
        let (major, minor) = gpu.compute_capability.unwrap_or_default();
        let (least, instead) = match wish.dtype {
            Dtype::Bf16 => (BF16_CAPABILITY, "Choose \"auto\" or \"f16\"."),
            _ => (F16_CAPABILITY, "Choose \"auto\" or \"f32\"."),
        };
        refused.push(problem(
            format!(
                "GPU {} ({}) has compute capability {major}.{minor}, and {} needs {}.{}.",
                gpu.index, gpu.name, wish.dtype, least.0, least.1
            ),
            instead,
        ));
    }
    refused
}

/// GPUs by number, with their shares.
pub(super) fn gpus(wish: &Wish, devices: &Devices, indices: &[u32]) -> Vec<Problem> {
    let mut refused: Vec<Problem> = devices.no_gpu_because.iter().cloned().collect();
    if indices.is_empty() {
        refused.push(problem("no GPU is chosen.", "Choose one, or the CPU."));
    }
    let there: Vec<String> = devices.gpus.iter().map(|gpu| gpu.index.to_string()).collect();
    for (number, index) in indices.iter().enumerate() {
        if indices[..number].contains(index) {
            refused.push(problem(format!("GPU {index} is chosen twice."), "Choose it once."));
        } else if !devices.gpus.iter().any(|gpu| gpu.index == *index) {
            let hint = match there.as_slice() {
                [] => "There is no GPU: choose the CPU.".into(),
                [one] => format!("Choose GPU {one}, the only one."),
                all => format!("Choose among the GPUs {}.", all.join(", ")),
            };
            refused.push(problem(format!("there is no GPU {index}."), hint));
        }
    }
    let (shares, count) = (&wish.shares, indices.len());
    if !shares.is_empty() && shares.len() != count {
        refused.push(problem(
            format!("the number of shares ({}) is not that of GPUs ({count}).", shares.len()),
            "Give one share for each GPU, or none.",
        ));
    }
    if let Some(share) = shares.iter().find(|share| !(share.is_finite() && **share > 0.0)) {
        refused.push(problem(format!("{share} is no share."), "Give positive numbers, such as 3 and 1."));
    }
    refused
}

/// So many layers on so many GPUs.
pub(super) fn layers(facts: &Facts, gpu_layers: Option<u32>, gpus: usize, can_divide: bool) -> Vec<Problem> {
    let all = facts.shape.layers;
    let mut refused = Vec::new();
    if let Some(layers) = gpu_layers.filter(|&layers| layers > all) {
        refused.push(problem(format!("it has {all} layers, not {layers}."), format!("Choose at most {all}.")));
    }
    let divided = gpus > 1 || gpu_layers.is_some_and(|layers| layers < all);
    if divided && !can_divide {
        refused.push(problem(
            format!(
                "mistral.rs 0.8.1 cannot divide the architecture \"{}\" between devices: its last step fails there.",
                facts.architecture
            ),
            format!("Put all {all} layers on one GPU, or choose the CPU."),
        ));
    }
    refused
}

pub(super) fn no_layers(gpus: usize) -> Problem {
    let chosen = if gpus == 1 { "a GPU is" } else { "GPUs are" };
    problem(
        format!("{chosen} chosen, but none of its layers is to lie there."),
        "Choose the CPU, or at least one layer.",
    )
}

fn no_q8() -> Problem {
    problem(
        "only Tektra's own executor on the CPU stores keys and values as q8, and mistral.rs computes here.",
        "Choose \"f16\".",
    )
}
