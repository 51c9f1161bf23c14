//! ROS parameter files: which entries of a YAML file speak to this node.

use std::path::Path;

use super::error::ConfigError;
use super::origin::Origin;
use super::parameters;
use super::settings::{Ownership, Settings};
use super::value::Value;
use super::yaml::{self, Yaml};
use crate::files;

/// The key below which a node's parameters stand.
const PARAMETERS: &str = "ros__parameters";
/// Most bytes of a parameter file.
const MOST_BYTES: u64 = 1 << 20;

/// Names and values in the order of a file.
type Entries = [(String, Yaml)];

/// Adds to `settings` what the file at `path` says to the node `fully_qualified`, and to `warnings`
/// what the user should hear.
///
/// # Errors
/// A file that cannot be read, or a name or value in it that this node refuses.
pub fn read(
    path: &Path,
    fully_qualified: &str,
    settings: &mut Settings,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let text = files::read_text(path, MOST_BYTES)
        .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
    take(&text, path, fully_qualified, settings, warnings)
}

/// Adds what the `text` of the file at `path` says.
fn take(
    text: &str,
    path: &Path,
    fully_qualified: &str,
    settings: &mut Settings,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let syntax = |yaml::YamlError { line, message }| ConfigError::Syntax { path: path.into(), line, message };
    let document = yaml::parse(text).map_err(syntax)?;
    let mut entries = Vec::new();
    nodes("", &document, &mut entries).map_err(|reason| ConfigError::Form { path: path.into(), reason })?;
    for (key, parameters) in entries.iter().filter(|(key, _)| matches(key, fully_qualified)) {
        let origin = Origin::File { path: path.into(), key: key.clone() };
        for (name, value) in flatten(parameters) {
            add(&name, value, &origin, settings, warnings)?;
        }
    }
    if !entries.iter().any(|(key, _)| matches(key, fully_qualified)) {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        let keys =
            if keys.is_empty() { "it is empty".into() } else { format!("its keys are {}", keys.join(", ")) };
        warnings.push(format!(
            "{}: the file has nothing for {fully_qualified}: {keys}; /** matches every node",
            path.display()
        ));
    }
    Ok(())
}

/// Adds one parameter, given as YAML.
///
/// # Errors
/// An unknown name, or YAML that is not a value.
pub fn add(
    name: &str,
    value: &Yaml,
    origin: &Origin,
    settings: &mut Settings,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    match Settings::place(name, origin)? {
        Ownership::Ignored => {}
        Ownership::Foreign(warning) => warnings.push(warning),
        Ownership::Ours => {
            let no_value =
                |reason| ConfigError::NoValue { origin: origin.clone(), name: name.into(), reason };
            let value = match parameters::find_any(name) {
                Some(parameter) => parameter.value_from_yaml(value),
                None => Value::from_yaml(value),
            };
            settings.set(name, value.map_err(no_value)?, origin.clone());
        }
    }
    Ok(())
}

/// Adds to `found` every node key of a file, absolute, and the parameters below it, in the order
/// of the file. `key` is the key above `yaml`.
fn nodes<'a>(key: &str, yaml: &'a Yaml, entries: &mut Vec<(String, &'a Entries)>) -> Result<(), String> {
    let mapping = match yaml {
        Yaml::Mapping(mapping) => mapping,
        Yaml::Scalar(scalar) if key.is_empty() && scalar.is_null() => return Ok(()),
        _ if key.is_empty() => return Err("it holds no node key".into()),
        _ => return Err(format!("`{}` is outside {PARAMETERS}", &key[1..])),
    };
    for (child, below) in mapping {
        if child != PARAMETERS {
            nodes(&format!("{key}/{}", child.trim_matches('/')), below, entries)?;
            continue;
        }
        match below {
            _ if key.is_empty() => return Err(format!("{PARAMETERS} is not under a node key")),
            Yaml::Mapping(parameters) => entries.push((key.into(), parameters)),
            Yaml::Scalar(scalar) if scalar.is_null() => {}
            _ => return Err(format!("{PARAMETERS} under {key} must hold names and values")),
        }
    }
    Ok(())
}

/// Nested names joined by dots, with the values that stand at their ends.
pub(super) fn flatten(parameters: &Entries) -> Vec<(String, &Yaml)> {
    let mut flat = Vec::new();
    for (name, value) in parameters {
        match value {
            Yaml::Mapping(below) => {
                flat.extend(
                    flatten(below).into_iter().map(|(tail, value)| (format!("{name}.{tail}"), value)),
                );
            }
            value => flat.push((name.clone(), value)),
        }
    }
    flat
}

/// Whether `key` names the node: `*` stands for one token, `**` for any number of them. A key
/// without a leading slash counts from the root, as in rclcpp.
pub fn matches(key: &str, fully_qualified: &str) -> bool {
    fn tokens_match(key: &[&str], node: &[&str]) -> bool {
        match (key.split_first(), node.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), None) => tokens_match(rest, node),
            (Some((&"**", rest)), Some((_, tail))) => tokens_match(rest, node) || tokens_match(key, tail),
            (Some((token, rest)), Some((name, tail))) => {
                (*token == "*" || token == name) && tokens_match(rest, tail)
            }
            _ => false,
        }
    }
    let key: Vec<&str> = key.trim_start_matches('/').split('/').collect();
    let node: Vec<&str> = fully_qualified.trim_start_matches('/').split('/').collect();
    tokens_match(&key, &node)
}

/// The text of a parameter file, for the fuzzers.
#[cfg(any(test, feature = "fuzzing"))]
#[expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]
pub fn params_yaml(data: &[u8]) {
    use super::{Config, Values};

    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut settings, mut warnings) = (Settings::default(), Vec::new());
    if take(text, Path::new("params.yaml"), "/robot/pixio_node", &mut settings, &mut warnings).is_ok()
        && let Ok(values) = Values::new(&settings)
    {
        assert!(Config::from_values(&values).is_ok(), "checked values make a configuration");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `yaml` as the node `/robot/pixio_node` and tells what it took, refused or warned of.
    fn check(yaml: &str, expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yaml");
        std::fs::write(&path, yaml).unwrap();
        let (mut settings, mut warnings) = (Settings::default(), Vec::new());
        let answer = match read(&path, "/robot/pixio_node", &mut settings, &mut warnings) {
            Err(err) => err.to_string(),
            Ok(()) => {
                let given = crate::config::parameters::all().filter_map(|parameter| {
                    settings.get(parameter.name).map(|(value, _)| format!("{} {value}", parameter.name))
                });
                given.chain(warnings).collect::<Vec<_>>().join("; ")
            }
        };
        assert_eq!(answer.replace(path.to_str().unwrap(), "FILE"), expect);
    }

    #[test]
    fn entries_for_this_node_are_taken_and_others_are_not() {
        check(
            "/**:\n  ros__parameters:\n    size: 336x192\n    max_rate: 5\n",
            "size \"336x192\"; max_rate 5",
        );
        check("/robot/pixio_node: {ros__parameters: {threads: 2}}", "threads 2");
        check("robot: {pixio_node: {ros__parameters: {threads: 2}}}", "threads 2");
        check("/robot: {pixio_node: {ros__parameters: {threads: 2}}}", "threads 2");
        check("/robot/*: {ros__parameters: {threads: 2}}", "threads 2");
        check("/**/pixio_node: {ros__parameters: {threads: 2}}", "threads 2");
        check(
            "/**: {ros__parameters: {qos_overrides: {/image: {depth: 1}}, use_sim_time: true}}",
            "use_sim_time true",
        );
        check("/**: {ros__parameters: {layer: !block 3}}", "layer 3");
        check(
            "/**: {ros__parameters: }",
            "FILE: the file has nothing for /robot/pixio_node: it is empty; /** matches every node",
        );
        check(
            "pixio_node: {ros__parameters: {threads: 2}}\n/*: {ros__parameters: {}}",
            "FILE: the file has nothing for /robot/pixio_node: its keys are /pixio_node, /*; /** matches \
             every node",
        );
    }

    #[test]
    fn the_later_entry_wins() {
        check(
            "/**: {ros__parameters: {fit: crop}}\n/robot/pixio_node: {ros__parameters: {fit: auto}}",
            "fit \"auto\"",
        );
        check(
            "/robot/pixio_node: {ros__parameters: {fit: auto}}\n/**: {ros__parameters: {fit: crop}}",
            "fit \"crop\"",
        );
    }

    #[test]
    fn a_key_that_comes_twice_adds_as_in_rcl() {
        check(
            "/**: {ros__parameters: {fit: crop}}\n/**: {ros__parameters: {threads: 2}}",
            "threads 2; fit \"crop\"",
        );
        check(
            "/**:\n  ros__parameters: {fit: crop, threads: 1}\n  ros__parameters: {fit: auto}",
            "threads 1; fit \"auto\"",
        );
        check("/**: {ros__parameters: {fit: crop, fit: auto}}", "fit \"auto\"");
    }

    #[test]
    fn any_scalar_is_text_where_a_parameter_is_text() {
        for (yaml, text) in [
            ("2024", "2024"),
            ("2.10", "2.10"),
            ("1e3", "1e3"),
            ("007", "007"),
            ("true", "true"),
            ("off", "off"),
            ("2024-05-01", "2024-05-01"),
            ("0x10", "0x10"),
            ("'2024'", "2024"),
            ("\"a: b # c\"", "a: b # c"),
        ] {
            check(&format!("/**: {{ros__parameters: {{model: {yaml}}}}}"), &format!("model {text:?}"));
        }
        check("/**: {ros__parameters: {engine_build: off}}", "engine_build \"off\"");
        check("/**: {ros__parameters: {cameras: [on, left]}}", "cameras [\"on\", \"left\"]");
        check("/**: {ros__parameters: {threads: '2'}}", "threads \"2\"");
    }

    #[test]
    fn an_unknown_name_stops_under_our_own_key_and_is_a_warning_under_a_shared_one() {
        check(
            "/robot/pixio_node: {ros__parameters: {shutter: 3}}",
            "FILE under /robot/pixio_node: there is no parameter `shutter`; the nearest valid name is \
             `layer`",
        );
        check(
            "/**/pixio_node: {ros__parameters: {a: {b: 3}}}",
            "FILE under /**/pixio_node: there is no parameter `a.b`; the nearest valid name is `fit`",
        );
        check(
            "/**: {ros__parameters: {shutter: {speed: [1, a]}}}",
            "FILE under /**: ignored `shutter.speed`, which is not a parameter of this node",
        );
        check(
            "/**: {ros__parameters: {modle: tiny}}",
            "FILE under /**: there is no parameter `modle`; the nearest valid name is `model`",
        );
        check(
            "/**: {ros__parameters: {fps: 30}}",
            "FILE under /**: ignored `fps`, which is not a parameter of this node",
        );
        check(
            "/**: {ros__parameters: {sise: 16x16}}",
            "FILE under /**: there is no parameter `sise`; the nearest valid name is `size`",
        );
    }

    #[test]
    fn files_of_another_form_are_refused_with_the_place() {
        check(
            "/**:\n  ros__parameters:\n    size: [\n",
            "FILE:4: not valid YAML: while parsing a node, did not find expected node content",
        );
        check(
            "model: tiny",
            "FILE: `model` is outside ros__parameters; the form is `/**: ros__parameters: NAME: \
             VALUE`",
        );
        check(
            "ros__parameters: {model: tiny}",
            "FILE: ros__parameters is not under a node key; the form is `/**: ros__parameters: NAME: VALUE`",
        );
        check("- 3", "FILE: it holds no node key; the form is `/**: ros__parameters: NAME: VALUE`");
        check(
            "/**: {ros__parameters: {size: }}",
            "FILE under /**: `size`: there is no value; an empty string is ''",
        );
    }
}
