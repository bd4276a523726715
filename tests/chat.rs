//! Conversations with the scripted engine: what a person sees when things go well, and when they do not.

use std::time::Duration;

use tektra_core::{
    CoreEvent, EngineOptions, EngineState, Error, ErrorCode, FinishReason, MessageStatus, SendRequest, Tektra,
};
use tektra_tests::{
    Folder, PATIENCE, converse, executable, finished, gguf, is_running, scripted, send, texts, wait_for,
};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn an_answer_streams_and_is_there_after_reopening() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 5 words").await;
    let mut seen = String::new();
    let message = wait_for(&mut events, |event| match event {
        CoreEvent::AnswerDelta { offset_utf16, text, .. } => {
            assert_eq!(offset_utf16 as usize, seen.len(), "each piece says where it goes");
            seen.push_str(&text);
            None
        }
        CoreEvent::AnswerFinished { message, .. } => Some(message),
        _ => None,
    })
    .await;
    assert_eq!(seen, "word1 word2 word3 word4 word5");
    assert_eq!(message.status, MessageStatus::Complete);
    let receipt = message.receipt.clone().expect("a receipt");
    assert_eq!((receipt.prompt_tokens, receipt.completion_tokens), (7, 5));
    assert_eq!(
        (receipt.finish_reason, receipt.model.as_str(), receipt.device.as_str()),
        (FinishReason::Stop, "small", "a script")
    );
    assert_eq!(receipt.prefill_tokens_per_second, Some(700.0), "7 tokens in 10 ms");
    assert_eq!(receipt.decode_tokens_per_second, Some(40.0), "4 further tokens in 100 ms");
    assert!(receipt.ttft_ms.is_some_and(|first| first <= receipt.total_ms));
    tektra.close().await;

    let tektra = folder.open().await;
    let list = tektra.store().conversations().await.unwrap();
    assert_eq!((list[0].title.as_str(), list[0].snippet.as_str()), ("say 5 words", seen.as_str()));
    let conversation = tektra.open_conversation(&started.conversation_id).await.unwrap();
    assert_eq!(texts(&conversation), ["say 5 words", &seen]);
    let kept = conversation.messages[1].receipt.clone().expect("the receipt is kept");
    assert!((kept.total_ms - receipt.total_ms).abs() < 0.001);
    assert_eq!((kept.completion_tokens, kept.device), (receipt.completion_tokens, receipt.device));
    tektra.close().await;
}

#[tokio::test]
async fn the_model_is_given_the_whole_conversation_and_the_instructions() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut settings = tektra.settings().await.unwrap();
    settings.system_prompt = "Be brief.".into();
    tektra.set_settings(&settings).await.unwrap();
    let first = converse(&tektra, None, "say 2 words").await;
    let second = converse(&tektra, Some(&first.conversation_id), "And?").await;
    assert_eq!(second.text, "system: Be brief. | user: say 2 words | assistant: word1 word2 | user: And?");
    tektra.close().await;
}

#[tokio::test]
async fn stop_keeps_what_is_written_and_the_next_message_works() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 10000 words every 5 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 3, .. }).then_some(())).await;
    tektra.stop(&started.answer.id);
    let message = finished(&mut events, &started.answer.id).await;
    assert_eq!(message.status, MessageStatus::Stopped);
    assert!(message.text.starts_with("word1 word2 word3"));
    assert_eq!(message.receipt.expect("a receipt").finish_reason, FinishReason::Cancelled);
    assert_eq!(converse(&tektra, Some(&message.conversation_id), "say 1 words").await.text, "word1");
    tektra.close().await;
}

#[tokio::test]
async fn stop_works_even_when_the_engine_does_not_react() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "hang").await;
    wait_for(&mut events, |event| {
        matches!(event, CoreEvent::EngineState { state: EngineState::Thinking { .. } }).then_some(())
    })
    .await;
    tektra.stop(&started.answer.id);
    assert_eq!(finished(&mut events, &started.answer.id).await.status, MessageStatus::Stopped);
    tektra.close().await;
}

#[tokio::test]
async fn an_answer_waits_for_the_one_before_it() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let first = send(&tektra, None, "say 30 words every 10 ms").await;
    let second = send(&tektra, None, "say 1 words").await;
    wait_for(&mut events, |event| {
        matches!(event, CoreEvent::EngineState { state: EngineState::Thinking { waiting: 1, .. } }).then_some(())
    })
    .await;
    assert_eq!(finished(&mut events, &first.answer.id).await.status, MessageStatus::Complete);
    let waited = finished(&mut events, &second.answer.id).await.receipt.expect("a receipt");
    assert!(waited.queue_ms > 0.0 && waited.ttft_ms.is_some_and(|first| first >= waited.queue_ms));
    tektra.close().await;
}

#[tokio::test]
async fn answers_are_written_side_by_side_where_the_engine_can() {
    let folder = Folder::with_model("parallel");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let long = send(&tektra, None, "say 1000 words every 20 ms").await;
    let short = send(&tektra, None, "say 3 words every 1 ms").await;
    assert_eq!(finished(&mut events, &short.answer.id).await.status, MessageStatus::Complete);
    let state = tektra.engine().state().borrow().clone();
    assert!(matches!(state, EngineState::Thinking { .. }), "the long answer goes on: {state:?}");
    tektra.stop(&long.answer.id);
    let stopped = finished(&mut events, &long.answer.id).await;
    assert_eq!(stopped.status, MessageStatus::Stopped);
    tektra.close().await;
}

#[tokio::test]
async fn two_first_messages_cause_one_load() {
    let folder = Folder::with_model("slow");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let (first, second) = (send(&tektra, None, "say 1 words").await, send(&tektra, None, "say 2 words").await);
    let mut loads = 0;
    let mut open = vec![first.answer.id, second.answer.id];
    wait_for(&mut events, |event| {
        match event {
            CoreEvent::EngineState { state: EngineState::Loading { .. } } => loads += 1,
            CoreEvent::AnswerFinished { message, .. } => open.retain(|id| *id != message.id),
            _ => {}
        }
        open.is_empty().then_some(())
    })
    .await;
    assert_eq!(loads, 1);
    tektra.close().await;
}

#[tokio::test]
async fn a_killed_engine_leaves_the_partial_answer_which_can_be_continued() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 10000 words every 5 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 4, .. }).then_some(())).await;
    kill(tektra.engine().pid().await.expect("an engine"));
    let message = finished(&mut events, &started.answer.id).await;
    assert_eq!(message.status, MessageStatus::Interrupted);
    assert!(message.text.starts_with("word1 word2 word3 word4"));
    let error = message.error.expect("a reason");
    assert_eq!(error.code, ErrorCode::EngineCrashed);
    assert!(error.message.contains("What was written so far is safe"), "{}", error.message);

    let written = message.text.chars().count();
    tektra.go_on(&message.id).await.unwrap();
    let message = finished(&mut events, &message.id).await;
    assert_eq!(message.status, MessageStatus::Complete);
    assert!(
        message.text.starts_with("word1 word2")
            && message.text.ends_with(&format!(" [went on after {written} characters]"))
    );
    tektra.close().await;
}

#[tokio::test]
async fn a_model_whose_drive_has_gone_is_opened_anew_and_the_answer_continued() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let message = converse(&tektra, None, "unplug after 2 words").await;
    assert_eq!((message.status, message.text.as_str()), (MessageStatus::Interrupted, "word1 word2"));
    let error = message.error.expect("a reason");
    assert!(error.message.contains("cannot be read any more (the drive has gone)"), "{}", error.message);
    assert!(error.hint.contains("Connect the drive"), "{}", error.hint);
    assert_eq!(tektra.engine().pid().await, None, "its process holds the file that has gone");

    let mut events = tektra.events();
    tektra.go_on(&message.id).await.unwrap();
    let message = finished(&mut events, &message.id).await;
    assert_eq!((message.status, message.text.contains("went on after 11")), (MessageStatus::Complete, true));
    tektra.close().await;
}

#[tokio::test]
async fn an_engine_that_crashes_again_and_again_is_left_alone_until_asked() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut conversation = None;
    for _ in 0..3 {
        let message = converse(&tektra, conversation.as_deref(), "crash after 2 words").await;
        assert_eq!((message.status, message.text.as_str()), (MessageStatus::Interrupted, "word1 word2"));
        conversation = Some(message.conversation_id);
    }
    let mut state = tektra.engine().state();
    let failed = timeout(PATIENCE, state.wait_for(|state| matches!(state, EngineState::Failed { .. }))).await.is_ok();
    assert!(failed, "after three crashes in a row nothing is started by itself");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(tektra.engine().pid().await, None);
    tektra.restart_engine().await.unwrap();
    assert_eq!(converse(&tektra, conversation.as_deref(), "say 1 words").await.text, "word1");
    tektra.close().await;
}

#[tokio::test]
async fn the_engine_comes_back_by_itself_after_one_crash() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    converse(&tektra, None, "crash after 1 words").await;
    let mut state = tektra.engine().state();
    timeout(PATIENCE, state.wait_for(|state| matches!(state, EngineState::Ready { .. })))
        .await
        .expect("ready again")
        .unwrap();
    tektra.close().await;
}

#[tokio::test]
async fn what_a_killed_window_was_writing_is_interrupted_at_the_next_start_but_not_while_it_lives() {
    let folder = Folder::with_model("small");
    let writing = folder.open().await;
    let mut events = writing.events();
    let started = send(&writing, None, "say 10000 words every 5 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 100, .. }).then_some(())).await;

    let beside = folder.open().await;
    let seen = beside.store().message(&started.answer.id).await.unwrap();
    assert_eq!(seen.status, MessageStatus::Streaming, "another process must not end a living one's answer");
    assert!(seen.text.starts_with("word1 word2"), "what is written reaches the disk while it is written");
    beside.close().await;
    writing.close().await;

    // A process that died: its id is noted, its lock is gone.
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", folder.home().database().display())).await.unwrap();
    sqlx::query("UPDATE message SET status = 'streaming', writer = 'a-dead-process' WHERE id = ?")
        .bind(&started.answer.id)
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let tektra = folder.open().await;
    let left = tektra.store().message(&started.answer.id).await.unwrap();
    assert_eq!(left.status, MessageStatus::Interrupted);
    assert!(left.text.starts_with("word1 word2"));
    tektra.close().await;
}

#[tokio::test]
async fn no_engine_outlives_the_core() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    converse(&tektra, None, "say 1 words").await;
    let pid = tektra.engine().pid().await.expect("an engine");
    assert!(is_running(pid));
    tektra.close().await;
    assert!(!is_running(pid), "asked to end, it has ended when `close` returns");
}

#[tokio::test]
async fn failures_say_what_happened_and_what_to_do() {
    let check = async |folder: &Folder, options: EngineOptions, text: &str, code: ErrorCode, words: &str| {
        let tektra = Tektra::open(folder.home(), options).await.unwrap();
        let message = converse(&tektra, None, text).await;
        let error = message.error.expect("a reason");
        assert_eq!((message.status, error.code), (MessageStatus::Failed, code), "{}", error.message);
        assert!(error.message.contains(words) && !error.hint.is_empty(), "{error:?}");
        let kept = tektra.open_conversation(&message.conversation_id).await.unwrap();
        assert_eq!(kept.messages[0].text, text, "what the person wrote is never lost");
        tektra.close().await;
    };
    let small = Folder::with_model("small");
    check(&small, scripted(), "fail", ErrorCode::EngineFailed, "the script says so").await;
    check(&small, scripted(), "overflow", ErrorCode::ContextOverflow, "9000 tokens long; the model can hold 8192")
        .await;
    check(&small, scripted(), "grow", ErrorCode::DoesNotFit, "no memory left for this conversation").await;
    check(&Folder::with_model("crowds"), scripted(), "hello", ErrorCode::DoesNotFit, "no memory left for this model")
        .await;
    let missing = EngineOptions { executable: "/nowhere/tektra-engine".into(), threads: None };
    check(&small, missing, "hello", ErrorCode::EngineMissing, "/nowhere/tektra-engine").await;
    let not_an_engine = EngineOptions { executable: "/bin/true".into(), threads: None };
    check(&small, not_an_engine, "hello", ErrorCode::EngineCrashed, "ended unexpectedly").await;
    check(&Folder::new(), scripted(), "hello", ErrorCode::NoModel, "There is no model in").await;
    check(&Folder::with_model("refuses"), scripted(), "hello", ErrorCode::ModelUnusable, "it does not want to").await;
    check(&Folder::with_model("dies"), scripted(), "hello", ErrorCode::EngineCrashed, "exit status: 9").await;
    let strange = Folder::new();
    strange.add_model("strange", &gguf("mamba", &[]));
    check(&strange, scripted(), "hello", ErrorCode::ModelUnusable, "architecture \"mamba\"").await;
}

#[tokio::test]
async fn without_a_model_the_engine_says_so_and_is_well_again_when_one_is_there() {
    let folder = Folder::new();
    let tektra = folder.open().await;
    assert!(tektra.warm().await.is_err());
    let state = tektra.engine().state().borrow().clone();
    assert!(matches!(&state, EngineState::Failed { error } if error.code == ErrorCode::NoModel), "{state:?}");
    folder.add_model("small", &gguf("llama", &[]));
    tektra.restart_engine().await.unwrap();
    let state = tektra.engine().state().borrow().clone();
    assert!(matches!(state, EngineState::Ready { .. }), "{state:?}");
    tektra.close().await;
}

#[tokio::test]
async fn an_empty_message_is_refused_and_nothing_is_stored() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    for text in ["", "  \n\t "] {
        let refused = tektra.send(SendRequest { text: text.into(), ..SendRequest::default() }).await;
        assert!(matches!(refused, Err(Error::EmptyPrompt)));
    }
    assert!(tektra.store().conversations().await.unwrap().is_empty());
    tektra.close().await;
}

#[tokio::test]
async fn edits_and_other_answers_are_versions_beside_the_old_ones() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let first = converse(&tektra, None, "say 1 words").await;
    let mut events = tektra.events();
    let again = tektra.regenerate(&first.id).await.unwrap();
    let second = finished(&mut events, &again.answer.id).await;
    assert_eq!(again.answer.siblings, [first.id.clone(), second.id.clone()]);

    let conversation = tektra.open_conversation(&first.conversation_id).await.unwrap();
    let edited = tektra
        .send(SendRequest {
            conversation_id: Some(conversation.id.clone()),
            edit_of: Some(conversation.messages[0].id.clone()),
            text: "say 3 words".into(),
            ..SendRequest::default()
        })
        .await
        .unwrap();
    finished(&mut events, &edited.answer.id).await;
    let shown = tektra.open_conversation(&conversation.id).await.unwrap();
    assert_eq!(texts(&shown), ["say 3 words", "word1 word2 word3"]);
    let before = tektra.select_branch(&conversation.messages[0].id).await.unwrap();
    assert_eq!(before.messages[1].id, second.id, "a branch is shown with its latest answer");
    let oldest = tektra.select_branch(&first.id).await.unwrap();
    assert_eq!(oldest.messages[1].id, first.id);
    tektra.close().await;
}

#[tokio::test]
async fn a_full_disk_costs_nothing_that_is_on_the_screen() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    converse(&tektra, None, "say 1 words").await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 1000 words every 3 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 5, .. }).then_some(())).await;
    tektra.store().limit_pages(1).await.unwrap();
    let trouble = wait_for(&mut events, |event| match event {
        CoreEvent::StoreTrouble { error } => error,
        _ => None,
    })
    .await;
    assert_eq!(trouble.code, ErrorCode::StoreFull);
    let message = finished(&mut events, &started.answer.id).await;
    assert!(message.text.ends_with("word1000"), "the answer goes on");
    let refused = tektra.send(SendRequest { text: "hello ".repeat(5000), ..SendRequest::default() }).await;
    assert!(matches!(refused, Err(Error::StoreFull)), "{refused:?}");
    let shown = tektra.open_conversation(&started.conversation_id).await.unwrap();
    assert!(shown.messages[1].text.ends_with("word1000"), "and is shown although it is not saved");

    tektra.store().limit_pages(1_000_000).await.unwrap();
    wait_for(&mut events, |event| matches!(event, CoreEvent::StoreTrouble { error: None }).then_some(())).await;
    let saved = tektra.store().message(&started.answer.id).await.unwrap();
    assert!(saved.text.ends_with("word1000") && saved.status == MessageStatus::Complete);
    let next = converse(&tektra, Some(&started.conversation_id), "say 2 words").await;
    assert_eq!(next.status, MessageStatus::Complete, "and the conversation goes on");
    tektra.close().await;
}

fn kill(pid: u32) {
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn the_scripted_engine_is_built() {
    executable("scripted-engine");
}
