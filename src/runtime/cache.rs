//! The user's cache folder for what the node would rather not compute twice.

use std::env;
use std::path::PathBuf;

/// `$XDG_CACHE_HOME/pixio_node`, else `~/.cache/pixio_node`; nothing when neither is known.
pub fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("pixio_node"))
}
