//! The messages between Tektra's core and its engine process.
//!
//! The core listens on a local socket and starts the engine, which connects to it. Both sides
//! speak length-delimited JSON frames (a 4-byte big-endian length, then one message). The first
//! frame is the engine's [`Hello`], whose token proves that it is the process that was started;
//! the core answers with a request or hangs up. The engine's standard output is never used:
//! libraries print to it. Its standard input carries the [`Launch`] line and then stays open as a
//! lifeline: end of file means that the core is gone.

mod frame;

use serde::{Deserialize, Serialize};

pub use frame::{FrameError, Frames, Listener, MAX_FRAME_BYTES, Reader, Writer, connect, listen, split};

/// The protocol's version. Raised by every change that an older peer would not understand.
pub const PROTOCOL_VERSION: u32 = 6;

/// The one line of JSON that the core writes to the engine's standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Name of the local socket to connect to.
    pub socket: String,
    /// One-time secret that the engine repeats in its [`Hello`].
    pub token: String,
}

/// The engine's first frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the engine.
    pub protocol_version: u32,
    /// The secret of the [`Launch`] line.
    pub token: String,
    /// Process id of the engine.
    pub pid: u32,
    /// Version of the engine's executable.
    pub engine_version: String,
}

/// What the core asks of the engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Load a model; answered by any number of [`Reply::Loading`] and one [`Reply::Loaded`] or [`Reply::LoadFailed`]. Once per process.
    Load(LoadRequest),
    /// Begin an answer; its frames carry the same `id`.
    Generate(GenerateRequest),
    /// End the answer `id` as soon as possible; it still ends with [`Reply::Finished`].
    Cancel {
        /// Id of the answer.
        id: u64,
    },
    /// Prove that the engine listens; answered by [`Reply::Pong`].
    Ping {
        /// Returned unchanged.
        nonce: u64,
    },
    /// Sample the stacks of the process; answered by one [`Reply::Profiled`], and ended early by [`Request::Cancel`].
    Profile {
        /// Chosen by the core like an answer's.
        id: u64,
        /// For how long.
        seconds: u32,
    },
    /// Tell what the engine holds and has done; answered by one [`Reply::Stats`], at once.
    Stats {
        /// Chosen by the core like an answer's.
        id: u64,
    },
    /// Tell what the executor measured of itself; answered by one [`Reply::Metrics`], at once.
    Metrics {
        /// Chosen by the core like an answer's.
        id: u64,
    },
    /// End the process.
    Shutdown,
}

/// The model to load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadRequest {
    /// Absolute path of a GGUF file.
    pub path: String,
    /// The longest conversation in tokens: at most what the model was trained for.
    pub context_length: u32,
    /// What keys and values are kept in.
    pub kv: KvType,
    /// The precision that a GPU computes in.
    pub dtype: Dtype,
    /// Which layers lie where, from the first layer on.
    pub layers: Vec<LayersOn>,
}

/// What keys and values are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// 8-bit integers with a scale for each head.
    Q8,
    /// Single precision.
    F32,
}

/// The precision that a GPU computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// What suits the device.
    #[default]
    Auto,
    /// bfloat16.
    Bf16,
    /// Half precision.
    F16,
    /// Single precision.
    F32,
}

/// Consecutive layers on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayersOn {
    /// The GPU's number in the order of the PCI bus; absent for the CPU.
    pub gpu: Option<u32>,
    /// How many layers.
    pub layers: u32,
}

/// One answer to produce.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// Chosen by the core, unique within the process.
    pub id: u64,
    /// The conversation so far, oldest first.
    pub messages: Vec<Turn>,
    /// Text of the answer that exists already and is to be continued without a seam.
    pub continue_from: Option<String>,
    /// At most this many tokens; the engine lowers it to what the context leaves.
    pub max_tokens: u32,
    /// 0 picks the likeliest token every time.
    pub temperature: f64,
}

/// One message of the conversation, as the chat template sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
}

/// The roles that chat templates know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions that stand before the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates use.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What the engine tells the core.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Reply {
    /// The first frame.
    Hello(Hello),
    /// The model is being read.
    Loading {
        /// Bytes of its files that are done.
        done_bytes: u64,
    },
    /// The model is ready.
    Loaded(Loaded),
    /// The model could not be loaded; the engine holds nothing.
    LoadFailed {
        /// The reason in the engine's words.
        reason: String,
        /// Whether it is that the GPU's memory is full, though the plan had room: another program took it meanwhile.
        gpu_memory_full: bool,
    },
    /// The next piece of the answer `id`.
    Delta {
        /// Id of the answer.
        id: u64,
        /// Text to append.
        text: String,
        /// Tokens generated so far.
        completion_tokens: u32,
    },
    /// The answer `id` is over.
    Finished {
        /// Id of the answer.
        id: u64,
        /// Why it ended.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
    /// The answer `id` could not be produced, or not to its end.
    Failed {
        /// Id of the answer.
        id: u64,
        /// What kind of failure.
        failure: Failure,
    },
    /// Answer to [`Request::Profile`].
    Profiled {
        /// The request's id.
        id: u64,
        /// A line a stack: functions from the outermost on with semicolons between, then the samples; absent when it was
        /// cancelled.
        stacks: Option<String>,
        /// Why there is none.
        error: Option<String>,
    },
    /// Answer to [`Request::Stats`].
    Stats {
        /// The request's id.
        id: u64,
        /// What is so now.
        stats: EngineStats,
    },
    /// Answer to [`Request::Metrics`].
    Metrics {
        /// The request's id.
        id: u64,
        /// In the text format of Prometheus; empty where the executor measures nothing.
        text: String,
    },
    /// Answer to [`Request::Ping`].
    Pong {
        /// The request's nonce.
        nonce: u64,
    },
}

/// The model as it was loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loaded {
    /// Time of the load in milliseconds.
    pub load_ms: u32,
    /// Where the weights are, in words: `CPU, 2 threads`.
    pub device: String,
    /// Answers that the engine computes side by side; more would only wait inside of it.
    pub parallel: u32,
    /// What a person should know of this model: sentences.
    pub warnings: Vec<String>,
}

/// What the engine holds and does at a moment, and what it has done since the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStats {
    /// Bytes of the weights, apart from what is only mapped; absent where the executor does not tell.
    pub weights_bytes: Option<u64>,
    /// Bytes of all KV caches; absent where the executor does not tell.
    pub kv_bytes: Option<u64>,
    /// Answers that are being computed.
    pub active: u32,
    /// Answers that wait in the engine.
    pub waiting: u32,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Time in which prompts were computed, in microseconds.
    pub prefill_us: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Prompt tokens whose computation was saved.
    pub prefix_hit_tokens: u64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said that it is done.
    Stop,
    /// The token limit or the end of the context.
    Length,
    /// [`Request::Cancel`].
    Cancelled,
}

/// What an answer cost inside the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, the chat template's included.
    pub prompt_tokens: u32,
    /// Prompt tokens whose KV came from an earlier answer.
    pub cached_tokens: u32,
    /// Tokens generated, the end token included.
    pub completion_tokens: u32,
    /// From the request's arrival to the first sampled token, in milliseconds; absent when none was sampled.
    pub prefill_ms: Option<f64>,
    /// From the first sampled token to the last, in milliseconds.
    pub decode_ms: f64,
    /// Where that time went, as far as the executor tells.
    pub stages: Stages,
}

/// Parts of the time of one answer inside the engine, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// From text to tokens.
    pub tokenize_ms: f64,
    /// Waiting until its computation began.
    pub wait_ms: Option<f64>,
    /// Choosing tokens, in sum.
    pub sample_ms: Option<f64>,
    /// From tokens to text, in sum.
    pub detokenize_ms: Option<f64>,
}

/// A failure of one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The conversation does not fit.
    ContextOverflow {
        /// Tokens of the conversation.
        prompt_tokens: u32,
        /// Tokens that the model can hold.
        context_length: u32,
    },
    /// The model's file cannot be read any more: the engine is of no use until it is opened anew.
    Unreadable {
        /// The operating system's reason.
        reason: String,
    },
    /// The GPU's memory is full.
    OutOfGpuMemory,
    /// The GPU failed: the engine is of no use until it is started anew.
    GpuFailed,
    /// The engine refused or broke.
    Engine {
        /// The reason in the engine's words.
        reason: String,
    },
}
