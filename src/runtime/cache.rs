//! The user's folders: the cache for what the node would rather not compute twice, and data for what nothing
//! brings back.

use std::env;
use std::path::PathBuf;

/// `$XDG_CACHE_HOME/pixio_node`, else `~/.cache/pixio_node`; nothing when neither is known.
pub fn folder() -> Option<PathBuf> {
    own("XDG_CACHE_HOME", ".cache")
}

/// `$XDG_DATA_HOME/pixio_node`, else `~/.local/share/pixio_node`; nothing when neither is known.
pub fn data_folder() -> Option<PathBuf> {
    own("XDG_DATA_HOME", ".local/share")
}

fn own(variable: &str, of_home: &str) -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set(variable).or_else(|| set("HOME").map(|home| home.join(of_home)));
    folder.map(|folder| folder.join("pixio_node"))
}
