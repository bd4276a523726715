//! `loadtest`.

use std::{io::IsTerminal, time::Duration};

use clap::Args;
use tektra_core::{Engine, EngineOptions, Error, Home, Latencies, Library, LoadReport, LoadTest, Scenario};
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
    duration: u64,
    /// Seconds until they arrive at the full rate
    #[arg(long, value_name = "S", default_value_t = 0)]
    ramp: u64,
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

pub(crate) async fn run(home: Home, load: Load) -> Outcome {
    let json = load.json;
    match measure(home, load).await {
        Ok((report, stopped)) => {
            let said = if json { say_json(&report) } else { table(&report) };
            if stopped { Outcome::Interrupted } else { said }
        }
        Err(error) => error.into(),
    }
}

async fn measure(home: Home, load: Load) -> Result<(LoadReport, bool), Error> {
    let test = LoadTest {
        users: load.users,
        rate_per_second: load.rate,
        duration: Duration::from_secs(load.duration),
        ramp: Duration::from_secs(load.ramp),
        max_tokens: load.max_tokens,
        first_token_target_ms: load.target,
        seed: load.seed,
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
    let told = |arrived: usize, over: usize| {
        if in_place {
            eprint!("\r\x1b[K{arrived} requests, {over} answered");
        }
    };
    let report = tektra_core::load_test(&engine, &model, &test, told, stopping).await;
    if in_place {
        eprint!("\r\x1b[K");
    }
    engine.end().await;
    Ok((report?, *stop.borrow()))
}

fn table(report: &LoadReport) -> Outcome {
    let mut lines = format!(
        "{} requests in {:.1} s: {} answered, {} failed, {:.1} tokens a second\n",
        report.requests, report.seconds, report.answered, report.errors, report.tokens_per_second
    );
    lines += &format!("{:22}{:>9}{:>9}{:>9}{:>9}{:>9}\n", "", "p50 ms", "p90", "p95", "p99", "max");
    let mut row = |name: &str, times: &Latencies| {
        lines += &format!(
            "{name:22}{:>9.0}{:>9.0}{:>9.0}{:>9.0}{:>9.0}\n",
            times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms
        );
    };
    row("First token", &report.first_token);
    for (scenario, times) in report.scenarios.iter().filter(|(_, times)| times.count > 0) {
        row(
            match scenario {
                Scenario::Chat => "  first messages",
                Scenario::FollowUp => "  follow-ups",
                Scenario::LongPrompt => "  long prompts",
            },
            times,
        );
    }
    row("Whole answer", &report.total);
    lines += &format!(
        "First token in time: {:.0} %, {:.2} requests a second\n",
        report.good_share * 100.0,
        report.goodput_per_second
    );
    for reason in &report.reasons {
        lines += &format!("{reason}\n");
    }
    if say(&lines) { Outcome::Done } else { Outcome::NobodyListens }
}
