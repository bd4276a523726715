//! `tektra-cli models …`: the black-box contract.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tektra_tests::{Folder, gguf, starter_model, stderr, stdout, terminal};

fn models(folder: &Folder, arguments: &[&str]) -> Output {
    terminal(folder, "scripted-engine").arg("models").args(arguments).output().expect("tektra-cli starts")
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).expect("one JSON value and nothing else")
}

#[test]
fn list_and_show_tell_what_is_known() {
    let folder = Folder::with_model("small");
    folder.add_model("broken", b"no model");
    let list = json(&models(&folder, &["list", "--json"]));
    assert_eq!((&list[0]["name"], &list[0]["problem"]["code"]), (&"broken".into(), &"model_unusable".into()));
    assert_eq!(
        (&list[1]["name"], &list[1]["origin"], &list[1]["problem"]),
        (&"small".into(), &"tektra".into(), &Value::Null)
    );
    let shown = json(&models(&folder, &["show", "SMALL", "--json"]));
    assert_eq!((&shown["architecture"], &shown["context_length"]), (&"llama".into(), &2048.into()));
    let starter = json(&models(&folder, &["show", starter_model().to_str().unwrap(), "--json"]));
    assert_eq!(
        (&starter["runs_on"], &starter["layers"], &starter["licence"]),
        (&"tektra_cpu".into(), &30.into(), &"apache-2.0".into())
    );
    let output = models(&folder, &["show", "broken"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("is not a GGUF file"), "{}", stderr(&output));
    assert_eq!(models(&folder, &["show", "nothing"]).status.code(), Some(3));
}

#[test]
fn fit_keeps_its_contract() {
    let folder = Folder::with_model("small");
    let path = starter_model();
    let fit = |context: &str| json(&models(&folder, &["fit", path.to_str().unwrap(), "--context", context, "--json"]));
    let (short, long) = (fit("1024"), fit("8192"));
    for name in
        ["weights_bytes", "kv_bytes", "compute_bytes", "reserve_bytes", "total_bytes", "free_bytes", "max_context"]
    {
        assert!(short[name].is_u64(), "{name}");
    }
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap();
    let parts = ["weights_bytes", "kv_bytes", "compute_bytes", "reserve_bytes"].map(|name| number(&short, name));
    assert_eq!(parts.iter().sum::<u64>(), number(&short, "total_bytes"));
    assert_eq!((&short["fits"], &short["max_context"]), (&true.into(), &8192.into()));
    assert!(number(&long, "total_bytes") > number(&short, "total_bytes"), "a longer context takes more");
    let size = path.metadata().unwrap().len();
    let once = size / 20 * 19..size / 20 * 21;
    assert!(once.contains(&parts[0]), "the weights lie in memory once, tied embeddings too: {} of {size}", parts[0]);
}

#[test]
fn load_shows_what_was_taken_and_given_back() {
    let folder = Folder::with_model("small");
    let cycles = json(&models(&folder, &["load", "small", "--cycles", "2", "--json"]));
    assert_eq!(cycles.as_array().unwrap().len(), 2);
    for cycle in cycles.as_array().unwrap() {
        assert!(cycle["resident_before_mib"].as_u64().unwrap() > 0);
        assert_eq!(cycle["resident_after_mib"], 0);
    }
    assert_eq!(models(&folder, &["load", "nothing"]).status.code(), Some(3));
}

#[test]
fn a_folder_is_imported_and_left_and_a_file_is_linked_and_removed() {
    let folder = Folder::with_model("small");
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("far.gguf");
    fs::write(&file, gguf("qwen2", &[])).unwrap();
    let names = || {
        let list = json(&models(&folder, &["list", "--json"]));
        list.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let path = other.path().to_str().unwrap();
    assert_eq!(models(&folder, &["import", path]).status.code(), Some(0));
    assert_eq!(names(), ["far", "small"]);
    let output = models(&folder, &["remove", "far", "--yes"]);
    assert_eq!(output.status.code(), Some(2), "not Tektra's to delete");
    assert!(file.exists());
    assert_eq!(models(&folder, &["remove", path]).status.code(), Some(0));
    assert_eq!(names(), ["small"]);

    let linked = json(&models(&folder, &["import", file.to_str().unwrap(), "--json"]));
    assert_eq!(linked["name"], "far");
    assert_eq!(names(), ["far", "small"]);
    assert_eq!(models(&folder, &["remove", "far"]).status.code(), Some(2), "nobody could be asked");
    assert_eq!(json(&models(&folder, &["remove", "far", "--yes", "--json"]))["name"], "far");
    assert_eq!(names(), ["small"]);
    assert!(file.exists(), "the other name of the file stays");
    assert_eq!(models(&folder, &["import", "/nowhere"]).status.code(), Some(2));
}

/// A hub that has one file and answers one request after the other.
fn hub(file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let file = file.clone();
            std::thread::spawn(move || serve(stream, &file));
        }
    });
    address
}

const SEARCH: &str = r#"[{"id":"owner/name","downloads":12,"likes":3,"gated":false,"tags":["license:mit"]},{"id":"other/shut","gated":"manual","tags":[]}]"#;
const FILES: &str = r#"{"siblings":[{"rfilename":"README.md"},{"rfilename":"tiny.gguf","size":1000},
    {"rfilename":"two-00001-of-00002.gguf","size":2097152},{"rfilename":"two-00002-of-00002.gguf","size":2097152},
    {"rfilename":"huge-Q8_0.gguf","size":9000000000000000},{"rfilename":"odd-IQ2_XS.gguf","size":5}]}"#;

fn serve(mut stream: TcpStream, file: &[u8]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut first = None;
    let mut range = None;
    for line in lines.by_ref().map_while(Result::ok) {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (start, end) = bytes.split_once('-').unwrap();
            range = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().map_or(file.len(), |end| end + 1)));
        }
        first.get_or_insert(line.clone());
        if line.is_empty() {
            break;
        }
    }
    let first = first.unwrap_or_default();
    let told = match () {
        () if first.contains("/api/models?") => Some(SEARCH),
        () if first.contains("/api/models/owner/name?") => Some(FILES),
        () => None,
    };
    if let Some(told) = told {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{told}", told.len());
        let _ = stream.write_all(head.as_bytes());
        return;
    }
    let found = ["tiny.gguf", "two-00001-of-00002.gguf", "two-00002-of-00002.gguf"]
        .iter()
        .any(|file| first.contains(&format!("/owner/name/resolve/main/{file}")));
    let (status, from, to) = match (found, range) {
        (false, _) => ("404 Not Found", 0, 0),
        (true, None) => ("200 OK", 0, file.len()),
        (true, Some((start, end))) => ("206 Partial Content", start, end.min(file.len())),
    };
    let part = &file[from..to];
    let range = format!("Content-Range: bytes {from}-{}/{}\r\n", to.saturating_sub(1), file.len());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"one\"\r\nAccept-Ranges: bytes\r\n{range}Connection: close\r\n\r\n",
        part.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(part));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0; 1]);
}

#[test]
fn a_model_is_downloaded_and_can_be_used_at_once() {
    let folder = Folder::new();
    let hub = hub(gguf("llama", &[]));
    let download = |source: &str, more: &[&str]| {
        let mut command: Command = terminal(&folder, "scripted-engine");
        command.env("HF_ENDPOINT", &hub).env("NO_PROXY", "127.0.0.1").args(["models", "download", source]).args(more);
        command.output().expect("tektra-cli starts")
    };
    let done = json(&download("hf://owner/name/tiny.gguf", &["--json"]));
    assert!(done["path"].as_str().unwrap().ends_with("models/tiny.gguf"));
    let output = terminal(&folder, "scripted-engine").args(["ask", "say 1 words"]).output().unwrap();
    assert_eq!(stdout(&output), "word1\n");
    let output = download("hf://owner/name/other.gguf", &[]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(!folder.home().models().join("other.gguf").exists());
    for wrong in ["no-such-name", "hf://owner", "hf://owner/name/readme.md", "https://"] {
        let output = download(wrong, &[]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", stderr(&output));
    }
    let output = download("hf://owner/name/tiny.gguf", &["--sha256", "12"]);
    assert_ne!(output.status.code(), Some(0), "no checksum");
}

#[test]
fn the_hub_is_searched_and_a_model_in_parts_arrives_whole() {
    let folder = Folder::new();
    let hub = hub(gguf("llama", &[]));
    let run = |arguments: &[&str]| {
        let mut command: Command = terminal(&folder, "scripted-engine");
        command.env("HF_ENDPOINT", &hub).env("NO_PROXY", "127.0.0.1").arg("models").args(arguments);
        command.output().expect("tektra-cli starts")
    };
    let found = json(&run(&["search", "name", "--json"]));
    assert_eq!(
        (&found[0]["id"], &found[0]["licence"], &found[0]["gated"]),
        (&"owner/name".into(), &"mit".into(), &false.into())
    );
    assert_eq!(found[1]["gated"], true);
    let files = json(&run(&["search", "owner/name", "--json"]));
    let file = |name: &str| {
        let all = files.as_array().unwrap();
        all.iter()
            .find(|file| file["file"].as_str().unwrap().starts_with(name))
            .unwrap_or_else(|| panic!("{files}"))
            .clone()
    };
    assert_eq!((&file("tiny")["fits"], &file("tiny")["installed"]), (&true.into(), &false.into()));
    assert_eq!((&file("two")["parts"], &file("two")["size_mib"]), (&2.into(), &4.into()));
    assert_eq!((&file("huge")["fits"], &file("huge")["quantization"]), (&false.into(), &"Q8_0".into()));
    assert!(file("odd")["problem"].is_string(), "no executor knows its type");
    assert_eq!(files.as_array().unwrap().len(), 4, "{files}");

    let done = json(&run(&["download", "hf://owner/name/two-00001-of-00002.gguf", "--json"]));
    assert_eq!(done["files"].as_array().unwrap().len(), 2);
    assert!(folder.home().models().join("two-00002-of-00002.gguf").is_file());
    let mut alone: Command = terminal(&folder, "scripted-engine");
    let offline = alone.env("HF_ENDPOINT", "http://127.0.0.1:9").args(["models", "search", "x"]).output().unwrap();
    assert_eq!(offline.status.code(), Some(5), "{}", stderr(&offline));
}

#[test]
fn the_catalogue_names_the_best_for_this_machine() {
    let catalogue = json(&models(&Folder::new(), &["catalogue", "--json"]));
    let entries = catalogue["catalogue"]["entries"].as_array().unwrap();
    assert!(entries.len() > 10);
    let best = &catalogue["best"]["entry"]["id"];
    assert!(entries.iter().any(|entry| entry["id"] == *best));
}

#[test]
fn quantize_refuses_what_would_only_lose_and_names_what_it_wrote() {
    let folder = Folder::new();
    let starter = starter_model();
    let starter = starter.to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    let to = ["--out", out.path().to_str().unwrap()];
    let quantize = |kind: &str| models(&folder, &[&["quantize", starter, "--type", kind], &to[..]].concat());
    let output = quantize("Q8_0");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(quantize("int3").status.code(), Some(2));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(models(&folder, &["quantize", "/nowhere", "--type", "int4"]).status.code(), Some(3));
}

#[test]
fn profiles_name_model_memory_and_speed_and_prefer_what_was_measured() {
    let folder = Folder::new();
    fs::create_dir_all(folder.home().models()).unwrap();
    std::os::unix::fs::symlink(starter_model(), folder.home().models().join("starter.gguf")).unwrap();
    let profiles = || json(&models(&folder, &["profiles", "--json"]));
    let before = profiles();
    let goals: Vec<_> = before.as_array().unwrap().iter().map(|profile| profile["goal"].as_str().unwrap()).collect();
    assert_eq!(goals, ["fast", "balanced", "quality"]);
    assert_eq!((&before[0]["model"], &before[0]["measured"]), (&"starter".into(), &false.into()));
    assert!(before[0]["need"]["total_bytes"].as_u64().unwrap() > 0);
    let mut chat =
        terminal(&folder, "tektra-engine").args(["chat", "--max-tokens", "32"]).stdin(Stdio::piped()).spawn().unwrap();
    chat.stdin
        .take()
        .unwrap()
        .write_all(b"Write a long story about a ship and its captain on the way to the north.\n")
        .unwrap();
    assert!(chat.wait().unwrap().success());
    let after = profiles();
    assert_eq!(after[0]["measured"], true, "an answer was measured: {after}");
}
