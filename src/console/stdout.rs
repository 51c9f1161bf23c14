//! stdout: what a command prints. A reader who goes away is an ordinary end, a full disk is an error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// What a command prints, line by line.
#[derive(Debug)]
pub struct Stdout<W = io::Stdout> {
    stream: W,
    /// Why nothing more is printed.
    broken: Option<io::Error>,
}

impl Default for Stdout {
    fn default() -> Self {
        Self::on(io::stdout())
    }
}

impl<W: Write> Stdout<W> {
    fn on(stream: W) -> Self {
        Self { stream, broken: None }
    }

    /// Prints `line`. After the first failure nothing more is tried.
    pub fn line(&mut self, line: impl Display) {
        if self.is_open() {
            self.broken = writeln!(self.stream, "{line}").and_then(|()| self.stream.flush()).err();
        }
    }

    /// Whether lines still arrive. A command that only prints can end where they do not; one that makes files
    /// goes on.
    pub fn is_open(&self) -> bool {
        self.broken.is_none()
    }

    /// How printing went.
    ///
    /// # Errors
    /// A line that could not be written, unless nobody reads any more.
    pub fn finish(self) -> anyhow::Result<()> {
        match self.broken {
            Some(err) if err.kind() != ErrorKind::BrokenPipe => Err(err),
            _ => Ok(()),
        }
        .context("cannot write to stdout")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one line, then fails.
    struct Narrow(Vec<u8>, ErrorKind);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.contains(&b'\n') {
                return Err(self.1.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn check(kind: ErrorKind, expect: &str) {
        let mut out = Stdout::on(Narrow(Vec::new(), kind));
        out.line("one");
        assert!(out.is_open());
        out.line("two");
        out.line("three");
        assert!(!out.is_open());
        assert_eq!(out.stream.0, b"one\n");
        let outcome = out.finish().map_or_else(|err| format!("{err:#}"), |()| "ok".into());
        assert_eq!(outcome, expect);
    }

    #[test]
    fn a_reader_that_leaves_is_an_ordinary_end_and_a_full_disk_an_error() {
        check(ErrorKind::BrokenPipe, "ok");
        check(ErrorKind::StorageFull, "cannot write to stdout: no storage space");
    }
}
