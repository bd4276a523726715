//! `tektra-cli bench` with a scripted engine: what it says, keeps and refuses.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tektra_tests::{Folder, interrupt, stderr, stdout, terminal};

/// `tektra-cli bench` with `arguments`.
fn bench(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = terminal(folder, "scripted-engine");
    command.arg("bench").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn runs(folder: &Folder) -> Vec<Value> {
    let listed = bench(folder, &["list", "--json"]).output().unwrap();
    assert!(listed.status.success(), "{}", stderr(&listed));
    serde_json::from_str(&stdout(&listed)).unwrap()
}

#[test]
fn the_terminal_measures_lists_shows_and_compares() {
    let folder = Folder::with_tiny("small");
    let first = bench(&folder, &["--preset", "quick", "--threads", "1", "--batch", "1,2", "--json"]).output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    let run: Value = serde_json::from_str(&stdout(&first)).unwrap();
    assert_eq!(run["cells"].as_array().map(Vec::len), Some(2));
    assert_eq!(run["cells"][1]["outcome"]["kind"], "measured");
    let own = run["cells"][0]["key"]["quantization"].as_str().unwrap();
    let plain = bench(&folder, &["--quant", own, "--threads", "1", "--batch", "1"]).output().unwrap();
    assert!(plain.status.success() && stdout(&plain).contains("small"), "{}", stderr(&plain));
    let absent = bench(&folder, &["--quant", "int8"]).output().unwrap();
    assert!(absent.status.code() == Some(2) && stderr(&absent).contains("no int8 of"), "{}", stderr(&absent));
    let file = folder.0.path().join("llama.json");
    let out = file.display().to_string();
    let second =
        bench(&folder, &["--threads", "1", "--reps", "3", "--llama-bench-json", "--out", &out]).output().unwrap();
    assert!(second.status.success() && second.stdout.is_empty(), "{}", stderr(&second));
    let tests: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((tests.len(), tests[0]["samples_ts"].as_array().map(Vec::len)), (2, Some(3)));

    let all = runs(&folder);
    let id = |at: usize| all[at]["id"].as_str().unwrap().to_owned();
    assert_eq!((all.len(), &all[2]["id"]), (3, &run["summary"]["id"]), "the latest first");
    let shown = bench(&folder, &["show", &id(2), "--csv"]).output().unwrap();
    assert!(stdout(&shown).lines().filter(|line| line.contains("decode_tokens_per_second")).count() == 2);
    let compared = bench(&folder, &["compare", &id(2), &id(0), "--json"]).output().unwrap();
    let compared: Value = serde_json::from_str(&stdout(&compared)).unwrap();
    assert_eq!(compared["other_machine"], false);
    let rows = compared["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["verdict"] == "only_a" && row["key"]["batch"] == 2));
    let both = rows.iter().find(|row| row["metric"] == "decode_tokens_per_second" && row["key"]["batch"] == 1).unwrap();
    assert_eq!(both["verdict"], "no_difference", "three samples are too few: {both}");
    let words = bench(&folder, &["compare", &id(2), &id(0)]).output().unwrap();
    assert!(stdout(&words).contains("no certain difference"), "{}", stdout(&words));
}

#[test]
fn absurd_wishes_are_refused_with_a_sentence() {
    let folder = Folder::with_tiny("small");
    for (arguments, word) in [
        (&["--batch", "0"][..], "counted from 1"),
        (&["--threads", "100000"], "100000 threads"),
        (&["--reps", "1000000"], "1000000 repetitions"),
        (&["--depth", "99999999"], "99999999 tokens"),
        (&["--kv", "q7"], "write f16, q8 or f32"),
        (&["--on", "npu"], "write cpu or gpu"),
        // Also where there is a GPU: this engine is built for none.
        (&["--on", "gpu"], "Nothing can be measured on a GPU."),
        (&["--preset", "endless"], "write quick, standard or thorough"),
        (&["show", "nothing"], "does not exist"),
        (&["--out", "/nowhere/at/all.json"], "cannot be written"),
    ] {
        let refused = bench(&folder, arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(word), "{}", stderr(&refused));
    }
    assert_eq!(bench(&folder, &["--model", "nobody"]).output().unwrap().status.code(), Some(3));
    assert!(runs(&folder).is_empty(), "nothing was begun");
}

/// Starts a slow run and waits until a round of it is stored.
fn begin(folder: &Folder) -> std::process::Child {
    let child = bench(folder, &["--threads", "1", "--batch", "1,2", "--reps", "5"]).spawn().unwrap();
    let tries = (0..300).take_while(|_| {
        std::thread::sleep(Duration::from_millis(50));
        !has_metrics(folder)
    });
    assert!(tries.count() < 300, "nothing is measured");
    child
}

/// Whether the first cell of the latest run has figures.
fn has_metrics(folder: &Folder) -> bool {
    let Some(id) = runs(folder).first().and_then(|run| run["id"].as_str().map(ToOwned::to_owned)) else { return false };
    let shown = bench(folder, &["show", &id, "--json"]).output().unwrap();
    let run = serde_json::from_str::<Value>(&stdout(&shown)).unwrap_or_default();
    run["cells"][0]["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty())
}

#[test]
fn ctrl_c_keeps_what_is_measured() {
    let folder = Folder::with_tiny("slow");
    let child = begin(&folder);
    let second = bench(&folder, &["--threads", "1"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2), "another process must not disturb it");
    interrupt(&child);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("kept"), "{}", stderr(&ended));
    assert_eq!(runs(&folder)[0]["state"], "cancelled");
}

#[test]
fn a_killed_run_is_interrupted_and_goes_on() {
    let folder = Folder::with_tiny("slow");
    let mut child = begin(&folder);
    child.kill().unwrap();
    child.wait().unwrap();
    let all = runs(&folder);
    assert_eq!(all[0]["state"], "interrupted");
    let resumed = bench(&folder, &["resume", all[0]["id"].as_str().unwrap(), "--json"]).output().unwrap();
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let run: Value = serde_json::from_str(&stdout(&resumed)).unwrap();
    assert_eq!((&run["summary"]["state"], &run["summary"]["cells_done"]), (&"done".into(), &2.into()));
    let metrics = run["cells"][0]["metrics"].as_array().unwrap();
    let decode = metrics.iter().find(|metric| metric["name"] == "decode_tokens_per_second").unwrap();
    assert_eq!(decode["samples"].as_array().map(Vec::len), Some(5));
}
