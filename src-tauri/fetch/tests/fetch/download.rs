//! Downloads without faults.

use std::{fs, path::Path};

use tektra_fetch::{CancellationToken, Client, Error, Options, Outcome, Phase, Progress};
use tokio::sync::watch;

use crate::{
    Place, SOURCE, client, options, run, run_until,
    server::{Content, Fault, Server, content_bytes, sha256},
};

#[tokio::test]
async fn a_file_of_the_hub_is_followed_to_where_it_lies_and_verified() {
    let bytes = content_bytes(50_000, 1);
    let server = Server::start(Content::new(bytes.clone())).await;
    let place = Place::default();
    let client = Client::new(Options { token: Some("hf_secret".into()), ..options(&server) }).unwrap();

    let (outcome, seen) = run(&client, &place.request(SOURCE)).await;

    assert_eq!(outcome.unwrap(), Outcome::Finished { size_bytes: 50_000, sha256: Some(sha256(&bytes)) });
    place.check_complete(&bytes);
    let last = seen.last().unwrap();
    assert_eq!((last.phase, last.bytes_done, last.bytes_total), (Phase::Done, 50_000, Some(50_000)));

    let hub = server.shared.hub_seen.lock().unwrap().clone();
    let files = server.shared.files_seen.lock().unwrap().clone();
    assert_eq!(files.len(), 1, "a file of one part needs one request");
    assert!(hub.iter().all(|seen| seen.header("authorization") == Some("Bearer hf_secret")));
    assert!(files.iter().all(|seen| seen.header("authorization").is_none()), "the token leaves the hub");
    let agent = concat!("tektra/", env!("CARGO_PKG_VERSION"));
    assert!(hub.iter().chain(&files).all(|seen| seen.header("user-agent") == Some(agent)));
}

#[tokio::test]
async fn a_big_file_comes_in_parallel_ranges_and_every_byte_once() {
    let bytes = content_bytes(1_000_003, 2);
    let server = Server::start(Content::new(bytes.clone())).await;
    let place = Place::default();

    let (outcome, _) = run(&client(&server), &place.request(SOURCE)).await;

    assert!(matches!(outcome.unwrap(), Outcome::Finished { size_bytes: 1_000_003, .. }));
    place.check_complete(&bytes);
    assert_eq!(server.ranges().len(), 5, "{:?}", server.ranges());
    assert_eq!(server.take_served(), 1_000_003);
}

#[tokio::test]
async fn a_renamed_repository_and_a_plain_address_work() {
    let bytes = content_bytes(200_000, 3);
    let server = Server::start(Content::new(bytes.clone())).await;
    for source in ["hf://old/name/model.gguf".to_owned(), server.file.clone()] {
        let place = Place::default();
        let (outcome, _) = run(&client(&server), &place.request(&source)).await;
        outcome.unwrap();
        place.check_complete(&bytes);
    }
}

#[tokio::test]
async fn a_server_without_ranges_or_length_works() {
    let bytes = content_bytes(300_000, 4);
    for length in [true, false] {
        let server =
            Server::start(Content { ranges: false, length, etag: None, ..Content::plain(bytes.clone()) }).await;
        let place = Place::default();
        let (outcome, _) = run(&client(&server), &place.request(&server.file)).await;
        assert_eq!(outcome.unwrap(), Outcome::Finished { size_bytes: 300_000, sha256: None });
        place.check_complete(&bytes);
    }
}

#[tokio::test]
async fn connections_to_one_host_are_bounded() {
    let bytes = content_bytes(400_000, 5);
    let server = Server::start(Content::new(bytes.clone())).await;
    // All four ranges would run at once, but only one may; the first one never ends.
    server.faults([Fault::Stall(10_000)]);
    let client = Client::new(Options { connections_per_host: 1, ..options(&server) }).unwrap();
    let place = Place::default();
    let kept = run_until(&client, &place.request(SOURCE), 1).await;
    assert_eq!(kept, 10_000);
    assert_eq!(server.ranges().len(), 1);
}

#[tokio::test]
async fn two_downloads_to_one_file_are_refused() {
    let bytes = content_bytes(100_000, 6);
    let server = Server::start(Content::new(bytes.clone())).await;
    server.faults([Fault::Stall(1000)]);
    let place = Place::default();
    let (first, request) = (client(&server), place.request(SOURCE));
    let (sender, mut watcher) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let running = tokio::spawn(async move { first.download(&request, &sender, &stop).await });
    watcher.wait_for(|progress| progress.bytes_done > 0).await.unwrap();

    let (second, _) = run(&client(&server), &place.request(SOURCE)).await;
    let error = second.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(error.to_string().ends_with("is being downloaded already."));

    cancel.cancel();
    assert!(matches!(running.await.unwrap().unwrap(), Outcome::Cancelled { .. }));
    run(&client(&server), &place.request(SOURCE)).await.0.unwrap();
    place.check_complete(&bytes);
}

#[tokio::test]
async fn a_file_that_is_there_stays() {
    let bytes = content_bytes(10_000, 7);
    let server = Server::start(Content::new(bytes.clone())).await;
    let place = Place::default();
    fs::create_dir_all(place.target().parent().unwrap()).unwrap();
    fs::write(place.target(), &bytes).unwrap();

    let mut request = place.request(SOURCE);
    let (outcome, _) = run(&client(&server), &request).await;
    assert!(matches!(outcome, Err(Error::TargetExists { .. })));

    request.sha256 = Some(sha256(b"another model"));
    let (outcome, _) = run(&client(&server), &request).await;
    assert!(matches!(outcome, Err(Error::TargetExists { .. })));

    request.sha256 = Some(sha256(&bytes).to_uppercase());
    let (outcome, _) = run(&client(&server), &request).await;
    assert_eq!(outcome.unwrap(), Outcome::Finished { size_bytes: 10_000, sha256: Some(sha256(&bytes)) });
    place.check_complete(&bytes);
    assert!(server.shared.files_seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn too_little_space_is_said_before_anything_is_written() {
    fn nearly_full(_: &Path) -> std::io::Result<u64> {
        Ok(1_200_000)
    }
    let server = Server::start(Content::new(content_bytes(3_000_000, 8))).await;
    let place = Place::default();
    let client = Client::new(Options { free_space: nearly_full, ..options(&server) }).unwrap();

    let (outcome, _) = run(&client, &place.request(SOURCE)).await;

    let error = outcome.unwrap_err().to_string();
    assert!(error.ends_with("3.0 MB are needed and 1.2 MB are free. Free 1.8 MB more, then continue."), "{error}");
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn the_disk_has_free_space() {
    let place = tempfile::tempdir().unwrap();
    assert!((Options::default().free_space)(place.path()).unwrap() > 0);
}
