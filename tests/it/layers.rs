//! Which module may use which: the tables below are the rule, and the sources are held to them.
//!
//! Every row may name rows above it only, so there is no circle and no arrow that runs back up. A `use` that
//! is missing here is a decision about the architecture: see ARCHITECTURE.md, "Who may use whom".

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules beside it that it may use.
type Row = (&'static str, &'static [&'static str]);

/// The modules of the crate, from the ground floor up.
const CRATE: &[Row] = &[
    ("ffi", &[]),
    ("files", &[]),
    ("geometry", &[]),
    ("outputs", &[]),
    ("text", &[]),
    ("config", &["files", "geometry"]),
    ("encode", &["geometry"]),
    ("runtime", &["ffi", "geometry"]),
    ("heads", &["config", "ffi", "files", "geometry", "runtime"]),
    ("exemplars", &["files", "heads", "runtime", "text"]),
    ("teaching", &["exemplars", "heads", "runtime", "text"]),
    ("console", &["runtime"]),
    ("logging", &["config", "console", "runtime", "text"]),
    ("pca", &["files", "geometry", "runtime"]),
    ("pixio", &["ffi", "files", "geometry", "runtime", "text"]),
    ("engine", &["config", "ffi", "files", "geometry", "heads", "pixio", "runtime"]),
    (
        "stages",
        &[
            "config",
            "encode",
            "engine",
            "exemplars",
            "ffi",
            "geometry",
            "heads",
            "logging",
            "outputs",
            "pca",
            "runtime",
            "teaching",
        ],
    ),
    (
        "setup",
        &[
            "config",
            "engine",
            "exemplars",
            "files",
            "geometry",
            "heads",
            "outputs",
            "pca",
            "pixio",
            "runtime",
            "stages",
            "teaching",
        ],
    ),
    ("pipeline", &["config", "engine", "logging", "outputs", "runtime", "stages", "teaching"]),
    ("diagnostics", &["console", "geometry", "pipeline", "runtime", "text"]),
    ("report", &["files", "pipeline", "runtime"]),
    (
        "live",
        &[
            "config",
            "encode",
            "exemplars",
            "files",
            "geometry",
            "heads",
            "outputs",
            "pipeline",
            "runtime",
            "stages",
            "teaching",
            "text",
        ],
    ),
    (
        "ros",
        &[
            "config",
            "console",
            "diagnostics",
            "encode",
            "geometry",
            "heads",
            "logging",
            "outputs",
            "runtime",
            "stages",
            "text",
        ],
    ),
    (
        "commands",
        &[
            "config",
            "console",
            "diagnostics",
            "encode",
            "engine",
            "exemplars",
            "ffi",
            "files",
            "geometry",
            "heads",
            "live",
            "logging",
            "outputs",
            "pca",
            "pipeline",
            "pixio",
            "report",
            "ros",
            "runtime",
            "setup",
            "stages",
            "teaching",
            "text",
        ],
    ),
    ("fuzzing", &["config", "engine", "exemplars", "heads", "live", "pixio", "ros", "stages"]),
    ("cli", &["commands", "config", "console", "engine", "geometry", "ros", "text"]),
];

/// The stages in the order of the frame path: each knows the values of those before it, and none of those
/// after.
const STAGES: &[Row] = &[
    ("camera", &[]),
    ("fit", &["camera"]),
    ("forward", &["camera"]),
    ("derive", &["camera", "forward"]),
    ("publish", &["derive"]),
];

/// The rooms of `ros` that know no node.
const ROS: &[Row] = &[("start", &[]), ("wire", &[])];

/// Every source file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The module that a file is, such as `["ros", "wire", "fill"]`.
fn module(file: &Path, src: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src).unwrap().with_extension("");
    let names = relative.iter().map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| name != "mod").collect()
}

/// The code of a file without its comments and its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name of each path in `text`: one, or all of a group in braces.
fn first_names(text: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![ident(text)] };
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    names.push(item);
    names.iter().map(|item| ident(item)).filter(|name| !name.is_empty()).collect()
}

/// The modules directly within `room` that `code`, which is in the module `here`, names.
fn used(code: &str, here: &[String], room: &[&str]) -> BTreeSet<String> {
    let absolute: String = room.iter().map(|name| format!("{name}::")).collect();
    let of_crate = code.match_indices("crate::").filter_map(|(at, word)| {
        let path = &code[at + word.len()..];
        path.strip_prefix(absolute.as_str()).map(first_names)
    });
    let of_super = code.match_indices("super::").filter_map(|(at, _)| {
        if code[..at].ends_with("super::") {
            // Part of a longer path, which has been seen.
            return None;
        }
        let (mut path, mut base) = (&code[at..], here);
        while let Some(above) = path.strip_prefix("super::") {
            (path, base) = (above, base.split_last()?.1);
        }
        base.iter().map(String::as_str).eq(room.iter().copied()).then(|| first_names(path))
    });
    of_crate.chain(of_super).flatten().collect()
}

/// Holds the modules within `room` to `table`; modules without a row are free unless the table `is_whole`.
fn check(room: &[&str], table: &[Row], is_whole: bool) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names: Vec<&str> = table.iter().map(|row| row.0).collect();
    let mut unused: Vec<(&str, &str)> =
        table.iter().flat_map(|(name, allowed)| allowed.iter().map(|other| (*name, *other))).collect();
    let beside: BTreeSet<String> = sources(&src)
        .iter()
        .map(|file| module(file, &src))
        .filter(|module| {
            room.len() < module.len() && module.iter().zip(room).all(|(name, room)| name == room)
        })
        .map(|module| module[room.len()].clone())
        .collect();
    for (index, (name, allowed)) in table.iter().enumerate() {
        assert!(beside.contains(*name), "{room:?} has no module {name}: delete its row");
        for other in *allowed {
            assert!(
                names[..index].contains(other),
                "{name} may not use {other}: it is not above it in the table"
            );
        }
    }
    for file in sources(&src) {
        let here = module(&file, &src);
        let Some(name) =
            here.get(room.len()).filter(|_| here.iter().zip(room).all(|(name, room)| name == room))
        else {
            continue;
        };
        let Some((name, allowed)) = table.iter().find(|row| row.0 == name) else {
            let is_root = room.is_empty() && ["lib", "main"].contains(&name.as_str());
            assert!(!is_whole || is_root, "{}: the table has no row for {name}", file.display());
            continue;
        };
        for other in used(&code(&fs::read_to_string(&file).unwrap()), &here, room) {
            if other == *name || !beside.contains(&other) {
                continue;
            }
            let is_allowed = allowed.contains(&other.as_str());
            assert!(is_allowed, "{}: {name} may not use {other} (tests/it/layers.rs)", file.display());
            unused.retain(|(user, used)| user != name || *used != other);
        }
    }
    assert!(unused.is_empty(), "the tables allow what nobody uses: {unused:?}");
}

#[test]
fn modules_use_only_what_their_row_allows() {
    check(&[], CRATE, true);
}

#[test]
fn a_stage_knows_no_later_stage() {
    check(&["stages"], STAGES, true);
}

#[test]
fn the_start_and_the_wire_know_no_node() {
    check(&["ros"], ROS, false);
}

#[test]
fn every_form_of_a_path_is_seen() {
    let check = |code: &str, here: &[&str], room: &[&str], expect: &[&str]| {
        let here: Vec<String> = here.iter().map(|&name| name.to_owned()).collect();
        let used: Vec<String> = used(code, &here, room).into_iter().collect();
        assert_eq!(used, expect, "{code}");
    };
    check("use crate::config::Fit; let x = crate::pca::Basis::new();", &["ros"], &[], &["config", "pca"]);
    check("use crate::{config, engine::{Engine, head}, pca};", &["ros"], &[], &["config", "engine", "pca"]);
    check("use super::node::RosNode;", &["ros", "wire"], &["ros"], &["node"]);
    check("use super::super::{node, qos::{A, B}};", &["ros", "wire", "fill"], &["ros"], &["node", "qos"]);
    check("use super::messages::Image;", &["ros", "wire", "fill"], &["ros"], &[]);
    check("use super::config;", &["ros"], &[], &["config"]);
    check("use crate::ros::node;", &["ros", "wire", "fill"], &["ros"], &["node"]);
    assert_eq!(code("a // crate::ros\n/// crate::cli\n#[cfg(test)]\nmod tests {\ncrate::cli"), "a \n");
}
