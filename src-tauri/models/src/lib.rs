//! Models on this machine: found, described, and judged by what they need.
//!
//! - [`inspect`]: the facts of one model, read from its header, and what can run it.
//! - [`scan`]: every model in Tektra's folders and in those of other programs, used in place.
//! - [`fit`]: the memory that a model needs, before anything is loaded.
//! - [`place`]: which parts of it would lie on which device, and what cannot be done.
//! - [`siblings`]: its other precisions, and with [`quality`] what each costs.
//! - [`profiles`]: which of them is the fastest here, which the best.
//! - [`Catalogue`]: models worth downloading, and the best of them for a machine.
//!
//! Nothing here loads, writes, copies or downloads anything.

mod catalogue;
mod choose;
mod correction;
mod facts;
mod fit;
mod ggml;
mod inspect;
mod placement;
mod precision;
mod profiles;
mod quality;
mod scan;
mod siblings;

pub use catalogue::{Absent, Catalogue, CatalogueError, Entry, EntryShape, Purpose, catalogue};
pub use choose::{Choice, Machine, Speed, best_for};
pub use correction::{Correction, Corrections};
pub use facts::{Executor, Facts, Format, Group, Part, Problem, Runs, Shape, TypeBytes};
pub use fit::{Basis, Device, KEPT_KV_BYTES, MOST_ON_GPU, Need, Plan, fit, fits, max_context};
pub use inspect::{InspectError, inspect};
pub use placement::{Devices, Gpu, GpuExecutors, PlaceOf, Placed, Placement, Where, Wish, place};
pub use precision::{Dtype, KvType, UnknownPrecision};
pub use profiles::{Candidate, Goal, Profile, profiles};
pub use quality::{QUALITY_SOURCE, QualityLoss, quality};
pub use scan::{Found, Layout, Note, Place, Scan, Source, Surroundings, System, places, scan};
pub use siblings::{Sibling, siblings};
