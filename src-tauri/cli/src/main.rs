//! Tektra in a terminal.
//!
//! What a model says goes to standard output, everything else to standard error.

mod ask;
mod bench;
mod chat;
mod list;
mod loadtest;
mod models;
mod outcome;
mod top;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tektra_core::{Home, Overrides};

use outcome::Outcome;

/// A private, local, fast AI assistant.
///
/// Everything runs on this machine. Exit codes: 0 done, 1 the data folder or standard output cannot be used,
/// 2 wrong usage or input, 3 the model cannot be used, 4 the engine failed, 5 a download failed, 130 interrupted.
#[derive(Parser)]
#[command(name = "tektra-cli", version, arg_required_else_help = true)]
struct Arguments {
    /// Tell on standard error what is being done (RUST_LOG gives finer control)
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask one question; nothing is stored
    Ask {
        /// The question; read from standard input when absent or "-"
        prompt: Option<String>,
        #[command(flatten)]
        choice: Choice,
        /// Print one JSON object instead of streaming text
        #[arg(long)]
        json: bool,
    },
    /// Converse; stored like the window's conversations. Reads a pipe too: each line is a message
    #[command(
        after_help = "In the conversation: /stop ends the answer, /new begins another conversation, /quit leaves.\nCtrl+C stops the answer; pressed again, it leaves."
    )]
    Chat {
        #[command(flatten)]
        choice: Choice,
        /// Go on with this conversation (its id, from `conversations list`)
        #[arg(long, value_name = "ID")]
        conversation: Option<String>,
    },
    /// The models: on this machine, in the catalogue, in memory
    #[command(subcommand)]
    Models(models::Models),
    /// Measure how fast configurations are, and look at what was measured
    Bench(bench::Bench),
    /// The stored conversations
    #[command(subcommand)]
    Conversations(List),
    /// Let several people use a model at once, and show how long they wait
    Loadtest {
        #[command(flatten)]
        load: loadtest::Load,
    },
    /// Show what this machine does, and what windows and chats on this data folder have of it
    Top(top::Top),
    /// Show what running windows and conversations measured, in the text format of Prometheus
    Metrics,
}

#[derive(Subcommand)]
enum List {
    /// Show them all
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// What differs from the settings for this run.
#[derive(Args)]
struct Choice {
    /// A model's name from `models list`, or the path of a GGUF file
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Instructions that stand before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The longest answer in tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// From 0 (the likeliest token every time) to 2
    #[arg(long, value_name = "T", value_parser = temperature)]
    temperature: Option<f64>,
    /// Threads to compute with (all cores when absent)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
}

impl Choice {
    fn overrides(&self) -> Overrides {
        Overrides {
            model: self.model.clone(),
            system_prompt: self.system.clone(),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            ..Overrides::default()
        }
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=2.0).contains(&value) => Ok(value),
        _ => Err("it must be a number between 0 and 2".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let home = match Home::find() {
        Ok(home) => home,
        Err(error) => return Outcome::from(error).exit(),
    };
    let _log = tektra_core::log::init(&home, arguments.verbose);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("No threads can be started: {error}.");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Ask { prompt, choice, json } => ask::ask(home, prompt, choice, json).await,
            Command::Chat { choice, conversation } => chat::chat(home, choice, conversation).await,
            Command::Models(command) => models::run(home, command).await,
            Command::Bench(command) => bench::run(home, command).await,
            Command::Conversations(List::List { json }) => list::conversations(home, json).await,
            Command::Loadtest { load } => loadtest::run(home, load).await,
            Command::Top(top) => top::run(home, top).await,
            Command::Metrics => list::metrics(&home).await,
        }
    });
    // Reading standard input cannot be interrupted: do not wait for that thread.
    runtime.shutdown_background();
    outcome.exit()
}
