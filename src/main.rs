//! The command line: one match on the command, one place for exit codes.

use std::os::unix::process::CommandExt;
use std::process::{Command as Process, ExitCode};

use pixio_node::cli::{self, Command, Invocation};
use pixio_node::commands::bench::bench;
use pixio_node::commands::check::check;
use pixio_node::commands::infer::infer;
use pixio_node::commands::run::{Launch, run};
use pixio_node::config::Config;
use pixio_node::logging;

/// Environment variables that tell libgomp how idle threads wait. It reads them when the program
/// is loaded, so they must be there before main.
const WAITING: [(&str, &str); 2] = [("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")];

fn main() -> ExitCode {
    if WAITING.iter().all(|(name, _)| std::env::var_os(name).is_none()) {
        // Spinning threads take the cores from everybody else, the camera driver included. Only
        // returns when it fails, and then the node runs all the same, slower on shared cores.
        let again = |exe| {
            Process::new(exe)
                .args(std::env::args_os().skip(1))
                .envs(WAITING)
                .exec()
        };
        let err = std::env::current_exe().map_or_else(|err| err, again);
        eprintln!("cannot start again with OMP_WAIT_POLICY=PASSIVE: {err}");
    }
    ExitCode::SUCCESS
}
