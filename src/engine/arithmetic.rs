//! In which numbers an engine computes.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Kind;

/// Arithmetic of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// 32-bit floats.
    Float32,
    /// 16-bit brain floats.
    Bfloat16,
    /// 16-bit IEEE floats.
    Float16,
    /// Linear layers in 8-bit integers with a scale per token, the rest in float32. Compiled engines only.
    Int8,
}

impl Arithmetic {
    /// Element type of the tokens, and of the eager model beside the engine.
    pub fn kind(self) -> Kind {
        match self {
            Self::Float32 | Self::Int8 => Kind::Float,
            Self::Bfloat16 => Kind::BFloat16,
            Self::Float16 => Kind::Half,
        }
    }

    /// What the eager model beside the engine computes in.
    pub fn eager(self) -> Self {
        if self == Self::Int8 { Self::Float32 } else { self }
    }

    /// The least cosine between an engine's tokens and those of the eager model in float32.
    pub fn least_cosine(self) -> f64 {
        match self {
            Self::Float32 => 0.99999,
            Self::Bfloat16 | Self::Float16 => 0.999,
            Self::Int8 => 0.998,
        }
    }

    /// The word for it, as the parameter `precision` spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
