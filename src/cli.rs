//! The command line: own options and ROS arguments become a command and its settings. The last one
//! given wins, whichever way it was given.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::config::parameters::{Parameter, TABLE};
use crate::config::{Choice, ConfigError, LogLevel, Origin, Place, Settings, Value, files, size_from_text};
use crate::geometry::Size;
use crate::ros::args::{self, Piece, RosArg, RosArgError};
use crate::ros::environment::{Environment, EnvironmentError};
use crate::ros::names::{NameError, Names};

/// Name of the node unless a remap rule says otherwise.
pub const NODE: &str = "pixio_node";

/// What to do and with what.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// What was given for the parameters; `Config::from_settings` checks it.
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
    /// Pictures to files.
    Infer {
        /// Pictures to read.
        images: Vec<PathBuf>,
        /// Folder to write to.
        out: PathBuf,
        /// Whether the hidden states of every block are written too.
        layers: bool,
    },
    /// A dry run of the node.
    Check,
    /// Measurements.
    Bench {
        /// Frames to measure, after warm-up.
        n_frames: usize,
        /// File for the figures.
        json: Option<PathBuf>,
        /// Size of the camera pictures.
        picture: Size,
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
            Self::Options(err) => {
                // Nobody can be told that nothing can be told.
                let _unprinted = err.print();
                if err.use_stderr() {
                    ExitCode::from(2)
                } else {
                    ExitCode::SUCCESS
                }
            }
            _ => {
                eprintln!("error: {self}");
                ExitCode::from(2)
            }
        }
    }
}

/// Carries the position of a ROS argument through clap, whose indices then order everything.
const ROS: &str = "ros-argument";
const COMMANDS: [&str; 4] = ["run", "infer", "check", "bench"];

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
        .filter_map(|arg| {
            if let RosArg::Remap(rule) = arg {
                Some(rule.clone())
            } else {
                None
            }
        })
        .collect();
    let names = Names::new(NODE, &remaps)?;
    let environment = Environment::read(env)?;
    let mut warnings = Vec::new();
    let settings = settings(matches, &ros_args, &names, &mut warnings)?;
    Ok(Invocation {
        command: command(name, matches),
        settings,
        names,
        environment,
        warnings,
    })
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
    for parameter in &TABLE {
        // `infer` lacks some of them.
        let Ok(Some(texts)) = matches.try_get_many::<String>(parameter.name) else {
            continue;
        };
        let texts = texts.map(|text| Given::Option(parameter, text));
        given.extend(
            matches
                .indices_of(parameter.name)
                .into_iter()
                .flatten()
                .zip(texts),
        );
    }
    let positions = matches.get_many::<usize>(ROS).into_iter().flatten();
    let ros = positions
        .filter_map(|position| ros_args.get(*position))
        .map(Given::Ros);
    given.extend(matches.indices_of(ROS).into_iter().flatten().zip(ros));
    given.sort_by_key(|(index, _)| *index);

    let mut settings = Settings::default();
    // As in ROS, what is said of this logger outweighs what is said of all.
    let mut own_log_level = None;
    for (_, given) in given {
        match given {
            Given::Option(parameter, text) => {
                let origin = Origin::Option(option(parameter));
                settings.set(parameter, parameter.value_from_text(text), origin);
            }
            Given::Ros(RosArg::ParamsFile(path)) => {
                files::read(path, &names.fully_qualified(), &mut settings, warnings)?;
            }
            Given::Ros(RosArg::Param {
                node,
                name,
                value,
                typed,
            }) => {
                if node.as_deref().is_none_or(|node| is_this_node(node, names)) {
                    let origin = Origin::RosArgument(typed.clone());
                    files::add(name, value, &origin, &mut settings, warnings)?;
                }
            }
            Given::Ros(RosArg::LogLevel { logger: None, level }) => set_log_level(&mut settings, *level)?,
            Given::Ros(RosArg::LogLevel {
                logger: Some(logger),
                level,
            }) => {
                if is_this_logger(logger, names) {
                    own_log_level = Some(*level);
                }
            }
            Given::Ros(RosArg::Remap(_)) => {}
        }
    }
    own_log_level.map_or(Ok(()), |level| set_log_level(&mut settings, level))?;
    Ok(settings)
}

fn set_log_level(settings: &mut Settings, level: LogLevel) -> Result<(), ConfigError> {
    let origin = Origin::RosArgument("--log-level".into());
    if let Place::Ours(parameter) = Settings::place("log_level", &origin)? {
        settings.set(parameter, Value::String(level.word().into()), origin);
    }
    Ok(())
}

fn is_this_node(pattern: &str, names: &Names) -> bool {
    pattern == names.node() || files::matches(pattern, &names.fully_qualified())
}

/// Whether `logger` is this node's, or one above it.
fn is_this_logger(logger: &str, names: &Names) -> bool {
    let own = names.logger();
    own.strip_prefix(logger)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn command(name: &str, matches: &ArgMatches) -> Command {
    let path = |name| matches.get_one::<PathBuf>(name).cloned();
    match name {
        "infer" => Command::Infer {
            images: matches.get_many("image").into_iter().flatten().cloned().collect(),
            out: path("out").unwrap_or_default(),
            layers: matches.get_flag("layers"),
        },
        "check" => Command::Check,
        "bench" => Command::Bench {
            n_frames: matches.get_one("frames").copied().unwrap_or(DEFAULT_FRAMES),
            json: path("json"),
            picture: matches.get_one("picture").copied().unwrap_or(DEFAULT_PICTURE),
        },
        _ => Command::Run,
    }
}

const DEFAULT_FRAMES: usize = 200;
const DEFAULT_PICTURE: Size = Size {
    width: 1280,
    height: 720,
};

const ABOUT: &str = "Turns camera topics into Pixio patch features: a ROS 2 node in one binary.

Without a command it runs the node, which is what `ros2 run` and `ros2 launch` start. Every option is a ROS \
parameter too (--max-rate is max_rate); of options, -p and parameter files the last one given wins.";

const EXAMPLES: &str = "ROS arguments, between --ros-args and -- or the end:
  -r, --remap [NODE:]FROM:=TO     remap a topic or service; __node:=NAME, __ns:=/NAMESPACE
  -p, --param [NODE:]NAME:=VALUE  set a parameter
      --params-file FILE          read a parameter file
      --log-level [LOGGER:=]LEVEL debug, info, warn, error

Environment: ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY, ROS_AUTOMATIC_DISCOVERY_RANGE,
RCUTILS_COLORIZED_OUTPUT, RUST_LOG

Examples:
  pixio_node --model random:tiny --ros-args -r image:=/camera/image_raw
  pixio_node --ros-args --params-file pixio.yaml -r __ns:=/robot
  pixio_node infer --model DIR --image a.png b.jpg --out features

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage or configuration";

/// The command line as clap sees it.
fn program() -> clap::Command {
    let all = |_: &&Parameter| true;
    let run = clap::Command::new("run").about("Runs the ROS 2 node (also without a command)");
    let infer = clap::Command::new("infer")
        .about("Runs the same stages on pictures: NAME.safetensors and NAME.pca.png for each")
        .args([
            Arg::new("image")
                .long("image")
                .value_name("FILE")
                .num_args(1..)
                .action(ArgAction::Append)
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Pictures to read, PNG or JPEG"),
            Arg::new("out")
                .long("out")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Folder to write to"),
            Arg::new("layers")
                .long("layers")
                .action(ArgAction::SetTrue)
                .help("Write the hidden states of every block too"),
        ]);
    let check = clap::Command::new("check")
        .about("Loads what `run` would, runs one frame, looks at the network, and prints what passed");
    let bench = clap::Command::new("bench")
        .about("Measures every stage: percentiles as a table and JSON")
        .args([
            Arg::new("frames")
                .long("frames")
                .value_name("N")
                .value_parser(|text: &str| match text.parse::<usize>() {
                    Ok(n) if n > 0 => Ok(n),
                    _ => Err("valid is a whole number from 1"),
                })
                .help(format!("Frames to measure [default {DEFAULT_FRAMES}]")),
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write the figures here too"),
            Arg::new("picture")
                .long("picture")
                .value_name("WIDTHxHEIGHT")
                .value_parser(|text: &str| {
                    size_from_text(text).map_err(|_| "valid is WIDTHxHEIGHT in pixels")
                })
                .help("Size of the camera pictures [default 1280x720]"),
        ]);
    clap::Command::new(NODE)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .override_usage(
            "pixio_node [run] [OPTIONS] [--ros-args ...]\n       \
             pixio_node infer --model DIR --image FILE... --out DIR [OPTIONS]\n       \
             pixio_node check [OPTIONS] [--ros-args ...]\n       \
             pixio_node bench [OPTIONS] [--ros-args ...]",
        )
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(options(all))
        .subcommand(run.args(options(all)))
        .subcommand(infer.args(options(|parameter| parameter.offline)))
        .subcommand(check.args(options(all)))
        .subcommand(bench.args(options(all)))
}

/// An option for every parameter that `wanted` lets through, and the carrier of ROS arguments.
fn options(wanted: impl Fn(&&'static Parameter) -> bool) -> impl Iterator<Item = Arg> {
    let ros = Arg::new(ROS)
        .long(ROS)
        .hide(true)
        .action(ArgAction::Append)
        .value_parser(value_parser!(usize));
    let parameters: Vec<Arg> = TABLE.iter().filter(wanted).map(option_of).collect();
    parameters.into_iter().chain([ros])
}

fn option_of(parameter: &'static Parameter) -> Arg {
    let default = match parameter.default {
        None => "required".into(),
        Some("") => "default none".into(),
        Some(default) => format!("default {default}"),
    };
    Arg::new(parameter.name)
        .long(option(parameter).trim_start_matches('-').to_owned())
        .value_name(parameter.value_name())
        .action(ArgAction::Append)
        .allow_negative_numbers(true)
        .help_heading(parameter.group)
        .help(format!("{} [{}; {default}]", parameter.doc, parameter.valid()))
}

/// As it is typed, such as `--max-rate`.
fn option(parameter: &Parameter) -> String {
    format!("--{}", parameter.name.replace('_', "-"))
}

#[cfg(test)]
mod tests;
