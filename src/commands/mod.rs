//! What each command does, from checked configuration to exit code.

pub mod background;
pub mod bench;
pub mod build;
pub mod check;
pub mod clicks;
mod describe;
mod film;
pub mod infer;
pub mod join;
pub mod live;
pub mod measure;
pub mod run;
pub mod signals;
mod teach;

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

    /// What went wrong, whatever the exit code.
    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Setup(err) | Self::Running(err) => err,
        }
    }
}

/// Says which failure an error is.
trait OrFailure<T> {
    /// Marks an error as one of what the user gave.
    fn setup(self) -> Result<T, Failure>;

    /// Marks an error as one of something that broke.
    fn running(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFailure<T> for Result<T, E> {
    fn setup(self) -> Result<T, Failure> {
        self.map_err(|err| Failure::Setup(err.into()))
    }

    fn running(self) -> Result<T, Failure> {
        self.map_err(|err| Failure::Running(err.into()))
    }
}
