//! Which models a request means, and whether a cell of one can be measured here.

use tektra_bench::{BenchPlan, BenchPreset, BenchRequest, CellKey, CellOutcome, Kv, Lengths, ModelSize, Schedule};
use tektra_models::{Devices, Executor, KvType, Plan, Where, Wish, fit, fits, place, siblings};

use super::machine::cores;
use crate::{
    Error, Result, Tektra,
    models::{Library, Model, mib, sentence},
};

/// Where cells are computed.
const PLACEMENT: &str = "CPU";

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
        let keys = tektra_bench::cells(&request, &named, cores(), PLACEMENT);
        Ok(Planned { request, models, keys })
    }

    /// What is known of the models' speeds.
    pub(super) async fn model_sizes(&self, models: &[Model]) -> Result<Vec<ModelSize>> {
        let speeds = self.store().measured_speeds().await?;
        let size = |model: &Model| {
            let speed = speeds.get(&model.name);
            ModelSize {
                size_bytes: model.size_bytes,
                tokens_per_second: speed.map(|it| (it.prefill_tokens_per_second, it.decode_tokens_per_second)),
            }
        };
        Ok(models.iter().map(size).collect())
    }

    /// What a benchmark would do, and how long it would take.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for absurd numbers, or why a model cannot be used.
    pub async fn bench_plan(&self, request: BenchRequest) -> Result<BenchPlan> {
        let Planned { request, models, keys } = self.plan_bench(request).await?;
        let (sizes, devices) = (self.model_sizes(&models).await?, self.engine().devices().await);
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
        if !devices.gpus.is_empty() {
            notes.push("Everything is computed on the CPU.".into());
        }
        if tektra_bench::with_quality(&request) {
            notes.push("Quality takes some minutes more.".into());
        }
        Ok(BenchPlan { cells: keys, seconds: seconds.ceil() as u32, notes })
    }
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
    let wish = Wish { place: Where::Cpu, kv, context_tokens: Some(context_tokens), ..Wish::default() };
    let placement = place(&model.facts, &wish, devices);
    if let Some(refused) = placement.refused.first() {
        return not_supported(sentence(&refused.reason));
    }
    if placement.executor != Executor::TektraCpu {
        return not_supported(format!(
            "\"{name}\" is computed by mistral.rs; only Tektra's own executor can be measured."
        ));
    }
    let plan = Plan { kv, parallel: key.batch, kept_kv_bytes: 0, ..Plan::cpu(context_tokens) };
    let need = tektra.engine().corrections().apply(&model.architecture, &fit(&model.facts, &plan));
    let (need_mib, free_mib) = (mib(need.total_bytes), mib(devices.ram_free_bytes));
    let why = format!("It needs {need_mib} MiB of memory; {free_mib} MiB are free.");
    (!fits(&need, devices.ram_free_bytes)).then_some(CellOutcome::DoesNotFit { why })
}
