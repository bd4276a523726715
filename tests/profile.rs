//! Where the time of answers went, as a person sees it.

use std::time::Duration;

use tektra_core::{AnswerTrace, CoreEvent, ErrorCode, ProfiledProcess, SendRequest, StageName};
use tektra_tests::*;

fn stages(trace: &AnswerTrace, depth: u32) -> Vec<StageName> {
    trace.spans.iter().filter(|span| span.depth == depth).map(|span| span.name).collect()
}

#[tokio::test]
async fn the_stages_of_the_last_answers_are_told_the_latest_first() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    assert!(tektra.profile_traces().await.unwrap().is_empty());
    let first = converse(&tektra, None, "say 3 words").await;
    let second = converse(&tektra, None, "say 200 words every 3 ms").await;
    tektra.profile_render(&second.id, 12.5, 9);
    tektra.profile_ipc(&second.id, Duration::from_micros(250));
    tektra.profile_ipc(&second.id, Duration::from_micros(250));
    tektra.profile_render("nobody", 1.0, 1);
    let traces = tektra.profile_traces().await.unwrap();
    let ids: Vec<_> = traces.iter().map(|trace| trace.message_id.as_str()).collect();
    assert_eq!(ids, [second.id.as_str(), first.id.as_str()]);

    let [latest, earliest] = &traces[..] else { panic!("two answers") };
    assert!(latest.title.starts_with("say 200 words"), "{}", latest.title);
    assert_eq!(latest.spans[0].name, StageName::Answer);
    assert!((latest.spans[0].duration_ms - latest.total_ms).abs() < 1e-9);
    // The scripted engine says 1 ms of tokenizing, 2 of waiting, 10 until the first token and 100 of decoding.
    let of = |name| latest.spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name:?}"));
    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(close(of(StageName::Prefill).duration_ms, 7.0) && close(of(StageName::Decode).duration_ms, 100.0));
    assert!(close(of(StageName::Ipc).duration_ms, 0.5) && close(of(StageName::Render).duration_ms, 12.5));
    assert_eq!(of(StageName::Render).detail.as_deref(), Some("9 times"));
    assert!(stages(latest, 2).contains(&StageName::Store), "600 ms are saved in between: {latest:?}");
    assert_eq!(latest.spans.last().unwrap().name, StageName::Store, "and at the end");
    assert!(stages(earliest, 1).contains(&StageName::Load), "the first answer started the engine");
    assert!(!stages(latest, 1).contains(&StageName::Load));
    let in_order = |depth| {
        let starts = latest.spans.iter().filter(move |span| span.depth == depth).map(|span| span.start_ms);
        starts.collect::<Vec<_>>().is_sorted()
    };
    assert!(in_order(1) && in_order(2), "{latest:?}");

    for _ in 0..25 {
        converse(&tektra, None, "say 1 words").await;
    }
    assert_eq!(tektra.profile_traces().await.unwrap().len(), 20, "no more are kept");
    tektra.close().await;
}

#[tokio::test]
async fn an_answer_that_fails_or_is_stopped_has_its_time_too() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    converse(&tektra, None, "crash after 2 words").await;
    let mut events = tektra.events();
    let started = send(&tektra, None, "say 1000 words every 5 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 5, .. }).then_some(())).await;
    assert!(
        tektra.profile_traces().await.unwrap().iter().all(|trace| trace.message_id != started.answer.id),
        "not yet"
    );
    tektra.stop(&started.answer.id);
    finished(&mut events, &started.answer.id).await;
    let traces = tektra.profile_traces().await.unwrap();
    assert_eq!(traces.len(), 2);
    assert!(traces.iter().all(|trace| trace.total_ms > 0.0 && trace.spans[0].name == StageName::Answer));
    tektra.close().await;
}

#[tokio::test]
async fn a_recording_is_one_at_a_time_and_can_be_ended() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let engine = ProfiledProcess::Engine;
    let without = tektra.profile_record(engine, 5).await.unwrap_err();
    assert!(without.to_string().contains("No engine runs"), "{without}");
    converse(&tektra, None, "say 1 words").await;
    assert_eq!(tektra.profile_record(engine, 0).await.unwrap_err().code(), ErrorCode::InvalidInput);
    let svg = tektra.profile_record(engine, 1).await.unwrap().unwrap();
    assert!(svg.contains("<svg") && svg.contains("a_script") && svg.contains("75.00%"), "{svg}");

    let recorder = tektra.clone();
    let recording = tokio::spawn(async move { recorder.profile_record(engine, 60).await });
    // It takes its place as soon as it runs.
    tokio::task::yield_now().await;
    let second = tektra.profile_record(engine, 5).await.unwrap_err();
    assert!(second.to_string().contains("already"), "{second}");
    tektra.profile_cancel();
    assert_eq!(recording.await.unwrap().unwrap(), None);
    let request = SendRequest { text: "say 2 words".into(), ..SendRequest::default() };
    assert!(tektra.send(request).await.is_ok(), "and answers go on");
    tektra.close().await;
}

#[inline(never)]
fn a_function_that_computes() -> u64 {
    let (begun, mut sum) = (std::time::Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_secs(2) {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn this_process_can_be_recorded_while_it_computes() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let computing = std::thread::spawn(a_function_that_computes);
    let svg = tektra.profile_record(ProfiledProcess::Window, 1).await.unwrap().unwrap();
    assert!(svg.contains("<svg") && svg.contains("a_function_that_computes"), "{}", &svg[..300]);
    computing.join().unwrap();
    tektra.close().await;
}
