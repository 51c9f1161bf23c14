//! The command line: one match on the command, one place for exit codes.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::os::unix::process::CommandExt;
use std::process::{Command as Process, ExitCode};

use pixio_node::cli::{self, Command, Invocation, UsageError};
use pixio_node::commands::bench::{BenchOptions, bench};
use pixio_node::commands::build::{BuildOptions, build};
use pixio_node::commands::check::check;
use pixio_node::commands::infer::{InferOptions, infer};
use pixio_node::commands::join::Launch;
use pixio_node::commands::live::live;
use pixio_node::commands::run::run;
use pixio_node::commands::signals::Signals;
use pixio_node::config::{Config, Values};
use pixio_node::{console, logging};

/// Environment variables that tell libgomp how idle threads wait. It reads them when the program
/// is loaded, so they must be there before main, as those below.
const WAITING: [(&str, &str); 2] = [("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")];

/// What tells glibc how many heaps to keep: with one for every few threads, each keeps freed megabytes of its
/// own.
const HEAPS: [(&str, &str); 1] = [("MALLOC_ARENA_MAX", "2")];

fn main() -> ExitCode {
    // Before any thread is started, and before the program starts itself again.
    let signals = Signals::block();
    set_up_libraries();
    let code = run_command(signals);
    console::flush();
    code
}

/// Starts the program again where the environment lacks what libgomp and glibc read when they are loaded.
fn set_up_libraries() {
    let is_unset = |(name, _): &(&str, &str)| std::env::var_os(name).is_none();
    // Spinning threads take the cores from everybody else, the camera driver included.
    let waiting = WAITING.into_iter().filter(|_| WAITING.iter().all(is_unset));
    let added: Vec<_> = waiting.chain(HEAPS.into_iter().filter(is_unset)).collect();
    if !added.is_empty() {
        // Only returns when it fails; the node then still runs, slower on shared cores.
        let again = |exe| Process::new(exe).args(std::env::args_os().skip(1)).envs(added).exec();
        let err = std::env::current_exe().map_or_else(|err| err, again);
        console::say(format!("cannot start again with OMP_WAIT_POLICY=PASSIVE: {err}\n"));
    }
}

/// Does what the command line says.
fn run_command(signals: Signals) -> ExitCode {
    let mut args = Vec::new();
    for arg in std::env::args_os() {
        match arg.into_string() {
            Ok(arg) => args.push(arg),
            Err(arg) => {
                console::say(format!(
                    "error: {} is not UTF-8: rename the file or link to it\n",
                    arg.display()
                ));
                return ExitCode::from(2);
            }
        }
    }
    let invocation = match cli::parse(args.into_iter(), &|name| std::env::var(name).ok()) {
        Ok(invocation) => invocation,
        Err(usage) => return usage.report(),
    };
    let Invocation { command, settings, names, environment, warnings } = invocation;
    let checked = Values::new(&settings).and_then(|values| Ok((Config::from_values(&values)?, values)));
    let (config, values) = match checked {
        Ok(checked) => checked,
        Err(err) => return UsageError::from(err).report(),
    };
    let log = logging::init(&names.logger(), config.log_level);
    warnings.iter().chain(values.passed_over()).for_each(|warning| tracing::warn!("{warning}"));

    let outcome = match command {
        Command::Run => run(Launch { config, values, names, environment, log, signals }),
        Command::Infer { images, out, layers, taught } => {
            infer(&config, &InferOptions { images, out, layers, taught }, signals)
        }
        Command::Live { folder } => live(&config, &values, log, folder.as_deref(), signals),
        Command::Check => check(Launch { config, values, names, environment, log, signals }),
        Command::Build { sizes, batches, layers, out, python, int8_kernel, max_autotune, target } => {
            let options =
                BuildOptions { sizes, batches, layers, out, python, int8_kernel, max_autotune, target };
            build(&config, options, signals)
        }
        Command::Bench { engines, batch, n_frames, json, image } => {
            bench(&config, &values, &BenchOptions { engines, batch, n_frames, image, json }, signals)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{:#}", failure.error());
            ExitCode::from(failure.exit_code())
        }
    }
}
