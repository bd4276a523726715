//! The catalogue as a person sees it.

use serde::Serialize;
use specta::Type;
use tektra_models::{Machine, Purpose, best_for, catalogue};

use super::{Memory, mib};
use crate::{Error, Result};

/// A model worth having.
#[derive(Clone, Debug, Serialize, Type)]
pub struct Suggestion {
    /// What a download is started with.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Where it is published.
    pub repository: String,
    /// The file's name.
    pub file: String,
    /// Size of the download in MiB.
    pub size_mib: u32,
    /// Whether that is an estimate.
    pub size_is_estimate: bool,
    /// Parameters in millions.
    pub parameters_millions: f64,
    /// `Q4_K_M`.
    pub quantization: String,
    /// In tokens.
    pub context_length: u32,
    /// `apache-2.0`.
    pub licence: String,
    /// What it is good at.
    pub good_at: String,
    /// Whether it is made for programs rather than for conversation.
    pub for_code: bool,
}

/// The model of the catalogue that suits this machine best, by estimates.
#[derive(Clone, Debug, Serialize, Type)]
pub struct Best {
    /// Its id.
    pub id: String,
    /// A sentence.
    pub why: String,
    /// Whether it fits with room.
    pub fits_with_room: bool,
    /// Memory needed, reserve included, in MiB.
    pub need_mib: u32,
    /// Expected tokens a second.
    pub tokens_per_second: f64,
    /// Expected time to the first token of a short prompt, in milliseconds.
    pub first_token_ms: f64,
}

/// Models worth having, and the best for this machine.
#[derive(Clone, Debug, Serialize, Type)]
pub struct Suggestions {
    /// All of them.
    pub models: Vec<Suggestion>,
    /// The best for this machine.
    pub best: Option<Best>,
}

impl Suggestions {
    /// For this machine as it is now; `read_gb_per_second` where the memory's speed was measured.
    ///
    /// # Errors
    /// When the catalogue is damaged.
    pub fn now(read_gb_per_second: Option<f64>) -> Result<Self> {
        let catalogue = catalogue().map_err(|error| Error::InvalidInput { what: error.to_string() })?;
        let memory = Memory::now();
        let machine = Machine {
            ram_free_bytes: memory.available_bytes,
            ram_total_bytes: memory.total_bytes,
            read_gb_per_second,
            vram_free_bytes: None,
            vram_gb_per_second: None,
        };
        let best = best_for(&machine, &catalogue).map(|choice| Best {
            id: choice.entry.id.clone(),
            fits_with_room: choice.fits_with_room,
            need_mib: mib(choice.need.total_bytes),
            tokens_per_second: choice.expected_tokens_per_second,
            first_token_ms: choice.expected_first_token_ms,
            why: choice.why,
        });
        let models = catalogue.entries.into_iter().map(|entry| Suggestion {
            size_mib: mib(entry.size_bytes),
            size_is_estimate: entry.size_is_estimate,
            parameters_millions: entry.parameters as f64 / 1e6,
            for_code: entry.purpose == Purpose::Code,
            id: entry.id,
            title: entry.title,
            repository: entry.repository,
            file: entry.file,
            quantization: entry.quantization,
            context_length: entry.context_length,
            licence: entry.licence,
            good_at: entry.good_at,
        });
        Ok(Self { models: models.collect(), best })
    }
}
