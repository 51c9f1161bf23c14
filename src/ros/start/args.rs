//! The sections of a command line between `--ros-args` and `--` (or the end).

use std::path::PathBuf;

use super::names::{Remap, Target};
use crate::config::yaml::{self, Scalar, Yaml};
use crate::config::{Choice, LogLevel};

/// One ROS argument.
#[derive(Clone, Debug, PartialEq)]
pub enum RosArg {
    /// `-r [node:]from:=to`.
    Remap(Remap),
    /// `-p [node:]name:=value`.
    Param {
        /// The only node that it is for, as a pattern like the keys of parameter files.
        node: Option<String>,
        /// Name of the parameter.
        name: String,
        /// Value of the parameter.
        value: Yaml,
        /// As it was typed.
        typed: String,
    },
    /// `--params-file FILE`.
    ParamsFile(PathBuf),
    /// `--log-level [logger:=]LEVEL`.
    LogLevel {
        /// The only logger that it is for.
        logger: Option<String>,
        /// Level of the logger.
        level: LogLevel,
    },
}

/// A ROS argument that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("in --ros-args: {argument}: {reason}")]
pub struct RosArgError {
    /// As it was typed.
    pub argument: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A piece of a command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// An argument outside of the ROS sections.
    Own(String),
    /// One from within.
    Ros(RosArg),
}

/// Tells the ROS arguments from the others and keeps the order.
///
/// # Errors
/// The first ROS argument that cannot be read.
pub fn split(args: impl Iterator<Item = String>) -> Result<Vec<Piece>, RosArgError> {
    let mut pieces = Vec::new();
    let mut args = args;
    let mut in_section = false;
    while let Some(arg) = args.next() {
        match (in_section, arg.as_str()) {
            (_, "--ros-args") => in_section = true,
            (false, _) => pieces.push(Piece::Own(arg)),
            (true, "--") => in_section = false,
            (true, _) => pieces.extend(ros_arg(arg, &mut args)?.map(Piece::Ros)),
        }
    }
    Ok(pieces)
}

/// Reads one ROS argument whose flag is `flag`, taking its value from `rest`.
fn ros_arg(flag: String, rest: &mut impl Iterator<Item = String>) -> Result<Option<RosArg>, RosArgError> {
    let switches = ["rosout-logs", "stdout-logs", "external-lib-logs"];
    let switch = flag.strip_prefix("--enable-").or_else(|| flag.strip_prefix("--disable-"));
    if switch.is_some_and(|switch| switches.contains(&switch)) {
        return Ok(None);
    }
    let parse: fn(&str) -> Result<Option<RosArg>, String> = match flag.as_str() {
        "-r" | "--remap" => |value| remap(value).map(RosArg::Remap).map(Some),
        "-p" | "--param" => |value| param(value).map(Some),
        "--params-file" => |value| Ok(Some(RosArg::ParamsFile(value.into()))),
        "--log-level" => |value| log_level(value).map(Some),
        // Security and the log file have no meaning here, but launch files may carry them.
        "-e" | "--enclave" | "--log-config-file" | "--log-file-name" => |_| Ok(None),
        _ => {
            let reason = "no ROS argument has this name; `--` ends the ROS arguments".into();
            return Err(RosArgError { argument: flag, reason });
        }
    };
    let Some(value) = rest.next() else {
        return Err(RosArgError { argument: flag, reason: "its value is missing".into() });
    };
    parse(&value).map_err(|reason| RosArgError { argument: format!("{flag} {value}"), reason })
}

/// Reads `[node:]from:=to`.
///
/// # Errors
/// What is missing.
pub fn remap(text: &str) -> Result<Remap, String> {
    let form = "the form is [NODE:]FROM:=TO";
    let (left, to) = text.split_once(":=").ok_or(form)?;
    let (node, left) = node_prefix(left);
    let (target, from) = match left {
        "__node" | "__name" => (Target::Node, ""),
        "__ns" => (Target::Namespace, ""),
        _ => match (left.strip_prefix("rostopic://"), left.strip_prefix("rosservice://")) {
            (Some(from), _) => (Target::Topic, from),
            (None, Some(from)) => (Target::Service, from),
            (None, None) => (Target::Any, left),
        },
    };
    let names_a_thing = target != Target::Node && target != Target::Namespace;
    if to.is_empty() || (names_a_thing && from.is_empty()) || node.as_deref() == Some("") {
        return Err(form.into());
    }
    let to = if names_a_thing {
        to.trim_start_matches("rostopic://").trim_start_matches("rosservice://")
    } else {
        to
    };
    Ok(Remap { node, target, from: from.into(), to: to.into() })
}

fn param(text: &str) -> Result<RosArg, String> {
    let form = "the form is [NODE:]NAME:=VALUE";
    let (left, value) = text.split_once(":=").ok_or(form)?;
    let (node, name) = node_prefix(left);
    if name.is_empty() || node.as_deref() == Some("") {
        return Err(form.into());
    }
    let value = value_from_text(value)?;
    Ok(RosArg::Param { node, name: name.into(), value, typed: format!("-p {text}") })
}

/// What stands behind `:=`. A text that is no YAML, or a mapping, is the text that it is: paths may hold `:
/// `.
fn value_from_text(text: &str) -> Result<Yaml, String> {
    let as_it_is = || Yaml::Scalar(Scalar { text: text.to_owned(), is_plain: false });
    match yaml::parse(text) {
        Ok(Yaml::Mapping(_)) => Ok(as_it_is()),
        Ok(value) => Ok(value),
        Err(_) if text.starts_with('/') => Ok(as_it_is()),
        Err(err) => Err(format!("the value is not valid YAML: {err}")),
    }
}

fn log_level(text: &str) -> Result<RosArg, String> {
    let (logger, word) = match text.split_once(":=") {
        Some((logger, word)) => (Some(logger.to_owned()), word),
        None => (None, text),
    };
    let level = match word.to_ascii_lowercase().as_str() {
        // Nothing is fatal and goes on, so these two silence the same.
        "fatal" => Some(LogLevel::Error),
        "unset" => Some(LogLevel::Info),
        word => LogLevel::from_word(word),
    };
    let level = level.ok_or("the level is one of debug, info, warn, error and fatal")?;
    if logger.as_deref() == Some("") {
        return Err("the form is [LOGGER:=]LEVEL".into());
    }
    Ok(RosArg::LogLevel { logger, level })
}

/// Splits `node:name`; the colon of `rostopic://` does not count.
fn node_prefix(text: &str) -> (Option<String>, &str) {
    match text.split_once(':') {
        Some((node, name)) if !name.starts_with("//") => (Some(node.into()), name),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Value;

    fn told(arg: RosArg) -> String {
        let only = |node: Option<String>| node.map_or(String::new(), |node| format!(" only {node}"));
        match arg {
            RosArg::Remap(Remap { node, target, from, to }) => {
                format!("{target:?} {from}->{to}{}", only(node))
            }
            RosArg::Param { node, name, value, .. } => {
                let value = Value::from_yaml(&value).unwrap();
                format!("{name}={value}{}", only(node))
            }
            RosArg::ParamsFile(path) => format!("file {}", path.display()),
            RosArg::LogLevel { logger, level } => format!("log {level:?}{}", only(logger)),
        }
    }

    fn check(line: &str, expect: &str) {
        let outcome = match split(line.split(' ').map(str::to_owned)) {
            Err(err) => err.to_string(),
            Ok(pieces) => {
                let told = pieces.into_iter().map(|piece| match piece {
                    Piece::Own(arg) => arg,
                    Piece::Ros(arg) => format!("[{}]", told(arg)),
                });
                told.collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(outcome, expect);
    }

    #[test]
    fn ros_sections_begin_end_and_begin_again() {
        check("--model m", "--model m");
        check("--ros-args", "");
        check("--ros-args --", "");
        check("check --ros-args -r a:=b -- --size 16x16", "check [Any a->b] --size 16x16");
        check("--ros-args -r a:=b -- x --ros-args --remap c:=d", "[Any a->b] x [Any c->d]");
        check("--ros-args --ros-args -r a:=b", "[Any a->b]");
    }

    #[test]
    fn what_launch_passes_is_read() {
        check(
            "--ros-args -r __node:=eye -r __ns:=/robot --params-file /tmp/x -p model:=random:tiny -r \
             image:=/cam",
            "[Node ->eye] [Namespace ->/robot] [file /tmp/x] [model=\"random:tiny\"] [Any image->/cam]",
        );
    }

    #[test]
    fn every_kind_of_argument_is_read() {
        check("--ros-args --remap eye:__name:=a", "[Node ->a only eye]");
        check("--ros-args -r eye:image:=b", "[Any image->b only eye]");
        check("--ros-args -r rostopic://a:=rostopic://b", "[Topic a->b]");
        check("--ros-args -r eye:rosservice://a:=b", "[Service a->b only eye]");
        check("--ros-args --param eye:threads:=2", "[threads=2 only eye]");
        check("--ros-args -p a:=[1,2]", "[a=[1, 2]]");
        check("--ros-args --log-level WARN", "[log Warn]");
        check("--ros-args --log-level robot.eye:=debug", "[log Debug only robot.eye]");
        check("--ros-args --log-level fatal", "[log Error]");
        check("--ros-args -e /x --enclave /y --log-config-file f", "");
        check("--ros-args --disable-rosout-logs --enable-stdout-logs --disable-external-lib-logs", "");
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        for path in ["/data/run:/1", "/data/a: b", "runs: 3/model", "/a: b: c", "2.10", "~/m"] {
            let argument = param(&format!("model:={path}")).unwrap();
            let RosArg::Param { value, .. } = argument else { panic!("not a parameter") };
            let model = crate::config::parameters::find("model").unwrap();
            assert_eq!(model.value_from_yaml(&value), Ok(Value::String(path.into())));
        }
    }

    #[test]
    fn malformed_arguments_are_refused_by_name() {
        check("--ros-args -r image", "in --ros-args: -r image: the form is [NODE:]FROM:=TO");
        check("--ros-args -r :=x", "in --ros-args: -r :=x: the form is [NODE:]FROM:=TO");
        check("--ros-args -r x:=", "in --ros-args: -r x:=: the form is [NODE:]FROM:=TO");
        check("--ros-args -r :a:=x", "in --ros-args: -r :a:=x: the form is [NODE:]FROM:=TO");
        check("--ros-args --remap", "in --ros-args: --remap: its value is missing");
        check("--ros-args -p threads=2", "in --ros-args: -p threads=2: the form is [NODE:]NAME:=VALUE");
        check(
            "--ros-args -p a:=[1",
            "in --ros-args: -p a:=[1: the value is not valid YAML: while parsing a flow sequence, expected \
             ',' or ']'",
        );
        check(
            "--ros-args --log-level loud",
            "in --ros-args: --log-level loud: the level is one of debug, info, warn, error and fatal",
        );
        check(
            "--ros-args --enable-lights",
            "in --ros-args: --enable-lights: no ROS argument has this name; `--` ends the ROS arguments",
        );
        check(
            "--ros-args --size 16x16",
            "in --ros-args: --size: no ROS argument has this name; `--` ends the ROS arguments",
        );
    }
}
