//! Models found where other programs keep them, in place.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use support::{Gguf, person, safetensors, write, write_config, write_safetensors};
use tektra_models::{Found, Layout, Place, Runs, Scan, Source, Surroundings, System, places, scan};
use tempfile::TempDir;

/// A person with a folder of models for Tektra.
struct Person {
    home: TempDir,
    surroundings: Surroundings,
}

impl Person {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { surroundings: person(home.path()), home }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn tektra(&self) -> PathBuf {
        self.path("tektra/models")
    }

    fn set(&mut self, variable: &str, value: impl Into<OsString>) {
        self.surroundings.variables.insert(variable.into(), value.into());
    }

    fn scan_with(&self, added: &[PathBuf]) -> Scan {
        let mut places = places(&self.surroundings, &self.tektra(), added);
        // The one place that is not below the person's folder.
        places.retain(|place| place.folder.starts_with(self.home.path()));
        scan(&places)
    }

    fn scan(&self) -> Scan {
        self.scan_with(&[])
    }
}

fn names(scan: &Scan) -> Vec<&str> {
    scan.models.iter().map(|model| model.name.as_str()).collect()
}

fn model<'a>(scan: &'a Scan, name: &str) -> &'a Found {
    scan.models.iter().find(|model| model.name == name).unwrap_or_else(|| panic!("{name} in {:?}", names(scan)))
}

/// A model that differs from others by its licence.
fn gguf(licence: &str) -> Vec<u8> {
    Gguf::model("llama").with("general.license", support::Value::Text(licence.into())).bytes()
}

/// Every path below a folder with its length and time of change.
fn snapshot(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let attributes = entry.path().symlink_metadata().unwrap();
        all.push((entry.path(), attributes.len(), attributes.modified().unwrap()));
        if attributes.is_dir() {
            all.extend(snapshot(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn files_in_tektras_folder_are_found_by_name() {
    let person = Person::new();
    write(&person.tektra().join("Zeta.gguf"), &gguf("a"));
    write(&person.tektra().join("vendor/deep/alpha.GGUF"), &gguf("b"));
    write(&person.tektra().join("notes.txt"), b"no model");
    write(&person.tektra().join(".hidden/no.gguf"), &gguf("c"));
    write(&person.tektra().join("broken.gguf"), b"GGUF");
    write_safetensors(&person.tektra().join("Qwen2-Tiny"));
    let found = person.scan();
    assert_eq!(names(&found), ["alpha", "broken", "Qwen2-Tiny", "Zeta"]);
    assert!(found.models.iter().all(|model| model.source == Source::Tektra));
    assert!(model(&found, "alpha").is_usable());
    let broken = model(&found, "broken");
    assert_eq!((broken.facts.is_none(), broken.size_bytes), (true, 4));
    assert!(broken.problem.as_ref().unwrap().reason.contains("ends in the middle of its header"));
    let folder = model(&found, "Qwen2-Tiny");
    assert_eq!(folder.facts.as_ref().unwrap().runs, Runs::Convert);
    assert!(!folder.is_usable() && folder.problem.is_none());
    assert_eq!(found.notes, []);
}

#[test]
fn a_model_in_parts_is_listed_once_and_missing_parts_are_named() {
    let person = Person::new();
    Gguf::model("llama").write_parts(&person.tektra(), "whole", 3);
    let parts = Gguf::model("qwen2").write_parts(&person.tektra(), "torn", 3);
    fs::remove_file(&parts[0]).unwrap();
    let found = person.scan();
    assert_eq!(names(&found), ["torn", "whole"]);
    assert!(model(&found, "whole").is_usable());
    let reason = &model(&found, "torn").problem.as_ref().unwrap().reason;
    assert!(reason.contains("torn-00001-of-00003.gguf"), "{reason}");
}

#[test]
fn lm_studio_is_found_where_it_is_and_where_it_was_told_to_be() {
    let person = Person::new();
    write(&person.path(".lmstudio/models/publisher/repo/one.gguf"), &gguf("1"));
    write(&person.path(".cache/lm-studio/models/publisher/repo/two.gguf"), &gguf("2"));
    let chosen = person.path("big disk/lm");
    let settings = format!(r#"{{"downloadsFolder": {:?}}}"#, chosen.to_str().unwrap());
    write(&person.path(".lmstudio/settings.json"), settings.as_bytes());
    write(&chosen.join("publisher/repo/three.gguf"), &gguf("3"));
    write(&person.path(".lmstudio-home-pointer"), format!("{}\n", person.path("moved").display()).as_bytes());
    write(&person.path("moved/models/publisher/repo/four.gguf"), &gguf("4"));
    write(&person.path("moved/settings.json"), b"not json");
    let found = person.scan();
    assert_eq!(names(&found), ["four", "one", "three", "two"]);
    assert!(found.models.iter().all(|model| model.source == Source::LmStudio && model.is_usable()));
}

/// Writes a model as Ollama keeps it.
fn ollama(folder: &Path, name: &str, hash: &str, weights: Option<&[u8]>) {
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"sha256:{0}"}},"layers":[
            {{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:{0}","size":1}},
            {{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{hash}","size":1}}]}}"#,
        "0".repeat(64)
    );
    write(&folder.join("manifests").join(name), manifest.as_bytes());
    if let Some(weights) = weights {
        write(&folder.join("blobs").join(format!("sha256-{hash}")), weights);
    }
}

#[test]
fn ollamas_models_have_ollamas_names() {
    let mut person = Person::new();
    let folder = person.path("ollama");
    person.set("OLLAMA_MODELS", folder.as_os_str());
    let hash = |digit: &str| digit.repeat(64);
    ollama(&folder, "registry.ollama.ai/library/llama3.2/1b", &hash("a"), Some(&gguf("1")));
    ollama(&folder, "registry.ollama.ai/library/llama3.2/latest", &hash("a"), None);
    ollama(&folder, "registry.ollama.ai/someone/tuned/q8", &hash("b"), Some(&gguf("2")));
    ollama(&folder, "hf.co/owner/Repo-GGUF/Q4_K_M", &hash("c"), Some(&gguf("3")));
    ollama(&folder, "registry.ollama.ai/library/gone/7b", &hash("d"), None);
    ollama(&folder, "registry.ollama.ai/library/sly/1b", "../../secret", Some(b"x"));
    write(&folder.join("manifests/registry.ollama.ai/library/torn/1b"), b"{");
    write(&folder.join("manifests/stray"), b"{}");
    write(&folder.join("blobs/sha256-partial"), b"x");
    let found = person.scan();
    assert_eq!(names(&found), ["hf.co/owner/Repo-GGUF:Q4_K_M", "llama3.2:1b", "someone/tuned:q8"]);
    assert!(found.models.iter().all(|model| model.source == Source::Ollama && model.is_usable()));
    assert!(model(&found, "llama3.2:1b").path.ends_with(format!("blobs/sha256-{}", hash("a"))));
    let mut notes: Vec<(&str, &str)> = found
        .notes
        .iter()
        .map(|note| (note.path.parent().unwrap().file_name().unwrap().to_str().unwrap(), note.text.as_str()))
        .collect();
    notes.sort();
    assert_eq!(
        notes,
        [("gone", "names a file that is not there"), ("sly", "names no file"), ("torn", "is not a manifest of Ollama")]
    );
}

#[test]
fn jans_models_are_found_by_what_it_wrote_about_them() {
    let person = Person::new();
    let data = person.path(".local/share/Jan/data");
    let yml = |id: &str, path: &str| {
        let text = format!("name: {id}\nmodel_path: {path}\nsize_bytes: 1\nembedding: false\n");
        write(&data.join("llamacpp/models").join(id).join("model.yml"), text.as_bytes());
    };
    yml("janhq/Jan-v1-4B", "llamacpp/models/janhq/Jan-v1-4B/model.gguf");
    write(&data.join("llamacpp/models/janhq/Jan-v1-4B/model.gguf"), &gguf("1"));
    write(&data.join("llamacpp/models/janhq/Jan-v1-4B/mmproj.gguf"), &gguf("p"));
    let elsewhere = write(&person.path("Downloads/mine.gguf"), &gguf("2"));
    yml("imported", elsewhere.to_str().unwrap());
    yml("lost", "llamacpp/models/lost/model.gguf");
    write(&data.join("llamacpp/models/empty/model.yml"), b"name: empty\n");
    write(&person.path("jan/models/old/old.Q4.gguf"), &gguf("3"));
    let moved = person.path("jan elsewhere");
    let settings = format!(r#"{{"data_folder": {:?}}}"#, moved.to_str().unwrap());
    write(&person.path(".config/Jan/settings.json"), settings.as_bytes());
    write(&moved.join("models/older/older.gguf"), &gguf("4"));
    let found = person.scan();
    assert_eq!(names(&found), ["imported", "Jan-v1-4B", "old.Q4", "older"]);
    assert_eq!(model(&found, "imported").path, elsewhere);
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
}

#[test]
fn windows_and_macos_keep_things_elsewhere() {
    let mut person = Person::new();
    person.surroundings.system = System::MacOs;
    let data = "Library/Application Support/Jan/data/llamacpp/models/m";
    write(&person.path(data).join("model.yml"), b"model_path: llamacpp/models/m/model.gguf\n");
    write(&person.path(data).join("model.gguf"), &gguf("1"));
    assert_eq!(names(&person.scan()), ["m"]);
    person.surroundings.system = System::Windows;
    assert_eq!(names(&person.scan()), [""; 0]);
    let roaming = person.path("Roaming");
    person.set("APPDATA", roaming.as_os_str());
    write(&roaming.join("Jan/data/llamacpp/models/w/model.yml"), b"model_path: 'llamacpp/models/w/model.gguf'\n");
    write(&roaming.join("Jan/data/llamacpp/models/w/model.gguf"), &gguf("2"));
    assert_eq!(names(&person.scan()), ["w"]);
    let service = |system| {
        let surroundings = Surroundings { system, ..person.surroundings.clone() };
        places(&surroundings, Path::new("/t"), &[]).iter().any(|place| place.folder.starts_with("/usr/share/ollama"))
    };
    assert!(service(System::Linux) && !service(System::Windows));
}

#[cfg(unix)]
mod with_links {
    use std::os::unix::fs::symlink;

    use super::*;

    fn link(to: &Path, at: &Path) {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(to, at).unwrap();
    }

    #[test]
    fn the_cache_of_hugging_face_is_read_through_its_links() {
        let person = Person::new();
        let repository = person.path(".cache/huggingface/hub/models--owner--Tiny-GGUF");
        write(&repository.join("blobs/aaa"), &gguf("1"));
        write(&repository.join("blobs/bbb"), &gguf("2"));
        write(&repository.join("blobs/ccc.incomplete"), b"GG");
        write(&repository.join("refs/main"), b"2222222222\n");
        for revision in ["1111111111", "2222222222"] {
            link(Path::new("../../blobs/aaa"), &repository.join("snapshots").join(revision).join("tiny-q4.gguf"));
        }
        link(Path::new("../../blobs/bbb"), &repository.join("snapshots/1111111111/tiny-q8.gguf"));
        link(Path::new("../../blobs/gone"), &repository.join("snapshots/2222222222/tiny-q2.gguf"));
        let folder = person.path(".cache/huggingface/hub/models--owner--Tiny-Instruct");
        write_safetensors(&folder.join("blobs"));
        for file in fs::read_dir(folder.join("blobs")).unwrap().flatten() {
            link(&file.path(), &folder.join("snapshots/333").join(file.file_name()));
        }
        write(&person.path(".cache/huggingface/hub/datasets--owner--set/snapshots/1/no.gguf"), &gguf("d"));
        let found = person.scan();
        assert_eq!(names(&found), ["Tiny-Instruct", "tiny-q4", "tiny-q8"]);
        assert!(found.models.iter().all(|model| model.source == Source::HuggingFace));
        assert!(model(&found, "tiny-q4").path.ends_with("snapshots/2222222222/tiny-q4.gguf"), "the newest revision");
        assert_eq!(model(&found, "Tiny-Instruct").facts.as_ref().unwrap().name, "333");
        assert_eq!(found.notes.len(), 1);
        assert_eq!(found.notes[0].text, "leads nowhere");
    }

    #[test]
    fn the_caches_folder_is_where_the_variables_say() {
        let mut person = Person::new();
        let file = "models--o--r/snapshots/1/m.gguf";
        for (variable, folder, inner) in
            [("HF_HUB_CACHE", "one", ""), ("HF_HOME", "two", "hub"), ("XDG_CACHE_HOME", "three", "huggingface/hub")]
        {
            write(
                &person.path(folder).join(inner).join(file.replace("m.gguf", &format!("{folder}.gguf"))),
                &gguf(folder),
            );
            let value = if folder == "one" { OsString::from("~/one") } else { person.path(folder).into() };
            person.set(variable, value);
        }
        assert_eq!(names(&person.scan()), ["one", "three", "two"]);
    }

    #[test]
    fn links_in_circles_end_and_one_file_is_one_model() {
        let person = Person::new();
        let file = write(&person.tektra().join("a/model.gguf"), &gguf("1"));
        link(&person.tektra(), &person.tektra().join("a/round"));
        link(Path::new("itself"), &person.tektra().join("itself"));
        link(&file, &person.tektra().join("z-link.gguf"));
        fs::hard_link(&file, person.tektra().join("y-hard.gguf")).unwrap();
        link(&person.tektra(), &person.path(".lmstudio/models/shared"));
        let found = person.scan();
        assert_eq!(found.models.len(), 1, "{:?}", names(&found));
        assert_eq!(found.models[0].source, Source::Tektra);
        assert!(found.notes.iter().any(|note| note.path.ends_with("itself") && note.text.contains("cannot be read")));
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_a_note() {
        use std::os::unix::fs::PermissionsExt;
        let person = Person::new();
        write(&person.tektra().join("open.gguf"), &gguf("1"));
        let closed = person.tektra().join("closed");
        write(&closed.join("inner.gguf"), &gguf("2"));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        // Whoever may read everything sees no closed folder.
        let may_read_all = fs::read_dir(&closed).is_ok();
        let file = write(&person.path("not a folder"), b"x");
        let found = person.scan_with(&[file.clone(), person.path("absent")]);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(names(&found).contains(&"open"));
        let noted =
            |path: &Path, text: &str| found.notes.iter().any(|note| note.path == path && note.text.starts_with(text));
        assert!(noted(&file, "cannot be read ("), "{:?}", found.notes);
        assert!(noted(&person.path("absent"), "does not exist"));
        assert!(may_read_all || noted(&closed, "cannot be read ("), "{:?}", found.notes);
    }
}

#[test]
fn two_models_of_one_name_are_told_apart() {
    let person = Person::new();
    write(&person.tektra().join("same.gguf"), &gguf("1"));
    write(&person.path(".lmstudio/models/p/r/Same.gguf"), &gguf("2"));
    write(&person.path(".lmstudio/models/p/other/same.gguf"), &gguf("3"));
    write(&person.path("added/same.gguf"), &gguf("4"));
    let found = person.scan_with(&[person.path("added")]);
    let expected = ["same", "same (added folder)", "same (LM Studio, p/other)", "Same (LM Studio, p/r)"];
    assert_eq!(names(&found), expected);
    let licence = |name: &str| model(&found, name).facts.as_ref().unwrap().licence.clone().unwrap();
    assert_eq!([licence("same"), licence("Same (LM Studio, p/r)")], ["1", "2"]);
    assert_eq!(names(&person.scan_with(&[person.path("added")])), expected, "the same again");
}

#[test]
fn nothing_is_changed() {
    let person = Person::new();
    write(&person.tektra().join("a.gguf"), &gguf("1"));
    ollama(&person.path(".ollama/models"), "registry.ollama.ai/library/m/1b", &"a".repeat(64), Some(&gguf("2")));
    write(&person.path(".lmstudio/models/p/r/b.gguf"), b"torn");
    write_config(&person.path(".cache/huggingface/hub/models--o--m/snapshots/1"), "qwen2");
    let weights = safetensors(&[("lm_head.weight", &[96, 64])]);
    write(&person.path(".cache/huggingface/hub/models--o--m/snapshots/1/model.safetensors"), &weights);
    let before = snapshot(person.home.path());
    assert_eq!(person.scan().models.len(), 4);
    assert_eq!(snapshot(person.home.path()), before);
}

#[test]
fn the_deepest_folders_and_those_that_are_not_there_are_left() {
    let person = Person::new();
    write(&person.tektra().join("1/2/3/4/5/6/deep.gguf"), &gguf("1"));
    write(&person.tektra().join("1/2/3/4/5/6/7/deeper.gguf"), &gguf("2"));
    assert_eq!(names(&person.scan()), ["deep"]);
    let nowhere = Place { source: Source::Ollama, folder: person.path("none"), layout: Layout::Ollama };
    assert_eq!(scan(&[nowhere]), Scan::default());
    let without_home = Surroundings { home: None, ..person.surroundings.clone() };
    let all = places(&without_home, &person.tektra(), &[]);
    assert_eq!(all.iter().filter(|place| place.source == Source::LmStudio).count(), 0);
}

#[test]
fn a_scan_survives_being_stored() {
    let person = Person::new();
    write(&person.tektra().join("a.gguf"), &gguf("1"));
    write(&person.tektra().join("b.gguf"), &Gguf::model("mamba").bytes());
    write(&person.tektra().join("c.gguf"), b"");
    let found = person.scan();
    let stored = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Scan>(&stored).unwrap(), found);
    assert!(stored.contains(r#""runs":{"by":"tektra-cpu"}"#), "{stored}");
    assert!(stored.contains(r#""runs":{"by":"no","reason":"its architecture \"mamba\""#));
}
