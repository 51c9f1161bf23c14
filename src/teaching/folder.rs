//! Where heads are kept that somebody names without a path, such as the live page.

use std::path::PathBuf;

use crate::runtime::cache;

/// Most bytes of a name.
const MOST_BYTES: usize = 64;

/// Most names that are told.
const MOST_NAMES: usize = 100;

/// Before the exemplars' own ending.
const ENDING: &str = ".safetensors";

/// The file of the head `name`.
///
/// # Errors
/// It is no name, or the user has no folder for data.
pub fn path(name: &str) -> Result<PathBuf, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || MOST_BYTES < name.len() || !name.chars().all(is_plain) {
        return Err(format!(
            "a head's name has 1 to {MOST_BYTES} letters, digits, hyphens and underscores, and no others"
        ));
    }
    let folder = folder().ok_or("there is no folder for heads: XDG_DATA_HOME and HOME are not set")?;
    Ok(folder.join(format!("{name}{ENDING}")))
}

/// The heads with exemplars, so that teaching may go on from them; in the order of their names.
pub fn names() -> Vec<String> {
    let entries = folder().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let name = |file: String| file.strip_suffix(".exemplars.safetensors").map(str::to_owned);
    let named = entries.filter_map(|entry| name(entry.file_name().into_string().ok()?));
    let mut names: Vec<_> = named.filter(|name| path(name).is_ok()).collect();
    names.sort_unstable();
    names.truncate(MOST_NAMES);
    names
}

fn folder() -> Option<PathBuf> {
    cache::data_folder().map(|folder| folder.join("heads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_folder() {
        for name in ["", ".", "..", "a/b", "../a", "a.b", "\u{e4}", "a b", "a\0", &"x".repeat(65)] {
            assert!(path(name).unwrap_err().contains("letters, digits"), "{name:?}");
        }
        let found = path("front-doors_2").unwrap();
        assert!(found.ends_with("pixio_node/heads/front-doors_2.safetensors"), "{}", found.display());
    }
}
