//! The CPU executor on the starter model: whatever is cached, batched or cancelled, a conversation gets the same text.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use tektra_cpu::{Ended, Executor, Job, KvType, Options, Outcome, Piece, Room, Sampling, Subject};
use tektra_tests::{TOPICS, starter_model};

const GREEDY: Sampling = Sampling { temperature: 0.0, top_p: 1.0 };

fn load(kv_bytes: usize) -> Executor {
    let threads = std::thread::available_parallelism().map_or(2, Into::into);
    Executor::load(
        &starter_model(),
        Options { threads, kept_kv: Room::Bytes(kv_bytes), kv: KvType::default(), gpu_layers: Vec::new() },
        &mut |_| {},
    )
    .expect("the starter model")
}

struct Answer {
    prompt_tokens: usize,
    pieces: mpsc::Receiver<Piece>,
    cancelled: Arc<AtomicBool>,
}

impl Answer {
    /// The whole text and how it ended.
    fn finish(&self) -> (String, Ended) {
        let mut whole = String::new();
        loop {
            match self.pieces.recv_timeout(Duration::from_secs(300)).expect("an answer ends") {
                Piece::Text { text, .. } => whole.push_str(&text),
                Piece::Ended(ended) => return (whole, ended),
            }
        }
    }
}

fn ask(executor: &Executor, turns: &[(&str, String)], max_tokens: usize, sampling: Sampling) -> Answer {
    let turns: Vec<(&str, &str)> = turns.iter().map(|(role, text)| (*role, text.as_str())).collect();
    let prompt = executor.prompt(&turns, None).expect("a prompt");
    let prompt_tokens = prompt.len();
    let (say, pieces) = mpsc::channel();
    let cancelled = Arc::new(AtomicBool::new(false));
    executor.submit(Job {
        prompt,
        max_tokens,
        sampling,
        seed: Some(3),
        cancelled: cancelled.clone(),
        listener: Box::new(move |piece| drop(say.send(piece))),
    });
    Answer { prompt_tokens, pieces, cancelled }
}

/// A conversation of `turns` turns: its texts, and how many tokens of the last prompt were computed anew.
fn converse(executor: &Executor, topic: &str, turns: usize) -> (Vec<String>, usize) {
    let mut said = vec![("system", "You are a helpful assistant.".to_owned())];
    let mut answers = Vec::new();
    let mut computed = 0;
    for turn in 0..turns {
        let question = match turn % 3 {
            0 => format!("Tell me about {topic}."),
            1 => "Why is that so? Answer in one sentence.".to_owned(),
            _ => format!("And what would a child ask about {topic}?"),
        };
        said.push(("user", question));
        let answer = ask(executor, &said, 16, GREEDY);
        let (text, ended) = answer.finish();
        computed = answer.prompt_tokens - ended.cached_tokens as usize;
        answers.push(text.clone());
        said.push(("assistant", text));
    }
    (answers, computed)
}

#[test]
fn a_file_that_is_cut_ends_answers_with_the_reason_and_not_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.gguf");
    std::fs::copy(starter_model(), &path).expect("a copy");
    let options = Options { threads: 2, kept_kv: Room::Bytes(0), kv: KvType::default(), gpu_layers: Vec::new() };
    let executor = Executor::load(&path, options, &mut |_| {}).expect("the starter model");
    let file = std::fs::File::options().write(true).open(&path).expect("the copy");
    file.set_len(1 << 20).expect("a cut");
    let asked = || ask(&executor, &[("user", "Tell me about rain.".to_owned())], 8, GREEDY);
    for answer in [asked(), asked()] {
        let (text, ended) = answer.finish();
        assert_eq!(ended.outcome, Outcome::Unreadable(std::io::ErrorKind::UnexpectedEof), "{text}");
    }
    drop(file);
    std::fs::copy(starter_model(), &path).expect("the file is whole again");
    assert_eq!(asked().finish().1.outcome, Outcome::Length, "and so are the answers");
}

#[test]
fn a_kept_prefix_never_changes_an_answer() {
    let (keeping, forgetting) = (load(512 << 20), load(0));
    for topic in TOPICS {
        let (with, few) = converse(&keeping, topic, 2);
        let (without, all) = converse(&forgetting, topic, 2);
        assert_eq!(with, without, "{topic}");
        // The end of the answer, the question, and the template's words around them.
        assert!(few < 30 && all > 50, "{few} of {all} tokens were computed");
    }
    for topic in &TOPICS[..5] {
        let (with, few) = converse(&keeping, topic, 10);
        let (without, all) = converse(&forgetting, topic, 10);
        assert_eq!(with, without, "ten turns about {topic}");
        assert!(few < 40 && all > 250, "{few} of {all} tokens were computed");
    }
}

#[test]
fn answers_side_by_side_are_the_answers_alone() {
    let executor = load(0);
    let question = |topic: &str| [("user", format!("Tell me something about {topic}."))];
    let alone: Vec<String> =
        TOPICS[..8].iter().map(|topic| ask(&executor, &question(topic), 24, GREEDY).finish().0).collect();
    let together: Vec<Answer> = TOPICS[..8].iter().map(|topic| ask(&executor, &question(topic), 24, GREEDY)).collect();
    for (answer, expected) in together.iter().zip(&alone) {
        let (text, ended) = answer.finish();
        assert_eq!(&text, expected);
        assert_eq!(ended.outcome, Outcome::Length);
    }
}

#[test]
fn every_one_of_many_answers_ends_with_an_outcome() {
    let executor = load(64 << 20);
    let answers: Vec<Answer> = (0..24)
        .map(|number| {
            let topic = TOPICS[number % TOPICS.len()];
            let cancelled = number % 4 == 3;
            // Not over before it is cancelled, should this thread have to wait.
            let most = if cancelled { 4000 } else { 6 + number % 5 };
            let answer = ask(&executor, &[("user", format!("{number}: {topic}?"))], most, GREEDY);
            if cancelled {
                answer.cancelled.store(true, Ordering::Relaxed);
            }
            answer
        })
        .collect();
    for (number, answer) in answers.iter().enumerate() {
        let (text, ended) = answer.finish();
        if number % 4 == 3 {
            assert!(matches!(ended.outcome, Outcome::Cancelled), "{number}: {:?}", ended.outcome);
        } else {
            assert!(matches!(ended.outcome, Outcome::Stop | Outcome::Length), "{number}: {:?}", ended.outcome);
            assert!(!text.is_empty() && ended.completion_tokens > 0 && ended.first_token.is_some());
        }
        assert!(answer.pieces.recv().is_err(), "{number}: nothing comes after the end");
    }
}

#[test]
fn a_seed_repeats_a_sampled_answer_beside_others() {
    let executor = load(0);
    let sampling = Sampling { temperature: 1.0, top_p: 0.95 };
    let question = [("user", "Write a poem.".to_owned())];
    let alone = ask(&executor, &question, 24, sampling).finish().0;
    let other = ask(&executor, &[("user", "Count to fifty.".to_owned())], 48, GREEDY);
    assert_eq!(ask(&executor, &question, 24, sampling).finish().0, alone);
    other.finish();
}

#[test]
fn an_answer_is_cancelled_in_the_middle_and_the_next_one_works() {
    let executor = load(64 << 20);
    let answer = ask(&executor, &[("user", "Write a very long story about a ship.".to_owned())], 4000, GREEDY);
    for _ in 0..3 {
        assert!(matches!(answer.pieces.recv(), Ok(Piece::Text { .. })));
    }
    answer.cancelled.store(true, Ordering::Relaxed);
    let (_, ended) = answer.finish();
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert!(ended.completion_tokens >= 3 && ended.completion_tokens < 4000);
    assert_eq!(ask(&executor, &[("user", "Say hello.".to_owned())], 3, GREEDY).finish().1.completion_tokens, 3);
}

#[test]
fn perplexity_is_the_same_at_every_instruction_set_to_the_last_bit() {
    // The level is chosen once a process, so each measurement is one of its own.
    let text = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../src-tauri/core/text/the-old-lighthouse.txt");
    if let Ok(level) = std::env::var("TEKTRA_SIMD") {
        let mut subject = Subject::load(&starter_model(), 2, KvType::default(), &[]).expect("the starter model");
        let tokens = subject.tokens(&std::fs::read_to_string(text).expect("the text")).expect("tokens");
        assert_eq!(subject.simd(), level);
        // Plain code is slow; any difference shows in the first tokens already.
        eprintln!("perplexity={}", subject.perplexity(&tokens[..300], 512).expect("a perplexity"));
        assert!(subject.perplexity(&tokens[..1], 512).is_err(), "too short to measure anything");
        return;
    }
    let measure = |level: &str| -> f64 {
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "perplexity_is_the_same_at_every_instruction_set_to_the_last_bit", "--nocapture"])
            .env("TEKTRA_SIMD", level)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = said.lines().find_map(|line| line.strip_prefix("perplexity=")).expect(&said);
        value.parse().expect("a number")
    };
    let plain = measure("portable");
    assert!((5.0..60.0).contains(&plain), "a language model of this size: {plain}");
    for level in tektra_kernels::Level::available() {
        assert_eq!(measure(level.name()), plain, "{}", level.name());
    }
}

/// Writes the starter model as two files, the second with every other tensor.
fn split_starter(folder: &std::path::Path) -> std::path::PathBuf {
    let whole = std::fs::read(starter_model()).expect("the starter model");
    let header = tektra_gguf::Header::read(&whole).expect("a header");
    let info = |name: &str| [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
    let first = info(&header.tensors[0].name);
    let metadata_end = whole.windows(first.len()).position(|bytes| bytes == first).expect("the first tensor");
    let data = |index: usize| {
        let start = header.tensors[index].offset;
        let end = header.tensors.iter().map(|tensor| tensor.offset).filter(|&offset| offset > start).min();
        let end = end.map_or(whole.len() as u64, |end| header.data_start + end);
        &whole[(header.data_start + start) as usize..end as usize]
    };
    let mut paths = Vec::new();
    for part in 0..2_usize {
        let own: Vec<usize> = (0..header.tensors.len()).filter(|index| index % 2 == part).collect();
        let mut bytes = whole[..8].to_vec();
        bytes.extend((own.len() as u64).to_le_bytes());
        bytes.extend(if part == 0 { &whole[16..metadata_end] } else { &[0; 8] });
        let mut offset = 0_u64;
        for &index in &own {
            let tensor = &header.tensors[index];
            bytes.extend(info(&tensor.name));
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            tensor.dimensions.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += data(index).len() as u64;
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        own.iter().for_each(|&index| bytes.extend(data(index)));
        paths.push(folder.join(format!("starter-0000{}-of-00002.gguf", part + 1)));
        std::fs::write(&paths[part], bytes).expect("a part");
    }
    paths.swap_remove(1)
}

#[test]
fn a_model_in_parts_is_the_same_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let any_part = split_starter(folder.path());
    let text = include_str!("../src-tauri/core/text/the-old-lighthouse.txt");
    let perplexity = |path: &std::path::Path| {
        let mut subject = Subject::load(path, 2, KvType::default(), &[]).expect("a model");
        let tokens = subject.tokens(text).expect("tokens");
        subject.perplexity(&tokens[..200], 200)
    };
    assert_eq!(perplexity(&any_part).expect("a perplexity"), perplexity(&starter_model()).expect("a perplexity"));

    std::fs::remove_file(folder.path().join("starter-00001-of-00002.gguf")).expect("a part");
    let error = Subject::load(&any_part, 2, KvType::default(), &[]).err().expect("a part is missing").to_string();
    assert!(error.contains("starter-00001-of-00002.gguf"), "{error}");
}
