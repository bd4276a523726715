//! `loadtest`.

use std::{io::IsTerminal, str::FromStr};

use clap::Args;
use tektra_core::{
    Engine, EngineOptions, Error, Home, Latencies, Library, LoadProgress, LoadReport, LoadRequest, LoadScenario,
    LoadWeight,
};
use tokio::sync::watch;

use crate::{
    models::{placement, stored},
    outcome::{Outcome, say, say_json},
};

/// What to do.
#[derive(Args)]
pub(crate) struct Load {
    /// The model; the one in use when absent
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// People, each with a conversation of their own
    #[arg(long, value_name = "N", default_value_t = 4)]
    users: u32,
    /// Requests a second of all of them together, at random times, whether the engine keeps up or not
    #[arg(long, value_name = "R", default_value_t = 0.5)]
    rate: f64,
    /// How many seconds requests arrive
    #[arg(long, value_name = "S", default_value_t = 30)]
    duration: u32,
    /// Seconds until they arrive at the full rate
    #[arg(long, value_name = "S", default_value_t = 0)]
    ramp: u32,
    /// What requests are and how often: chat, follow_up, long_prompt, api
    #[arg(
        long,
        value_name = "KIND=WEIGHT,…",
        value_delimiter = ',',
        default_value = "chat=4,follow_up=3,long_prompt=2,api=1"
    )]
    mix: Vec<Weight>,
    /// The longest answer in tokens
    #[arg(long, value_name = "N", default_value_t = 48)]
    max_tokens: u32,
    /// A first token within this time is a good one
    #[arg(long, value_name = "MS", default_value_t = 500.0)]
    target: f64,
    /// The same seed, the same requests at the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads to compute with (all cores when absent)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `chat=4`.
#[derive(Clone, Copy)]
struct Weight(LoadWeight);

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no KIND=WEIGHT such as chat=4; the kinds are chat, follow_up, long_prompt, api");
        let (name, weight) = text.split_once('=').ok_or_else(wrong)?;
        let scenario = LoadScenario::ALL.into_iter().find(|scenario| option(*scenario) == name);
        Ok(Self(LoadWeight { scenario: scenario.ok_or_else(wrong)?, weight: weight.parse().map_err(|_| wrong())? }))
    }
}

/// A scenario's name in options.
fn option(scenario: LoadScenario) -> &'static str {
    match scenario {
        LoadScenario::Chat => "chat",
        LoadScenario::FollowUp => "follow_up",
        LoadScenario::LongPrompt => "long_prompt",
        LoadScenario::Api => "api",
    }
}

pub(crate) async fn run(home: Home, load: Load) -> Outcome {
    let json = load.json;
    match measure(home, load).await {
        Ok(report) => {
            let said = if json { say_json(&report) } else { table(&report) };
            match said {
                Outcome::Done if report.cancelled => Outcome::Interrupted,
                said => said,
            }
        }
        Err(error) => error.into(),
    }
}

async fn measure(home: Home, load: Load) -> Result<LoadReport, Error> {
    let test = LoadRequest {
        users: load.users,
        rate_per_second: load.rate,
        seconds: load.duration,
        ramp_seconds: load.ramp,
        max_tokens: load.max_tokens,
        target_first_token_ms: load.target,
        mix: load.mix.into_iter().map(|Weight(weight)| weight).collect(),
    };
    test.check()?;
    let (settings, _) = stored(&home).await?;
    let model = Library::new(&home, &settings).find(load.model.as_deref().or(settings.model.as_deref()))?;
    let wish = placement(&home, &model.name).await?;
    let model = model.placed(wish);
    let engine = Engine::new(EngineOptions { threads: load.threads, ..EngineOptions::find() }, home);
    let (stop, stopping) = watch::channel(false);
    let interrupt = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupt.send_replace(true);
        }
    });
    let in_place = std::io::stderr().is_terminal();
    let told = |progress: LoadProgress| {
        if in_place && progress.loading {
            eprint!("\r\x1b[Kloading the model");
        } else if in_place {
            eprint!("\r\x1b[K{} requests, {} answered", progress.arrived, progress.answered);
        }
    };
    let report = tektra_core::load_test(&engine, &model, &test, load.seed, told, stopping).await;
    if in_place {
        eprint!("\r\x1b[K");
    }
    engine.end().await;
    report
}

fn table(report: &LoadReport) -> Outcome {
    let mut lines = format!(
        "{} requests in {:.1} s: {} answered, {} failed, {:.1} tokens a second\n",
        report.requests, report.seconds, report.answered, report.failed, report.tokens_per_second
    );
    lines += &format!("{:22}{:>9}{:>9}{:>9}{:>9}{:>9}\n", "", "p50 ms", "p90", "p95", "p99", "max");
    let mut row = |name: &str, times: &Latencies| {
        let times = [times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms];
        let times = times.map(|time| time.map_or("–".into(), |time| format!("{time:.0}")));
        lines += &format!("{name:22}{}\n", times.map(|time| format!("{time:>9}")).concat());
    };
    row("First token", &report.first_token);
    for part in &report.scenarios {
        let name = match part.scenario {
            LoadScenario::Chat => "  first messages",
            LoadScenario::FollowUp => "  follow-ups",
            LoadScenario::LongPrompt => "  long prompts",
            LoadScenario::Api => "  of programs",
        };
        row(name, &part.first_token);
    }
    row("Whole answer", &report.total);
    if let Some(share) = report.good_share {
        let (percent, goodput) = (share * 100.0, report.goodput_per_second);
        lines += &format!("First token in time: {percent:.0} %, {goodput:.2} requests a second\n");
    }
    for error in &report.errors {
        lines += &format!("{} times: {}\n", error.count, error.text);
    }
    say(&lines)
}
