//! The database: lists, search, deletion, and data folders that cannot be used.

use std::{fs, os::unix::fs::PermissionsExt};

use tektra_core::{ErrorCode, Store, Tektra};
use tektra_tests::{Folder, converse, scripted};

#[tokio::test]
async fn search_finds_words_in_titles_and_messages() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let zebra = converse(&tektra, None, "A zebra walks into a café").await.conversation_id;
    converse(&tektra, None, "say 2 words").await;
    let found = async |query: &str| -> Vec<String> {
        tektra.store().search(query).await.unwrap().into_iter().map(|line| line.id).collect()
    };
    assert_eq!(found("zeb").await, [zebra.as_str()], "the last word may be begun only");
    assert_eq!(found("cafe zebra").await, [zebra.as_str()], "accents and order do not matter");
    assert_eq!(found("elephant").await, [""; 0]);
    for rubbish in ["\"", "a\" OR \"b", "*", "(", "NEAR(", "-- ; DROP TABLE message", "%", "_"] {
        found(rubbish).await;
    }
    tektra.rename(&zebra, "Stripes 100%").await.unwrap();
    assert_eq!(found("100%").await, [zebra.as_str()]);
    tektra.close().await;
}

#[tokio::test]
async fn deleting_can_be_undone_and_is_then_for_good() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let id = converse(&tektra, None, "a secret word: xylophone").await.conversation_id;
    tektra.delete(&id).await.unwrap();
    assert!(tektra.store().conversations().await.unwrap().is_empty());
    assert!(tektra.store().search("xylophone").await.unwrap().is_empty());
    assert_eq!(tektra.open_conversation(&id).await.unwrap_err().code(), ErrorCode::NotFound);
    tektra.restore(&id).await.unwrap();
    assert_eq!(tektra.open_conversation(&id).await.unwrap().messages.len(), 2);

    tektra.delete(&id).await.unwrap();
    assert_eq!(tektra.store().purge(0).await.unwrap(), 1);
    assert_eq!(tektra.restore(&id).await.unwrap_err().code(), ErrorCode::NotFound);
    tektra.close().await;
    let bytes = fs::read(folder.home().database()).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"xylophone"), "what was deleted is not left in the file");
}

#[tokio::test]
async fn a_title_needs_a_character() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let id = converse(&tektra, None, "say 1 words").await.conversation_id;
    assert_eq!(tektra.rename(&id, "  ").await.unwrap_err().code(), ErrorCode::InvalidInput);
    assert_eq!(tektra.rename("no-such-id", "x").await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(tektra.store().conversations().await.unwrap()[0].title, "say 1 words");
    tektra.close().await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let folder = Folder::with_model("small");
    folder.open().await.close().await;
    let url = format!("sqlite://{}", folder.home().database().display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', 1, x'00', 0)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let before = fs::read(folder.home().database()).unwrap();
    let error = Store::open(&folder.home()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreNewer);
    assert!(error.to_string().contains("Nothing was changed"));
    assert_eq!(fs::read(folder.home().database()).unwrap(), before);
}

#[tokio::test]
async fn rubbish_in_place_of_the_database_is_an_error_and_stays_as_it_is() {
    let folder = Folder::new();
    folder.home().create().unwrap();
    let rubbish = b"this is no database, but somebody may want it back".repeat(100);
    fs::write(folder.home().database(), &rubbish).unwrap();
    let error = Tektra::open(folder.home(), scripted()).await.err().expect("an error");
    assert_eq!(error.code(), ErrorCode::StoreFailed, "{error}");
    assert_eq!(fs::read(folder.home().database()).unwrap(), rubbish);
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_said_at_the_start() {
    let folder = Folder::new();
    // A file where the folder should be works for every user; root is not stopped by permissions.
    let blocked = folder.0.path().join("file");
    fs::write(&blocked, "").unwrap();
    let error = Store::open(&tektra_core::Home::at(blocked.join("data"))).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreReadOnly, "{error}");

    folder.open().await.close().await;
    fs::set_permissions(folder.home().database(), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let opened = Store::open(&folder.home()).await;
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
    match opened {
        Err(error) => assert_eq!(error.code(), ErrorCode::StoreReadOnly, "{error}"),
        Ok(_) => assert_eq!(
            fs::metadata("/proc/self").map(|process| std::os::unix::fs::MetadataExt::uid(&process)).unwrap(),
            0,
            "only root may write all the same"
        ),
    }
}

#[tokio::test]
async fn settings_are_kept_and_nonsense_is_refused() {
    let folder = Folder::new();
    let tektra = folder.open().await;
    let mut settings = tektra.settings().await.unwrap();
    settings.temperature = 0.2;
    tektra.set_settings(&settings).await.unwrap();
    let nonsense = tektra_core::Settings { temperature: f64::NAN, ..settings.clone() };
    assert_eq!(tektra.set_settings(&nonsense).await.unwrap_err().code(), ErrorCode::InvalidInput);
    tektra.close().await;
    assert_eq!(folder.open().await.settings().await.unwrap(), settings);
}

#[tokio::test]
async fn the_data_folder_is_private() {
    let parent = Folder::new();
    let home = tektra_core::Home::at(parent.0.path().join("tektra"));
    Store::open(&home).await.unwrap().close().await;
    assert_eq!(fs::metadata(home.folder()).unwrap().permissions().mode() & 0o777, 0o700);
}
