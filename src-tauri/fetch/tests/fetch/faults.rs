//! Downloads that go wrong.

use std::time::Duration;

use tektra_fetch::{CancellationToken, Client, Error, Options, Outcome, Phase, Progress, Restart};
use tokio::sync::watch;

use crate::{
    Place, SOURCE, client, options, run,
    server::{Content, Fault, Server, content_bytes, sha256},
};

const SIZE: usize = 500_000;

/// The download succeeds in spite of the faults; gives the ranges that were asked for.
async fn check_survives(content: Content, faults: Vec<Fault>) -> Vec<String> {
    let bytes = content.bytes.clone();
    let server = Server::start(content).await;
    server.faults(faults);
    let place = Place::default();
    let client = Client::new(Options { stall_timeout: Duration::from_millis(500), ..options(&server) }).unwrap();
    let (outcome, _) = run(&client, &place.request(SOURCE)).await;
    outcome.unwrap();
    place.check_complete(&bytes);
    server.ranges()
}

#[tokio::test]
async fn cut_connections_are_continued() {
    let ranges = check_survives(Content::new(content_bytes(SIZE, 1)), vec![Fault::Cut(40_000)]).await;
    assert!(ranges.iter().any(|range| range == "bytes=40000-65535"), "{ranges:?}");
    // More cuts than attempts, but each one brings something.
    check_survives(Content::new(content_bytes(SIZE, 2)), vec![Fault::Cut(5_000); 40]).await;
    let ranges =
        check_survives(Content { ranges: false, ..Content::new(content_bytes(SIZE, 3)) }, vec![Fault::Cut(400_000)])
            .await;
    assert_eq!(ranges.len(), 3, "cut, not continued, started again: {ranges:?}");
}

#[tokio::test]
async fn stalled_connections_are_continued() {
    let ranges = check_survives(Content::new(content_bytes(SIZE, 1)), vec![Fault::Stall(40_000)]).await;
    assert!(ranges.iter().any(|range| range == "bytes=40000-65535"), "{ranges:?}");
}

#[tokio::test]
async fn passing_errors_of_the_server_are_waited_out() {
    check_survives(
        Content::new(content_bytes(SIZE, 1)),
        vec![Fault::Status(500, vec![]), Fault::Status(502, vec![]), Fault::None, Fault::Status(503, vec![])],
    )
    .await;
    // An address that a redirect led to may expire.
    check_survives(Content::new(content_bytes(SIZE, 2)), vec![Fault::Status(403, vec![])]).await;
}

#[tokio::test]
async fn answers_that_end_early_or_late_are_noticed() {
    check_survives(Content::new(content_bytes(SIZE, 1)), vec![Fault::Short(10_000)]).await;
    check_survives(Content::new(content_bytes(SIZE, 2)), vec![Fault::Long]).await;
    check_survives(Content { ranges: false, ..Content::new(content_bytes(SIZE, 3)) }, vec![Fault::Short(10_000)]).await;
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_obeyed() {
    let bytes = content_bytes(SIZE, 1);
    let server = Server::start(Content::new(bytes.clone())).await;
    server.faults([Fault::Status(429, vec![("retry-after", "1".into())])]);
    let place = Place::default();
    let (outcome, seen) = run(&client(&server), &place.request(SOURCE)).await;
    outcome.unwrap();
    place.check_complete(&bytes);
    assert!(seen.iter().any(|progress| progress.phase == Phase::Waiting { seconds: 1 }), "{seen:?}");
}

#[tokio::test]
async fn a_wait_can_be_cancelled() {
    let server = Server::start(Content::new(content_bytes(SIZE, 1))).await;
    server.faults([Fault::Status(503, vec![("retry-after", "500".into())])]);
    let place = Place::default();
    let (sender, mut watcher) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let watching = tokio::spawn(async move {
        watcher.wait_for(|progress| matches!(progress.phase, Phase::Waiting { seconds: 500 })).await.unwrap();
        stop.cancel();
    });
    let outcome = client(&server).download(&place.request(SOURCE), &sender, &cancel).await;
    watching.await.unwrap();
    assert_eq!(outcome.unwrap(), Outcome::Cancelled { bytes_done: 0 });
    assert!(place.names().is_empty(), "{:?}", place.names());
}

/// The download fails with this text and leaves nothing; gives the number of requests for bytes.
async fn check_fails(content: Content, faults: Vec<Fault>, source: &str, expected: &str) -> usize {
    let server = Server::start(content).await;
    server.faults(faults);
    let place = Place::default();
    let (outcome, _) = run(&client(&server), &place.request(source)).await;
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains(expected), "{text}");
    assert!(place.names().is_empty(), "{:?}", place.names());
    server.ranges().len()
}

#[tokio::test]
async fn a_corrupt_byte_is_found_and_nothing_of_it_stays() {
    let bytes = content_bytes(SIZE, 1);
    let expected = format!("The downloaded file is damaged: its SHA-256 is {}", {
        let mut corrupt = bytes.clone();
        corrupt[60_000] ^= 1;
        sha256(&corrupt)
    });
    check_fails(Content::new(bytes), vec![Fault::Corrupt(60_000)], SOURCE, &expected).await;
}

#[tokio::test]
async fn a_wrong_length_is_said() {
    let content = Content { linked_size: Some(600_000), ..Content::new(content_bytes(SIZE, 1)) };
    let requests = check_fails(content, vec![], SOURCE, "sends 500000 bytes instead of 600000").await;
    assert_eq!(requests, 4);
}

#[tokio::test]
async fn a_file_that_is_longer_than_announced_is_never_complete() {
    let server = Server::start(Content::plain(content_bytes(SIZE, 1))).await;
    server.faults(vec![Fault::Long; 100]);
    let place = Place::default();
    let (outcome, _) = run(&client(&server), &place.request(&server.file)).await;
    assert!(matches!(outcome, Err(Error::WrongLength { .. })), "{outcome:?}");
    assert!(!place.target().exists());
}

#[tokio::test]
async fn attempts_without_progress_end() {
    let content = || Content::new(content_bytes(SIZE, 1));
    let failing = vec![Fault::Status(500, vec![]); 20];
    assert_eq!(check_fails(content(), failing, SOURCE, "answers with an error (HTTP 500)").await, 4);
    let busy = vec![Fault::Status(429, vec![("retry-after", "0".into())]); 20];
    assert_eq!(check_fails(content(), busy, SOURCE, "asks to wait").await, 4);
    let empty = vec![Fault::Short(0); 20];
    check_fails(content(), empty, SOURCE, "sends 0 bytes instead of").await;
    let later = vec![Fault::Status(429, vec![("retry-after", "7200".into())])];
    assert_eq!(check_fails(content(), later, SOURCE, "asks to wait 7200 s").await, 1);
    let expired = vec![Fault::Status(403, vec![]); 20];
    assert_eq!(check_fails(content(), expired, SOURCE, "refuses access (403)").await, 4);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let content = || Content::new(content_bytes(100, 1));
    for (source, expected) in [
        ("hf://owner/gated/model.gguf", "/owner/gated does not let you in (403). Accept the licence on that page"),
        ("hf://owner/missing/model.gguf", "There is nothing at http://127.0.0.1"),
        ("hf://owner/model/other.gguf", "Check the spelling of repository, revision and file"),
        ("hf://owner/loop/model.gguf", "redirects more than 10 times"),
    ] {
        assert_eq!(check_fails(content(), vec![], source, expected).await, 0);
    }
}

#[tokio::test]
async fn no_connection_is_said() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/model.gguf", listener.local_addr().unwrap());
    drop(listener);
    let content = Content::new(content_bytes(100, 1));
    check_fails(content, vec![], &address, "cannot be reached: ").await;
}

#[tokio::test]
async fn another_file_than_the_expected_one_is_not_downloaded() {
    let bytes = content_bytes(SIZE, 1);
    let server = Server::start(Content::new(bytes)).await;
    let place = Place::default();
    let mut request = place.request(SOURCE);
    request.sha256 = Some(sha256(b"the catalogue's model"));
    let (outcome, _) = run(&client(&server), &request).await;
    assert!(matches!(outcome, Err(Error::OtherFile { .. })), "{outcome:?}");
    assert!(place.names().is_empty());

    request.sha256 = Some("abc".into());
    let (outcome, _) = run(&client(&server), &request).await;
    assert!(outcome.unwrap_err().to_string().contains("is not a SHA-256 checksum"));
}

#[tokio::test]
async fn an_expected_checksum_counts_without_a_hub() {
    let bytes = content_bytes(SIZE, 1);
    let server = Server::start(Content::plain(bytes.clone())).await;
    let place = Place::default();
    let mut request = place.request(&server.file);
    request.sha256 = Some(sha256(b"another"));
    let (outcome, _) = run(&client(&server), &request).await;
    assert!(matches!(outcome, Err(Error::Checksum { .. })), "{outcome:?}");
    request.sha256 = Some(sha256(&bytes));
    run(&client(&server), &request).await.0.unwrap();
    place.check_complete(&bytes);
}

#[tokio::test]
async fn ranges_that_stop_working_lead_to_a_new_start() {
    let bytes = content_bytes(SIZE, 1);
    let server = Server::start(Content::new(bytes.clone())).await;
    server.faults([Fault::Cut(30_000)]);
    let place = Place::default();
    let (change, client) = (server.shared.clone(), client(&server));
    let changing = tokio::spawn(async move {
        while change.files_seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        change.content.lock().unwrap().ranges = false;
    });
    let (outcome, seen) = run(&client, &place.request(SOURCE)).await;
    changing.await.unwrap();
    outcome.unwrap();
    place.check_complete(&bytes);
    assert_eq!(seen.last().unwrap().restarted, Some(Restart::NotResumable));
}
