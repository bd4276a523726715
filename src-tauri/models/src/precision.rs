//! The kinds of numbers that a person can choose.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvType {
    /// Two bytes a number; BF16 where mistral.rs computes in that.
    #[default]
    F16,
    /// One byte a number, and a scale of four bytes for each head's key and each head's value of a position.
    Q8,
    /// Four bytes a number.
    F32,
}

/// What is computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// What the executor thinks best.
    #[default]
    Auto,
    /// Two bytes, with the range of F32.
    Bf16,
    /// Two bytes.
    F16,
    /// Four bytes.
    F32,
}

/// A name that no kind of number has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is none of {known}.")]
pub struct UnknownPrecision {
    given: String,
    known: &'static str,
}

impl KvType {
    const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8",
            Self::F32 => "f32",
        }
    }
}

impl Dtype {
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for KvType {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::F16, Self::Q8, Self::F32];
        let unknown = || UnknownPrecision { given: text.into(), known: "f16, q8, f32" };
        all.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text)).ok_or_else(unknown)
    }
}

impl FromStr for Dtype {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Auto, Self::Bf16, Self::F16, Self::F32];
        let unknown = || UnknownPrecision { given: text.into(), known: "auto, bf16, f16, f32" };
        all.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text)).ok_or_else(unknown)
    }
}
