//! The rooms and who may enter them: read from the manifests and sources, so that a shortcut is noticed.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest)).expect(manifest);
    let manifest: toml::Table = text.parse().expect("a manifest");
    manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|all| all.keys().cloned())
        .collect()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ["rs", "ts", "svelte"].iter().any(|known| ending == *known))
            {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

#[test]
fn dependencies_point_one_way() {
    let check = |manifest: &str, forbidden: &[&str]| {
        for dependency in dependencies(manifest) {
            assert!(
                !forbidden.iter().any(|word| dependency == *word || dependency.starts_with(&format!("{word}-"))),
                "{manifest} must not depend on {dependency}"
            );
        }
    };
    check("Cargo.toml", &["mistralrs", "candle", "sqlx", "tektra-protocol", "tektra-engine"]);
    check("src-tauri/core/Cargo.toml", &["tauri", "mistralrs", "candle", "axum", "tektra-engine"]);
    check("src-tauri/protocol/Cargo.toml", &["tauri", "mistralrs", "candle", "sqlx", "tektra"]);
    check("src-tauri/engine/Cargo.toml", &["tauri", "sqlx", "tektra-core"]);
    check(
        "src-tauri/cpu/Cargo.toml",
        &["tauri", "mistralrs", "candle", "sqlx", "tokio", "tektra-core", "tektra-protocol"],
    );
    check("src-tauri/sensors/Cargo.toml", &["tauri", "mistralrs", "candle", "sqlx", "tokio", "tektra"]);
    for alone in ["bench", "fetch", "gguf", "models", "profile", "quantize"] {
        check(
            &format!("src-tauri/{alone}/Cargo.toml"),
            &["tauri", "mistralrs", "candle", "sqlx", "tektra-core", "tektra-cpu", "tektra-protocol"],
        );
    }
    assert_eq!(
        dependencies("src-tauri/kernels/Cargo.toml"),
        ["memmap2"],
        "kernels know slices, memory and threads only"
    );
    check("src-tauri/cli/Cargo.toml", &["tauri", "mistralrs", "candle", "sqlx", "tektra-engine", "tektra-protocol"]);
}

#[test]
fn only_the_store_speaks_sql() {
    for folder in ["src-tauri/core/src", "src-tauri/src", "src-tauri/cli/src", "src-tauri/engine/src"] {
        for (path, text) in sources(folder) {
            let allowed = path.components().any(|part| part.as_os_str() == "store");
            assert!(allowed || !text.contains("sqlx::query"), "{} speaks SQL", path.display());
        }
    }
}

#[test]
fn only_ipc_ts_and_the_bindings_know_the_transport() {
    for (path, text) in sources("ui/src") {
        let allowed = ["ipc.ts", "bindings.ts"].iter().any(|name| path.ends_with(name));
        assert!(allowed || !text.contains("@tauri-apps/"), "{} imports @tauri-apps", path.display());
    }
}

#[test]
fn the_lock_files_name_no_download_addresses() {
    let lock = fs::read_to_string(root().join("ui/package-lock.json")).expect("a lock file");
    assert!(!lock.contains("\"resolved\": \"http"));
}
