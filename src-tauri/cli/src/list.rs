//! `models list` and `conversations list`.

use tektra_core::{Home, Store, models};

use crate::outcome::{Outcome, say, say_json};

pub(crate) fn models(home: &Home, json: bool) -> Outcome {
    let models = models::list(home);
    if json {
        return say_json(&models);
    }
    if models.is_empty() {
        eprintln!("There is no model in {}.\nPut a GGUF file into that folder.", home.models().display());
        return Outcome::Done;
    }
    let width = models.iter().map(|model| model.name.chars().count()).max().unwrap_or_default();
    let mut lines = format!("{:width$}  {:>10}  {:8}  {:10}  {:>8}\n", "NAME", "SIZE", "WEIGHTS", "KIND", "CONTEXT");
    for model in models {
        let size = format!("{} MiB", model.size_mib);
        lines += &match model.problem {
            None => format!(
                "{:width$}  {size:>10}  {:8}  {:10}  {:>8}\n",
                model.name, model.quantization, model.architecture, model.context_length
            ),
            Some(problem) => format!("{:width$}  {size:>10}  {}\n", model.name, problem.message),
        };
    }
    if say(&lines) { Outcome::Done } else { Outcome::NobodyListens }
}

pub(crate) async fn conversations(home: Home, json: bool) -> Outcome {
    let listed = async { Store::open(&home).await?.conversations().await };
    let conversations = match listed.await {
        Ok(conversations) => conversations,
        Err(error) => return error.into(),
    };
    if json {
        return say_json(&conversations);
    }
    if conversations.is_empty() {
        eprintln!("There are no conversations yet. `tektra-cli chat` begins one.");
        return Outcome::Done;
    }
    let lines: String =
        conversations.iter().map(|conversation| format!("{}  {}\n", conversation.id, conversation.title)).collect();
    if say(&lines) { Outcome::Done } else { Outcome::NobodyListens }
}
