//! What a model takes of memory, before it is loaded and after.

use serde::Serialize;
use tektra_core::{
    Corrections, Engine, EngineOptions, EngineState, Error, FitReport, Home, Library, UnloadReason, Unloaded,
};

use super::{place::Wished, placement, stored};
use crate::outcome::{Outcome, say, say_json};

const MIB: f64 = 1_048_576.0;

pub(super) async fn fit(home: &Home, model: &str, wished: Wished, json: bool) -> Result<Outcome, Error> {
    let (settings, corrections) = stored(home).await?;
    let model = Library::new(home, &settings).find(Some(model))?;
    let wish = wished.over(placement(home, &model.name).await?);
    let model = model.placed(wish);
    let devices = Engine::new(EngineOptions::find(), home.clone()).devices().await;
    let report = FitReport::new(&model, None, &corrections, &devices)?;
    let said = if json { say_json(&report) } else { table(&report) };
    if report.fits {
        return Ok(said);
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20) as u32;
    Err(Error::DoesNotFit { name: model.name, need_mib: mib(report.total_bytes), free_mib: mib(report.free_bytes) })
}

fn table(report: &FitReport) -> Outcome {
    let mut lines = format!("For a conversation of {} tokens:\n", report.context_tokens);
    for (name, bytes) in [
        ("Weights", report.weights_bytes),
        ("KV cache", report.kv_bytes),
        ("Computing", report.compute_bytes),
        ("Reserve", report.reserve_bytes),
        ("In all", report.total_bytes),
        ("Free now", report.free_bytes),
    ] {
        lines += &format!("  {name:10}{:>10.1} MiB\n", bytes as f64 / MIB);
    }
    lines += &match (report.fits, report.max_context) {
        (_, 0) => "It does not fit.\n".into(),
        (true, most) => format!("It fits. The longest context that fits: {most} tokens.\n"),
        (false, most) => format!("It does not fit. The longest context that does: {most} tokens.\n"),
    };
    say(&lines)
}

/// One load and unload.
#[derive(Serialize)]
struct Cycle {
    predicted_mib: f64,
    load_ms: u32,
    #[serde(flatten)]
    unloaded: Unloaded,
}

pub(super) async fn load(home: Home, model: Option<&str>, cycles: u32, json: bool) -> Result<Outcome, Error> {
    let (settings, _) = stored(&home).await?;
    let model = Library::new(&home, &settings).find(model.or(settings.model.as_deref()))?;
    let wish = placement(&home, &model.name).await?;
    let model = model.placed(wish);
    let engine = Engine::new(EngineOptions::find(), home);
    // Without what earlier loads taught: the prediction is what is shown. A fresh engine holds no conversation.
    let fit = FitReport::new(&model, Some(1), &Corrections::default(), &engine.devices().await)?;
    let predicted_mib = (fit.weights_bytes + fit.compute_bytes) as f64 / MIB;
    let mut all = Vec::new();
    // One object at the end takes the place of all lines.
    let row = |line: &str| if json { Outcome::Done } else { say(line) };
    match row("LOAD        PREDICTED    MEASURED  AVAILABLE BEFORE, AFTER   GIVEN BACK\n") {
        Outcome::Done => {}
        cut => return Ok(cut),
    }
    for _ in 0..cycles {
        tokio::select! {
            loaded = engine.warm(&model) => loaded?,
            _ = tokio::signal::ctrl_c() => {
                engine.end().await;
                return Ok(Outcome::Interrupted);
            }
        }
        let load_ms = match &*engine.state().borrow() {
            EngineState::Ready { model } => model.load_ms,
            _ => 0,
        };
        let Some(unloaded) = engine.unload(UnloadReason::Asked).await.pop() else { continue };
        let line = format!(
            "{load_ms:>6} ms {predicted_mib:>8.0} MiB {:>7} MiB {:>12} {:>7} MiB {:>8} MiB\n",
            unloaded.resident_before_mib,
            unloaded.available_before_mib,
            unloaded.available_after_mib,
            unloaded.given_back_mib
        );
        match row(&line) {
            Outcome::Done => {}
            cut => return Ok(cut),
        }
        all.push(Cycle { predicted_mib, load_ms, unloaded });
    }
    Ok(if json { say_json(&all) } else { Outcome::Done })
}
