//! What there is.

use serde::Serialize;
use tektra_core::{Engine, EngineOptions, Error, Goal, Home, Library, Machine, Memory, Origin, RunsOn, best_for};

use super::{measured, parameters, stored};
use crate::outcome::{Outcome, say, say_json};

pub(super) async fn list(home: &Home, json: bool) -> Result<Outcome, Error> {
    let library = Library::new(home, &stored(home).await?.0);
    let models = library.list();
    if json {
        return Ok(say_json(&models));
    }
    if models.is_empty() {
        eprintln!(
            "There is no model in {}.\nPut a GGUF file into that folder, or see `tektra-cli models catalogue`.",
            home.models().display()
        );
        return Ok(Outcome::Done);
    }
    let width = models.iter().map(|model| model.name.chars().count()).max().unwrap_or_default();
    let mut lines = format!(
        "{:width$}  {:>10}  {:8}  {:10}  {:>8}  {}\n",
        "NAME", "SIZE", "WEIGHTS", "KIND", "CONTEXT", "FOUND IN"
    );
    for model in models {
        let size = format!("{} MiB", model.size_mib);
        lines += &match model.problem {
            None => format!(
                "{:width$}  {size:>10}  {:8}  {:10}  {:>8}  {}\n",
                model.name,
                model.quantization,
                model.architecture,
                model.context_length,
                origin(model.origin)
            ),
            Some(problem) => format!("{:width$}  {size:>10}  {}\n", model.name, problem.message),
        };
    }
    Ok(say(&lines))
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Tektra => "Tektra",
        Origin::Added => "added folder",
        Origin::LmStudio => "LM Studio",
        Origin::Ollama => "Ollama",
        Origin::Jan => "Jan",
        Origin::HuggingFace => "Hugging Face",
    }
}

pub(super) async fn show(home: &Home, model: &str, json: bool) -> Result<Outcome, Error> {
    let details = Library::new(home, &stored(home).await?.0).details(model)?;
    if json {
        return Ok(say_json(&details));
    }
    let mut lines = String::new();
    let mut line = |name: &str, value: String| lines += &format!("{name:16}{value}\n");
    line("Name", details.name);
    line("Architecture", details.architecture);
    line("Parameters", parameters(details.parameters_millions));
    line("Weights", details.quantization);
    for part in details.parts {
        let types: Vec<_> = part.types.iter().map(|(name, mib)| format!("{name} {mib:.1} MiB")).collect();
        line(&format!("  {}", part.part), types.join(", "));
    }
    line("Context", format!("{} tokens", details.context_length));
    line("Layers", format!("{}, {} heads over {}", details.layers, details.heads, details.kv_heads));
    line("Vocabulary", format!("{} tokens", details.vocabulary));
    line("Chat template", if details.chat_template { "yes" } else { "no" }.into());
    line("Licence", details.licence.unwrap_or_else(|| "not said".into()));
    line("Size", format!("{} MiB", details.size_mib));
    line("Files", details.files.join("\n                "));
    let runs_on = match details.runs_on {
        RunsOn::TektraCpu => "Tektra's own executor".into(),
        RunsOn::MistralRs => "mistral.rs".into(),
        RunsOn::Convert | RunsOn::Nothing => {
            details.problem.map_or_else(|| "nothing".into(), |problem| format!("{} {}", problem.message, problem.hint))
        }
    };
    line("Runs on", runs_on);
    Ok(say(&lines))
}

pub(super) async fn profiles(home: &Home, json: bool) -> Result<Outcome, Error> {
    let library = Library::new(home, &stored(home).await?.0);
    let devices = Engine::new(EngineOptions::find(), home.clone()).devices().await;
    let profiles = tektra_core::profiles_now(&library, &devices, &measured(home).await?);
    if json {
        return Ok(say_json(&profiles));
    }
    if profiles.is_empty() {
        eprintln!("No model that is here fits into memory. See `tektra-cli models list` and `models catalogue`.");
        return Ok(Outcome::Done);
    }
    let name = |goal| match goal {
        Goal::Fast => "Fast",
        Goal::Balanced => "Balanced",
        Goal::Quality => "Quality",
    };
    let mut lines = String::new();
    for profile in profiles {
        let basis = if profile.measured { "measured" } else { "estimated" };
        let same = profile.same_as.map_or_else(String::new, |goal| format!(" (the same as {})", name(goal)));
        lines += &format!(
            "{:9} {}, {}, {} tokens, {}: {} MiB, first token {:.0} ms, {:.0} tok/s, {basis}{same}\n",
            name(profile.goal),
            profile.model,
            profile.quantization,
            profile.context_tokens,
            profile.placement,
            profile.need.total_bytes.div_ceil(1 << 20),
            profile.first_token_ms,
            profile.tokens_per_second,
        );
    }
    Ok(say(&lines))
}

#[derive(Serialize)]
struct Suggestions {
    catalogue: tektra_core::Catalogue,
    best: Option<tektra_core::Choice>,
}

pub(super) fn catalogue(json: bool) -> Result<Outcome, Error> {
    let catalogue = tektra_core::catalogue().map_err(|error| Error::InvalidInput { what: error.to_string() })?;
    let memory = Memory::now();
    let machine = Machine {
        ram_free_bytes: memory.available_bytes,
        ram_total_bytes: memory.total_bytes,
        read_gb_per_second: None,
        vram_free_bytes: None,
        vram_gb_per_second: None,
    };
    let best = best_for(&machine, &catalogue);
    if json {
        return Ok(say_json(&Suggestions { catalogue, best }));
    }
    let width = catalogue.entries.iter().map(|entry| entry.id.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for entry in &catalogue.entries {
        let size = format!("{}{} MiB", if entry.size_is_estimate { "~" } else { "" }, entry.size_bytes >> 20);
        let parameters = parameters(entry.parameters as f64 / 1e6);
        lines +=
            &format!("{:width$}  {size:>10}  {parameters:>7}  {:7}  {}\n", entry.id, entry.quantization, entry.good_at);
    }
    if let Some(best) = best {
        lines += &format!(
            "\nFor this machine: {}. {}\n`tektra-cli models download {}`\n",
            best.entry.id, best.why, best.entry.id
        );
    }
    Ok(say(&lines))
}
