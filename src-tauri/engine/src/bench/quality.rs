//! `tektra-engine quality`: how well a model predicts a text, and how far it is from a reference. One line of JSON.

use std::path::PathBuf;

use serde_json::json;
use tektra_cpu::KvType;

use super::{
    load,
    options::{MOST, Options},
    read_text, say,
};

pub(super) const HELP: &str = "\
tektra-engine quality --model FILE --text TEXT [--against REFERENCE] [--window 512] [--one-by-one] [--threads N] [--gpu-layers N,…]
    perplexity of the model on a text, - for standard input; with a model of the same vocabulary as a reference, how far
    the two are apart, which the reference is computed for on the CPU; one line of JSON, \"tokens\" being those that were
    predicted";

pub(super) struct Comparison {
    model: PathBuf,
    text: PathBuf,
    reference: Option<PathBuf>,
    window: usize,
    threads: usize,
    gpu_layers: Vec<usize>,
    one_by_one: bool,
}

impl Comparison {
    pub(super) fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let options = Options::read(
            arguments,
            &["--model", "--text", "--against", "--window", "--threads", "--gpu-layers"],
            &["--one-by-one"],
        )?;
        Ok(Self {
            model: options.needed_path("--model")?,
            text: options.needed_path("--text")?,
            reference: options.path("--against"),
            window: options.number("--window", 512, 2..=MOST)?,
            threads: options.threads()?,
            gpu_layers: options.gpu_layers()?,
            one_by_one: options.has("--one-by-one"),
        })
    }

    pub(super) fn measure(&self) -> Result<(), String> {
        let load = |model: &PathBuf, gpu_layers| load(model, self.threads, KvType::default(), gpu_layers);
        let text = read_text(&self.text)?;
        let mut model = load(&self.model, &self.gpu_layers)?;
        if self.one_by_one {
            model = model.one_by_one();
        }
        let mut reference = self.reference.as_ref().map(|reference| load(reference, &[])).transpose()?;
        let tokens = model.tokens(&text).map_err(|error| error.to_string())?;
        let quality = model.quality(reference.as_mut(), &tokens, self.window).map_err(|error| error.to_string())?;
        let divergence = quality.divergence;
        say(&json!({
            "perplexity": quality.perplexity,
            "kl_mean": divergence.map(|divergence| divergence.kl_mean),
            "kl_p99": divergence.map(|divergence| divergence.kl_p99),
            "same_top_percent": divergence.map(|divergence| divergence.same_top_percent),
            "tokens": quality.tokens,
        }));
        Ok(())
    }
}
