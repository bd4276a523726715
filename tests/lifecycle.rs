//! Models in memory: loaded once, unloaded for certain, refused when they do not fit.

use std::{fs, time::Duration};

use tektra_core::{CoreEvent, EngineState, ErrorCode, Library, Overrides, Tektra, UnloadReason, Unloaded};
use tektra_tests::{Folder, converse, finished, gguf, is_running, scripted, send, wait_for};

fn unloaded(event: CoreEvent) -> Option<Unloaded> {
    match event {
        CoreEvent::Unloaded { unloaded } => Some(unloaded),
        _ => None,
    }
}

#[tokio::test]
async fn an_idle_model_is_unloaded_and_the_next_message_loads_it_again() {
    let folder = Folder::with_model("small");
    let overrides = Overrides { idle_unload: Some(Duration::from_millis(300)), ..Overrides::default() };
    let tektra = Tektra::open_with(folder.home(), scripted(), overrides).await.unwrap();
    let mut events = tektra.events();
    let first = converse(&tektra, None, "say 2 words").await;
    let pid = tektra.engine().pid().await.expect("an engine");
    let gone = wait_for(&mut events, unloaded).await;
    assert_eq!((gone.model.as_str(), gone.why), ("small", UnloadReason::Idle { minutes: 0 }));
    assert!(gone.resident_before_mib > 0 && gone.resident_after_mib == 0, "the process gave all back");
    assert!(!is_running(pid));
    assert_eq!(*tektra.engine().state().borrow(), EngineState::Idle);
    assert_eq!(converse(&tektra, Some(&first.conversation_id), "say 1 words").await.text, "word1");
    tektra.close().await;
}

#[tokio::test]
async fn an_answer_is_written_to_its_end_before_its_model_goes() {
    let folder = Folder::with_model("small");
    let overrides = Overrides { idle_unload: Some(Duration::from_millis(50)), ..Overrides::default() };
    let tektra = Tektra::open_with(folder.home(), scripted(), overrides).await.unwrap();
    let mut events = tektra.events();
    // Longer than the time after which an idle model goes.
    let started = send(&tektra, None, "say 40 words every 10 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { .. }).then_some(())).await;
    let unloading = tokio::spawn({
        let tektra = tektra.clone();
        async move { tektra.engine().unload(UnloadReason::Asked).await }
    });
    let message = finished(&mut events, &started.answer.id).await;
    assert!(message.text.ends_with("word40"), "{}", message.text);
    unloading.await.unwrap();
    assert_eq!(tektra.engine().pid().await, None);
    tektra.close().await;
}

#[tokio::test]
async fn unloading_tells_what_it_gave_back() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    assert!(tektra.engine().unload(UnloadReason::Asked).await.is_empty(), "nothing was loaded");
    tektra.warm().await.unwrap();
    let pid = tektra.engine().pid().await.expect("an engine");
    let gone = tektra.engine().unload(UnloadReason::Asked).await;
    assert_eq!((gone.len(), gone[0].model.as_str(), &gone[0].why), (1, "small", &UnloadReason::Asked));
    assert!(gone[0].resident_before_mib > 0 && gone[0].resident_after_mib == 0 && gone[0].took_ms > 0.0);
    assert!(!is_running(pid));
    tektra.close().await;
}

#[tokio::test]
async fn models_that_fit_together_stay_together_and_each_is_loaded_once() {
    let folder = Folder::with_model("first");
    folder.add_model("second", &gguf("qwen2", &[]));
    let tektra = folder.open().await;
    let library = Library::own(&folder.home());
    let (first, second) = (library.find(Some("first")).unwrap(), library.find(Some("second")).unwrap());
    let engine = tektra.engine();
    let (one, other) = tokio::join!(engine.warm(&first), engine.warm(&first));
    one.and(other).unwrap();
    let first_pid = engine.pid().await.expect("an engine");
    engine.warm(&second).await.unwrap();
    let second_pid = engine.pid().await.expect("an engine");
    assert_ne!(first_pid, second_pid);
    assert!(is_running(first_pid), "there was room for both");
    engine.warm(&first).await.unwrap();
    assert_eq!(engine.pid().await, Some(first_pid), "it was not loaded again");
    let names: Vec<_> = engine.unload(UnloadReason::Asked).await.into_iter().map(|gone| gone.model).collect();
    assert_eq!(names, ["second", "first"], "the longest unused first");
    tektra.close().await;
}

#[tokio::test]
async fn a_model_that_cannot_fit_is_refused_and_the_loaded_one_stays() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    tektra.warm().await.unwrap();
    let pid = tektra.engine().pid().await.expect("an engine");
    // A file of many TiB that takes no room on the disk.
    let path = folder.add_model("whale", &gguf("llama", &[]));
    let mut bytes = fs::read(&path).unwrap();
    let sizes = b"token_embd.weight\x01\x00\x00\x00";
    let at = bytes.windows(sizes.len()).position(|part| part == sizes).expect("the tensor") + sizes.len();
    let elements = 1_u64 << 43;
    bytes[at..at + 8].copy_from_slice(&elements.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 + elements / 32 * 18).unwrap();
    let huge = Library::own(&folder.home()).find(Some("whale")).unwrap();
    let error = tektra.engine().warm(&huge).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DoesNotFit);
    assert!(error.to_string().contains("MiB are free. Nothing was loaded."), "{error}");
    assert_eq!(tektra.engine().pid().await, Some(pid), "everything stays as it was");
    assert_eq!(converse(&tektra, None, "say 1 words").await.text, "word1");
    tektra.close().await;
}
