//! `models …`.

mod get;
mod look;
mod memory;
mod place;
mod search;
mod write;

use std::{collections::HashMap, path::PathBuf};

use clap::Subcommand;
use tektra_core::{Corrections, Error, Home, PlacementWish, ProfileGoal, Settings, Speed, Store};

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
        #[command(flatten)]
        wished: place::Wished,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show which part of a model lies on which device, and store where it is to be computed
    Place {
        /// Its name or path
        model: String,
        #[command(flatten)]
        wished: place::Wished,
        /// Store it: the next load follows it
        #[arg(long)]
        save: bool,
        /// Forget what was stored before
        #[arg(long)]
        reset: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take every model out of memory that a window or a conversation in a terminal has loaded
    Unload {
        /// Print a JSON array
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
        /// Print one JSON object at the end
        #[arg(long)]
        json: bool,
    },
    /// Delete a model's files from Tektra's folder, or no longer look into an added folder
    Remove {
        /// The model's name, or the added folder
        model: String,
        /// Delete without being asked
        #[arg(long, short)]
        yes: bool,
        /// Print one JSON object at the end
        #[arg(long)]
        json: bool,
    },
    /// Show which models are the fastest and the best here: Fast, Balanced, Quality
    Profiles {
        /// Use one from now on: fast, balanced or quality
        #[arg(long, value_name = "PROFILE", value_parser = goal)]
        apply: Option<ProfileGoal>,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show in which precisions a model can be had, and what each costs: memory, speed, quality
    Precisions {
        /// Its name or path
        model: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Measure a model's perplexity on Tektra's text, so that `precisions` can tell what it loses
    Quality {
        /// Its name or path
        model: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show models worth having, and the one that suits this machine best
    Catalogue {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Search the hub for GGUF models, or show the files of OWNER/REPOSITORY
    Search {
        /// Words, or owner/repository
        text: String,
        /// Print a JSON array
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
    /// Write a GGUF file as a folder of safetensors, its weights in half precision
    Export {
        /// The file
        source: PathBuf,
        /// The new folder
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
}

pub(crate) async fn run(home: Home, command: Models) -> Outcome {
    let done = match command {
        Models::List { json } => look::list(&home, json).await,
        Models::Show { model, json } => look::show(&home, &model, json).await,
        Models::Profiles { apply: Some(goal), json: _ } => place::apply(home, goal).await,
        Models::Profiles { apply: None, json } => look::profiles(&home, json).await,
        Models::Precisions { model, json } => place::precisions(home, model, json).await,
        Models::Quality { model, json } => place::quality(home, model, json).await,
        Models::Place { model, wished, save, reset, json } => {
            place::place(home, model, wished, save, reset, json).await
        }
        Models::Unload { json } => place::unload(&home, json).await,
        Models::Catalogue { json } => look::catalogue(json),
        Models::Fit { model, wished, json } => memory::fit(&home, &model, wished, json).await,
        Models::Load { model, cycles, json } => memory::load(home, model.as_deref(), cycles, json).await,
        Models::Import { path, json } => get::import(&home, &path, json).await,
        Models::Remove { model, yes, json } => get::remove(&home, &model, yes, json).await,
        Models::Search { text, json } => search::search(home, &text, json).await,
        Models::Download { source, sha256, json } => get::download(&home, &source, sha256, json).await,
        Models::Quantize { source, kind, rules, out, json } => {
            write::quantize(source, kind, rules, out.unwrap_or_else(|| home.models()), json).await
        }
        Models::Export { source, out } => write::export(source, out).await,
    };
    done.unwrap_or_else(Outcome::from)
}

/// The stored settings and what loads have taught; nothing is stored by asking.
pub(crate) async fn stored(home: &Home) -> Result<(Settings, Corrections), Error> {
    if !home.database().exists() {
        return Ok(Default::default());
    }
    let store = Store::open(home).await?;
    Ok((store.settings().await?, store.corrections().await?))
}

fn goal(text: &str) -> Result<ProfileGoal, String> {
    match text {
        "fast" => Ok(ProfileGoal::Fast),
        "balanced" => Ok(ProfileGoal::Balanced),
        "quality" => Ok(ProfileGoal::Quality),
        _ => Err("write fast, balanced or quality".into()),
    }
}

/// What is stored for the model `name`.
pub(crate) async fn placement(home: &Home, name: &str) -> Result<PlacementWish, Error> {
    if !home.database().exists() {
        return Ok(PlacementWish::default());
    }
    Ok(Store::open(home).await?.placements().await?.remove(name).unwrap_or_default())
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
