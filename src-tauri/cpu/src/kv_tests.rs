//! Every type of KV cache on the starter model.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use crate::{Ended, Executor, Job, KvType, Options, Piece, Sampling, Subject};

pub(crate) fn starter() -> PathBuf {
    let home = std::env::var_os("TEKTRA_HOME").map(PathBuf::from);
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    let home = home.or_else(|| data.map(|data| data.join("tektra"))).expect("a data folder");
    let path = home.join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.is_file(), "{} is missing: run `make setup` first", path.display());
    path
}

/// The answer to a conversation, how it ended, and how many tokens the prompt had.
fn answer(executor: &Executor, said: &[(&str, String)]) -> (String, Ended, usize) {
    let said: Vec<(&str, &str)> = said.iter().map(|(role, text)| (*role, text.as_str())).collect();
    let prompt = executor.prompt(&said, None).expect("a prompt");
    let prompt_tokens = prompt.len();
    let (say, pieces) = mpsc::channel();
    executor.submit(Job {
        prompt,
        max_tokens: 16,
        sampling: Sampling { temperature: 0.0, top_p: 1.0 },
        seed: None,
        cancelled: Default::default(),
        listener: Box::new(move |piece| drop(say.send(piece))),
    });
    let mut whole = String::new();
    loop {
        match pieces.recv_timeout(Duration::from_secs(300)).expect("an answer ends") {
            Piece::Text { text, .. } => whole.push_str(&text),
            Piece::Ended(ended) => return (whole, ended, prompt_tokens),
        }
    }
}

#[test]
fn a_kept_prefix_changes_no_answer_in_any_type() {
    for kv in KvType::ALL {
        let load = |kept_kv_bytes| {
            Executor::load(
                &starter(),
                Options { threads: 2, kept_kv: crate::Room::Bytes(kept_kv_bytes), kv, gpu_layers: Vec::new() },
                &mut |_| {},
            )
            .expect("a model")
        };
        let (keeping, forgetting) = (load(512 << 20), load(0));
        let mut said = vec![("system", "You are a helpful assistant.".to_owned())];
        for turn in 0..6 {
            let question = ["Tell me about whales.", "Why is that so?", "What would a child ask about it?"][turn % 3];
            said.push(("user", question.into()));
            let (with, ended, prompt_tokens) = answer(&keeping, &said);
            let (without, anew, _) = answer(&forgetting, &said);
            assert_eq!(with, without, "{kv}: turn {turn}");
            assert_eq!(anew.cached_tokens, 0);
            let computed = prompt_tokens - ended.cached_tokens as usize;
            assert!(turn == 0 || computed < 40, "{kv}: {computed} of {prompt_tokens} tokens were computed");
            said.push(("assistant", with));
        }
    }
}

#[test]
fn no_type_costs_quality() {
    let text = include_str!("../../core/text/the-old-lighthouse.txt");
    let perplexity = |kv| {
        let mut subject = Subject::load(&starter(), 2, kv, &[]).expect("a model");
        let tokens = subject.tokens(text).expect("tokens");
        subject.perplexity(&tokens[..400], 400).expect("a perplexity")
    };
    let exact = perplexity(KvType::F32);
    for kv in [KvType::F16, KvType::Q8] {
        // Products round activations to 8 bits, which turns any difference into one of up to half a percent.
        let difference = perplexity(kv) / exact - 1.0;
        assert!(difference != 0.0 && difference.abs() < 1e-2, "{kv}: {difference} from {exact}");
    }
}
