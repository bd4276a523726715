//! The metrics, as Prometheus reads them.

use std::collections::{HashMap, HashSet};

use tektra_core::{CoreEvent, Tektra, UnloadReason};
use tektra_tests::*;

/// What promtool checks: help and type before the samples, one type a name, base units, no sample twice, bounded labels.
fn lint(text: &str) -> HashMap<String, String> {
    let mut types: HashMap<String, String> = HashMap::new();
    let (mut helped, mut samples, mut begun) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut series: HashMap<String, u32> = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("words");
            assert!(helped.insert(name.to_owned()) && !words.trim().is_empty(), "{line}");
            assert!(!types.contains_key(name), "help before type: {line}");
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.into(), kind.into()).is_none(), "one type a name: {line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            assert!(samples.insert(sample.to_owned()), "twice: {line}");
            let value: f64 = value.replace("+Inf", "inf").parse().unwrap_or_else(|_| panic!("{line}"));
            let name = sample.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
                name.strip_suffix(part).filter(|base| types.get(*base).is_some_and(|kind| kind == "histogram"))
            });
            let family = base.unwrap_or(name);
            let kind = types.get(family).unwrap_or_else(|| panic!("type before samples: {line}"));
            begun.insert(family.to_owned());
            match kind.as_str() {
                "counter" => assert!(name.ends_with("_total") && value >= 0.0, "{line}"),
                "histogram" => assert!(family.ends_with("_seconds") || family.ends_with("_bytes"), "{line}"),
                _ => assert!(
                    ["_bytes", "_ratio", "_seconds", "_waiting"].iter().any(|unit| name.ends_with(unit)),
                    "{line}"
                ),
            }
            let of = if name.ends_with("_bucket") { series.entry(name.into()) } else { series.entry(family.into()) };
            *of.or_default() += 1;
        }
    }
    assert!(begun.iter().all(|name| helped.contains(name) || name.starts_with("mistralrs_")), "help for all of ours");
    assert!(series.values().all(|count| *count <= 64), "labels are bounded: {series:?}");
    for bad in ["_ms", "_mib", "_percent", "_milliseconds"] {
        assert!(!types.keys().any(|name| name.ends_with(bad)), "base units only");
    }
    types
}

async fn metrics(tektra: &Tektra) -> (String, HashMap<String, String>) {
    let text = tektra.metrics().await;
    let types = lint(&text);
    (text, types)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_complete_and_well_formed() {
    let folder = Folder::with_model("small");
    let tektra = folder.open().await;
    let (before, types) = metrics(&tektra).await;
    for (name, kind) in [
        ("tektra_requests_total", "counter"),
        ("tektra_request_duration_seconds", "histogram"),
        ("tektra_inference_first_token_seconds", "histogram"),
        ("tektra_inference_inter_token_seconds", "histogram"),
        ("tektra_model_memory_bytes", "gauge"),
        ("tektra_process_cpu_ratio", "gauge"),
        ("tektra_cache_hits_total", "counter"),
        ("tektra_requests_waiting", "gauge"),
        ("tektra_queue_duration_seconds", "histogram"),
        ("tektra_store_write_duration_seconds", "histogram"),
    ] {
        assert_eq!(types.get(name).map(String::as_str), Some(kind), "{name} before the first answer:\n{before}");
    }
    assert!(!before.contains("kind=\"weights\""), "no model is loaded, which is not 0");

    let mut events = tektra.events();
    converse(&tektra, None, "say 5 words").await;
    let busy = send(&tektra, None, "say 600 words every 2 ms").await;
    wait_for(&mut events, |event| matches!(event, CoreEvent::AnswerDelta { tokens: 50, .. }).then_some(())).await;
    let (text, types) = metrics(&tektra).await;
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
    assert_eq!(line("tektra_model_memory_bytes{kind=\"weights\"}").rsplit(' ').next(), Some("3145728"));
    for start in [
        "tektra_model_memory_bytes{kind=\"kv\"}",
        "tektra_model_memory_bytes{kind=\"resident\"}",
        "tektra_process_cpu_ratio{process=\"engine\"}",
        "tektra_process_cpu_ratio{process=\"window\"}",
        "tektra_cache_hits_total{level=\"prefix\"}",
        "tektra_inference_inter_token_seconds_bucket{le=\"0.001\"}",
    ] {
        line(start);
    }
    // What the engine measures itself is merged in, and nothing else that it says.
    assert_eq!(line("mistralrs_steps_total"), "mistralrs_steps_total{model=\"small\",kind=\"decode\"} 5");
    assert_eq!(types.get("mistralrs_step_seconds").map(String::as_str), Some("histogram"));
    assert!(!text.contains("other_total"), "{text}");
    finished(&mut events, &busy.answer.id).await;

    tektra.engine().unload(UnloadReason::Asked).await;
    let (after, _) = metrics(&tektra).await;
    assert!(!after.contains("kind=\"weights\"") && !after.contains("mistralrs_"), "gone with the engine:\n{after}");
    tektra.close().await;
}
