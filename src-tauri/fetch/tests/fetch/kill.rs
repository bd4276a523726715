//! A process that is killed in the middle of a download.

use std::{env, fs, process::Command, time::Duration};

use tektra_fetch::{Client, Options};

use crate::{
    Place, SOURCE, client, options, run,
    server::{Content, Fault, Server, content_bytes},
};

const TARGET: &str = "TEKTRA_FETCH_TEST_TARGET";
const SIZE: u64 = 2_000_000;

/// The process that is killed: this executable again, with nothing but this test.
#[tokio::test]
#[ignore = "the child of a_killed_download_continues_from_what_is_on_the_disk"]
async fn child() {
    let Ok(target) = env::var(TARGET) else { return };
    let options = Options {
        parallel_above_bytes: 64 << 10,
        checkpoint_every: Duration::from_millis(10),
        segments: 4,
        ..Options::from_env()
    };
    let place = Place::default();
    let mut request = place.request(SOURCE);
    request.target = target.into();
    let _ = run(&Client::new(options).unwrap(), &request).await;
}

#[tokio::test]
async fn a_killed_download_continues_from_what_is_on_the_disk() {
    let bytes = content_bytes(SIZE as usize, 1);
    let server = Server::start(Content::new(bytes.clone())).await;
    server.faults(vec![Fault::Stall(300_000); 4]);
    let place = Place::default();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored"])
        .env("HF_ENDPOINT", &server.hub)
        .env(TARGET, place.target())
        .spawn()
        .unwrap();
    let recorded = loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(child.try_wait().unwrap().is_none(), "the download ended by itself");
        let recorded = recorded(&place);
        if recorded > 200_000 {
            break recorded;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    // Between the look and the kill it may have written more.
    let recorded = recorded.max(self::recorded(&place));
    assert!(!place.target().exists());
    server.faults([]);
    server.take_served();

    let (outcome, seen) = run(&client(&server), &place.request(SOURCE)).await;

    outcome.unwrap();
    place.check_complete(&bytes);
    assert!(seen.iter().all(|progress| progress.restarted.is_none()));
    assert_eq!(server.take_served(), SIZE - recorded);
}

/// How many bytes the state on the disk names.
fn recorded(place: &Place) -> u64 {
    let Ok(state) = fs::read(place.target().with_extension("gguf.part.json")) else { return 0 };
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let done = state["done"].as_array().unwrap();
    done.iter().map(|range| range[1].as_u64().unwrap() - range[0].as_u64().unwrap()).sum()
}

/// A killed process that had finished all but the removal of the state leaves nothing that disturbs.
#[tokio::test]
async fn a_state_without_its_file_does_not_disturb() {
    let bytes = content_bytes(100_000, 2);
    let server = Server::start(Content::new(bytes.clone())).await;
    let place = Place::default();
    fs::create_dir_all(place.target().parent().unwrap()).unwrap();
    fs::write(
        place.target().with_extension("gguf.part.json"),
        format!(
            r#"{{"version":1,"url":"{}/owner/model/resolve/main/model.gguf","validator":null,"size_bytes":100000,
                 "sha256":null,"done":[[0,100000]]}}"#,
            server.hub
        ),
    )
    .unwrap();
    run(&Client::new(options(&server)).unwrap(), &place.request(SOURCE)).await.0.unwrap();
    place.check_complete(&bytes);
}
