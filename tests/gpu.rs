//! What an NVIDIA GPU computes of the starter model, beside the CPU: the same to the last bit. Needs the feature `nvidia`
//! and a GPU; where there is none, each test says that it was skipped.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::Duration,
};

use tektra_cpu::{Executor, GpuError, Job, KvType, LoadError, Options, Piece, Room, Sampling, Subject};
use tektra_tests::{TOPICS, starter_model};

const LAYERS: usize = 30;
const GREEDY: Sampling = Sampling { temperature: 0.0, top_p: 1.0 };

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, Into::into)
}

/// None, said aloud, where there is no GPU to compute on.
fn loaded<T>(what: Result<T, LoadError>) -> Option<T> {
    match what {
        Ok(loaded) => Some(loaded),
        Err(LoadError::Gpu(error @ (GpuError::Driver(_) | GpuError::Unsupported(_)))) => {
            println!("SKIPPED: nothing was computed on a GPU ({error}).");
            None
        }
        Err(error) => panic!("the starter model: {error}"),
    }
}

fn executor(gpu_layers: &[usize], kept_kv: Room) -> Option<Executor> {
    let options = Options { threads: threads(), kept_kv, kv: KvType::F16, gpu_layers: gpu_layers.to_vec() };
    loaded(Executor::load(&starter_model(), options, &mut |_| {}))
}

/// The answers to all prompts, `at_once` of them side by side.
fn answers(executor: &Executor, prompts: &[String], at_once: usize) -> Vec<String> {
    let mut waiting = VecDeque::new();
    let mut texts = Vec::new();
    let mut finish = |waiting: &mut VecDeque<mpsc::Receiver<Piece>>| {
        let Some(pieces) = waiting.pop_front() else { return };
        let mut text = String::new();
        while let Piece::Text { text: more, .. } =
            pieces.recv_timeout(Duration::from_secs(120)).expect("an answer ends")
        {
            text.push_str(&more);
        }
        texts.push(text);
    };
    for prompt in prompts {
        let prompt = executor.prompt(&[("user", prompt)], None).expect("a prompt");
        let (say, pieces) = mpsc::channel();
        executor.submit(Job {
            prompt,
            max_tokens: 32,
            sampling: GREEDY,
            seed: None,
            cancelled: Arc::new(AtomicBool::new(false)),
            listener: Box::new(move |piece| drop(say.send(piece))),
        });
        waiting.push_back(pieces);
        if waiting.len() == at_once {
            finish(&mut waiting);
        }
    }
    while !waiting.is_empty() {
        finish(&mut waiting);
    }
    texts
}

/// Fifty, short and long.
fn prompts() -> Vec<String> {
    let short = TOPICS.iter().map(|topic| format!("Tell me about {topic}."));
    let why = TOPICS[..10].iter().map(|topic| format!("Why do people like {topic}?"));
    let long = TOPICS.iter().enumerate().map(|(number, topic)| {
        let before = "The old keeper reads the weather from the birds. ".repeat(number);
        format!("{before}Write a sentence about {topic}.")
    });
    short.chain(why).chain(long).collect()
}

#[test]
fn fifty_answers_are_those_of_the_cpu_alone_or_sixteen_at_once_wherever_the_layers_lie() {
    let prompts = prompts();
    let Some(all) = executor(&[LAYERS], Room::Tokens(8192)) else { return };
    let alone = answers(&all, &prompts, 1);
    assert_eq!(answers(&all, &prompts, 16), alone, "side by side as alone, with prefixes kept");
    drop(all);
    let without = executor(&[LAYERS], Room::Bytes(0)).expect("a GPU");
    assert_eq!(answers(&without, &prompts, 16), alone, "without kept prefixes");
    drop(without);
    let half = executor(&[LAYERS / 2], Room::Tokens(8192)).expect("a GPU");
    assert_eq!(answers(&half, &prompts, 8), alone, "with half of the layers on the CPU");
    drop(half);
    // Where there is a second one.
    if let Some(two) = executor(&[LAYERS / 2, LAYERS - LAYERS / 2], Room::Tokens(8192)) {
        assert_eq!(answers(&two, &prompts, 16), alone, "shared by two GPUs");
    }
    let cpu = executor(&[], Room::Bytes(0)).expect("the CPU");
    assert_eq!(answers(&cpu, &prompts, 8), alone, "on the CPU");
}

#[test]
fn every_prediction_is_that_of_the_cpu_to_the_last_bit() {
    let text = include_str!("../ARCHITECTURE.md");
    for kv in KvType::ALL {
        let load = |layers: &[usize]| Subject::load(&starter_model(), threads(), kv, layers);
        for layers in [&[LAYERS][..], &[1], &[LAYERS / 3, LAYERS / 2]] {
            let Some(mut gpu) = loaded(load(layers)) else { continue };
            let mut cpu = loaded(load(&[])).expect("the CPU");
            let tokens = gpu.tokens(text).expect("tokens");
            let read = gpu.quality(Some(&mut cpu), &tokens[..700], 700).expect("a measurement");
            let mut written = gpu.one_by_one();
            let written = written.quality(Some(&mut cpu), &tokens[..300], 300).expect("a measurement");
            for (how, quality) in [("read", read), ("written", written)] {
                let divergence = quality.divergence.expect("a reference");
                let apart = (divergence.kl_mean, divergence.kl_p99, divergence.same_top_percent);
                assert_eq!(apart, (0.0, 0.0, 100.0), "{how}, {layers:?} layers on GPUs, {kv}");
            }
        }
    }
}
