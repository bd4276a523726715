//! `ask`: one question, one answer, nothing stored.

use std::{
    io::{IsTerminal, Read},
    path::Path,
};

use serde::Serialize;
use serde_json::json;
use tektra_core::{
    Ask, Engine, EngineOptions, EngineState, Error, FinishReason, Home, Library, Model, Piece, Receipt, Role, Settings,
    Store, Turn,
};
use tokio::sync::{mpsc, watch};

use crate::{
    Choice,
    outcome::{Outcome, readable, say, say_json},
};

pub(crate) async fn ask(home: Home, prompt: Option<String>, choice: Choice, json: bool) -> Outcome {
    let outcome = answer(home, prompt, choice, json).await;
    match outcome {
        Outcome::Failed(error) if json => {
            let _ = say_json(&json!({ "error": error.report() }));
            Outcome::Failed(error)
        }
        outcome => outcome,
    }
}

async fn answer(home: Home, prompt: Option<String>, choice: Choice, json: bool) -> Outcome {
    let prompt = match prompt.filter(|prompt| prompt != "-") {
        Some(prompt) => prompt,
        None => match read_stdin() {
            Ok(prompt) => prompt,
            Err(error) => return error.into(),
        },
    };
    if prompt.trim().is_empty() {
        return Error::EmptyPrompt.into();
    }
    let settings = choice.overrides().apply(stored_settings(&home).await);
    let model = match Library::new(&home, &settings).find(settings.model.as_deref()) {
        Ok(model) => model,
        Err(error) => return error.into(),
    };
    // A placement that cannot be read only costs itself.
    let wish = crate::models::placement(&home, &model.name).await.unwrap_or_default();
    let model = model.placed(wish);
    let mut turns = Vec::new();
    if !settings.system_prompt.trim().is_empty() {
        turns.push(Turn { role: Role::System, text: settings.system_prompt });
    }
    turns.push(Turn { role: Role::User, text: prompt });

    let engine = Engine::new(EngineOptions { threads: choice.threads, ..EngineOptions::find() }, home);
    let (stop, stopping) = watch::channel(false);
    let (pieces, mut arriving) = mpsc::unbounded_channel::<Piece>();
    let ask = Ask { turns, continue_from: None, max_tokens: settings.max_tokens, temperature: settings.temperature };
    let interrupts = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupts.send_replace(true);
        }
    });
    let printing = async {
        let (mut text, mut said) = (String::new(), Outcome::Done);
        while let Some(piece) = arriving.recv().await {
            if !json && matches!(said, Outcome::Done) {
                said = say(&piece.text);
                if !matches!(said, Outcome::Done) {
                    stop.send_replace(true);
                }
            }
            text.push_str(&piece.text);
        }
        (text, said)
    };
    let (answer, (text, said)) = tokio::join!(engine.answer(&model, ask, pieces, stopping), printing);
    if let EngineState::Ready { model } | EngineState::Thinking { model, .. } = &*engine.state().borrow() {
        model.warnings.iter().for_each(|warning| eprintln!("Note: {warning}"));
    }
    engine.end().await;
    let receipt = match answer {
        Ok(receipt) => receipt,
        Err(error) => {
            if !json && !text.is_empty() {
                say("\n");
            }
            return error.into();
        }
    };
    let said = match said {
        Outcome::Done if json => say_json(&Report::new(&text, &receipt, &model)),
        Outcome::Done => say("\n"),
        cut => cut,
    };
    if !json && matches!(said, Outcome::Done) {
        eprintln!("{}", summary(&receipt));
    }
    match (receipt.finish_reason, said) {
        (FinishReason::Cancelled, Outcome::Done) => Outcome::Interrupted,
        (_, said) => said,
    }
}

fn read_stdin() -> Result<String, Error> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Error::EmptyPrompt);
    }
    let mut bytes = Vec::new();
    stdin
        .read_to_end(&mut bytes)
        .map_err(|error| Error::InvalidInput { what: format!("Standard input cannot be read: {error}.") })?;
    Ok(readable(bytes))
}

/// The window's settings hold here too; a data folder that cannot be used only costs them.
async fn stored_settings(home: &Home) -> Settings {
    if !home.database().exists() {
        return Settings::default();
    }
    match Store::open(home).await {
        Ok(store) => store.settings().await.unwrap_or_default(),
        Err(error) => {
            eprintln!("{error} The default settings are used.");
            Settings::default()
        }
    }
}

/// The one line below an answer.
pub(crate) fn summary(receipt: &Receipt) -> String {
    let first = receipt.ttft_ms.map_or_else(|| "no token".into(), |ms| format!("first token {ms:.0} ms"));
    let speed = receipt.decode_tokens_per_second.map_or_else(String::new, |speed| format!(" · {speed:.1} tok/s"));
    format!(
        "{first}{speed} · {} + {} tokens · {} · {} · {}",
        receipt.prompt_tokens, receipt.completion_tokens, receipt.model, receipt.quantization, receipt.device
    )
}

/// The contract of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    text: &'a str,
    finish_reason: FinishReason,
    usage: Usage,
    timings: Timings,
    model: Used<'a>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    cached_tokens: u32,
    completion_tokens: u32,
}

#[derive(Serialize)]
struct Timings {
    queue_ms: f64,
    load_ms: f64,
    ttft_ms: Option<f64>,
    total_ms: f64,
    prefill_tokens_per_second: Option<f64>,
    decode_tokens_per_second: Option<f64>,
}

#[derive(Serialize)]
struct Used<'a> {
    name: &'a str,
    path: &'a Path,
    architecture: &'a str,
    quantization: &'a str,
    context_length: u32,
    device: &'a str,
}

impl<'a> Report<'a> {
    fn new(text: &'a str, receipt: &'a Receipt, model: &'a Model) -> Self {
        Self {
            text,
            finish_reason: receipt.finish_reason,
            usage: Usage {
                prompt_tokens: receipt.prompt_tokens,
                cached_tokens: receipt.cached_tokens,
                completion_tokens: receipt.completion_tokens,
            },
            timings: Timings {
                queue_ms: receipt.queue_ms,
                load_ms: receipt.load_ms,
                ttft_ms: receipt.ttft_ms,
                total_ms: receipt.total_ms,
                prefill_tokens_per_second: receipt.prefill_tokens_per_second,
                decode_tokens_per_second: receipt.decode_tokens_per_second,
            },
            model: Used {
                name: &model.name,
                path: &model.path,
                architecture: &model.architecture,
                quantization: &model.quantization,
                context_length: model.context_length,
                device: &receipt.device,
            },
        }
    }
}
