//! What a person does with models besides talking to them: placing, choosing a profile, writing in another precision.

use std::{fs, process::Output};

use serde_json::Value;
use tektra_core::{
    CoreEvent, DeviceWish, ErrorCode, KvWish, PlacementWish, ProfileGoal, Tektra, Work, WorkState, unload_everywhere,
};
use tektra_quantize::{Architecture, tiny};
use tektra_tests::{Folder, converse, is_running, send, starter_model, stderr, stdout, terminal, wait_for};

/// A data folder with the folder of safetensors `raw`, a tiny random model.
fn with_safetensors() -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.home().models()).unwrap();
    tiny::write_model(Architecture::Llama, &starter_model(), &folder.home().models().join("raw"), 7).unwrap();
    folder
}

/// What the workshop came to.
async fn worked(tektra: &Tektra, events: &mut tokio::sync::broadcast::Receiver<CoreEvent>) -> Work {
    let ended = |work: Work| Some(work).filter(|work| work.state != WorkState::Running);
    if let Some(work) = tektra.workshop().state().and_then(ended) {
        return work;
    }
    wait_for(events, |event| match event {
        CoreEvent::WorkshopChanged { work } => work.and_then(ended),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_engine_follows_the_placement_and_loads_anew_when_it_changes() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    assert_eq!(converse(&tektra, None, "load").await.text, "2048 tokens, F16, [LayersOn { gpu: None, layers: 1 }]");
    let before = tektra.engine().pid().await.expect("an engine");
    let wish = PlacementWish { kv: KvWish::F32, context_tokens: Some(512), ..PlacementWish::default() };
    tektra.set_placement("small".into(), wish.clone()).await.unwrap();
    assert_eq!(tektra.placement_plan("small".into(), None).await.unwrap().wish, wish);
    assert_eq!(converse(&tektra, None, "load").await.text, "512 tokens, F32, [LayersOn { gpu: None, layers: 1 }]");
    assert!(!is_running(before), "the model is in memory once");
    tektra.close().await;

    let again = folder.open().await;
    assert_eq!(again.placement_plan("small".into(), None).await.unwrap().wish, wish, "it was stored");
    again.set_placement("small".into(), PlacementWish::default()).await.unwrap();
    assert_eq!(again.placement_plan("small".into(), None).await.unwrap().wish, PlacementWish::default());
    again.close().await;
}

#[tokio::test]
async fn a_plan_shows_the_bytes_and_a_refused_one_is_not_stored() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let plan = |wish| tektra.placement_plan("small".into(), Some(wish));
    let cpu = plan(PlacementWish { device: DeviceWish::Cpu, reserve_mib: Some(100), ..PlacementWish::default() });
    let cpu = cpu.await.unwrap();
    assert_eq!((cpu.devices.len(), cpu.devices[0].layers, cpu.layers, cpu.fits), (1, 1, 1, true));
    assert_eq!((cpu.devices[0].reserve_mib, cpu.machine[0].name.as_str()), (100.0, "CPU"));
    let whole = cpu.devices[0].weights_mib + cpu.devices[0].kv_mib + cpu.devices[0].compute_mib + 100.0;
    assert!((whole - cpu.total_mib).abs() < 0.01);

    let nowhere = PlacementWish { device: DeviceWish::Gpus, gpus: vec![77], ..PlacementWish::default() };
    let refused = plan(nowhere.clone()).await.unwrap().refused;
    assert!(refused[0].reason.contains("GPU 77"), "{refused:?}");
    let error = tektra.set_placement("small".into(), nowhere).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelUnusable);
    assert_eq!(tektra.placement_plan("small".into(), None).await.unwrap().wish, PlacementWish::default());
    tektra.close().await;
}

#[tokio::test]
async fn a_profile_is_applied_with_its_context() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let profiles = tektra.profiles().await.unwrap();
    assert_eq!(profiles.len(), 3);
    assert!(profiles.iter().all(|profile| profile.model == "small" && !profile.applied && !profile.measured));
    assert_eq!(profiles[1].same_as, Some(ProfileGoal::Fast), "there is only one model, of a short context");
    let settings = tektra.apply_profile(ProfileGoal::Quality).await.unwrap();
    assert_eq!(settings.model.as_deref(), Some("small"));
    assert!(tektra.profiles().await.unwrap()[2].applied);
    tektra.close().await;

    let empty = Folder::new();
    let tektra = empty.open().await;
    assert!(tektra.profiles().await.unwrap().is_empty());
    assert_eq!(tektra.apply_profile(ProfileGoal::Fast).await.unwrap_err().code(), ErrorCode::NoModel);
    tektra.close().await;
}

#[tokio::test]
async fn a_folder_of_safetensors_is_written_in_a_precision_and_used() {
    let folder = with_safetensors();
    let tektra = folder.open().await;
    let before = tektra.precisions("raw".into()).await.unwrap();
    assert!(before.must_convert && before.siblings.is_empty());
    let int8 = before.choices.iter().find(|choice| choice.kind == "int8").expect("a choice");
    assert_eq!((&int8.problem, &int8.installed, int8.quality.measured), (&None, &None, false));
    let f32 = before.choices.iter().find(|choice| choice.kind == "f32").expect("a choice");
    assert!(f32.problem.as_ref().is_some_and(|why| why.ends_with('.')), "it would hold no more");

    let mut events = tektra.events();
    tektra.quantize("raw".into(), "int8".into(), vec!["0-0=F16".into()]).await.unwrap();
    let work = worked(&tektra, &mut events).await;
    assert_eq!(work.state, WorkState::Done { result: "raw.Q8_0".into() });
    let listed = tektra.models().await.unwrap();
    assert!(listed.iter().any(|model| model.name == "raw.Q8_0" && model.problem.is_none()), "{listed:?}");
    let after = tektra.precisions("raw".into()).await.unwrap();
    assert_eq!(after.siblings[0].installed.as_deref(), Some("raw.Q8_0"));

    tektra.quantize("raw".into(), "int8".into(), Vec::new()).await.unwrap();
    let WorkState::Failed { error } = worked(&tektra, &mut events).await.state else {
        panic!("nothing is overwritten")
    };
    assert!(error.message.contains("exists already"), "{}", error.message);
    tektra.workshop().stop();
    assert_eq!(tektra.workshop().state(), None, "what has ended can be put away");
    let missing = tektra.quantize("nothing".into(), "int8".into(), Vec::new()).await.unwrap_err();
    assert_eq!(missing.code(), ErrorCode::ModelNotFound);
    tektra.close().await;
}

#[tokio::test]
async fn a_rule_that_is_none_fails_and_leaves_nothing() {
    let folder = with_safetensors();
    let tektra = folder.open().await;
    let mut events = tektra.events();
    tektra.quantize("raw".into(), "int4".into(), vec!["nonsense".into()]).await.unwrap();
    let WorkState::Failed { error } = worked(&tektra, &mut events).await.state else { panic!("no rule") };
    assert_eq!(error.code, ErrorCode::InvalidInput);
    let left: Vec<_> = fs::read_dir(folder.home().models()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["raw"]);
    tektra.close().await;
}

#[tokio::test]
async fn another_process_is_asked_to_unload_after_its_answer() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 5 words every 40 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { .. }).then_some(())).await;
    let pid = tektra.engine().pid().await.expect("an engine");
    let unloaded = unload_everywhere(&folder.home()).await;
    assert_eq!(unloaded.iter().map(|gone| gone.model.as_str()).collect::<Vec<_>>(), ["small"]);
    assert!(!is_running(pid));
    let told = wait_for(&mut events, |event| match event {
        CoreEvent::AnswerFinished { message, .. } if message.id == started.answer.id => Some(message.text),
        _ => None,
    });
    assert_eq!(told.await, "word1 word2 word3 word4 word5", "it was written to its end");
    assert!(unload_everywhere(&folder.home()).await.is_empty());
    assert!(unload_everywhere(&Folder::new().home()).await.is_empty());
    tektra.close().await;
}

fn models(folder: &Folder, arguments: &[&str]) -> Output {
    terminal(folder, "scripted-engine").arg("models").args(arguments).output().expect("tektra-cli starts")
}

#[test]
fn the_terminal_places_and_refuses_with_a_sentence() {
    let folder = Folder::with_model("small");
    let shown = models(&folder, &["place", "small", "--kv", "f32", "--context", "512", "--save"]);
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    assert!(stdout(&shown).contains("CPU: layers 0-0 (1 of 1), embeddings, output"), "{}", stdout(&shown));
    let stored: Value = serde_json::from_str(&stdout(&models(&folder, &["place", "small", "--json"]))).unwrap();
    assert_eq!((&stored["wish"]["kv"], &stored["context_tokens"]), (&"f32".into(), &512.into()));
    let asked = terminal(&folder, "scripted-engine").args(["ask", "load"]).output().unwrap();
    assert!(stdout(&asked).starts_with("512 tokens, F32"), "{}", stdout(&asked));
    for refused in [&["--device", "gpu9"][..], &["--context", "4096"], &["--kv", "q8"]] {
        let output = models(&folder, &[&["place", "small"][..], refused].concat());
        assert_eq!(output.status.code(), Some(3), "{refused:?}");
        assert!(stderr(&output).contains("cannot be used: "), "{}", stderr(&output));
        let fit = models(&folder, &[&["fit", "small"][..], refused].concat());
        assert_eq!(fit.status.code(), Some(3), "{refused:?}");
    }
    assert_eq!(models(&folder, &["place", "small", "--kv", "q2"]).status.code(), Some(2));
    let reset: Value =
        serde_json::from_str(&stdout(&models(&folder, &["place", "small", "--reset", "--json"]))).unwrap();
    assert_eq!(reset["context_tokens"], 2048);
}

#[test]
fn the_terminal_applies_a_profile_and_tells_the_precisions() {
    let folder = Folder::with_model("small");
    assert_eq!(models(&folder, &["profiles", "--apply", "fast"]).status.code(), Some(0));
    let placed: Value = serde_json::from_str(&stdout(&models(&folder, &["place", "small", "--json"]))).unwrap();
    assert!(placed["wish"]["context_tokens"].is_u64());
    assert_eq!(models(&folder, &["profiles", "--apply", "best"]).status.code(), Some(2));
    let table = models(&folder, &["precisions", "small"]);
    assert!(stdout(&table).contains("here: small"), "{}", stdout(&table));
    let unload = models(&folder, &["unload", "--json"]);
    assert_eq!((unload.status.code(), stdout(&unload).trim()), (Some(0), "[]"));
}

#[test]
fn a_model_goes_to_safetensors_and_back() {
    let folder = Folder::new();
    let (starter, out) = (starter_model(), folder.0.path().join("raw"));
    let (starter, raw) = (starter.to_str().unwrap(), out.to_str().unwrap());
    let exported = models(&folder, &["export", starter, "--out", raw]);
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    assert!(out.join("model.safetensors").is_file() && out.join("tokenizer.json").is_file());
    assert_eq!(models(&folder, &["export", starter, "--out", raw]).status.code(), Some(3), "nothing is overwritten");
    let written = models(&folder, &["quantize", raw, "--type", "int4"]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let list: Value = serde_json::from_str(&stdout(&models(&folder, &["list", "--json"]))).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["problem"]), (&"raw.Q4_K".into(), &Value::Null));
}
