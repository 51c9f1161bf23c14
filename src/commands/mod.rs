//! What each command does, from checked configuration to exit code.

pub mod background;
pub mod bench;
pub mod build;
pub mod check;
mod describe;
mod film;
pub mod infer;
pub mod measure;
pub mod run;
pub mod signals;

/// Why a command failed, which decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// Model, parameter or file that the user gave: exit code 2.
    Setup(anyhow::Error),
    /// Something that broke while running: exit code 1, so that a launch file can respawn.
    Running(anyhow::Error),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setup(_) => 2,
            Self::Running(_) => 1,
        }
    }

    /// The one line to tell.
    pub fn error(&self) -> &anyhow::Error {
        match self {
            Self::Setup(err) | Self::Running(err) => err,
        }
    }
}
