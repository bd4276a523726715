//! Where a model is computed, in which precision it can be had, and what is in memory now.

use clap::Args;
use tektra_core::{
    DeviceWish, DtypeWish, EngineOptions, Error, Home, KvWish, PlacementPlan, PlacementWish, Precision, Precisions,
    ProfileGoal, Tektra, WorkState,
};
use tokio::sync::broadcast::error::RecvError;

use crate::outcome::{Outcome, say, say_json};

const MIB_IN_GIB: f64 = 1024.0;

/// What is wished of a placement.
#[derive(Args)]
pub(crate) struct Wished {
    /// Where to compute: auto, cpu, or GPUs by their numbers (gpu0, or gpu0,gpu1)
    #[arg(long, value_name = "DEVICES", value_parser = devices)]
    device: Option<(DeviceWish, Numbers)>,
    /// Layers on the GPUs, the rest on the CPU; as many as fit when absent
    #[arg(long, value_name = "N")]
    gpu_layers: Option<u32>,
    /// What each of several GPUs gets in proportion (3,1); by their free memory when absent
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    shares: Vec<u32>,
    /// What a GPU computes in
    #[arg(long, value_name = "TYPE", value_parser = dtype)]
    dtype: Option<DtypeWish>,
    /// What keys and values are kept in: f16, q8 (half the memory) or f32
    #[arg(long, value_name = "TYPE", value_parser = kv)]
    kv: Option<KvWish>,
    /// Tokens of a conversation; the model's limit when absent
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Memory to leave to everything else on each device
    #[arg(long, value_name = "MIB")]
    reserve: Option<u32>,
}

/// Numbers of GPUs: a list of its own, so that the option takes one value.
#[derive(Clone)]
struct Numbers(Vec<u32>);

impl Wished {
    /// `stored` with what is wished in its place.
    pub(super) fn over(self, stored: PlacementWish) -> PlacementWish {
        let (device, gpus) = match self.device {
            Some((device, Numbers(gpus))) => (device, gpus),
            None => (stored.device, stored.gpus),
        };
        PlacementWish {
            device,
            gpus,
            gpu_layers: self.gpu_layers.or(stored.gpu_layers),
            shares: if self.shares.is_empty() { stored.shares } else { self.shares },
            dtype: self.dtype.unwrap_or(stored.dtype),
            kv: self.kv.unwrap_or(stored.kv),
            context_tokens: self.context.or(stored.context_tokens),
            reserve_mib: self.reserve.or(stored.reserve_mib),
        }
    }
}

fn devices(text: &str) -> Result<(DeviceWish, Numbers), String> {
    match text {
        "auto" => return Ok((DeviceWish::Auto, Numbers(Vec::new()))),
        "cpu" => return Ok((DeviceWish::Cpu, Numbers(Vec::new()))),
        _ => {}
    }
    let number = |name: &str| name.strip_prefix("gpu")?.parse::<u32>().ok();
    let gpus: Option<Vec<u32>> = text.split(',').map(number).collect();
    gpus.map(|gpus| (DeviceWish::Gpus, Numbers(gpus))).ok_or_else(|| "write auto, cpu, gpu0, or gpu0,gpu1".into())
}

fn dtype(text: &str) -> Result<DtypeWish, String> {
    match text {
        "auto" => Ok(DtypeWish::Auto),
        "bf16" => Ok(DtypeWish::Bf16),
        "f16" => Ok(DtypeWish::F16),
        "f32" => Ok(DtypeWish::F32),
        _ => Err("write auto, bf16, f16 or f32".into()),
    }
}

fn kv(text: &str) -> Result<KvWish, String> {
    match text {
        "f16" => Ok(KvWish::F16),
        "q8" => Ok(KvWish::Q8),
        "f32" => Ok(KvWish::F32),
        _ => Err("write f16, q8 or f32".into()),
    }
}

async fn open(home: Home) -> Result<Tektra, Error> {
    Tektra::open(home, EngineOptions::find()).await
}

pub(super) async fn place(
    home: Home,
    model: String,
    wished: Wished,
    save: bool,
    reset: bool,
    json: bool,
) -> Result<Outcome, Error> {
    let tektra = open(home).await?;
    let stored = if reset { PlacementWish::default() } else { tektra.placement_plan(model.clone(), None).await?.wish };
    let wish = wished.over(stored);
    let plan = tektra.placement_plan(model.clone(), Some(wish.clone())).await?;
    if let Some(refused) = plan.refused.first() {
        let (reason, hint) = (refused.reason.clone(), refused.hint.clone());
        return Err(Error::ModelUnusable { name: model, reason, hint });
    }
    if save || reset {
        tektra.set_placement(model.clone(), wish).await?;
    }
    if json {
        return Ok(say_json(&plan));
    }
    let said = say(&picture(&plan));
    if save || reset {
        eprintln!("Stored: the next load of {model} follows it.");
    }
    Ok(said)
}

fn picture(plan: &PlacementPlan) -> String {
    let mut lines = format!("For a conversation of {} tokens:\n", plan.context_tokens);
    for share in &plan.devices {
        let name = share.gpu.map_or_else(|| share.name.clone(), |gpu| format!("GPU {gpu}, {}", share.name));
        let last = share.first_layer + share.layers;
        let layers = match share.layers {
            0 => "no layer".into(),
            count => format!("layers {}-{} ({count} of {})", share.first_layer, last - 1, plan.layers),
        };
        let also = [(share.embeddings, "embeddings"), (share.output, "output")];
        let also: Vec<_> = also.iter().filter(|(here, _)| *here).map(|(_, what)| format!(", {what}")).collect();
        lines += &format!("{name}: {layers}{}\n", also.concat());
        for (part, mib) in [
            ("Weights", share.weights_mib),
            ("KV cache", share.kv_mib),
            ("Computing", share.compute_mib),
            ("Reserve", share.reserve_mib),
            ("Free now", share.free_mib),
        ] {
            lines += &format!("  {part:10}{mib:>10.1} MiB\n");
        }
    }
    for note in &plan.notes {
        lines += &format!("{note}\n");
    }
    lines
        + &match (plan.fits, plan.max_context) {
            (_, 0) => "It does not fit.\n".into(),
            (true, most) => format!("It fits. The longest context that fits: {most} tokens.\n"),
            (false, most) => format!("It does not fit. The longest context that does: {most} tokens.\n"),
        }
}

pub(super) async fn apply(home: Home, goal: ProfileGoal) -> Result<Outcome, Error> {
    let settings = open(home).await?.apply_profile(goal).await?;
    eprintln!("{} is used from now on.", settings.model.unwrap_or_default());
    Ok(Outcome::Done)
}

pub(super) async fn precisions(home: Home, model: String, json: bool) -> Result<Outcome, Error> {
    let precisions = open(home).await?.precisions(model).await?;
    if json {
        return Ok(say_json(&precisions));
    }
    Ok(say(&table(&precisions)))
}

fn table(precisions: &Precisions) -> String {
    let mut lines =
        format!("{:8}  {:>10}  {:>10}  {:>12}  {:>12}  {}\n", "TYPE", "SIZE", "MEMORY", "SPEED", "LOSS", "WHERE");
    let gib = |mib: f64| format!("{:.2} GiB", mib / MIB_IN_GIB);
    let sure = |measured: bool| if measured { ' ' } else { '~' };
    let row = |it: &Precision, place: String| {
        let loss = it
            .quality
            .loss_percent
            .map_or_else(|| "?".into(), |percent| format!("{}{percent:+.1} %", sure(it.quality.measured)));
        let speed = format!("{}{:.0} tok/s", sure(it.speed_measured), it.tokens_per_second);
        let (size, memory) = (gib(it.size_mib), gib(it.need_mib));
        format!("{:8}  {size:>10}  {memory:>10}  {speed:>12}  {loss:>12}  {place}\n", it.kind)
    };
    for sibling in &precisions.siblings {
        let place = match (&sibling.installed, &sibling.download) {
            (Some(name), _) => format!("here: {name}"),
            (_, Some(id)) => format!("`tektra-cli models download {id}`"),
            _ => String::new(),
        };
        lines += &row(sibling, place);
    }
    for choice in &precisions.choices {
        lines += &row(choice, choice.problem.clone().unwrap_or_else(|| "can be written".into()));
    }
    lines += &format!(
        "Memory for {} tokens. ~ is an estimate; loss is how much higher the perplexity is.\n",
        precisions.context_tokens
    );
    lines
}

pub(super) async fn quality(home: Home, model: String, json: bool) -> Result<Outcome, Error> {
    let tektra = open(home).await?;
    let mut events = tektra.events();
    tektra.measure_quality(model.clone()).await?;
    let state = loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Error::Interrupted),
            },
            _ = tokio::signal::ctrl_c() => {
                tektra.workshop().stop();
                return Ok(Outcome::Interrupted);
            }
        }
        match tektra.workshop().state().map(|work| work.state) {
            None | Some(WorkState::Running) => {}
            Some(ended) => break ended,
        }
    };
    match state {
        WorkState::Failed { error } => {
            Err(Error::ModelUnusable { name: model, reason: error.message, hint: error.hint })
        }
        WorkState::Done { result } if json => Ok(say_json(&serde_json::json!({ "model": model, "result": result }))),
        WorkState::Done { result } => Ok(say(&format!("{result}\n"))),
        WorkState::Running | WorkState::Stopped => Ok(Outcome::Interrupted),
    }
}

pub(super) async fn unload(home: &Home, json: bool) -> Result<Outcome, Error> {
    let all = tektra_core::unload_everywhere(home).await;
    if json {
        return Ok(say_json(&all));
    }
    if all.is_empty() {
        eprintln!("No model is in memory.");
    }
    for unloaded in all {
        let (name, held, back) = (unloaded.model, unloaded.resident_before_mib, unloaded.given_back_mib);
        match say(&format!("{name}: held {held} MiB, given back {back} MiB\n")) {
            Outcome::Done => {}
            cut => return Ok(cut),
        }
    }
    Ok(Outcome::Done)
}
