//! Which parts of a model lie on which device, and what cannot be done, before anything is loaded.
//!
//! Tektra's own executor and mistral.rs divide a model alike: the layers lie in a row over the GPUs in the order that they are given, those
//! left over on the CPU at the end (`gpus.rs` of tektra-cpu; `DeviceMapSetting::into_mapper` in `device_map.rs` of
//! mistralrs-core 0.8.1). The first of them holds the output, and with mistral.rs the embeddings, and GPUs are counted as
//! the process sees them: it sees those of a placement, in its order, through `CUDA_VISIBLE_DEVICES`.

mod layers;
mod on_gpus;
mod refuse;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::on_gpus::OnGpus;
use crate::{
    facts::{Executor, Facts, Problem, Runs},
    fit::{Basis, Need, Plan, fit, fits, max_context, trained_context},
    precision::{Dtype, KvType},
};

/// The context in tokens when none is wished, or the model's if that is shorter.
const USUAL_CONTEXT: u32 = 8192;

/// Memory left to the desktop on a GPU that draws it, and to the driver on another.
const DISPLAY_RESERVE_BYTES: u64 = 512 << 20;
const GPU_RESERVE_BYTES: u64 = 128 << 20;

/// Where a model is to lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// On GPUs as far as they can be used, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On these GPUs by index, the layers in this order; the first holds embeddings and output. Layers that are not wished
    /// or do not fit there lie on the CPU.
    Gpus(Vec<u32>),
}

/// What a person wishes of a placement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Where.
    pub place: Where,
    /// Layers on GPUs; `None` for as many as fit.
    pub gpu_layers: Option<u32>,
    /// How the layers are shared between the GPUs of [`Where::Gpus`], one positive number for each; by free memory when
    /// empty.
    pub shares: Vec<f64>,
    /// What is computed in.
    pub dtype: Dtype,
    /// How keys and values are stored.
    pub kv: KvType,
    /// Tokens of a conversation; `None` for 8192, or the model's limit if that is shorter.
    pub context_tokens: Option<u32>,
    /// Memory to leave free on each device; `None` for 512 MiB of RAM and of a GPU that drives a display, 128 MiB of
    /// others.
    pub reserve_bytes: Option<u64>,
}

/// A GPU as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its number, as the driver counts.
    pub index: u32,
    /// `NVIDIA GeForce RTX 4090`.
    pub name: String,
    /// All of its memory.
    pub total_bytes: u64,
    /// Memory that is free now.
    pub free_bytes: u64,
    /// Its CUDA compute capability, where it is known.
    pub compute_capability: Option<(u32, u32)>,
    /// Whether a screen is connected to it.
    pub drives_display: bool,
}

/// What this machine can compute on, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// RAM that programs may take now.
    pub ram_free_bytes: u64,
    /// The GPUs.
    pub gpus: Vec<Gpu>,
    /// Why the engine cannot use the GPUs that are there.
    pub no_gpu_because: Option<Problem>,
    /// Who can compute on them.
    pub gpu_executors: GpuExecutors,
}

/// What the engine for GPUs was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuExecutors {
    /// Tektra's own kernels.
    pub tektra: bool,
    /// Those of mistral.rs.
    pub mistral_rs: bool,
}

impl Default for GpuExecutors {
    fn default() -> Self {
        Self { tektra: false, mistral_rs: true }
    }
}

/// A device of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PlaceOf {
    /// The processor and its RAM.
    Cpu,
    /// A GPU.
    Gpu {
        /// Its number, as the driver counts.
        index: u32,
    },
}

/// What lies on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Which.
    pub device: PlaceOf,
    /// `CPU`, or the GPU's name.
    pub name: String,
    /// The layers, counted from 0.
    pub layers: Range<u32>,
    /// Whether the table from tokens to vectors lies here.
    pub holds_embeddings: bool,
    /// Whether what turns vectors into tokens lies here.
    pub holds_output: bool,
    /// The weights of all that.
    pub weights_bytes: u64,
    /// Keys and values of these layers.
    pub kv_bytes: u64,
    /// Buffers, and what the driver or the process takes.
    pub compute_bytes: u64,
    /// What is to be left free.
    pub reserve_bytes: u64,
    /// What is free now.
    pub free_bytes: u64,
    /// Whether it fits.
    pub fits: bool,
}

/// Where a model would lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The devices in the order of the layers; none when no device of the wish is there.
    pub devices: Vec<Placed>,
    /// Tokens of a conversation.
    pub context_tokens: u32,
    /// The longest context in tokens that fits with the layers as they lie; `None` when not even the shortest does.
    pub max_context: Option<u32>,
    /// Who computes.
    pub executor: Executor,
    /// What is computed in; [`Dtype::Auto`] where the executor chooses by itself.
    pub dtype: Dtype,
    /// How keys and values are stored.
    pub kv: KvType,
    /// The memory on all devices together.
    pub need: Need,
    /// Whether it fits on every device.
    pub fits: bool,
    /// Why it cannot be done, if it cannot: each reason is a sentence without its subject, which is the model.
    pub refused: Vec<Problem>,
    /// What a person should know, in sentences.
    pub notes: Vec<String>,
}

impl Placed {
    /// All that it takes, what is to be left free included.
    pub fn total_bytes(&self) -> u64 {
        let parts = [self.kv_bytes, self.compute_bytes, self.reserve_bytes];
        parts.into_iter().fold(self.weights_bytes, u64::saturating_add)
    }
}

impl Placement {
    /// Whether the model can be loaded so: nothing is refused, and it fits.
    pub fn is_possible(&self) -> bool {
        self.fits && self.refused.is_empty()
    }

    /// In words: `CPU`, `GPU 0`, `GPU 0 + GPU 1`, `GPU 0 + CPU (20 of 28 layers)`.
    pub fn words(&self) -> String {
        let names = self.devices.iter().map(|placed| match placed.device {
            PlaceOf::Cpu => "CPU".into(),
            PlaceOf::Gpu { index } => format!("GPU {index}"),
        });
        let words = names.collect::<Vec<String>>().join(" + ");
        let (on_gpus, all) = self.layers();
        let divided = self.devices.len() > 1 && on_gpus < all;
        if divided { format!("{words} ({on_gpus} of {all} layers)") } else { words }
    }

    /// Layers on GPUs, and all layers.
    pub fn layers(&self) -> (u32, u32) {
        let count = |of: &dyn Fn(&Placed) -> bool| {
            self.devices.iter().filter(|placed| of(placed)).map(|placed| placed.layers.len() as u32).sum()
        };
        (count(&|placed| placed.device != PlaceOf::Cpu), count(&|_| true))
    }
}

/// Where the parts of the model would lie. Always answers: what cannot be done is said in [`Placement::refused`], and what
/// does not fit shows in [`Placement::fits`].
///
/// [`Where::Auto`] takes the GPU with the most free memory when the whole model fits there, else all GPUs, the one with
/// the most free memory first, else as many layers as fit on them and the CPU for the rest; the CPU alone when GPUs cannot
/// be used or not one layer fits.
pub fn place(facts: &Facts, wish: &Wish, devices: &Devices) -> Placement {
    match &wish.place {
        Where::Cpu => on_cpu(facts, wish, devices, wish.gpu_layers),
        Where::Gpus(indices) if wish.gpu_layers == Some(0) => {
            let mut placement = on_cpu(facts, wish, devices, None);
            placement.refused.push(refuse::no_layers(indices.len()));
            placement
        }
        Where::Gpus(indices) => named(facts, wish, devices, indices),
        Where::Auto => automatic(facts, wish, devices),
    }
}

/// As [`fit`] counts.
fn on_cpu(facts: &Facts, wish: &Wish, devices: &Devices, gpu_layers: Option<u32>) -> Placement {
    let context_tokens = context(facts, wish);
    let plain = Plan::cpu(context_tokens);
    let reserve_bytes = wish.reserve_bytes.unwrap_or(plain.reserve_bytes);
    let plan = Plan { kv: wish.kv, reserve_bytes, ..plain };
    let need = fit(facts, &plan);
    let fits = fits(&need, devices.ram_free_bytes);
    let kv = if need.executor == Executor::MistralRsCpu { KvType::F32 } else { wish.kv };
    let mut notes = vec![match wish.reserve_bytes {
        Some(bytes) => format!("{} are left free, as you asked.", mib(bytes)),
        None => format!("{} of memory are left to the rest of the machine.", mib(reserve_bytes)),
    }];
    if kv != wish.kv {
        notes.push("mistral.rs stores keys and values as f32 on a CPU.".into());
    }
    let mut refused = refuse::anywhere(facts, wish);
    refused.extend(refuse::on_cpu(wish, need.executor, gpu_layers));
    let placed = Placed {
        device: PlaceOf::Cpu,
        name: "CPU".into(),
        layers: 0..facts.shape.layers,
        holds_embeddings: true,
        holds_output: true,
        weights_bytes: need.weights_bytes,
        kv_bytes: need.kv_bytes,
        compute_bytes: need.compute_bytes,
        reserve_bytes,
        free_bytes: devices.ram_free_bytes,
        fits,
    };
    Placement {
        devices: vec![placed],
        context_tokens,
        max_context: max_context(facts, &plan, devices.ram_free_bytes),
        executor: need.executor,
        dtype: wish.dtype,
        kv,
        need,
        fits,
        refused,
        notes,
    }
}

/// On the GPUs of these numbers.
fn named(facts: &Facts, wish: &Wish, devices: &Devices, indices: &[u32]) -> Placement {
    let mut refused = refuse::anywhere(facts, wish);
    refused.extend(refuse::gpus(wish, devices, indices));
    let found = |index: &u32| devices.gpus.iter().find(|gpu| gpu.index == *index);
    let mut gpus: Vec<&Gpu> = Vec::new();
    for gpu in indices.iter().filter_map(found) {
        if !gpus.contains(&gpu) {
            gpus.push(gpu);
        }
    }
    if gpus.is_empty() {
        return nowhere(facts, wish, refused);
    }
    let way = OnGpus::new(facts, wish, devices, gpus);
    let layers = refuse::layers(facts, wish.gpu_layers, way.gpus.len(), way.can_divide());
    refused.extend(layers.into_iter().chain(refuse::on_gpus(facts, wish, devices, &way.gpus)));
    let shares = if wish.shares.len() == way.gpus.len() { wish.shares.as_slice() } else { &[] };
    let all = facts.shape.layers;
    let counts = match wish.gpu_layers {
        Some(layers) => way.divide(layers.min(all), shares),
        // One layer at least, so that what is missing shows.
        None if way.can_divide() => way.most(shares).unwrap_or_else(|| way.divide(all.min(1), shares)),
        None => way.divide(all, shares),
    };
    way.placement(&counts, refused)
}

fn automatic(facts: &Facts, wish: &Wish, devices: &Devices) -> Placement {
    let mut gpus: Vec<&Gpu> = devices.gpus.iter().collect();
    gpus.sort_by_key(|gpu| (!refuse::knows(gpu, wish.dtype), std::cmp::Reverse(gpu.free_bytes)));
    let on_cpu = |why: Option<String>| {
        let mut placement = on_cpu(facts, wish, devices, None);
        placement.notes.extend(why);
        placement
    };
    if gpus.is_empty() || wish.gpu_layers == Some(0) {
        return on_cpu(None);
    }
    let mut of_gpus: Vec<Problem> = devices.no_gpu_because.iter().cloned().collect();
    of_gpus.extend(refuse::on_gpus(facts, wish, devices, &gpus[..1]));
    if let Some(problem) = of_gpus.first() {
        return on_cpu(Some(format!("Not on a GPU: {}", problem.reason)));
    }
    gpus.retain(|gpu| refuse::knows(gpu, wish.dtype));
    let mut refused = refuse::anywhere(facts, wish);
    let all = facts.shape.layers;
    let layers = wish.gpu_layers.unwrap_or(all).min(all);
    let one = OnGpus::new(facts, wish, devices, vec![gpus[0]]);
    refused.extend(refuse::layers(facts, wish.gpu_layers, 1, one.can_divide()));
    let fits = |way: &OnGpus| way.fits(&way.divide(layers, &[]), way.context_tokens);
    if fits(&one) || !refused.is_empty() {
        return one.placement(&one.divide(layers, &[]), refused);
    }
    if !one.can_divide() {
        return on_cpu(Some(format!(
            "Not on a GPU: it does not fit there whole, and mistral.rs cannot divide the architecture \"{}\".",
            facts.architecture
        )));
    }
    let every = OnGpus::new(facts, wish, devices, gpus);
    // What is wished is shown, though it may not fit.
    if fits(&every) || wish.gpu_layers.is_some() {
        return every.placement(&every.divide(layers, &[]), refused);
    }
    match every.most(&[]) {
        Some(counts) => every.placement(&counts, refused),
        None => on_cpu(Some("Not on a GPU: not one layer fits there.".into())),
    }
}

/// None of the GPUs is there.
fn nowhere(facts: &Facts, wish: &Wish, refused: Vec<Problem>) -> Placement {
    let context_tokens = context(facts, wish);
    Placement {
        devices: Vec::new(),
        context_tokens,
        max_context: None,
        executor: Executor::MistralRsGpu,
        dtype: wish.dtype,
        kv: wish.kv,
        need: fit(facts, &Plan { kv: wish.kv, ..Plan::gpu(context_tokens) }),
        fits: false,
        refused,
        notes: Vec::new(),
    }
}

fn context(facts: &Facts, wish: &Wish) -> u32 {
    wish.context_tokens.unwrap_or(USUAL_CONTEXT.min(trained_context(facts))).max(1)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
