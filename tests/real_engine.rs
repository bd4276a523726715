//! The real engine on the starter model: a conversation, a stop, a kill, bad input.

use std::time::Duration;

use tektra_core::{
    CoreEvent, EngineOptions, EngineState, ErrorCode, KvWish, MessageStatus, PlacementWish, Settings, Tektra, WorkState,
};
use tektra_tests::{
    converse, executable, finished, folder_with_starter, is_running, send, stdout, terminal, texts, wait_for,
};
use tokio::time::sleep;

#[tokio::test]
async fn a_conversation_of_two_turns_a_stop_a_kill_and_a_way_on() {
    let folder = folder_with_starter();
    let options = EngineOptions { executable: executable("tektra-engine"), threads: None };
    let tektra = Tektra::open(folder.home(), options).await.unwrap();
    let settings = Settings { temperature: 0.0, max_tokens: 12, ..Settings::default() };
    tektra.set_settings(&settings).await.unwrap();
    let mut events = tektra.events();

    // Two turns.
    let started = send(&tektra, None, "Say hello.").await;
    let first = finished(&mut events, &started.answer.id).await;
    assert_eq!(first.status, MessageStatus::Complete, "{:?}", first.error);
    assert!(first.text.contains("Hello"), "{}", first.text);
    let receipt = first.receipt.clone().expect("a receipt");
    assert!(receipt.load_ms > 0.0 && receipt.prompt_tokens > 20 && receipt.completion_tokens <= 12);
    assert!(receipt.prefill_tokens_per_second.is_some_and(|speed| speed > 0.0));
    assert_eq!((receipt.architecture.as_str(), receipt.quantization.as_str()), ("llama", "Q4_1"));
    assert!(receipt.device.starts_with("CPU, "));
    let started = send(&tektra, Some(&first.conversation_id), "And now say goodbye.").await;
    let second = finished(&mut events, &started.answer.id).await;
    let receipt = second.receipt.expect("a receipt");
    assert_eq!(receipt.load_ms, 0.0, "the model stays loaded");
    assert!(receipt.prompt_tokens > 40, "the second turn holds the first: {}", receipt.prompt_tokens);

    // A stop.
    tektra.set_settings(&Settings { max_tokens: 4000, ..settings.clone() }).await.unwrap();
    let started = send(&tektra, None, "Write a very long story about a ship.").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 3.., .. }).then_some(())).await;
    tektra.stop(&started.answer.id);
    let stopped = finished(&mut events, &started.answer.id).await;
    assert_eq!(stopped.status, MessageStatus::Stopped);
    assert!(!stopped.text.is_empty());

    // A kill in mid-answer: the text stays, and is continued without a seam. The answer to this is thousands of tokens
    // long: one that is nearly done when it is killed would leave nothing to continue.
    let started = send(&tektra, None, "Write the numbers from 1 to 200, one after another.").await;
    wait_for(&mut events, |event| match event {
        CoreEvent::AnswerDelta { message_id, tokens: 5.., .. } if message_id == started.answer.id => Some(()),
        _ => None,
    })
    .await;
    let engine = tektra.engine().pid().await.expect("an engine");
    assert!(std::process::Command::new("kill").args(["-9", &engine.to_string()]).status().unwrap().success());
    let interrupted = finished(&mut events, &started.answer.id).await;
    assert_eq!(interrupted.status, MessageStatus::Interrupted);
    assert!(!interrupted.text.is_empty());
    tektra.set_settings(&Settings { max_tokens: 8, ..settings }).await.unwrap();
    tektra.go_on(&interrupted.id).await.unwrap();
    let whole = finished(&mut events, &interrupted.id).await;
    assert_eq!(whole.status, MessageStatus::Complete, "{:?}", whole.error);
    assert!(whole.text.starts_with(&interrupted.text) && whole.text.len() > interrupted.text.len());

    // The next message works.
    let started = send(&tektra, Some(&whole.conversation_id), "Say hello.").await;
    assert_eq!(finished(&mut events, &started.answer.id).await.status, MessageStatus::Complete);

    // Longer than the context: a sentence, and nothing lost.
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(1000);
    let started = send(&tektra, None, &long).await;
    let refused = finished(&mut events, &started.answer.id).await;
    assert_eq!(refused.error.expect("a reason").code, ErrorCode::ContextOverflow);
    let kept = tektra.open_conversation(&refused.conversation_id).await.unwrap();
    assert_eq!(texts(&kept)[0], long);

    let engine = tektra.engine().pid().await.expect("an engine");
    tektra.close().await;
    sleep(Duration::from_millis(50)).await;
    assert!(!is_running(engine), "closed, nothing is left");
}

#[test]
fn ask_answers_greedily_the_same_twice() {
    let folder = folder_with_starter();
    let ask = || {
        let output = terminal(&folder, "tektra-engine")
            .args(["ask", "Why is the sky blue?", "--temperature", "0", "--max-tokens", "16"])
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    let first = ask();
    assert!(first.contains("scattering"), "{first}");
    assert_eq!(first, ask());
}

#[test]
fn a_megabyte_is_refused_with_a_sentence() {
    let folder = folder_with_starter();
    let prompt = folder.0.path().join("prompt.txt");
    std::fs::write(&prompt, "lorem ipsum ".repeat(90_000)).unwrap();
    let output = terminal(&folder, "tektra-engine")
        .args(["ask", "-"])
        .stdin(std::fs::File::open(prompt).unwrap())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(tektra_tests::stderr(&output).contains("the model can hold 8192"), "{}", tektra_tests::stderr(&output));
}

#[tokio::test]
async fn a_load_tells_what_is_read_and_a_smaller_cache_answers_too() {
    let folder = folder_with_starter();
    let options = EngineOptions { executable: executable("tektra-engine"), threads: None };
    let tektra = Tektra::open(folder.home(), options).await.unwrap();
    let mut events = tektra.events();
    tektra.warm().await.unwrap();
    let mut read = Vec::new();
    wait_for(&mut events, |event| match event {
        CoreEvent::EngineState { state: EngineState::Loading { done_mib, size_mib, .. } } => {
            read.push((done_mib, size_mib));
            None
        }
        CoreEvent::EngineState { state: EngineState::Ready { .. } } => Some(()),
        _ => None,
    })
    .await;
    assert!(read.iter().any(|(done, size)| *done > 0 && done <= size), "{read:?}");
    assert!(read.is_sorted(), "{read:?}");

    let name = tektra.models().await.unwrap().remove(0).name;
    let wish = PlacementWish { kv: KvWish::Q8, context_tokens: Some(256), ..PlacementWish::default() };
    tektra.set_placement(name.clone(), wish).await.unwrap();
    let settings = Settings { temperature: 0.0, max_tokens: 12, ..Settings::default() };
    tektra.set_settings(&settings).await.unwrap();
    let answer = converse(&tektra, None, "Say hello.").await;
    assert!(answer.text.contains("Hello"), "{}", answer.text);
    let answer = converse(&tektra, None, &"lorem ipsum ".repeat(200)).await;
    let error = answer.error.expect("the conversation is longer than it was placed for");
    assert!(error.message.contains("the model can hold 256"), "{}", error.message);

    let mut events = tektra.events();
    tektra.measure_quality(name.clone()).await.unwrap();
    let result = wait_for(&mut events, |_| match tektra.workshop().state().map(|work| work.state) {
        Some(WorkState::Done { result }) => Some(result),
        Some(WorkState::Failed { error }) => panic!("{}", error.message),
        _ => None,
    });
    assert!(result.await.starts_with("perplexity 2"), "the starter's is between 20 and 30");
    let precisions = tektra.precisions(name).await.unwrap();
    assert!(precisions.siblings[0].quality.perplexity.is_some_and(|perplexity| perplexity > 20.0));
    tektra.close().await;
}

#[test]
fn mistral_rs_answers_as_well() {
    let folder = folder_with_starter();
    let output = terminal(&folder, "tektra-engine")
        .env("TEKTRA_EXECUTOR", "mistral.rs")
        .args(["ask", "Why is the sky blue?", "--temperature", "0", "--max-tokens", "12", "--json"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", tektra_tests::stderr(&output));
    assert!(stdout(&output).contains("sky"), "{}", stdout(&output));
}
