//! What the tests share: data folders, tiny models, the executables, waiting for what a person would see.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tektra_core::{Conversation, CoreEvent, EngineOptions, Home, Message, SendRequest, Started, Tektra};
use tokio::{sync::broadcast, time::timeout};

/// No single step of a scripted test takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A data folder of a test's own, removed with it.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    /// An empty data folder.
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("tektra-test-").tempdir().expect("a temporary folder"))
    }

    /// A data folder with a model, `NAME.gguf`, that the scripted engine accepts.
    pub fn with_model(name: &str) -> Self {
        let folder = Self::new();
        folder.add_model(name, &gguf("llama", &[]));
        folder
    }

    /// A data folder with the model [`tiny`].
    pub fn with_tiny(name: &str) -> Self {
        let folder = Self::new();
        folder.add_model(name, &tiny());
        folder
    }

    /// Puts a file into the models folder.
    pub fn add_model(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let models = self.home().models();
        fs::create_dir_all(&models).expect("a models folder");
        let path = models.join(format!("{name}.gguf"));
        fs::write(&path, bytes).expect("a model file");
        path
    }

    /// The folder as the core knows it.
    pub fn home(&self) -> Home {
        Home::at(self.0.path())
    }

    /// The product on this folder with the scripted engine.
    pub async fn open(&self) -> Tektra {
        Tektra::open(self.home(), scripted()).await.expect("the data folder opens")
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// The scripted engine.
pub fn scripted() -> EngineOptions {
    EngineOptions { executable: executable("scripted-engine"), threads: None }
}

/// An executable of this workspace, built before the tests run.
pub fn executable(name: &str) -> PathBuf {
    let running = std::env::current_exe().expect("the running executable's path");
    // target/PROFILE/deps for a test, target/PROFILE for a program.
    let folder = running.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("target/PROFILE");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is missing: run `make build` first", path.display());
    path
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().expect("tektra-cli starts")
}

/// Runs a command to its end with `input` as its standard input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// What Ctrl+C sends.
pub fn interrupt(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(done.success());
}

/// The starter model, fetched by `make setup`.
pub fn starter_model() -> PathBuf {
    let home = std::env::var_os("TEKTRA_STARTER_FOLDER")
        .map_or_else(|| Home::find().expect("a data folder").models(), PathBuf::from);
    let path = home.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.is_file(), "{} is missing: run `make setup` first", path.display());
    path
}

/// What small models can be asked about.
pub const TOPICS: [&str; 20] = [
    "rain",
    "bread",
    "the moon",
    "whales",
    "chess",
    "volcanoes",
    "paper",
    "bees",
    "tea",
    "bridges",
    "snow",
    "glass",
    "honey",
    "maps",
    "clocks",
    "trains",
    "salt",
    "owls",
    "the desert",
    "music",
];

/// A data folder whose only model is the starter model.
pub fn folder_with_starter() -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.home().models()).expect("a models folder");
    let model = starter_model();
    std::os::unix::fs::symlink(&model, folder.home().models().join(model.file_name().expect("a name")))
        .expect("a link");
    folder
}

/// A model that Tektra's own executor computes: heads of 16.
pub fn tiny() -> Vec<u8> {
    with_number(gguf("llama", &[]), "embedding_length", 64)
}

/// The header with another number under `key`.
pub fn with_number(mut bytes: Vec<u8>, key: &str, number: u32) -> Vec<u8> {
    let at = bytes.windows(key.len()).position(|it| it == key.as_bytes()).expect("the key") + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// A GGUF header of `architecture` with everything the engine needs, except the keys `without`, and one tiny tensor.
pub fn gguf(architecture: &str, without: &[&str]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let numbers = [
        ("attention.head_count", 4_u32),
        ("attention.head_count_kv", 4),
        ("block_count", 1),
        ("embedding_length", 32),
        ("context_length", 2048),
    ];
    let mut values: Vec<(String, Result<u32, &str>)> =
        numbers.iter().map(|(key, number)| (format!("{architecture}.{key}"), Ok(*number))).collect();
    values.push(("general.architecture".into(), Err(architecture)));
    values.push(("tokenizer.ggml.model".into(), Err("gpt2")));
    values.push(("tokenizer.ggml.eos_token_id".into(), Ok(2)));
    values.push(("tokenizer.chat_template".into(), Err("{{ messages }}")));
    values.retain(|(key, _)| !without.iter().any(|gone| key.ends_with(gone)));
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(1_u64.to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    for (key, value) in &values {
        text(&mut out, key);
        match value {
            Ok(number) => {
                out.extend(4_u32.to_le_bytes());
                out.extend(number.to_le_bytes());
            }
            Err(words) => {
                out.extend(8_u32.to_le_bytes());
                text(&mut out, words);
            }
        }
    }
    text(&mut out, "token_embd.weight");
    out.extend(1_u32.to_le_bytes());
    out.extend(64_u64.to_le_bytes());
    out.extend(2_u32.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.resize(out.len().next_multiple_of(32) + 36, 0);
    out
}

/// Sends `text` in `conversation` (a new one when absent).
pub async fn send(tektra: &Tektra, conversation: Option<&str>, text: &str) -> Started {
    let request =
        SendRequest { conversation_id: conversation.map(Into::into), text: text.into(), ..SendRequest::default() };
    tektra.send(request).await.expect("the message is accepted")
}

/// Waits for the first event that `wanted` turns into something.
pub async fn wait_for<T>(
    events: &mut broadcast::Receiver<CoreEvent>,
    mut wanted: impl FnMut(CoreEvent) -> Option<T>,
) -> T {
    timeout(PATIENCE, async {
        loop {
            if let Some(found) = wanted(events.recv().await.expect("events go on")) {
                return found;
            }
        }
    })
    .await
    .expect("it happens in time")
}

/// Waits until the answer `id` is over.
pub async fn finished(events: &mut broadcast::Receiver<CoreEvent>, id: &str) -> Message {
    wait_for(events, |event| match event {
        CoreEvent::AnswerFinished { message, .. } if message.id == id => Some(*message),
        _ => None,
    })
    .await
}

/// Sends and waits for the answer.
pub async fn converse(tektra: &Tektra, conversation: Option<&str>, text: &str) -> Message {
    let mut events = tektra.events();
    let started = send(tektra, conversation, text).await;
    finished(&mut events, &started.answer.id).await
}

/// The texts of a conversation as it is shown.
pub fn texts(conversation: &Conversation) -> Vec<&str> {
    conversation.messages.iter().map(|message| message.text.as_str()).collect()
}

/// `tektra-cli` on a data folder.
pub fn terminal(folder: &Folder, engine: &str) -> Command {
    let mut command = Command::new(executable("tektra-cli"));
    command
        .env("TEKTRA_HOME", folder.0.path())
        .env("TEKTRA_OTHER_PROGRAMS", "0")
        .env("TEKTRA_ENGINE", executable(engine))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Standard output of a finished command as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("readable output")
}

/// Standard error of a finished command as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether the process `pid` runs (a zombie does not).
pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with(['Z', 'X']))
}
