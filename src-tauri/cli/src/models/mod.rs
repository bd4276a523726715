//! `models …`.

mod get;
mod look;
mod memory;

use std::{collections::HashMap, path::PathBuf};

use clap::Subcommand;
use tektra_core::{Corrections, Error, Home, Settings, Speed, Store};

use crate::outcome::Outcome;

#[derive(Subcommand)]
pub(crate) enum Models {
    /// Show the models on this machine, those of LM Studio, Ollama, Jan and the Hugging Face cache included
    #[command(alias = "scan")]
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is known of a model without loading it
    Show {
        /// Its name, or the path of its file or folder
        model: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Tell whether a model fits into memory, and with how long a context. Exit code 3 when it does not
    Fit {
        /// Its name or path
        model: String,
        /// Tokens of a conversation, prompt and answer together; the model's limit when absent
        #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
        context: Option<u32>,
        /// Where it is to be computed
        #[arg(long, default_value = "cpu", value_parser = ["cpu"])]
        device: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Load a model, unload it, and show what it took and gave back
    Load {
        /// Its name or path; the first usable model when absent
        model: Option<String>,
        /// Do it this many times
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        cycles: u32,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Look for models in another folder too, or link a file into Tektra's folder
    Import {
        /// The folder or GGUF file
        path: PathBuf,
    },
    /// Delete a model's files from Tektra's folder, or no longer look into an added folder
    Remove {
        /// The model's name, or the added folder
        model: String,
        /// Delete without being asked
        #[arg(long, short)]
        yes: bool,
    },
    /// Show which models are the fastest and the best here: Fast, Balanced, Quality
    Profiles {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show models worth having, and the one that suits this machine best
    Catalogue {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Download a model; started again, it continues. Ctrl+C pauses
    Download {
        /// A name from `models catalogue`, hf://owner/repository/file.gguf, or an address
        source: String,
        /// The file's SHA-256, if you know it
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Print one JSON object at the end
        #[arg(long)]
        json: bool,
    },
    /// Write a model in another precision: a folder of safetensors, or a GGUF file, as a new GGUF file
    #[command(
        after_help = "Types: int4 int5 int6 int8 f16 f32, or any of Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K BF16.\nRules: --rule '*.ffn_down.weight=Q6_K' for tensors by name, --rule 0-3=Q8_0 for layers; the first that fits counts."
    )]
    Quantize {
        /// The folder or file
        source: PathBuf,
        /// How precise
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// Exceptions, PATTERN=FORMAT
        #[arg(long = "rule", value_name = "RULE")]
        rules: Vec<String>,
        /// Folder for the new file; Tektra's when absent
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Print one JSON object at the end
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(home: Home, command: Models) -> Outcome {
    let done = match command {
        Models::List { json } => look::list(&home, json).await,
        Models::Show { model, json } => look::show(&home, &model, json).await,
        Models::Profiles { json } => look::profiles(&home, json).await,
        Models::Catalogue { json } => look::catalogue(json),
        Models::Fit { model, context, device: _, json } => memory::fit(&home, &model, context, json).await,
        Models::Load { model, cycles, json } => memory::load(home, model.as_deref(), cycles, json).await,
        Models::Import { path } => get::import(&home, &path).await,
        Models::Remove { model, yes } => get::remove(&home, &model, yes).await,
        Models::Download { source, sha256, json } => get::download(&home, &source, sha256, json).await,
        Models::Quantize { source, kind, rules, out, json } => {
            get::quantize(source, kind, rules, out.unwrap_or_else(|| home.models()), json).await
        }
    };
    done.unwrap_or_else(Outcome::from)
}

/// The stored settings and what loads have taught; nothing is stored by asking.
async fn stored(home: &Home) -> Result<(Settings, Corrections), Error> {
    if !home.database().exists() {
        return Ok(Default::default());
    }
    let store = Store::open(home).await?;
    Ok((store.settings().await?, store.corrections().await?))
}

/// How fast each model was in stored conversations.
async fn measured(home: &Home) -> Result<HashMap<String, Speed>, Error> {
    if !home.database().exists() {
        return Ok(HashMap::new());
    }
    Store::open(home).await?.measured_speeds().await
}

/// "1.2 B", "135 M".
fn parameters(millions: f64) -> String {
    if millions >= 1000.0 { format!("{:.1} B", millions / 1000.0) } else { format!("{millions:.0} M") }
}
