//! Searching the hub.

use tektra_fetch::{Error, HubFile, HubRepository};

use crate::{
    client,
    server::{Content, Server},
};

async fn hub(path: &str, body: &str) -> Server {
    let server = Server::start(Content::new(vec![0])).await;
    server.shared.api.lock().unwrap().insert(path.into(), body.into());
    server
}

#[tokio::test]
async fn repositories_are_found_and_missing_fields_forgiven() {
    let server = hub(
        "/api/models",
        r#"[{"_id":"1","id":"owner/small-GGUF","downloads":1200,"likes":34,"gated":"manual","private":false,
             "tags":["gguf","license:apache-2.0","region:us"]},
            {"modelId":"owner/bare"},
            {"downloads":5},
            "odd",
            {"id":"owner/strange","downloads":"many","likes":-1,"gated":false,"tags":null}]"#,
    )
    .await;
    let found = client(&server).search("small & fast", 20).await.unwrap();
    let bare = |id: &str| HubRepository { id: id.into(), downloads: None, likes: None, licence: None, gated: None };
    assert_eq!(
        found,
        [
            HubRepository {
                downloads: Some(1200),
                likes: Some(34),
                licence: Some("apache-2.0".into()),
                gated: Some(true),
                ..bare("owner/small-GGUF")
            },
            bare("owner/bare"),
            HubRepository { gated: Some(false), ..bare("owner/strange") },
        ]
    );
    let asked = server.shared.hub_seen.lock().unwrap()[0].path.clone();
    assert_eq!(asked, "/api/models?search=small+%26+fast&filter=gguf&sort=downloads&limit=20");
}

#[tokio::test]
async fn files_have_sizes_and_checksums() {
    let sum = "ab".repeat(32);
    let server = hub(
        "/api/models/owner/model",
        &format!(
            r#"{{"id":"owner/model","siblings":[
                {{"rfilename":"README.md","size":12}},
                {{"rfilename":"q4/model.gguf","size":500,"lfs":{{"sha256":"{sum}","size":500}}}},
                {{"rfilename":"odd.gguf","size":null,"lfs":{{"sha256":"nonsense","size":7}}}},
                {{"size":1}}]}}"#
        ),
    )
    .await;
    let files = client(&server).files("owner/model").await.unwrap();
    let file = |path: &str, size_bytes, sha256| HubFile { path: path.into(), size_bytes: Some(size_bytes), sha256 };
    assert_eq!(files, [file("README.md", 12, None), file("q4/model.gguf", 500, Some(sum)), file("odd.gguf", 7, None)]);
    assert_eq!(server.shared.hub_seen.lock().unwrap()[0].path, "/api/models/owner/model?blobs=true");
}

#[tokio::test]
async fn nonsense_is_an_error_in_plain_words() {
    for body in ["<html>sign in to the network</html>", "{\"error\":1}", "", "[{\"id\":"] {
        let server = hub("/api/models", body).await;
        let error = client(&server).search("x", 5).await.unwrap_err();
        assert!(error.to_string().contains("gives an answer that makes no sense"), "{error}");
    }
    let server = hub("/api/models", "[]").await;
    assert_eq!(client(&server).search("x", 5).await.unwrap(), []);
    assert!(matches!(client(&server).files("owner/none").await, Err(Error::NotFound { .. })));
    assert!(matches!(client(&server).files("../etc").await, Err(Error::Source { .. })));
}
