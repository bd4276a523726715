//! `candle-core` 0.11.1 under the version number that mistral.rs 0.8.1 asks for.
//! See "The candle patch" in ARCHITECTURE.md.
pub use upstream::*;
