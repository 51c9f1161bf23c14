//! Child processes, which know nothing of the signals that this process blocks.

use std::io;
use std::process::Command;

use process_wrap::std::{ChildWrapper, CommandWrap, ResetSigmask};

/// Starts `command` with no signal blocked, so that what it starts can be ended as everywhere else.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(command: Command) -> io::Result<Box<dyn ChildWrapper>> {
    CommandWrap::from(command).wrap(ResetSigmask).spawn()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Stdio;

    use nix::sys::signal::{SigSet, Signal};

    use super::*;

    #[test]
    fn a_child_starts_with_no_signal_blocked() {
        // The mask is this thread's own, and that of every child it starts.
        [Signal::SIGINT, Signal::SIGTERM].into_iter().collect::<SigSet>().thread_block().unwrap();
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]).stdout(Stdio::piped());
        let mut child = spawn(command).unwrap();
        let mut told = String::new();
        child.stdout().take().unwrap().read_to_string(&mut told).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(told.trim(), "SigBlk:\t0000000000000000");
    }
}
