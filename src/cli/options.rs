//! The options of every command, made from the table of parameters, and the help.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, value_parser};

use super::NODE;
use crate::commands::bench::Images;
use crate::config::parameters::{self, Kind, Parameter};
use crate::config::size_from_text;
use crate::engine::store::target::Target;
use crate::geometry::Size;

/// Carries the position of a ROS argument through clap, whose indices then order everything.
pub(super) const ROS: &str = "ros-argument";
/// Every command.
pub(super) const COMMANDS: [&str; 6] = ["run", "live", "infer", "build", "check", "bench"];

/// Parameters that mean something to `build`.
const BUILD: [&str; 12] = [
    "model",
    "device",
    "precision",
    "engine_cache",
    "threads",
    "layer",
    "size",
    "fit",
    "depth_head",
    "segmentation_head",
    "teaching",
    "log_level",
];

/// Parameters that mean something to `live` beside those of `infer`.
const LIVE: [&str; 9] = [
    "teaching",
    "streams",
    "live_port",
    "live_address",
    "max_rate",
    "max_age",
    "stats_period",
    "stats_file",
    "overlay_opacity",
];

/// Frames that `bench` measures.
pub(super) const DEFAULT_FRAMES: usize = 200;
/// Camera images of `bench`.
pub(super) const DEFAULT_IMAGE: Size = Size { width: 1280, height: 720 };

const ABOUT: &str = "Turns camera topics into Pixio patch features: a ROS 2 node in one binary.

Without a command it runs the node, which is what `ros2 run` and `ros2 launch` start. Every option is
a ROS parameter too (--max-rate is max_rate); of options, -p and files the last one given wins.";

const EXAMPLES: &str = "ROS arguments, between --ros-args and -- or the end:
  -r, --remap [NODE:]FROM:=TO     remap a topic or service; __node:=NAME, __ns:=/NAMESPACE
  -p, --param [NODE:]NAME:=VALUE  set a parameter
      --params-file FILE          read a parameter file
      --log-level [LOGGER:=]LEVEL debug, info, warn, error

Environment: ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY, ROS_AUTOMATIC_DISCOVERY_RANGE,
ROS_STATIC_PEERS, RCUTILS_COLORIZED_OUTPUT, RUST_LOG

Examples:
  pixio_node --model random:tiny --ros-args -r image:=/camera/image_raw
  pixio_node --ros-args --params-file pixio.yaml -r __ns:=/robot
  pixio_node live --model models/pixio-tiny
  pixio_node infer --model DIR --image a.png b.jpg --out features
  pixio_node build --model DIR --size 256x256 --size 336x192

Exit codes: 0 stopped as asked, 1 failed while running, 2 wrong usage or configuration,
128 + N ended at once by a second signal N";

/// The command line as clap sees it.
#[expect(clippy::too_many_lines, reason = "a list of options")]
pub(super) fn program() -> clap::Command {
    let all = |_: &&Parameter| true;
    let run = clap::Command::new("run").about("Runs the ROS 2 node (also without a command)");
    let live = clap::Command::new("live")
        .about("Shows the model at work in a browser, without ROS: this machine's webcam, a file or a folder")
        .arg(
            Arg::new("folder").long("folder").value_name("DIR").value_parser(value_parser!(PathBuf)).help(
                "Images to play until a page shows its own [default: data/room-walk, where it is there]",
            ),
        );
    let infer = clap::Command::new("infer")
        .about("Runs the same stages on images: NAME.safetensors and NAME.pca.png for each")
        .args([
            Arg::new("image")
                .long("image")
                .value_name("FILE")
                .num_args(1..)
                .action(ArgAction::Append)
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Images to read, PNG or JPEG"),
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
            Arg::new("exemplars")
                .long("exemplars")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Segment by what was taught: a file of exemplars, or clicks as CSV with the columns \
                     image,x,y,class",
                ),
            Arg::new("save-head")
                .long("save-head")
                .value_name("FILE")
                .requires("exemplars")
                .value_parser(value_parser!(PathBuf))
                .help("Head file to make of --exemplars, for segmentation_head; they are written beside it"),
        ]);
    let build = clap::Command::new("build")
        .about("Compiles an engine for this machine and proves it against the eager model")
        .args([
            Arg::new("for").long("for").value_name("GPU").value_parser(target).help(format!(
                "Compile for a GPU of another machine, which need not be here: {} [device: cuda; \
                     precision: bfloat16 unless given]",
                Target::ALL.map(|target| target.to_string()).join(", ")
            )),
            Arg::new("batch")
                .long("batch")
                .value_name("N,N")
                .value_parser(|text: &str| ascending::<i64>(text, 64))
                .help("Batch sizes [default 1,2,4,8]"),
            Arg::new("layers")
                .long("layers")
                .value_name("N,N")
                .value_parser(|text: &str| ascending::<usize>(text, usize::MAX))
                .help(
                    "Blocks whose tokens the engine returns, counted from 1 [default: the feature layer and \
                     the last]",
                ),
            Arg::new("out")
                .long("out")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Folder to make [default: one in engine_cache, where `engine: auto` finds it]"),
            Arg::new("python").long("python").value_name("FILE").value_parser(value_parser!(PathBuf)).help(
                "Python with torch [default: the one that provides this node's libtorch, otherwise \
                    python3]",
            ),
            Arg::new("int8-kernel")
                .long("int8-kernel")
                .value_name("KERNEL")
                .value_parser(["auto", "avx2", "int_mm"])
                .help(
                    "Kernel for the integer products of an int8 engine [default auto: the fastest on this \
                       machine]",
                ),
            Arg::new("max-autotune").long("max-autotune").action(ArgAction::SetTrue).help(
                "Try several kernels for every matrix product and take the fastest, which takes minutes \
                 longer",
            ),
        ]);
    let check = clap::Command::new("check")
        .about("Loads what `run` would, runs one frame, looks at the network, and prints what passed");
    let bench =
        clap::Command::new("bench").about("Measures every stage: percentiles as a table and JSON").args([
            Arg::new("frames")
                .long("frames")
                .value_name("N")
                .value_parser(|text: &str| match text.parse::<usize>() {
                    Ok(n) if n > 0 => Ok(n),
                    _ => Err("valid is a whole number from 1"),
                })
                .help(format!("Frames to measure [default {DEFAULT_FRAMES}]")),
            Arg::new("batch")
                .long("batch")
                .value_name("N")
                .value_parser(value_parser!(i64).range(1..=64))
                .help(
                    "Images per forward pass; the frame path is measured with 1, and with --cameras with \
                     several too [default 1]",
                ),
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Also write the figures to this file"),
            Arg::new("image")
                .long("image")
                .alias("picture")
                .value_name("WIDTHxHEIGHT|FILE")
                .value_parser(images)
                .help(
                    "Camera images: synthetic raw ones of a size, or a JPEG or PNG file [default \
                       1280x720]",
                ),
        ]);
    clap::Command::new(NODE)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .override_usage(
            "pixio_node [run] [OPTIONS] [--ros-args ...]\n       \
             pixio_node live --model DIR [--folder DIR] [OPTIONS]\n       \
             pixio_node infer --model DIR --image FILE... --out DIR [OPTIONS]\n       \
             pixio_node build --model DIR [--size WIDTHxHEIGHT]... [--out DIR] [OPTIONS]\n       \
             pixio_node check [OPTIONS] [--ros-args ...]\n       \
             pixio_node bench [OPTIONS] [--ros-args ...]",
        )
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(options(all))
        .subcommand(run.args(options(all)))
        .subcommand(live.args(options(|parameter| parameter.offline || LIVE.contains(&parameter.name))))
        .subcommand(infer.args(options(|parameter| parameter.offline)))
        .subcommand(build.args(options(|parameter| BUILD.contains(&parameter.name))))
        .subcommand(check.args(options(all)))
        .subcommand(bench.args(options(all)))
}

/// An option for every parameter that `wanted` lets through, and the carrier of ROS arguments.
fn options(wanted: impl Fn(&&'static Parameter) -> bool) -> impl Iterator<Item = Arg> {
    let ros = Arg::new(ROS).long(ROS).hide(true).action(ArgAction::Append).value_parser(value_parser!(usize));
    let parameters: Vec<Arg> = parameters::all().filter(wanted).map(option_of).collect();
    parameters.into_iter().chain([ros])
}

fn option_of(parameter: &'static Parameter) -> Arg {
    let default = match parameter.default {
        None | Some("") => "none",
        Some(default) => default,
    };
    let facts = match (parameter.default, &parameter.kind) {
        (None, _) => "required".into(),
        // The value's name tells the words.
        (_, Kind::Bool | Kind::Choice(_)) => format!("default: {default}"),
        _ => format!("{}; default: {default}", parameter.valid()),
    };
    Arg::new(parameter.name)
        .long(option(parameter).trim_start_matches('-').to_owned())
        .value_name(parameter.value_name())
        .action(ArgAction::Append)
        .allow_negative_numbers(true)
        .next_line_help(true)
        .help_heading(parameter.group)
        .help(wrapped(&format!("{} [{facts}]", parameter.doc)))
}

/// Numbers in a list such as `1,2,4`, sorted, each once.
fn ascending<T: std::str::FromStr + Ord + From<u8>>(text: &str, most: T) -> Result<Vec<T>, &'static str> {
    let numbers = text.split(',').map(|number| number.trim().parse::<T>().ok());
    let mut numbers = numbers.collect::<Option<Vec<_>>>().ok_or("valid are whole numbers such as 1,2,4")?;
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.first().is_some_and(|first| *first >= T::from(1))
        && numbers.last().is_some_and(|last| *last <= most)
    {
        true => Ok(numbers),
        false => Err("valid are whole numbers from 1, batches to 64"),
    }
}

/// `text` in lines that fit a terminal of 100 columns behind clap's indent.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let starts_line = width == 0 || width + word.len() >= 88;
        match (width, starts_line) {
            (0, _) => {}
            (_, true) => lines.push('\n'),
            (_, false) => lines.push(' '),
        }
        width = if starts_line { word.len() } else { width + 1 + word.len() };
        lines.push_str(word);
    }
    lines
}

/// A GPU to compile for.
fn target(text: &str) -> Result<Target, String> {
    let known = || Target::ALL.map(|target| target.to_string()).join(", ");
    Target::from_word(text).ok_or_else(|| format!("valid are {}, or 9.0 for sm_90", known()))
}

/// A size, or a file that is there.
fn images(text: &str) -> Result<Images, &'static str> {
    match size_from_text(text) {
        Ok(size) => Ok(Images::Synthetic(size)),
        Err(_) if Path::new(text).is_file() => Ok(Images::File(text.into())),
        Err(_) => Err("valid is WIDTHxHEIGHT in pixels, or a JPEG or PNG file"),
    }
}

/// As it is typed, such as `--max-rate`.
pub(super) fn option(parameter: &Parameter) -> String {
    format!("--{}", parameter.name.replace('_', "-"))
}
