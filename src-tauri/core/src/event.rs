//! What the core tells whoever shows it.

use serde::{Deserialize, Serialize};
use specta::Type;

use tektra_bench::BenchProgress;
use tektra_protocol::Loaded;

use crate::{
    ErrorReport,
    loadtest::LoadState,
    models::{Download, Model, Work, mib},
    resources::{AnswerMark, ResourceSample},
    store::Message,
};

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Type)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CoreEvent {
    /// The engine's state changed.
    EngineState {
        /// The new one.
        state: EngineState,
    },
    /// An answer is being written.
    AnswerStarted {
        /// Its conversation.
        conversation_id: String,
        /// The answer.
        message_id: String,
    },
    /// An answer grew.
    AnswerDelta {
        /// Its conversation.
        conversation_id: String,
        /// The answer.
        message_id: String,
        /// Length of the answer before this piece, in UTF-16 units (JavaScript's string length).
        offset_utf16: u32,
        /// The piece.
        text: String,
        /// Tokens generated so far.
        tokens: u32,
    },
    /// An answer is over.
    AnswerFinished {
        /// Its conversation.
        conversation_id: String,
        /// The answer as it stays.
        message: Box<Message>,
    },
    /// A conversation came, went, or has another title.
    ConversationsChanged,
    /// A download began, went on or ended.
    DownloadsChanged {
        /// All of them.
        downloads: Vec<Download>,
    },
    /// What the workshop does began, went on or ended.
    WorkshopChanged {
        /// What it does.
        work: Option<Work>,
    },
    /// A benchmark began, went on or ended.
    BenchChanged {
        /// How far it is; absent when none runs.
        progress: Option<BenchProgress>,
    },
    /// A load test began, went on or ended.
    LoadtestChanged {
        /// How far it is, or what came of it.
        state: LoadState,
    },
    /// The machine was sampled, because somebody looks.
    ResourcesSampled {
        /// As it is now.
        sample: Box<ResourceSample>,
    },
    /// An answer ended.
    AnswerMarked {
        /// Its place on the time line.
        mark: AnswerMark,
    },
    /// A model was taken out of memory.
    Unloaded {
        /// What that gave back.
        unloaded: Unloaded,
    },
    /// Answers cannot be saved at the moment, or can be again.
    StoreTrouble {
        /// Why; absent when it is over.
        error: Option<ErrorReport>,
    },
}

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EngineState {
    /// No process runs; the next message starts one.
    Idle,
    /// The process is starting.
    Starting,
    /// The model is being read.
    Loading {
        /// Its name.
        model: String,
        /// Its size in MiB.
        size_mib: u32,
        /// How long the last load of it took, in milliseconds.
        expected_ms: Option<u32>,
        /// How much of its files is done, in MiB; 0 while nothing is known.
        done_mib: u32,
    },
    /// The model waits for a message.
    Ready {
        /// The model.
        model: LoadedModel,
    },
    /// An answer is being written.
    Thinking {
        /// The model.
        model: LoadedModel,
        /// Answers that wait for this one.
        waiting: u32,
    },
    /// The engine could not start, load or go on.
    Failed {
        /// Why.
        error: ErrorReport,
    },
}

/// A model in an engine's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct LoadedModel {
    /// Its name.
    pub name: String,
    /// `llama`.
    pub architecture: String,
    /// `Q4_1`.
    pub quantization: String,
    /// In tokens.
    pub context_length: u32,
    /// `CPU, 2 threads`.
    pub device: String,
    /// Size of its file in MiB.
    pub size_mib: u32,
    /// What its process held when it was loaded, in MiB; absent where that cannot be measured.
    pub resident_mib: Option<u32>,
    /// How long the load took, in milliseconds.
    pub load_ms: u32,
    /// What the person should know of it: sentences.
    pub warnings: Vec<String>,
}

/// Why a model was taken out of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum UnloadReason {
    /// The person asked for it.
    Asked,
    /// Nobody had used it for long.
    Idle {
        /// For how many minutes.
        minutes: u32,
    },
    /// Another model needed its room.
    MadeRoom {
        /// The other one's name.
        model: String,
    },
}

/// What an unload gave back: its process is gone, and with it all that it held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct Unloaded {
    /// The model's name.
    pub model: String,
    /// Why.
    pub why: UnloadReason,
    /// What the process held before, in MiB.
    pub resident_before_mib: u32,
    /// And after: 0 when it is gone.
    pub resident_after_mib: u32,
    /// What the machine had available before, in MiB.
    pub available_before_mib: u32,
    /// And after.
    pub available_after_mib: u32,
    /// The difference.
    pub given_back_mib: u32,
    /// From the request to the process's end, in milliseconds.
    pub took_ms: f64,
}

impl LoadedModel {
    pub(crate) fn new(model: &Model, loaded: &Loaded, resident_bytes: Option<u64>) -> Self {
        Self {
            name: model.name.clone(),
            architecture: model.architecture.clone(),
            quantization: model.quantization.clone(),
            context_length: model.context_length,
            device: loaded.device.clone(),
            size_mib: model.size_mib(),
            resident_mib: resident_bytes.map(mib),
            load_ms: loaded.load_ms,
            warnings: loaded.warnings.clone(),
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// It reached the token limit.
    Length,
    /// The person stopped it.
    Cancelled,
    /// It failed.
    Error,
}

/// What an answer cost, kept with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Type)]
pub struct Receipt {
    /// Waiting for other answers, in milliseconds.
    pub queue_ms: f64,
    /// Starting the engine and loading the model, in milliseconds; 0 when it was loaded.
    pub load_ms: f64,
    /// From sending to the first piece of text, all waiting included, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// From sending to the end, in milliseconds.
    pub total_ms: f64,
    /// Prompt tokens computed, per second until the first token.
    pub prefill_tokens_per_second: Option<f64>,
    /// Tokens after the first, per second.
    pub decode_tokens_per_second: Option<f64>,
    /// Tokens of the prompt, the chat template's included.
    pub prompt_tokens: u32,
    /// Prompt tokens whose computation was saved.
    pub cached_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The model's name.
    pub model: String,
    /// `llama`.
    pub architecture: String,
    /// `Q4_1`.
    pub quantization: String,
    /// In tokens.
    pub context_length: u32,
    /// `CPU, 2 threads`.
    pub device: String,
}
