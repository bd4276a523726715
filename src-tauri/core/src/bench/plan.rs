//! Which models a request means, and whether a cell of one can be measured here.

use tektra_bench::{
    BenchDevice, BenchPlan, BenchPreset, BenchRequest, CellKey, CellOutcome, Kv, Lengths, ModelSize, Schedule,
};
use tektra_models::{
    Devices, Executor, Gpu, KvType, MOST_ON_GPU, Placement, Plan, Where, Wish, fit, fits, place, siblings,
};

use super::machine::cores;
use crate::{
    Error, Result, Tektra,
    models::{Library, Model, mib, sentence},
};

pub(super) fn kv_type(kv: Kv) -> KvType {
    match kv {
        Kv::F16 => KvType::F16,
        Kv::Q8 => KvType::Q8,
        Kv::F32 => KvType::F32,
    }
}

/// What a request comes to on this machine.
pub(super) struct Planned {
    /// The request with its models by name.
    pub(super) request: BenchRequest,
    pub(super) models: Vec<Model>,
    pub(super) keys: Vec<CellKey>,
    /// As they were then: an engine process is asked for what it was built with.
    pub(super) devices: Devices,
}

impl Tektra {
    /// What `request` comes to.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for absurd numbers, or why a model cannot be used.
    pub(super) async fn plan_bench(&self, mut request: BenchRequest) -> Result<Planned> {
        tektra_bench::check(&request, cores()).map_err(|what| Error::InvalidInput { what })?;
        let settings = self.effective_settings().await?;
        let (wanted, also_siblings) = (request.models.clone(), tektra_bench::with_siblings(&request));
        let models =
            self.look(move |library| models(&library, &wanted, settings.model.as_deref(), also_siblings)).await?;
        request.models = models.iter().map(|model| model.name.clone()).collect();
        let named: Vec<_> = models.iter().map(|model| (model.name.clone(), model.quantization.clone())).collect();
        let devices = self.engine().devices().await;
        let gpu = usable_gpu(&devices);
        if gpu.is_none() && request.devices.contains(&BenchDevice::Gpu) {
            let why = match &devices.no_gpu_because {
                Some(problem) => problem.reason.clone(),
                None if devices.gpus.is_empty() => "No NVIDIA GPU was found here.".into(),
                None => "The engine for GPUs was built without Tektra's own kernels.".into(),
            };
            return Err(Error::InvalidInput { what: format!("Nothing can be measured on a GPU. {why}") });
        }
        let keys = tektra_bench::cells(&request, &named, cores(), gpu.map(|gpu| gpu.index));
        Ok(Planned { request, models, keys, devices })
    }

    /// What is known of the models' speeds, where answers are computed on a GPU or not.
    pub(super) async fn model_sizes(&self, models: &[Model], uses_gpu: bool) -> Result<Vec<ModelSize>> {
        let (on_cpu, on_gpu) = (self.store().bench_speeds_on(false).await?, self.store().bench_speeds_on(true).await?);
        // Of answers it is not told where they were computed: where it is usual.
        let of_answers = self.store().measured_speeds().await?;
        let size = |model: &Model| {
            let speed = |gpu: bool| {
                let measured = if gpu { on_gpu.get(&model.name) } else { on_cpu.get(&model.name) };
                let speed = measured.or_else(|| of_answers.get(&model.name).filter(|_| gpu == uses_gpu))?;
                Some((speed.prefill_tokens_per_second, speed.decode_tokens_per_second))
            };
            let size_bytes = model.size_bytes;
            ModelSize { size_bytes, tokens_per_second: speed(false), gpu_tokens_per_second: speed(true) }
        };
        Ok(models.iter().map(size).collect())
    }

    /// What a benchmark would do, and how long it would take.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for absurd numbers, or why a model cannot be used.
    pub async fn bench_plan(&self, request: BenchRequest) -> Result<BenchPlan> {
        let Planned { request, models, keys, devices } = self.plan_bench(request).await?;
        let sizes = self.model_sizes(&models, usable_gpu(&devices).is_some()).await?;
        let lengths = request.preset.lengths();
        let schedule = Schedule::new(tektra_bench::repetitions(&request));
        let (mut seconds, mut impossible) = (0.0, 0);
        for key in &keys {
            let Some(at) = models.iter().position(|model| model.name == key.model) else { continue };
            if obstacle(self, &models[at], key, lengths, &devices).is_some() {
                impossible += 1;
                continue;
            }
            let visits = schedule.visits(&[0]);
            seconds +=
                visits.iter().map(|it| tektra_bench::seconds(key, it, lengths, &sizes[at], cores())).sum::<f64>();
        }
        let mut notes = Vec::new();
        if impossible > 0 {
            notes.push(format!(
                "{impossible} of {} configurations do not fit or are not supported; that is a result too, and takes no time.",
                keys.len()
            ));
        }
        if request.preset == BenchPreset::Quick && seconds > 60.0 {
            notes.push("With this it takes longer than a minute.".into());
        }
        let gpu = usable_gpu(&devices);
        if let (false, Some(problem)) = (devices.gpus.is_empty(), &devices.no_gpu_because) {
            notes.push(format!("Nothing is measured on a GPU. {}", problem.reason));
        }
        if tektra_bench::with_quality(&request) {
            notes.push("Quality takes some minutes more.".into());
        }
        let gpu = gpu.map(|gpu| format!("{} ({})", CellKey::on_gpu(gpu.index), gpu.name));
        Ok(BenchPlan { cells: keys, seconds: seconds.ceil() as u32, notes, gpu })
    }
}

/// The GPU that is measured: of those that Tektra can use, the largest.
fn usable_gpu(devices: &Devices) -> Option<&Gpu> {
    let usable = devices.no_gpu_because.is_none() && devices.gpu_executors.tektra;
    devices.gpus.iter().rev().max_by_key(|gpu| gpu.total_bytes).filter(|_| usable)
}

/// The models called `wanted`, else the one in use, and its other precisions that are here.
fn models(library: &Library, wanted: &[String], used: Option<&str>, also_siblings: bool) -> Result<Vec<Model>> {
    let mut models: Vec<Model> = Vec::new();
    if wanted.is_empty() {
        models.push(library.find(used)?);
    }
    for name in wanted {
        let model = library.find(Some(name))?;
        if models.iter().all(|known| known.path != model.path) {
            models.push(model);
        }
    }
    let (true, Some(first)) = (also_siblings, models.first().cloned()) else { return Ok(models) };
    for name in installed_siblings(library, &first)? {
        // One that cannot be run has no speed.
        models.extend(library.find(Some(&name)).ok().filter(|model| model.path != first.path));
    }
    Ok(models)
}

/// The other precisions of `model` that are on this machine, the smallest first.
pub(super) fn installed_siblings(library: &Library, model: &Model) -> Result<Vec<String>> {
    let found: Vec<_> = library.scan().models.into_iter().filter_map(|it| Some((it.name, it.facts?))).collect();
    let all: Vec<_> = found.iter().map(|(name, facts)| (name.as_str(), facts)).collect();
    let catalogue = tektra_models::catalogue().map_err(|error| Error::InvalidInput { what: error.to_string() })?;
    let others = siblings(&model.facts, &all, &catalogue, &Plan::cpu(1));
    Ok(others.into_iter().filter(|other| other.installed).map(|other| other.name).collect())
}

/// Why a cell cannot be measured: the model is too short for it, the executor does not know it, or memory is too small.
pub(super) fn obstacle(
    tektra: &Tektra,
    model: &Model,
    key: &CellKey,
    lengths: Lengths,
    devices: &Devices,
) -> Option<CellOutcome> {
    let not_supported = |why: String| Some(CellOutcome::NotSupported { why });
    let (name, trained) = (&model.name, model.facts.context_length);
    let context_tokens = key.depth_tokens.saturating_add(lengths.prompt).saturating_add(lengths.decode);
    if trained > 0 && context_tokens > trained {
        return not_supported(format!("{context_tokens} tokens are needed; \"{name}\" was trained for {trained}."));
    }
    let kv = kv_type(key.kv);
    let place_of = key.gpu().map_or(Where::Cpu, |index| Where::Gpus(vec![index]));
    let wish = Wish { place: place_of, kv, context_tokens: Some(context_tokens), ..Wish::default() };
    let placement = place(&model.facts, &wish, devices);
    if let Some(refused) = placement.refused.first() {
        return not_supported(sentence(&refused.reason));
    }
    if !matches!(placement.executor, Executor::TektraCpu | Executor::TektraGpu) {
        return not_supported(format!(
            "\"{name}\" is computed by mistral.rs; only Tektra's own executor can be measured."
        ));
    }
    if key.gpu().is_some() {
        if key.batch > MOST_ON_GPU {
            return not_supported(format!("A GPU computes up to {MOST_ON_GPU} answers side by side."));
        }
        return does_not_fit_on_gpu(&placement, key);
    }
    let plan = Plan { kv, parallel: key.batch, kept_kv_bytes: 0, ..Plan::cpu(context_tokens) };
    let need = tektra.engine().corrections().apply(&model.architecture, &fit(&model.facts, &plan));
    let (need_mib, free_mib) = (mib(need.total_bytes), mib(devices.ram_free_bytes));
    let why = format!("It needs {need_mib} MiB of memory; {free_mib} MiB are free.");
    (!fits(&need, devices.ram_free_bytes)).then_some(CellOutcome::DoesNotFit { why })
}

/// Why a cell's model, with all its layers and as many conversations as the cell has, does not fit on its GPU.
fn does_not_fit_on_gpu(placement: &Placement, key: &CellKey) -> Option<CellOutcome> {
    let on_gpu = placement.devices.first()?;
    let (layers, all) = placement.layers();
    let free_mib = mib(on_gpu.free_bytes);
    let why = if layers < all {
        format!("{layers} of its {all} layers fit on {}, of which {free_mib} MiB are free.", key.placement)
    } else {
        let others = on_gpu.kv_bytes.saturating_mul(u64::from(key.batch.saturating_sub(1)));
        let need_bytes = on_gpu.total_bytes().saturating_add(others);
        if need_bytes <= on_gpu.free_bytes {
            return None;
        }
        format!("It needs {} MiB of {}; {free_mib} MiB are free.", mib(need_bytes), key.placement)
    };
    Some(CellOutcome::DoesNotFit { why })
}

#[cfg(test)]
mod tests {
    use tektra_bench::{CellKey, CellOutcome, Kv};
    use tektra_models::{Devices, Gpu, GpuExecutors, Problem, Where, Wish, catalogue, place};

    use super::{does_not_fit_on_gpu, usable_gpu};

    fn gpu(index: u32, total_mib: u64) -> Gpu {
        Gpu {
            index,
            name: format!("Card {index}"),
            total_bytes: total_mib << 20,
            free_bytes: total_mib << 20,
            compute_capability: Some((9, 0)),
            drives_display: false,
        }
    }

    fn devices(gpus: Vec<Gpu>) -> Devices {
        Devices { gpus, gpu_executors: GpuExecutors { tektra: true, mistral_rs: false }, ..Devices::default() }
    }

    #[test]
    fn the_largest_gpu_that_can_be_used_is_measured() {
        let index = |devices: &Devices| usable_gpu(devices).map(|gpu| gpu.index);
        let two = devices(vec![gpu(0, 8192), gpu(1, 24_576)]);
        assert_eq!(index(&two), Some(1));
        assert_eq!(index(&devices(vec![gpu(0, 8192), gpu(1, 8192)])), Some(0));
        assert_eq!(index(&devices(Vec::new())), None);
        let problem = Problem { reason: "The engine for GPUs does not start.".into(), hint: String::new() };
        assert_eq!(index(&Devices { no_gpu_because: Some(problem), ..two.clone() }), None);
        assert_eq!(index(&Devices { gpu_executors: GpuExecutors { tektra: false, mistral_rs: true }, ..two }), None);
    }

    #[test]
    fn what_does_not_fit_on_the_gpu_says_how_much_is_missing() {
        let facts = catalogue().unwrap().find("qwen3-8b").unwrap().facts();
        let wish = Wish { place: Where::Gpus(vec![0]), context_tokens: Some(640), ..Wish::default() };
        let why = |total_mib, batch| {
            let key = CellKey {
                model: "m".into(),
                quantization: "Q4_K".into(),
                batch,
                threads: 1,
                depth_tokens: 0,
                kv: Kv::F16,
                placement: CellKey::on_gpu(0),
            };
            match does_not_fit_on_gpu(&place(&facts, &wish, &devices(vec![gpu(0, total_mib)])), &key) {
                Some(CellOutcome::DoesNotFit { why }) => why,
                None => "it fits".into(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(why(24_576, 1), "it fits");
        assert!(why(4096, 1).contains("layers fit on GPU 0, of which 4096 MiB are free."), "{}", why(4096, 1));
        // Enough for one conversation, not for sixteen.
        let just = (5000..24_576).step_by(100).find(|mib| why(*mib, 1) == "it fits").unwrap();
        assert!(why(just, 16).starts_with("It needs "), "{}", why(just, 16));
    }
}
