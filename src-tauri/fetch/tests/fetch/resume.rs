//! Continuing what an earlier run left.

use std::{fs, time::Duration};

use tektra_fetch::{Client, Error, Options, Outcome, Restart};

use crate::{
    Place, SOURCE, client, options, run, run_until,
    server::{Content, Fault, Server, content_bytes, sha256},
};

const SIZE: usize = 1_000_000;

/// A server whose first answers stall, with a download that was cancelled meanwhile; gives what is kept.
async fn cancelled(content: Content, source: Option<&str>) -> (Server, Place, u64) {
    let server = Server::start(content).await;
    server.faults(vec![Fault::Stall(30_000); 4]);
    let place = Place::default();
    let source = source.map_or_else(|| server.file.clone(), str::to_owned);
    let kept = run_until(&client(&server), &place.request(&source), 100_000).await;
    server.faults([]);
    server.take_served();
    (server, place, kept)
}

#[tokio::test]
async fn only_the_missing_bytes_are_fetched() {
    for (content, source) in
        [(Content::new(content_bytes(SIZE, 1)), Some(SOURCE)), (Content::plain(content_bytes(SIZE, 2)), None)]
    {
        let bytes = content.bytes.clone();
        let (server, place, kept) = cancelled(content, source).await;
        assert_eq!(kept, 120_000);
        assert_eq!(place.names(), ["model.gguf.part", "model.gguf.part.json"]);

        let (outcome, seen) = run(&client(&server), &place.request(source.unwrap_or(&server.file))).await;

        assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
        place.check_complete(&bytes);
        assert_eq!(server.take_served(), SIZE as u64 - kept);
        assert!(seen.iter().all(|progress| progress.restarted.is_none()));
        assert!(seen.iter().any(|progress| progress.bytes_done == kept), "what was kept counts from the start");
    }
}

#[tokio::test]
async fn another_file_on_the_server_starts_again() {
    let hub = |seed| Content::new(content_bytes(SIZE, seed));
    let plain = |seed| Content::plain(content_bytes(SIZE, seed));
    let careless = |seed| Content { if_range: false, ..plain(seed) };
    let shorter = |seed| Content::plain(content_bytes(SIZE / 50, seed));
    for (before, after, source) in [
        (hub(1), hub(2), Some(SOURCE)),
        (plain(1), plain(2), None),
        (careless(1), careless(2), None),
        (careless(1), shorter(2), None),
    ] {
        let (server, place, _) = cancelled(before, source).await;
        let bytes = after.bytes.clone();
        *server.shared.content.lock().unwrap() = after;

        let (outcome, seen) = run(&client(&server), &place.request(source.unwrap_or(&server.file))).await;

        outcome.unwrap();
        place.check_complete(&bytes);
        assert_eq!(seen.last().unwrap().restarted, Some(Restart::Changed));
    }
}

#[tokio::test]
async fn a_file_that_changes_during_a_run_is_never_mixed() {
    let server = Server::start(Content::plain(content_bytes(SIZE, 1))).await;
    // Both ranges of the first attempt break; what is left of the file then is another one.
    server.faults(vec![Fault::Stall(30_000); 4]);
    let place = Place::default();
    let request = place.request(&server.file);
    let patient = Client::new(Options { stall_timeout: Duration::from_millis(300), ..options(&server) });
    let (client, change) = (patient.unwrap(), server.shared.clone());
    let bytes = content_bytes(SIZE, 2);
    let after = Content::plain(bytes.clone());
    let changing = tokio::spawn(async move {
        while change.files_seen.lock().unwrap().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        *change.content.lock().unwrap() = after;
    });

    let (outcome, seen) = run(&client, &request).await;

    changing.await.unwrap();
    outcome.unwrap();
    place.check_complete(&bytes);
    assert_eq!(seen.last().unwrap().restarted, Some(Restart::Changed));
}

#[tokio::test]
async fn a_server_that_cannot_continue_starts_again() {
    for etag in [None, Some("\"same\"".to_owned())] {
        let content = Content { ranges: false, etag, ..Content::plain(content_bytes(SIZE, 1)) };
        let server = Server::start(content.clone()).await;
        server.faults([Fault::Stall(600_000)]);
        let place = Place::default();
        run_until(&client(&server), &place.request(&server.file), 500_000).await;

        let (outcome, seen) = run(&client(&server), &place.request(&server.file)).await;

        outcome.unwrap();
        place.check_complete(&content.bytes);
        // Without a validator nothing was remembered; with one, the server had to be asked.
        let expected = content.etag.map(|_| Restart::NotResumable);
        assert_eq!(seen.last().unwrap().restarted, expected);
    }
}

#[tokio::test]
async fn a_damaged_or_foreign_state_is_not_trusted() {
    let bytes = content_bytes(SIZE, 1);
    let state = |change: &dyn Fn(&mut serde_json::Value), place: &Place| {
        let path = place.target().with_extension("gguf.part.json");
        let mut state = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut state);
        fs::write(path, state.to_string()).unwrap();
    };
    let damages: [&dyn Fn(&Place); 6] = [
        &|place| fs::write(place.target().with_extension("gguf.part.json"), "{\"version\":1,\"ur").unwrap(),
        &|place| fs::write(place.target().with_extension("gguf.part"), "short").unwrap(),
        &|place| fs::remove_file(place.target().with_extension("gguf.part")).unwrap(),
        &|place| state(&|state| state["done"] = serde_json::json!([[0, u64::MAX]]), place),
        &|place| state(&|state| state["version"] = 2.into(), place),
        &|place| state(&|state| state["url"] = "https://elsewhere.example/model.gguf".into(), place),
    ];
    for (index, damage) in damages.iter().enumerate() {
        let (server, place, _) = cancelled(Content::plain(bytes.clone()), None).await;
        damage(&place);
        let (outcome, _) = run(&client(&server), &place.request(&server.file)).await;
        assert!(matches!(outcome, Ok(Outcome::Finished { .. })), "damage {index}: {outcome:?}");
        place.check_complete(&bytes);
        assert_eq!(server.take_served(), SIZE as u64, "damage {index}");
    }
}

#[tokio::test]
async fn a_complete_part_is_finished_without_the_network() {
    let bytes = content_bytes(SIZE, 1);
    let (server, place, _) = cancelled(Content::new(bytes.clone()), Some(SOURCE)).await;
    fs::write(place.target().with_extension("gguf.part"), &bytes).unwrap();
    let state_path = place.target().with_extension("gguf.part.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&state_path).unwrap()).unwrap();
    state["done"] = serde_json::json!([[0, SIZE]]);
    fs::write(state_path, state.to_string()).unwrap();

    let (outcome, _) = run(&client(&server), &place.request(SOURCE)).await;

    assert_eq!(outcome.unwrap(), Outcome::Finished { size_bytes: SIZE as u64, sha256: Some(sha256(&bytes)) });
    place.check_complete(&bytes);
    assert_eq!(server.take_served(), 0);
}

#[tokio::test]
async fn a_download_that_is_dropped_keeps_its_checkpoints() {
    let bytes = content_bytes(SIZE, 1);
    let server = Server::start(Content::new(bytes.clone())).await;
    server.faults(vec![Fault::Stall(30_000); 4]);
    let place = Place::default();
    let (first, request) = (client(&server), place.request(SOURCE));
    let running = tokio::spawn(async move { run(&first, &request).await });
    let state = place.target().with_extension("gguf.part.json");
    while !fs::read_to_string(&state).is_ok_and(|state| state.contains("30000]")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    server.faults([]);
    server.take_served();

    // What the disk was busy with may hold the lock for a moment.
    let outcome = loop {
        match run(&client(&server), &place.request(SOURCE)).await.0 {
            Err(Error::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            outcome => break outcome,
        }
    };

    outcome.unwrap();
    place.check_complete(&bytes);
    assert!(server.take_served() < SIZE as u64);
}
