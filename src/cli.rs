//! The command line: own options and ROS arguments become a command and its settings. The last one
//! given wins, whichever way it was given.

mod options;

use std::io::{ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::commands::bench::Images;
use crate::commands::clicks::Taught;
use crate::config::parameters::{self, Parameter};
use crate::config::{Choice, ConfigError, LogLevel, Origin, Settings, Value, files, model_size_from_text};
use crate::console;
use crate::engine::builder::DEFAULT_BATCHES;
use crate::engine::int8::Kernel;
use crate::engine::store::target::Target;
use crate::geometry::Size;
use crate::ros::start::args::{self, Piece, RosArg, RosArgError};
use crate::ros::start::environment::{Environment, EnvironmentError};
use crate::ros::start::names::{NameError, Names};
use crate::text;
use options::{COMMANDS, DEFAULT_FRAMES, DEFAULT_IMAGE, ROS, option, program};

/// Name of the node unless a remap rule says otherwise.
pub const NODE: &str = "pixio_node";

/// Bytes of an error at most.
const MOST_ERROR_BYTES: usize = 2 << 10;

/// What to do and with what.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// What was given for the parameters; `Values::new` checks it.
    pub settings: Settings,
    /// What the node is called and what it calls things.
    pub names: Names,
    /// What the environment says about DDS.
    pub environment: Environment,
    /// What the user should hear once there is a log.
    pub warnings: Vec<String>,
}

/// A command and what only it takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The ROS 2 node.
    Run,
    /// Images to files.
    Infer {
        /// Images to read.
        images: Vec<PathBuf>,
        /// Folder to write to.
        out: PathBuf,
        /// Whether the hidden states of every block are written too.
        layers: bool,
        /// What was taught.
        taught: Option<Taught>,
    },
    /// The live page, without ROS.
    Live {
        /// Folder of images that is played until a page feeds; `None` is the room walk.
        folder: Option<PathBuf>,
    },
    /// A dry run of the node.
    Check,
    /// An engine for this machine or for another's GPU.
    Build {
        /// Sizes of the model input; none takes the parameter's.
        sizes: Vec<Size>,
        /// Batch sizes, ascending.
        batches: Vec<i64>,
        /// Blocks whose tokens the engine returns; none takes the parameter's.
        layers: Vec<usize>,
        /// Folder to make; `None` is one in the cache.
        out: Option<PathBuf>,
        /// Python with torch.
        python: Option<PathBuf>,
        /// What multiplies an int8 engine's integers; `None` takes the fastest.
        int8_kernel: Option<Kernel>,
        /// Whether several kernels are tried for every matrix product.
        max_autotune: bool,
        /// The GPU to compile for where it is in another machine.
        target: Option<Target>,
    },
    /// Measurements.
    Bench {
        /// Engines: `auto`, `eager` or folders.
        engines: Vec<String>,
        /// Images of a forward pass.
        batch: i64,
        /// Frames to measure, after warm-up.
        n_frames: usize,
        /// File for the figures.
        json: Option<PathBuf>,
        /// What the camera sends.
        image: Images,
    },
}

/// Why there is nothing to run: a mistake, or a wish for help.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// An option that does not exist or lacks something, or `--help` or `--version`.
    #[error("{0}")]
    Options(#[from] clap::Error),
    /// `a:=b` among the node's own options.
    #[error("{argument} is a ROS argument: it belongs after --ros-args and a flag such as -r or -p")]
    OutsideRosArgs {
        /// As it was typed.
        argument: String,
    },
    /// A malformed ROS argument.
    #[error(transparent)]
    RosArgs(#[from] RosArgError),
    /// A name that ROS does not allow.
    #[error(transparent)]
    Names(#[from] NameError),
    /// A bad environment variable.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A parameter that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl UsageError {
    /// Tells the user (help and version on stdout, mistakes on stderr) and gives the exit code: 0
    /// for help and version, 2 for mistakes.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Options(err) if !err.use_stderr() => match err.print() {
                Err(err) if err.kind() != ErrorKind::BrokenPipe => {
                    console::say(format!("error: cannot write to stdout: {err}\n"));
                    ExitCode::FAILURE
                }
                _ => ExitCode::SUCCESS,
            },
            Self::Options(err) => {
                let text = err.render();
                let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                console::say(if colors { text.ansi().to_string() } else { text.to_string() });
                ExitCode::from(2)
            }
            _ => {
                // What was given may be quoted in it.
                let text = console::cut(self.to_string(), MOST_ERROR_BYTES);
                console::say(format!("error: {}\n", text::one_line(&text)));
                ExitCode::from(2)
            }
        }
    }
}

/// Reads a command line, the program's name first, and the environment through `env`.
///
/// # Errors
/// The first thing that is not understood, or the wish for help or the version.
pub fn parse(
    args: impl Iterator<Item = String>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Invocation, UsageError> {
    let pieces = args::split(args.skip(1))?;
    let mut typed = vec![NODE.to_owned()];
    let mut ros_args = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Own(argument) if argument.contains(":=") && !argument.starts_with('-') => {
                return Err(UsageError::OutsideRosArgs { argument });
            }
            // The command may follow ROS arguments; clap wants it first.
            Piece::Own(word) if typed.len() == 1 + ros_args.len() && COMMANDS.contains(&word.as_str()) => {
                typed.insert(1, word);
            }
            Piece::Own(argument) => typed.push(argument),
            Piece::Ros(argument) => {
                typed.push(format!("--{ROS}={}", ros_args.len()));
                ros_args.push(argument);
            }
        }
    }
    let matches = program().try_get_matches_from(typed)?;
    let (name, matches) = matches.subcommand().unwrap_or(("run", &matches));

    let remaps: Vec<_> = ros_args
        .iter()
        .filter_map(|arg| if let RosArg::Remap(rule) = arg { Some(rule.clone()) } else { None })
        .collect();
    let names = Names::new(NODE, &remaps)?;
    let environment = Environment::read(env)?;
    let mut warnings = Vec::new();
    let settings = settings(matches, &ros_args, &names, &mut warnings)?;
    Ok(Invocation { command: command(name, matches), settings, names, environment, warnings })
}

/// One thing that sets parameters.
enum Given<'a> {
    Option(&'static Parameter, &'a str),
    Ros(&'a RosArg),
}

/// Takes options, `-p`, files and log levels in the order in which they were typed.
fn settings(
    matches: &ArgMatches,
    ros_args: &[RosArg],
    names: &Names,
    warnings: &mut Vec<String>,
) -> Result<Settings, UsageError> {
    let mut given: Vec<(usize, Given<'_>)> = Vec::new();
    for parameter in parameters::all() {
        // `infer` lacks some of them.
        let Ok(Some(texts)) = matches.try_get_many::<String>(parameter.name) else {
            continue;
        };
        let texts = texts.map(|text| Given::Option(parameter, text));
        given.extend(matches.indices_of(parameter.name).into_iter().flatten().zip(texts));
    }
    let positions = matches.get_many::<usize>(ROS).into_iter().flatten();
    let ros = positions.filter_map(|position| ros_args.get(*position)).map(Given::Ros);
    given.extend(matches.indices_of(ROS).into_iter().flatten().zip(ros));
    given.sort_by_key(|(index, _)| *index);

    let mut settings = Settings::default();
    // As in ROS, what is said of this logger outweighs what is said of all.
    let mut own_log_level = None;
    for (_, given) in given {
        match given {
            Given::Option(parameter, text) => {
                let origin = Origin::Option(option(parameter));
                settings.set(parameter.name, parameter.value_from_text(text), origin);
            }
            Given::Ros(RosArg::ParamsFile(path)) => {
                files::read(path, &names.fully_qualified(), &mut settings, warnings)?;
            }
            Given::Ros(RosArg::Param { node, name, value, typed }) => {
                if node.as_deref().is_none_or(|node| is_this_node(node, names)) {
                    let origin = Origin::RosArgument(typed.clone());
                    files::add(name, value, &origin, &mut settings, warnings)?;
                }
            }
            Given::Ros(RosArg::LogLevel { logger: None, level }) => set_log_level(&mut settings, *level),
            Given::Ros(RosArg::LogLevel { logger: Some(logger), level }) => {
                if is_this_logger(logger, names) {
                    own_log_level = Some(*level);
                }
            }
            Given::Ros(RosArg::Remap(_)) => {}
        }
    }
    if let Some(level) = own_log_level {
        set_log_level(&mut settings, level);
    }
    Ok(settings)
}

fn set_log_level(settings: &mut Settings, level: LogLevel) {
    let origin = Origin::RosArgument("--log-level".into());
    settings.set("log_level", Value::String(level.word().into()), origin);
}

fn is_this_node(pattern: &str, names: &Names) -> bool {
    pattern == names.node() || files::matches(pattern, &names.fully_qualified())
}

/// Whether `logger` is this node's, or one above it.
fn is_this_logger(logger: &str, names: &Names) -> bool {
    let own = names.logger();
    own.strip_prefix(logger).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn command(name: &str, matches: &ArgMatches) -> Command {
    let path = |name| matches.get_one::<PathBuf>(name).cloned();
    match name {
        "infer" => Command::Infer {
            images: matches.get_many("image").into_iter().flatten().cloned().collect(),
            out: path("out").unwrap_or_default(),
            layers: matches.get_flag("layers"),
            taught: path("exemplars").map(|exemplars| Taught { exemplars, save_head: path("save-head") }),
        },
        "live" => Command::Live { folder: path("folder") },
        "check" => Command::Check,
        "build" => Command::Build {
            sizes: sizes(matches),
            batches: list(matches, "batch").unwrap_or_else(|| DEFAULT_BATCHES.to_vec()),
            layers: list(matches, "layers").unwrap_or_default(),
            out: path("out"),
            python: path("python"),
            int8_kernel: matches.get_one::<String>("int8-kernel").and_then(|word| Kernel::from_word(word)),
            max_autotune: matches.get_flag("max-autotune"),
            target: matches.get_one("for").copied(),
        },
        "bench" => Command::Bench {
            engines: engines(matches),
            batch: matches.get_one("batch").copied().unwrap_or(1),
            n_frames: matches.get_one("frames").copied().unwrap_or(DEFAULT_FRAMES),
            json: path("json"),
            image: matches.get_one("image").cloned().unwrap_or(Images::Synthetic(DEFAULT_IMAGE)),
        },
        _ => Command::Run,
    }
}

/// Every size that was typed; what is wrong with one, the parameter's check has said.
fn sizes(matches: &ArgMatches) -> Vec<Size> {
    let typed = matches.get_many::<String>("size").into_iter().flatten();
    typed.filter_map(|text| model_size_from_text(text).ok()).collect()
}

fn engines(matches: &ArgMatches) -> Vec<String> {
    let typed = matches.get_many::<String>("engine").into_iter().flatten().next_back();
    typed.map_or_else(|| vec!["auto".into()], |text| text.split(',').map(str::to_owned).collect())
}

/// The numbers of `--name 1,2,4`.
fn list<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<Vec<T>> {
    matches.get_one::<Vec<T>>(name).cloned()
}

#[cfg(test)]
mod tests;
