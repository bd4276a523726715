//! A model on GPUs, and on the CPU what they do not take.

use super::{
    Basis, DISPLAY_RESERVE_BYTES, Devices, Dtype, Executor, Facts, GPU_RESERVE_BYTES, Gpu, KvType, Need, PlaceOf,
    Placed, Placement, Plan, Problem, Runs, Wish, context,
    layers::{divide, part},
    mib, refuse,
};
use crate::fit::{Held, cpu_layers_kv_bytes, gpu_kv_bytes, longest_context, on_cpu, on_gpu, tektra_gpu};

/// The GPUs that are to hold a model, the first of them the embeddings and the output.
pub(super) struct OnGpus<'a> {
    facts: &'a Facts,
    wish: &'a Wish,
    devices: &'a Devices,
    pub(super) gpus: Vec<&'a Gpu>,
    pub(super) context_tokens: u32,
    kv: KvType,
    executor: Executor,
}

impl<'a> OnGpus<'a> {
    pub(super) fn new(facts: &'a Facts, wish: &'a Wish, devices: &'a Devices, gpus: Vec<&'a Gpu>) -> Self {
        let executor = refuse::gpu_executor(facts, wish, devices, &gpus);
        let context_tokens = context(facts, wish);
        let kv = match (executor, wish.dtype) {
            (Executor::TektraGpu, _) => wish.kv,
            // mistral.rs keeps keys and values in the type that is computed in.
            (_, Dtype::F32) => KvType::F32,
            _ => KvType::F16,
        };
        Self { facts, wish, devices, gpus, context_tokens, kv, executor }
    }

    /// What a GPU holds, and what the CPU does.
    fn held(&self, context_tokens: u32) -> (Held, Held) {
        if self.executor == Executor::TektraGpu {
            (tektra_gpu::on_gpu(self.facts, context_tokens), tektra_gpu::on_cpu(self.facts, context_tokens))
        } else {
            (on_gpu(self.facts), on_cpu(self.facts))
        }
    }

    /// Whether the layers may lie on several devices.
    pub(super) fn can_divide(&self) -> bool {
        self.executor == Executor::TektraGpu || refuse::can_divide(self.facts)
    }

    /// Keys and values of all layers, on GPUs and on the CPU.
    fn kv_bytes(&self, context_tokens: u32) -> (u64, u64) {
        if self.executor == Executor::TektraGpu {
            let bytes = tektra_gpu::kv_bytes(self.facts, context_tokens, self.kv);
            return (bytes, bytes);
        }
        let on_cpu = cpu_layers_kv_bytes(self.facts, context_tokens, self.kv);
        (gpu_kv_bytes(self.facts, context_tokens, self.kv), on_cpu)
    }

    /// So many layers over the GPUs by shares, or by what fits when there are none.
    pub(super) fn divide(&self, layers: u32, shares: &[f64]) -> Vec<u32> {
        let sound = !shares.is_empty() && shares.iter().all(|share| share.is_finite() && *share > 0.0);
        if sound {
            return divide(layers, shares);
        }
        let room: Vec<f64> = self.room().into_iter().map(f64::from).collect();
        divide(layers, &room)
    }

    /// The most layers that fit on the GPUs; `None` when not one does.
    pub(super) fn most(&self, shares: &[f64]) -> Option<Vec<u32>> {
        let room = self.room();
        let fits = |layers| self.divide(layers, shares).iter().zip(&room).all(|(count, room)| count <= room);
        let (mut fewest, mut most) = (0, self.facts.shape.layers);
        while fewest < most {
            let middle = fewest + (most - fewest).div_ceil(2);
            if fits(middle) {
                fewest = middle;
            } else {
                most = middle - 1;
            }
        }
        (fewest > 0).then(|| self.divide(fewest, shares))
    }

    /// How many layers fit on each GPU.
    fn room(&self) -> Vec<u32> {
        let layers = u64::from(self.facts.shape.layers.max(1));
        let (kv, _) = self.kv_bytes(self.context_tokens);
        let (held, _) = self.held(self.context_tokens);
        let layer = held.layers.div_ceil(layers).saturating_add(kv.div_ceil(layers)).max(1);
        let room = |(number, gpu): (usize, &&Gpu)| {
            let ends = if number == 0 { held.ends } else { 0 };
            let taken = self.reserve(gpu).saturating_add(held.compute).saturating_add(ends);
            (gpu.free_bytes.saturating_sub(taken) / layer).min(layers) as u32
        };
        self.gpus.iter().enumerate().map(room).collect()
    }

    fn reserve(&self, gpu: &Gpu) -> u64 {
        let usual = if gpu.drives_display { DISPLAY_RESERVE_BYTES } else { GPU_RESERVE_BYTES };
        self.wish.reserve_bytes.unwrap_or(usual)
    }

    pub(super) fn fits(&self, counts: &[u32], context_tokens: u32) -> bool {
        self.placed(counts, context_tokens).iter().all(|placed| placed.fits)
    }

    /// What lies where with so many layers on each GPU. GPUs without any, but for the first, are left out.
    fn placed(&self, counts: &[u32], context_tokens: u32) -> Vec<Placed> {
        let all = self.facts.shape.layers;
        let (on_gpu, on_cpu) = self.held(context_tokens);
        let mut placed = Vec::new();
        let mut first = 0;
        for (number, (gpu, count)) in self.gpus.iter().zip(counts).enumerate() {
            if number > 0 && *count == 0 {
                continue;
            }
            let layers = first..(first + count).min(all);
            first = layers.end;
            let (kv, _) = self.kv_bytes(context_tokens);
            let device = PlaceOf::Gpu { index: gpu.index };
            placed.push(self.one(
                device,
                &gpu.name,
                layers,
                number == 0,
                on_gpu,
                kv,
                self.reserve(gpu),
                gpu.free_bytes,
            ));
        }
        if first < all {
            let (_, kv) = self.kv_bytes(context_tokens);
            let reserve = self.wish.reserve_bytes.unwrap_or(Plan::cpu(1).reserve_bytes);
            let free = self.devices.ram_free_bytes;
            placed.push(self.one(PlaceOf::Cpu, "CPU", first..all, false, on_cpu, kv, reserve, free));
        }
        placed
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one value, each used once")]
    fn one(
        &self,
        device: PlaceOf,
        name: &str,
        layers: std::ops::Range<u32>,
        holds_ends: bool,
        held: Held,
        kv_bytes: u64,
        reserve_bytes: u64,
        free_bytes: u64,
    ) -> Placed {
        let of_layers = |bytes| part(bytes, layers.start, layers.end, self.facts.shape.layers);
        let ends = if holds_ends { held.ends } else { 0 };
        let mut placed = Placed {
            device,
            name: name.into(),
            // Tektra's executor reads the rows that it needs from the file.
            holds_embeddings: holds_ends && self.executor == Executor::MistralRsGpu,
            holds_output: holds_ends,
            weights_bytes: of_layers(held.layers).saturating_add(ends),
            kv_bytes: of_layers(kv_bytes),
            compute_bytes: held.compute,
            reserve_bytes,
            free_bytes,
            fits: false,
            layers,
        };
        placed.fits = placed.total_bytes() <= free_bytes;
        placed
    }

    pub(super) fn placement(&self, counts: &[u32], refused: Vec<Problem>) -> Placement {
        let devices = self.placed(counts, self.context_tokens);
        let sum = |of: fn(&Placed) -> u64| devices.iter().map(of).fold(0, u64::saturating_add);
        let total_bytes = sum(Placed::total_bytes);
        let reserve_bytes = sum(|placed| placed.reserve_bytes);
        let need = Need {
            weights_bytes: sum(|placed| placed.weights_bytes),
            kv_bytes: sum(|placed| placed.kv_bytes),
            compute_bytes: sum(|placed| placed.compute_bytes),
            reserve_bytes,
            total_bytes,
            peak_resident_bytes: total_bytes.saturating_sub(reserve_bytes),
            executor: self.executor,
            basis: Basis::Estimated,
        };
        let with_cpu = devices.iter().any(|placed| placed.device == PlaceOf::Cpu);
        Placement {
            context_tokens: self.context_tokens,
            max_context: longest_context(self.facts, |context| self.fits(counts, context)),
            executor: need.executor,
            dtype: self.dtype(with_cpu),
            kv: self.kv,
            fits: devices.iter().all(|placed| placed.fits),
            notes: self.notes(&devices, with_cpu),
            need,
            refused,
            devices,
        }
    }

    /// What mistral.rs computes in: when it may choose the first of BF16, F16 and F32 that every device knows, where it
    /// asks nvidia-smi for all GPUs of the machine (`get_dtypes` in `utils/normal.rs`), and candle's CPU multiplies no
    /// BF16.
    fn dtype(&self, with_cpu: bool) -> Dtype {
        if self.wish.dtype != Dtype::Auto || self.executor == Executor::TektraGpu {
            return self.wish.dtype;
        }
        let all_know = |dtype| self.devices.gpus.iter().all(|gpu| refuse::knows(gpu, dtype));
        if !with_cpu && all_know(Dtype::Bf16) {
            Dtype::Bf16
        } else if all_know(Dtype::F16) {
            Dtype::F16
        } else {
            Dtype::F32
        }
    }

    fn notes(&self, devices: &[Placed], with_cpu: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(bytes) = self.wish.reserve_bytes {
            notes.push(format!("{} are left free on each device, as you asked.", mib(bytes)));
        } else {
            for placed in devices {
                let left = mib(placed.reserve_bytes);
                let gpu = self.gpus.iter().find(|gpu| placed.device == PlaceOf::Gpu { index: gpu.index });
                notes.push(match gpu {
                    Some(gpu) if gpu.drives_display => {
                        format!("{left} are left free on GPU {}, which drives a display.", gpu.index)
                    }
                    Some(gpu) => format!("{left} are left free on GPU {} for its driver.", gpu.index),
                    None => format!("{left} of memory are left to the rest of the machine."),
                });
            }
        }
        for gpu in &self.gpus {
            if !devices.iter().any(|placed| placed.device == PlaceOf::Gpu { index: gpu.index }) {
                notes.push(format!("GPU {} gets no layer.", gpu.index));
            }
        }
        if self.executor == Executor::TektraGpu {
            notes.push("Tektra's own executor gives the same answers wherever the layers lie.".into());
            return notes;
        }
        if with_cpu {
            // `load_model_from_path` in `pipeline/gguf.rs` turns it off for any mapping with a CPU.
            notes
                .push("mistral.rs computes the layers on the CPU too, and all of them without paged attention.".into());
            if self.facts.runs == Runs::TektraCpu {
                notes.push("Tektra's own executor may be faster with the whole model on the CPU.".into());
            }
        } else if !refuse::can_divide(self.facts) {
            let architecture = &self.facts.architecture;
            notes.push(format!("mistral.rs keeps models of the architecture \"{architecture}\" on one device."));
        }
        if self.kv == KvType::F32 && self.wish.kv == KvType::F16 {
            notes.push("Keys and values are stored as f32, as mistral.rs computes in it.".into());
        }
        notes
    }
}
