//! `safetensors` 0.8.0 under the version number that mistral.rs 0.8.1 asks for.
//! See "The candle patch" in ARCHITECTURE.md.
pub use upstream::*;
