//! The user's cache folder for what the node would rather not compute twice.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// `$XDG_CACHE_HOME/pixio_node`, else `~/.cache/pixio_node`; nothing when neither is known.
pub fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("pixio_node"))
}

/// Writes `path` and the folders above it; a reader never sees half a file.
///
/// # Errors
/// The file system's own.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}
