//! Diagnostics: what the node knows about itself and its cameras, as statuses with a level, a cause and a
//! cure.
//!
//! ```text
//!  cameras, model, graph --write--> Board --statuses--> /diagnostics, once a second
//!                                                   +-> the table of `check`
//! ```

mod board;
mod camera;
mod jumps;
mod teller;

pub use board::{Board, CameraFacts, Delivery, EngineFacts, ExpectedCamera, ModelFacts, TransportFacts};
pub(crate) use board::{GraphFacts, Misfit};
pub use teller::Teller;

use crate::console;
use crate::text;

/// Bytes of a message, a key or a value at most.
const MOST_TEXT_BYTES: usize = 4 << 10;

/// How bad it is, in the numbers of `diagnostic_msgs/DiagnosticStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// As it should be.
    #[default]
    Ok = 0,
    /// What is diagnosed works, but not as well as it could.
    Warn = 1,
    /// What is diagnosed does not work.
    Error = 2,
}

/// How one thing does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The worst of what was found.
    pub level: Level,
    /// What it is about, such as `camera front`.
    pub name: String,
    /// What was found, or that all is well.
    pub message: String,
    /// Figures and names.
    pub values: Vec<(String, String)>,
}

/// A [`Status`] in the making.
#[derive(Debug)]
struct Findings {
    level: Level,
    texts: Vec<String>,
    values: Vec<(String, String)>,
}

impl Findings {
    fn new() -> Self {
        Self { level: Level::Ok, texts: Vec::new(), values: Vec::new() }
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.level = self.level.max(Level::Warn);
        self.texts.push(text.into());
    }

    fn error(&mut self, text: impl Into<String>) {
        self.level = Level::Error;
        // What does not work is told first.
        self.texts.insert(0, text.into());
    }

    fn value(&mut self, key: &str, value: impl ToString) {
        self.values.push((key.to_owned(), value.to_string()));
    }

    /// `well` is said when nothing was found.
    fn into_status(self, name: impl Into<String>, well: impl Into<String>) -> Status {
        let Self { level, texts, values } = self;
        let message = if texts.is_empty() { well.into() } else { texts.join("; ") };
        // Foreign names and words of libraries may be in any of them.
        let told = |text: String| text::one_line(&console::cut(text, MOST_TEXT_BYTES)).into_owned();
        let values = values.into_iter().map(|(key, value)| (told(key), told(value))).collect();
        Status { level, name: name.into(), message: told(message), values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_says_is_on_one_line_and_bounded() {
        let mut findings = Findings::new();
        findings.warn(format!("a\nb {}", "x".repeat(1 << 20)));
        findings.value("key", format!("c\rd{}", "y".repeat(1 << 20)));
        let Status { message, values, .. } = findings.into_status("camera", "");
        assert!(message.starts_with("a\\nb x") && message.len() <= MOST_TEXT_BYTES + 8, "{}", message.len());
        assert!(values[0].1.starts_with("c\\rdy") && values[0].1.len() <= MOST_TEXT_BYTES + 8);
    }
}
