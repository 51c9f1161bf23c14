//! GPUs that engines can be compiled for without one.

use std::fmt;

/// An architecture of NVIDIA's GPUs. An engine for one serves no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A100.
    Sm80,
    /// A10, A40, RTX 30xx.
    Sm86,
    /// L4, L40, RTX 40xx.
    Sm89,
    /// H100, H200.
    Sm90,
    /// RTX 50xx.
    Sm120,
}

impl Target {
    /// Every one, oldest first.
    pub const ALL: [Self; 5] = [Self::Sm80, Self::Sm86, Self::Sm89, Self::Sm90, Self::Sm120];

    /// Compute capability, such as `9.0`.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Sm80 => "8.0",
            Self::Sm86 => "8.6",
            Self::Sm89 => "8.9",
            Self::Sm90 => "9.0",
            Self::Sm120 => "12.0",
        }
    }

    /// From `sm_90` or `9.0`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|target| [target.to_string(), target.capability().into()].contains(&word.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}", self.capability().replace('.', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_a_target_and_nothing_else_does() {
        assert_eq!(
            Target::ALL.map(|target| target.to_string()),
            ["sm_80", "sm_86", "sm_89", "sm_90", "sm_120"]
        );
        for target in Target::ALL {
            assert_eq!(Target::from_word(&target.to_string()), Some(target));
            assert_eq!(Target::from_word(target.capability()), Some(target));
        }
        for word in ["", "sm_87", "8.7", "90", "sm_90a", "9"] {
            assert_eq!(Target::from_word(word), None, "{word}");
        }
    }
}
