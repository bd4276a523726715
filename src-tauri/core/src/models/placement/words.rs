//! What a person wishes of a model's placement, and what comes of it, as the page shows it.

use serde::{Deserialize, Serialize};
use specta::Type;
use tektra_models::{Devices, Dtype, KvType, PlaceOf, Placed, Placement, Problem, Where, Wish};

use crate::models::{Memory, Model, sentence};

const MIB: f64 = 1_048_576.0;

/// Where a model is to be computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum DeviceWish {
    /// On the GPUs as far as it fits there, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the GPUs that are named.
    Gpus,
}

/// The precision that a GPU computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum DtypeWish {
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

/// What keys and values are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum KvWish {
    /// Half precision.
    #[default]
    F16,
    /// 8-bit integers with a scale for each head: half the memory.
    Q8,
    /// Single precision: twice the memory.
    F32,
}

/// What a person wishes of a model's placement. The default leaves everything to Tektra.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Type)]
pub struct PlacementWish {
    /// Where it is to be computed.
    pub device: DeviceWish,
    /// The GPUs by their numbers, for [`DeviceWish::Gpus`].
    pub gpus: Vec<u32>,
    /// Layers on the GPUs; as many as fit when absent.
    pub gpu_layers: Option<u32>,
    /// What each of several GPUs gets in proportion; by their free memory when empty.
    pub shares: Vec<u32>,
    /// The precision that a GPU computes in.
    pub dtype: DtypeWish,
    /// What keys and values are kept in.
    pub kv: KvWish,
    /// Tokens of a conversation; the model's limit when absent.
    pub context_tokens: Option<u32>,
    /// Memory to leave to everything else on each device, in MiB; Tektra's choice when absent.
    pub reserve_mib: Option<u32>,
}

impl From<&PlacementWish> for Wish {
    fn from(wish: &PlacementWish) -> Self {
        Self {
            place: match wish.device {
                DeviceWish::Auto => Where::Auto,
                DeviceWish::Cpu => Where::Cpu,
                DeviceWish::Gpus => Where::Gpus(wish.gpus.clone()),
            },
            gpu_layers: wish.gpu_layers,
            shares: wish.shares.iter().map(|&share| f64::from(share)).collect(),
            dtype: wish.dtype.into(),
            kv: wish.kv.into(),
            context_tokens: wish.context_tokens,
            reserve_bytes: wish.reserve_mib.map(|mib| u64::from(mib) << 20),
        }
    }
}

impl From<DtypeWish> for Dtype {
    fn from(wish: DtypeWish) -> Self {
        match wish {
            DtypeWish::Auto => Self::Auto,
            DtypeWish::Bf16 => Self::Bf16,
            DtypeWish::F16 => Self::F16,
            DtypeWish::F32 => Self::F32,
        }
    }
}

impl From<KvWish> for KvType {
    fn from(wish: KvWish) -> Self {
        match wish {
            KvWish::F16 => Self::F16,
            KvWish::Q8 => Self::Q8,
            KvWish::F32 => Self::F32,
        }
    }
}

impl From<DtypeWish> for tektra_protocol::Dtype {
    fn from(wish: DtypeWish) -> Self {
        match wish {
            DtypeWish::Auto => Self::Auto,
            DtypeWish::Bf16 => Self::Bf16,
            DtypeWish::F16 => Self::F16,
            DtypeWish::F32 => Self::F32,
        }
    }
}

impl From<KvWish> for tektra_protocol::KvType {
    fn from(wish: KvWish) -> Self {
        match wish {
            KvWish::F16 => Self::F16,
            KvWish::Q8 => Self::Q8,
            KvWish::F32 => Self::F32,
        }
    }
}

/// Why a placement is not possible, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Type)]
pub struct Refusal {
    /// A sentence.
    pub reason: String,
    /// A sentence.
    pub hint: String,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { reason: sentence(&problem.reason), hint: problem.hint }
    }
}

/// A device of this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct DeviceInfo {
    /// `CPU`, or the GPU's name.
    pub name: String,
    /// A GPU's number; absent for the CPU.
    pub gpu: Option<u32>,
    /// Its memory in MiB.
    pub total_mib: f64,
    /// What of it is free now, in MiB.
    pub free_mib: f64,
    /// Why nothing can be computed there.
    pub unusable: Option<Refusal>,
}

/// What of a model lies on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct DeviceShare {
    /// `CPU`, or the GPU's name.
    pub name: String,
    /// A GPU's number; absent for the CPU.
    pub gpu: Option<u32>,
    /// The first of its layers, from 0.
    pub first_layer: u32,
    /// How many.
    pub layers: u32,
    /// Whether the table from tokens to vectors lies there.
    pub embeddings: bool,
    /// Whether the output lies there.
    pub output: bool,
    /// Weights in MiB.
    pub weights_mib: f64,
    /// Keys and values in MiB.
    pub kv_mib: f64,
    /// Buffers and the like in MiB.
    pub compute_mib: f64,
    /// Left to everything else, in MiB.
    pub reserve_mib: f64,
    /// What is free there now, in MiB.
    pub free_mib: f64,
    /// Whether it fits there.
    pub fits: bool,
}

impl From<&Placed> for DeviceShare {
    fn from(placed: &Placed) -> Self {
        let mib = |bytes: u64| bytes as f64 / MIB;
        Self {
            name: placed.name.clone(),
            gpu: match placed.device {
                PlaceOf::Cpu => None,
                PlaceOf::Gpu { index } => Some(index),
            },
            first_layer: placed.layers.start,
            layers: placed.layers.len() as u32,
            embeddings: placed.holds_embeddings,
            output: placed.holds_output,
            weights_mib: mib(placed.weights_bytes),
            kv_mib: mib(placed.kv_bytes),
            compute_mib: mib(placed.compute_bytes),
            reserve_mib: mib(placed.reserve_bytes),
            free_mib: mib(placed.free_bytes),
            fits: placed.fits,
        }
    }
}

/// Which part of a model lies where.
#[derive(Clone, Debug, PartialEq, Serialize, Type)]
pub struct PlacementPlan {
    /// What was wished for.
    pub wish: PlacementWish,
    /// Every device of this machine.
    pub machine: Vec<DeviceInfo>,
    /// The model's layers.
    pub layers: u32,
    /// The devices that hold a part of it.
    pub devices: Vec<DeviceShare>,
    /// Tokens of a conversation.
    pub context_tokens: u32,
    /// The longest that fits; 0 when not even the shortest does.
    pub max_context: u32,
    /// The longest that it was trained for.
    pub trained_context: u32,
    /// All of it, reserves included, in MiB.
    pub total_mib: f64,
    /// Whether it fits everywhere.
    pub fits: bool,
    /// Why it cannot be done; empty when it can.
    pub refused: Vec<Refusal>,
    /// What a person should know: sentences.
    pub notes: Vec<String>,
}

impl PlacementPlan {
    pub(super) fn new(model: &Model, devices: &Devices, placement: Placement) -> Self {
        let shares: Vec<_> = placement.devices.iter().map(DeviceShare::from).collect();
        let parts = |share: &DeviceShare| share.weights_mib + share.kv_mib + share.compute_mib + share.reserve_mib;
        Self {
            wish: model.wish.clone(),
            machine: machine(devices),
            layers: model.facts.shape.layers,
            total_mib: shares.iter().map(parts).sum(),
            devices: shares,
            context_tokens: placement.context_tokens,
            max_context: placement.max_context.unwrap_or(0),
            trained_context: model.facts.context_length,
            fits: placement.fits,
            refused: placement.refused.into_iter().map(Refusal::from).collect(),
            notes: placement.notes,
        }
    }
}

fn machine(devices: &Devices) -> Vec<DeviceInfo> {
    let cpu = DeviceInfo {
        name: "CPU".into(),
        gpu: None,
        total_mib: Memory::now().total_bytes as f64 / MIB,
        free_mib: devices.ram_free_bytes as f64 / MIB,
        unusable: None,
    };
    let gpus = devices.gpus.iter().map(|gpu| DeviceInfo {
        name: gpu.name.clone(),
        gpu: Some(gpu.index),
        total_mib: gpu.total_bytes as f64 / MIB,
        free_mib: gpu.free_bytes as f64 / MIB,
        unusable: devices.no_gpu_because.clone().map(Refusal::from),
    });
    std::iter::once(cpu).chain(gpus).collect()
}
