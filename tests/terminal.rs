//! The terminal commands as a person or a script uses them: the black-box contract.

use std::{
    fs,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Stdio},
    time::Duration,
};

use tektra_tests::{Folder, gguf, interrupt, is_running, run, run_with_input, stderr, stdout, terminal};

#[test]
fn ask_streams_text_to_stdout_and_the_rest_to_stderr() {
    let folder = Folder::with_model("small");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "say 3 words"]));
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "word1 word2 word3\n"));
    assert!(stderr(&output).contains("7 + 3 tokens · small"), "{}", stderr(&output));
}

#[test]
fn what_a_person_should_know_of_a_model_is_told() {
    let folder = Folder::with_model("strange");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "say 1 words"]));
    assert_eq!(stdout(&output), "word1\n");
    assert!(stderr(&output).contains("Note: this model is strange."), "{}", stderr(&output));
}

#[test]
fn ask_json_keeps_its_contract() {
    let folder = Folder::with_model("small");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "say 3 words", "--json"]));
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("one JSON object and nothing else");
    assert_eq!(value["text"], "word1 word2 word3");
    assert_eq!(value["finish_reason"], "stop");
    assert_eq!(value["usage"], serde_json::json!({"prompt_tokens": 7, "cached_tokens": 0, "completion_tokens": 3}));
    for name in ["queue_ms", "load_ms", "ttft_ms", "total_ms", "prefill_tokens_per_second", "decode_tokens_per_second"]
    {
        assert!(value["timings"][name].is_number(), "{name}");
    }
    assert_eq!(value["model"]["name"], "small");
    assert_eq!(value["model"]["device"], "a script");
    assert_eq!(value["model"]["context_length"], 2048);
    for name in ["path", "architecture", "quantization"] {
        assert!(value["model"][name].is_string(), "{name}");
    }
}

#[test]
fn ask_takes_its_options_and_its_prompt_from_a_pipe() {
    let folder = Folder::with_model("small");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "hello", "--system", "Be brief."]));
    assert_eq!(stdout(&output), "system: Be brief. | user: hello\n");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "say 9 words", "--max-tokens", "2", "--json"]));
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((value["text"].as_str(), value["finish_reason"].as_str()), (Some("word1 word2"), Some("length")));
    let output = run_with_input(terminal(&folder, "scripted-engine").arg("ask"), b"say 1 words");
    assert_eq!(stdout(&output), "word1\n");
    let path = folder.add_model("other", &gguf("qwen2", &[]));
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "say 1 words", "--json", "--model"]).arg(path));
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(value["model"]["architecture"], "qwen2");
}

#[test]
fn ask_works_without_a_usable_data_folder() {
    let folder = Folder::new();
    let model = folder.add_model("small", &gguf("llama", &[]));
    let file = folder.0.path().join("file");
    fs::write(&file, "").unwrap();
    let mut command = terminal(&folder, "scripted-engine");
    command.args(["ask", "say 2 words", "--model"]).arg(model).env("TEKTRA_HOME", file.join("data"));
    let output = run(&mut command);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "word1 word2\n"), "{}", stderr(&output));
    let mut command = terminal(&folder, "scripted-engine");
    let output = run(command.arg("chat").env("TEKTRA_HOME", file.join("data")));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot be written"), "{}", stderr(&output));
}

#[test]
fn wrong_usage_and_wrong_input_exit_with_2() {
    let folder = Folder::with_model("small");
    for arguments in [
        vec!["frobnicate"],
        vec!["ask", "hi", "--max-tokens", "0"],
        vec!["ask", "hi", "--max-tokens", "many"],
        vec!["ask", "hi", "--temperature", "3"],
        vec!["ask", "hi", "--temperature", "NaN"],
        vec!["ask", ""],
        vec!["ask", "   "],
        vec!["ask", "overflow"],
        vec!["chat", "--conversation", "no-such-id"],
    ] {
        let output = run(terminal(&folder, "scripted-engine").args(&arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty() && stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_model_that_cannot_be_used_exits_with_3_and_says_what_to_do() {
    let check = |folder: &Folder, model: Option<&str>, words: &[&str]| {
        let mut command = terminal(folder, "scripted-engine");
        command.args(["ask", "hi"]);
        if let Some(model) = model {
            command.args(["--model", model]);
        }
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        for word in words {
            assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
        }
    };
    let folder = Folder::with_model("small");
    fs::write(folder.0.path().join("diary.gguf"), "Dear diary").unwrap();
    let diary = folder.0.path().join("diary.gguf").display().to_string();
    check(&Folder::new(), None, &["There is no model in", "Put a GGUF file"]);
    check(&folder, Some("gpt-9"), &["no model named \"gpt-9\"", "small"]);
    check(&folder, Some(&diary), &["is not a GGUF file", "Choose"]);
    check(&Folder::with_model("refuses"), None, &["it does not want to"]);
    let strange = Folder::new();
    strange.add_model("strange", &gguf("mamba", &[]));
    check(&strange, None, &["architecture \"mamba\"", "Choose another model"]);
    let short = Folder::new();
    let whole = gguf("llama", &[]);
    short.add_model("short", &whole[..whole.len() - 8]);
    check(&short, None, &["cut short", "Download it again"]);
}

#[test]
fn an_engine_that_fails_exits_with_4_and_keeps_what_was_said() {
    let folder = Folder::with_model("small");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "crash after 2 words"]));
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(4), "word1 word2\n"));
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "fail", "--json"]));
    assert_eq!(output.status.code(), Some(4));
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON also when it fails");
    assert_eq!(value["error"]["code"], "engine_failed");
    let output = run(terminal(&folder, "scripted-engine").args(["ask", "hi"]).env("TEKTRA_ENGINE", "/nowhere"));
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("/nowhere"));
}

/// `ask` in the middle of a long answer, and its engine's process id.
fn asking(folder: &Folder) -> (Child, u32) {
    let mut command = terminal(folder, "scripted-engine");
    let mut child =
        command.args(["ask", "say 10000 words every 5 ms"]).stdout(Stdio::piped()).spawn().expect("tektra-cli starts");
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 5]).expect("an answer begins");
    let engine = engine_of(child.id());
    (child, engine)
}

#[test]
fn ctrl_c_ends_ask_with_130_and_leaves_no_engine() {
    let folder = Folder::with_model("small");
    let (mut child, engine) = asking(&folder);
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(!is_running(engine));
}

#[test]
fn a_killed_terminal_leaves_no_engine() {
    let folder = Folder::with_model("small");
    let (mut child, engine) = asking(&folder);
    child.kill().expect("it is killed");
    assert_eq!(child.wait().expect("it ends").signal(), Some(9));
    for _ in 0..100 {
        if !is_running(engine) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the engine {engine} outlives its core");
}

/// The engine that the process `parent` has started.
fn engine_of(parent: u32) -> u32 {
    let children = fs::read_dir(format!("/proc/{parent}/task")).expect("its threads").flatten().flat_map(|task| {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    children.last().expect("an engine")
}

#[test]
fn a_closed_pipe_ends_ask_quietly() {
    let folder = Folder::with_model("small");
    let mut child = terminal(&folder, "scripted-engine")
        .args(["ask", "say 10000 words every 1 ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_no_success() {
    let folder = Folder::with_model("small");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a disk that is always full");
    for arguments in [
        &["ask", "say 3 words"][..],
        &["ask", "say 3 words", "--json"],
        &["models", "list"],
        &["bench", "list", "--json"],
        &["top", "--json", "--samples", "1"],
    ] {
        let output = run(terminal(&folder, "scripted-engine").args(arguments).stdout(full()));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        for words in ["No space left on device", "What was written is incomplete."] {
            assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
        }
    }
    let mut chat = terminal(&folder, "scripted-engine");
    let mut child = chat.arg("chat").stdin(Stdio::piped()).stdout(full()).spawn().expect("it starts");
    child.stdin.as_mut().expect("a pipe").write_all(b"say 3 words\n").expect("it reads");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn invalid_utf8_in_a_pipe_is_replaced_and_said() {
    let folder = Folder::with_model("small");
    for command in ["ask", "chat"] {
        let output = run_with_input(terminal(&folder, "scripted-engine").arg(command), b"caf\xe9 please\n");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output).trim_end(), "user: caf\u{fffd} please", "{command}");
        assert!(stderr(&output).contains("not valid UTF-8"), "{command}");
    }
}

#[test]
fn lists_are_empty_arrays_before_anything_is_there() {
    let folder = Folder::new();
    for list in ["models", "conversations"] {
        let output = run(terminal(&folder, "scripted-engine").args([list, "list", "--json"]));
        assert_eq!((output.status.code(), stdout(&output).trim()), (Some(0), "[]"));
    }
}

#[test]
fn models_list_shows_problems() {
    let folder = Folder::with_model("small");
    folder.add_model("broken", b"nothing");
    let output = run(terminal(&folder, "scripted-engine").args(["models", "list", "--json"]));
    let list: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        (list[0]["name"].as_str(), list[0]["problem"]["code"].as_str()),
        (Some("broken"), Some("model_unusable"))
    );
    assert!(list[1]["problem"].is_null());
    let output = run(terminal(&folder, "scripted-engine").args(["models", "list"]));
    assert!(stdout(&output).contains("is not a GGUF file") && stdout(&output).contains("2048"));
}

#[test]
fn the_log_has_no_word_of_the_conversation() {
    let folder = Folder::with_model("small");
    let output = run_with_input(terminal(&folder, "scripted-engine").arg("chat"), b"my secret is pumpernickel\n");
    assert!(stdout(&output).contains("pumpernickel"));
    let mut logs = String::new();
    for entry in fs::read_dir(folder.home().logs()).expect("a logs folder").flatten() {
        logs += &fs::read_to_string(entry.path()).unwrap();
    }
    assert!(logs.contains("answer ended"), "the log says what was done: {logs}");
    assert!(!logs.contains("pumpernickel"));
}

#[tokio::test]
async fn metrics_tell_what_a_running_process_measured() {
    let folder = Folder::with_model("small");
    let metrics = || terminal(&folder, "scripted-engine").arg("metrics").output().unwrap();
    assert_eq!((metrics().status.code(), stdout(&metrics()).as_str()), (Some(0), ""), "nobody runs");
    let tektra = folder.open().await;
    tektra_tests::converse(&tektra, None, "say 5 words").await;
    tektra_tests::converse(&tektra, None, "fail").await;
    // This process must go on to answer while the terminal waits.
    let mut command = terminal(&folder, "scripted-engine");
    let output = tokio::task::spawn_blocking(move || command.arg("metrics").output().unwrap()).await.unwrap();
    let text = stdout(&output);
    // Other tests of this process count too.
    let at_least = |name: &str, least: f64| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in\n{text}"));
        let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value >= least, "{line}");
    };
    at_least("tektra_requests_total{outcome=\"complete\"}", 1.0);
    at_least("tektra_requests_total{outcome=\"failed\"}", 1.0);
    at_least("tektra_inference_first_token_seconds_count", 1.0);
    at_least("tektra_inference_inter_token_seconds_bucket{le=\"0.001\"}", 0.0);
    at_least("tektra_inference_inter_token_seconds_count", 4.0);
    at_least("tektra_tokens_total{kind=\"generated\"}", 5.0);
    at_least("tektra_model_memory_bytes{kind=\"resident\"}", 1.0);
    at_least("tektra_requests_waiting", 0.0);
    assert!(text.contains("# TYPE tektra_request_duration_seconds histogram"), "{text}");
    tektra.close().await;
}

#[test]
fn a_load_test_counts_waiting_from_the_intended_start() {
    let folder = Folder::with_model("small");
    let test = |more: &[&str]| {
        let mut command = terminal(&folder, "scripted-engine");
        command.args(["loadtest", "--rate", "20", "--duration", "2", "--users", "2", "--json"]).args(more);
        command.output().unwrap()
    };
    let output = test(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name} in {report}"));
    assert!((20.0..=60.0).contains(&number("requests")), "40 are expected");
    assert_eq!((number("answered"), number("failed")), (number("requests"), 0.0));
    assert!(report["first_token"]["p50_ms"].as_f64().unwrap() <= report["first_token"]["max_ms"].as_f64().unwrap());
    assert!(number("seconds") >= 1.0 && number("good_share") > 0.0);
    for absurd in [
        ["--users", "0"],
        ["--rate", "-1"],
        ["--rate", "0"],
        ["--duration", "0"],
        ["--ramp", "9"],
        ["--mix", "chat=0"],
        ["--mix", "tea=1"],
    ] {
        let output = test(&absurd);
        assert_eq!(output.status.code(), Some(2), "{absurd:?}: {}", stderr(&output));
    }
}
