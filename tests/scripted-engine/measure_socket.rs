//! What a token costs on its way from the engine's socket to the core's listener: a scripted engine sends tokens as
//! fast as they are taken. Prints `{"samples_us": […]}`, microseconds a token, one sample a run.

use std::time::Instant;

use tektra_core::{Ask, Engine, Model, Role, Turn};
use tektra_tests::{Folder, scripted};
use tokio::sync::{mpsc, watch};

const RUNS: usize = 7;
const TOKENS: u32 = 20_000;

#[tokio::main]
async fn main() {
    let folder = Folder::with_model("small");
    let model = Model::open(&folder.home().models().join("small.gguf")).expect("a model");
    let engine = Engine::new(scripted(), folder.home());
    engine.warm(&model).await.expect("the scripted engine starts");
    let mut samples = Vec::new();
    // The first run warms up.
    for run in 0..=RUNS {
        let (pieces, mut arriving) = mpsc::unbounded_channel();
        let (_stop, stopping) = watch::channel(false);
        let ask = Ask {
            turns: vec![Turn { role: Role::User, text: format!("flood {TOKENS}") }],
            continue_from: None,
            max_tokens: TOKENS,
            temperature: 0.0,
        };
        let begun = Instant::now();
        let counting = async {
            let mut count = 0;
            while arriving.recv().await.is_some() {
                count += 1;
            }
            count
        };
        let (answer, count) = tokio::join!(engine.answer(&model, ask, pieces, stopping), counting);
        answer.expect("an answer");
        assert_eq!(count, TOKENS);
        if run > 0 {
            samples.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(TOKENS));
        }
    }
    engine.end().await;
    println!("{}", serde_json::json!({ "samples_us": samples }));
}
