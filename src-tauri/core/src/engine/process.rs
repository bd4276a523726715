//! One engine process: its start, its connection, its certain end.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tektra_protocol::{
    Hello, Launch, LoadRequest, Loaded, PROTOCOL_VERSION, Reader, Reply, Request, Writer, listen, split,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout},
};

use tektra_models::Placement;

use super::ending::{LastWords, ending, read_errors};
use crate::{
    Error, Home, Result,
    models::{Model, placement::layers, resident_bytes},
};

/// A start that takes longer has failed: the executable is mapped from disk and says hello before it loads anything.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// After a polite request to end, before the kill.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(10);
/// The engine answers pings on a thread that never computes, so a silence this long means that it hangs.
const PING_TIMEOUT: Duration = Duration::from_secs(60);
/// A model that has no room for even this long a conversation is of no use, in tokens.
pub(super) const SHORTEST_CONTEXT: u32 = 2048;

/// How to start an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The executable.
    pub executable: PathBuf,
    /// Threads to compute with; `None` leaves it to the engine (all cores).
    pub threads: Option<u32>,
}

impl EngineOptions {
    /// `TEKTRA_ENGINE`, else `tektra-engine` beside the running executable.
    pub fn find() -> Self {
        let name = format!("tektra-engine{}", std::env::consts::EXE_SUFFIX);
        let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(&name)));
        let executable = std::env::var_os("TEKTRA_ENGINE").map(PathBuf::from).or(beside).unwrap_or_else(|| name.into());
        Self { executable, threads: None }
    }

    /// The executable for models with layers on GPUs: `TEKTRA_ENGINE_CUDA`, else `tektra-engine-cuda` beside the other,
    /// else that one, which may have been built for both. An engine that is linked against a driver starts only where
    /// there is one, so everything else is left to the engine without.
    pub fn executable_for_gpus(&self) -> PathBuf {
        let name = format!("tektra-engine-cuda{}", std::env::consts::EXE_SUFFIX);
        let named = std::env::var_os("TEKTRA_ENGINE_CUDA").map(PathBuf::from);
        let beside = || Some(self.executable.with_file_name(name)).filter(|path| path.is_file());
        named.or_else(beside).unwrap_or_else(|| self.executable.clone())
    }

    /// What the system calls the engines' processes: the file names of both executables.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let mut names: Vec<_> = [&self.executable, &self.executable_for_gpus()].into_iter().filter_map(name).collect();
        names.dedup();
        names
    }
}

type Routes = Arc<Mutex<HashMap<u64, mpsc::UnboundedSender<Reply>>>>;

/// A running engine with a model in it. Dropping it kills the process.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) model: Model,
    pub(super) loaded: Loaded,
    /// What it held in memory when the model was loaded.
    pub(super) resident_bytes: Option<u64>,
    /// One permit for each answer that the engine computes side by side.
    pub(super) turns: Arc<Semaphore>,
    requests: mpsc::UnboundedSender<Request>,
    routes: Routes,
    next_id: AtomicU64,
    /// How it ended, once it has.
    end: watch::Receiver<Option<String>>,
    kill: mpsc::UnboundedSender<()>,
}

impl Process {
    /// Starts the executable and waits for its hello, then loads `model`; `loading` hears how many bytes are done.
    pub(super) async fn start(
        options: &EngineOptions,
        home: &Home,
        model: &Model,
        placement: &Placement,
        loading: impl Fn(u64),
    ) -> Result<Self> {
        if !options.executable.is_file() {
            return Err(Error::EngineMissing { path: options.executable.clone() });
        }
        let failed = |reason: String| Error::EngineFailed { reason };
        // Two ids of 122 random bits each: nobody can guess the socket, nor the token.
        let launch =
            Launch { socket: format!("tektra-{}", uuid::Uuid::new_v4()), token: uuid::Uuid::new_v4().to_string() };
        let listener =
            listen(&launch.socket).map_err(|error| failed(format!("no local socket can be made ({error})")))?;
        let mut child =
            spawn(options, home, placement).map_err(|error| failed(format!("it does not start ({error})")))?;
        let pid = child.id().unwrap_or_default();
        let last_words = read_errors(&mut child);
        let Some(mut stdin) = child.stdin.take() else { return Err(failed("it has no standard input".into())) };
        let line = serde_json::to_string(&launch).map_err(|error| failed(error.to_string()))? + "\n";

        let hello = async {
            // An engine that has ended already takes no line; how it ended says more, and is waited for below.
            let _ = stdin.write_all(line.as_bytes()).await;
            loop {
                use interprocess::local_socket::traits::tokio::Listener as _;
                let stream = listener.accept().await.map_err(|error| failed(error.to_string()))?;
                let (mut replies, requests) = split::<Reply, Request>(stream);
                // Whoever does not know the token is a stranger: the real engine is still to come.
                match replies.next().await {
                    Some(Ok(Reply::Hello(hello))) if hello.token == launch.token => {
                        return Ok::<_, Error>((hello, replies, requests));
                    }
                    _ => tracing::warn!("a stranger connected to the engine's socket"),
                }
            }
        };
        let (hello, mut replies, mut requests) = tokio::select! {
            hello = timeout(HELLO_TIMEOUT, hello) => hello.map_err(|_| failed("it did not answer in 30 s".into()))??,
            status = child.wait() => return Err(Error::EngineCrashed { how: ending(status.ok(), &last_words) }),
        };
        check_version(&hello)?;
        tracing::info!(pid, "engine started");

        loading(0);
        let path = model.path.to_str().ok_or_else(|| failed("the model's path is not valid Unicode".into()))?;
        // A longer conversation would be ended by the system, with everything else.
        let most = placement.max_context.unwrap_or(SHORTEST_CONTEXT).max(SHORTEST_CONTEXT);
        let context_length = model.context_length.min(most);
        let load = Request::Load(LoadRequest {
            path: path.into(),
            context_length,
            kv: model.wish.kv.into(),
            dtype: model.wish.dtype.into(),
            layers: layers(placement),
        });
        requests.send(&load).await.map_err(|error| failed(error.to_string()))?;
        let last = loop {
            match replies.next().await {
                Some(Ok(Reply::Loading { done_bytes })) => loading(done_bytes),
                last => break last,
            }
        };
        let mut loaded = match last {
            Some(Ok(Reply::Loaded(loaded))) => loaded,
            Some(Ok(Reply::LoadFailed { gpu_memory_full: true, .. })) => {
                return Err(Error::GpuMemoryFull { what: "model" });
            }
            Some(Ok(Reply::LoadFailed { reason, .. })) => {
                return Err(Error::ModelUnusable {
                    name: model.name.clone(),
                    reason: format!("the engine could not load it ({reason})."),
                    hint: "Choose another model, or download it again.".into(),
                });
            }
            _ => {
                let status = timeout(SHUTDOWN_GRACE, child.wait()).await.ok().and_then(Result::ok);
                return Err(Error::EngineCrashed { how: ending(status, &last_words) });
            }
        };
        if context_length < model.context_length {
            loaded.warnings.push(format!(
                "conversations end at {context_length} tokens: more than that does not fit into memory now."
            ));
        }
        Ok(Self::run(child, stdin, replies, requests, last_words, model.clone(), loaded))
    }

    /// Sets the tasks going that carry messages and watch over the process.
    fn run(
        mut child: Child,
        stdin: ChildStdin,
        replies: Reader<Reply>,
        mut writer: Writer<Request>,
        last_words: LastWords,
        model: Model,
        loaded: Loaded,
    ) -> Self {
        let (requests, mut queue) = mpsc::unbounded_channel::<Request>();
        let (kill, mut killed) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        let turns = Arc::new(Semaphore::new(loaded.parallel.max(1) as usize));
        let routes = Routes::default();
        let pid = child.id().unwrap_or_default();
        let (pongs, health) = watch::channel(Instant::now());

        tokio::spawn(async move {
            while let Some(request) = queue.recv().await {
                if writer.send(&request).await.is_err() {
                    break;
                }
            }
        });
        let reading = tokio::spawn(route(replies, routes.clone(), pongs));
        let watching = watch_health(requests.clone(), health);
        let keep_routes = routes.clone();
        tokio::spawn(async move {
            // The lifeline: the engine ends by itself when this is closed, as it is when this process dies.
            let _stdin = stdin;
            let status = tokio::select! {
                status = child.wait() => status.ok(),
                _ = killed.recv() => end_child(&mut child).await,
                () = watching => {
                    tracing::error!(pid, "the engine does not answer any more");
                    end_child(&mut child).await
                }
            };
            // What it said before it ended still counts.
            let _ = timeout(Duration::from_secs(1), reading).await;
            let how = ending(status, &last_words);
            tracing::info!(pid, how, "engine ended");
            // In this order: `ask` inserts its route first and looks for the end then.
            let _ = ended.send(Some(how));
            lock(&keep_routes).clear();
        });
        let resident_bytes = resident_bytes(pid);
        Self { pid, model, turns, loaded, resident_bytes, requests, routes, next_id: AtomicU64::new(1), end, kill }
    }

    /// Sends a request whose replies come back through the returned channel; the channel closes when the process ends.
    pub(super) fn ask(&self, request: impl FnOnce(u64) -> Request) -> (u64, mpsc::UnboundedReceiver<Reply>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (route, replies) = mpsc::unbounded_channel();
        lock(&self.routes).insert(id, route);
        // A process that ended before this would clear no more routes.
        if self.end.borrow().is_some() || self.requests.send(request(id)).is_err() {
            lock(&self.routes).remove(&id);
        }
        (id, replies)
    }

    pub(super) fn cancel(&self, id: u64) {
        let _ = self.requests.send(Request::Cancel { id });
    }

    /// Forgets the answer `id`.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.routes).remove(&id);
    }

    /// How the process ended, if it has.
    pub(super) fn how_ended(&self) -> Option<String> {
        self.end.borrow().clone()
    }

    /// Waits for the end of the process.
    pub(super) async fn ended(&self) -> String {
        let mut end = self.end.clone();
        let how = end.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
        how.unwrap_or_else(|| "its watcher is gone".into())
    }

    /// Ends the process: asked first, then killed. Returns when it is gone.
    pub(super) async fn end(&self) {
        let _ = self.requests.send(Request::Shutdown);
        if timeout(SHUTDOWN_GRACE, self.ended()).await.is_err() {
            let _ = self.kill.send(());
            self.ended().await;
        }
    }
}

fn spawn(options: &EngineOptions, home: &Home, placement: &Placement) -> std::io::Result<Child> {
    let gpus: Vec<_> = layers(placement).iter().filter_map(|on| Some(on.gpu?.to_string())).collect();
    let executable = if gpus.is_empty() { options.executable.clone() } else { options.executable_for_gpus() };
    let mut command = Command::new(executable);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Nothing may be fetched behind the person's back.
        .env("HF_HOME", home.folder().join("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .env("MISTRALRS_NO_NCCL", "1")
        // The order in which the driver numbers them too.
        .env("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        // It sees the GPUs that it is to use, in the order of their layers, and no other.
        .env("CUDA_VISIBLE_DEVICES", gpus.join(","))
        .kill_on_drop(true);
    if let Some(threads) = options.threads {
        command.env("RAYON_NUM_THREADS", threads.to_string());
    }
    // Ctrl+C in a terminal goes to the whole process group; the engine ends when the core says so.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

fn check_version(hello: &Hello) -> Result<()> {
    if hello.protocol_version == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(Error::EngineFailed {
        reason: format!(
            "it is of another version (engine {}, protocol {}; this Tektra speaks {PROTOCOL_VERSION}); build or install both together",
            hello.engine_version, hello.protocol_version
        ),
    })
}

async fn route(mut replies: Reader<Reply>, routes: Routes, pongs: watch::Sender<Instant>) {
    while let Some(Ok(reply)) = replies.next().await {
        let (id, last) = match &reply {
            Reply::Delta { id, .. } => (*id, false),
            Reply::Finished { id, .. }
            | Reply::Failed { id, .. }
            | Reply::Profiled { id, .. }
            | Reply::Stats { id, .. }
            | Reply::Metrics { id, .. } => (*id, true),
            _ => {
                pongs.send_replace(Instant::now());
                continue;
            }
        };
        let mut routes = lock(&routes);
        if let Some(route) = routes.get(&id) {
            let _ = route.send(reply);
        }
        if last {
            routes.remove(&id);
        }
    }
}

/// Returns when the engine has not answered for [`PING_TIMEOUT`].
async fn watch_health(requests: mpsc::UnboundedSender<Request>, pongs: watch::Receiver<Instant>) {
    for nonce in 0.. {
        tokio::time::sleep(PING_EVERY).await;
        let _ = requests.send(Request::Ping { nonce });
        if pongs.borrow().elapsed() > PING_TIMEOUT {
            return;
        }
    }
}

async fn end_child(child: &mut Child) -> Option<ExitStatus> {
    let _ = child.start_kill();
    child.wait().await.ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
