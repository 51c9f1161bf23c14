//! Whether the patched crates are made of what `patches/` holds: scripts/patch-crates leaves a copy of it
//! beside them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

const WANTED: &str = "patches";
const APPLIED: &str = "made-by-scripts-setup/patches";
const PARTS: [&str; 4] = ["Cargo.toml", "Cargo.lock", "rustdds", "ros2-client"];

/// Files and folders whose change calls for another look, from the project's root.
pub(crate) fn watched() -> impl Iterator<Item = String> {
    PARTS.iter().flat_map(|part| [WANTED, APPLIED].map(|folder| format!("{folder}/{part}")))
}

/// Looks at the project in the current folder.
///
/// # Errors
/// The patched crates are older than `patches/`, with what to do.
pub(crate) fn check() -> Result<(), String> {
    let is_applied = |part: &str| is_same(&Path::new(WANTED).join(part), &Path::new(APPLIED).join(part));
    match PARTS.iter().find(|part| !is_applied(part).unwrap_or(false)) {
        None => Ok(()),
        Some(part) => Err(format!("{APPLIED} is not up to date with {WANTED}/{part}: run scripts/setup")),
    }
}

/// Whether two files, or all files of two folders, have the same names and contents.
fn is_same(a: &Path, b: &Path) -> io::Result<bool> {
    if !a.is_dir() || !b.is_dir() {
        return Ok(fs::read(a)? == fs::read(b)?);
    }
    let both = names(a)?;
    if both != names(b)? {
        return Ok(false);
    }
    both.iter().try_fold(true, |same, name| Ok(same && is_same(&a.join(name), &b.join(name))?))
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}
