//! Looking through the hub.

use tektra_core::{EngineOptions, Error, Home, Tektra};

use crate::outcome::{Outcome, say, say_json};

pub(super) async fn search(home: Home, text: &str, json: bool) -> Result<Outcome, Error> {
    let tektra = Tektra::open(home, EngineOptions::find()).await?;
    let is_repository = text.split_once('/').is_some_and(|(owner, name)| !owner.is_empty() && !name.is_empty());
    if is_repository && !text.contains(char::is_whitespace) {
        return files(&tektra, text, json).await;
    }
    let found = tektra.hub_search(text).await?;
    if json {
        return Ok(say_json(&found));
    }
    if found.is_empty() {
        eprintln!("Nothing found.");
    }
    let width = found.iter().map(|model| model.id.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for model in found {
        let count = |count: Option<u32>| count.map_or_else(|| "?".into(), |count| count.to_string());
        let gated = if model.gated { "  its licence must be accepted on its page first" } else { "" };
        let licence = model.licence.unwrap_or_else(|| "?".into());
        lines += &format!("{:width$}  {:>10} downloads  {licence}{gated}\n", model.id, count(model.downloads));
    }
    Ok(say(&lines))
}

async fn files(tektra: &Tektra, repository: &str, json: bool) -> Result<Outcome, Error> {
    let files = tektra.hub_files(repository).await?;
    if json {
        return Ok(say_json(&files));
    }
    if files.is_empty() {
        eprintln!("{repository} has no GGUF file.");
    }
    let mut lines = String::new();
    for file in files {
        let size = file.size_mib.map_or_else(|| "?".into(), |mib| format!("{mib} MiB"));
        let fits = match file.fits {
            Some(true) => "fits",
            Some(false) => "does not fit",
            None => "",
        };
        let note = file.problem.unwrap_or_else(|| if file.installed { "here already".into() } else { fits.into() });
        lines += &format!("{size:>10}  {:8}  {note:14}  {}\n", file.quantization.unwrap_or_default(), file.source);
    }
    Ok(say(&lines))
}
