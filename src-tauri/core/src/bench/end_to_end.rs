//! Answers as a person gets them: through the core, the socket and the engine's queue, for one cell of a run.

use tektra_bench::{BenchCell, CellOutcome, Lengths, MetricName};
use tektra_protocol::{Role, Turn};
use tokio::sync::{mpsc, watch};

use super::process::{Ended, Halts};
use crate::{
    Home, Receipt, Result,
    engine::{Ask, Engine, EngineOptions},
    models::{Model, TEXT},
};

/// More words than any prompt here has tokens.
const MOST_WORDS: usize = 4_096;

/// The cell that stands for all: one answer at a time, on a GPU if any is, all threads, the shortest context, the usual KV
/// cache.
pub(super) fn representative(cells: &[BenchCell]) -> Option<usize> {
    let measured =
        cells.iter().enumerate().filter(|(_, cell)| cell.outcome == CellOutcome::Measured && cell.key.batch == 1);
    let rank = |cell: &BenchCell| {
        let key = &cell.key;
        (key.gpu().is_none(), key.kv != Default::default(), key.depth_tokens, u32::MAX - key.threads)
    };
    measured.min_by_key(|(_, cell)| rank(cell)).map(|(at, _)| at)
}

/// Measures `repetitions` answers in an engine of their own. `Err(None)` when the benchmark is cancelled.
///
/// The prompt has about as many tokens as the cell's, and begins otherwise each time, so that no kept prefix helps.
pub(super) async fn end_to_end(
    options: EngineOptions,
    home: &Home,
    model: Model,
    lengths: Lengths,
    repetitions: u32,
    halts: &mut Halts,
) -> Result<Vec<(MetricName, Vec<f64>)>, Option<String>> {
    let engine = Engine::new(options, home.clone());
    let measured = answers(&engine, &model, lengths, repetitions, halts).await;
    engine.end().await;
    measured
}

async fn answers(
    engine: &Engine,
    model: &Model,
    lengths: Lengths,
    repetitions: u32,
    halts: &mut Halts,
) -> Result<Vec<(MetricName, Vec<f64>)>, Option<String>> {
    let prompt = lengths.prompt as usize;
    // The warm-up tells how many tokens so many words are.
    let warm_up = answer(engine, model, words(0, prompt), lengths, halts).await?;
    let tokens = warm_up.prompt_tokens.max(1) as usize;
    let count = (prompt * prompt / tokens).clamp(1, MOST_WORDS);
    let (mut waits, mut speeds) = (Vec::new(), Vec::new());
    for repetition in 1..=repetitions as usize {
        let receipt = answer(engine, model, words(repetition * 7, count), lengths, halts).await?;
        waits.extend(receipt.ttft_ms);
        speeds.push(f64::from(receipt.completion_tokens) / (receipt.total_ms / 1e3));
    }
    Ok(vec![(MetricName::EndToEndFirstTokenMs, waits), (MetricName::EndToEndTokensPerSecond, speeds)])
}

/// `count` words of our text from word `from` on.
fn words(from: usize, count: usize) -> String {
    TEXT.split_whitespace().cycle().skip(from).take(count).collect::<Vec<_>>().join(" ")
}

/// One answer; again when one in the chat began meanwhile.
async fn answer(
    engine: &Engine,
    model: &Model,
    text: String,
    lengths: Lengths,
    halts: &mut Halts,
) -> Result<Receipt, Option<String>> {
    loop {
        if !halts.chat_is_quiet().await {
            return Err(None);
        }
        let turns = vec![Turn { role: Role::User, text: text.clone() }];
        let ask = Ask { turns, continue_from: None, max_tokens: lengths.decode, temperature: 0.0 };
        let (pieces, _said) = mpsc::unbounded_channel();
        let (stop, stopping) = watch::channel(false);
        let answering = engine.answer(model, ask, pieces, stopping);
        tokio::pin!(answering);
        tokio::select! {
            biased;
            halted = halts.halted() => {
                stop.send_replace(true);
                let _ = answering.await;
                if matches!(halted, Ended::Cancelled) {
                    return Err(None);
                }
            }
            answer = &mut answering => return answer.map_err(|error| Some(error.to_string())),
        }
    }
}
