//! Where a model comes from: a folder, the local Hugging Face cache, or random numbers.

use std::path::{Path, PathBuf};

use super::checkpoint::is_pickle;
use super::error::ModelError;
use super::hub;
use super::random::RandomModel;
use crate::files;

/// Most bytes of a file that names a commit.
const MOST_REF_BYTES: u64 = 1 << 10;

/// A model that has been found, not yet loaded.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A folder with config.json and weights.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Hugging Face id, or the folder's own name.
        name: String,
    },
    /// Random weights of a known architecture.
    Random(RandomModel),
}

impl Source {
    /// Finds the model that `text` means: a folder, the Hugging Face id `org/name` of a model that has been
    /// downloaded, or `random:NAME`. Nothing is ever downloaded.
    ///
    /// # Errors
    /// Nothing of that name; the message says how to get it.
    pub fn resolve(text: &str) -> Result<Self, ModelError> {
        Self::resolve_in(text, &hub::cache(&|name| std::env::var(name).ok()))
    }

    fn resolve_in(text: &str, cache: &Path) -> Result<Self, ModelError> {
        if let Some(name) = text.strip_prefix("random:") {
            return RandomModel::named(name).map(Self::Random);
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            // "." and ".." have a name only once they are resolved.
            let full = path.canonicalize().unwrap_or_else(|_| path.clone());
            let name =
                full.file_name().map_or_else(|| text.to_owned(), |name| name.to_string_lossy().into_owned());
            return Ok(Self::Folder { path, name });
        }
        if path.is_file() && is_pickle(&path) {
            return Err(ModelError::Pickle { out: path.with_extension(""), file: path });
        }
        if path.is_file() {
            return Err(ModelError::NotAFolder { path });
        }
        if !is_hub_id(text) {
            return Err(ModelError::Source { text: text.to_owned() });
        }
        let repository = cache.join(format!("models--{}", text.replace('/', "--")));
        let snapshot = files::read_text(&repository.join("refs/main"), MOST_REF_BYTES)
            .map(|commit| repository.join("snapshots").join(commit.trim()))
            .ok()
            .filter(|snapshot| snapshot.is_dir());
        let not_cached = || ModelError::NotCached { id: text.to_owned(), cache: cache.to_owned() };
        let path = snapshot.ok_or_else(not_cached)?;
        Ok(Self::Folder { path, name: text.to_owned() })
    }

    /// What `resolve` finds this by.
    pub fn text(&self) -> String {
        match self {
            // A downloaded model is known by its id, any other by its folder.
            Self::Folder { name, .. } if name.contains('/') => name.clone(),
            Self::Folder { path, .. } => path.display().to_string(),
            Self::Random(_) => self.name(),
        }
    }

    /// Name for messages and logs: the Hugging Face id, the folder's name or `random:NAME`.
    pub fn name(&self) -> String {
        match self {
            Self::Folder { name, .. } => name.clone(),
            Self::Random(model) => format!("random:{}", model.name),
        }
    }
}

fn is_hub_id(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    text.split_once('/').is_some_and(|(org, name)| part(org) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, cache: &Path, expect: &str) {
        let answer =
            Source::resolve_in(text, cache).map_or_else(|err| err.to_string(), |source| source.name());
        assert!(answer.contains(expect), "{text}: {answer}");
    }

    #[test]
    fn a_model_is_found_or_the_message_says_how_to_get_it() {
        let cache = tempfile::tempdir().unwrap();
        let cached = cache.path().join("models--facebook--pixio-vitb16");
        std::fs::create_dir_all(cached.join("snapshots/0123abc")).unwrap();
        std::fs::create_dir_all(cached.join("refs")).unwrap();
        std::fs::write(cached.join("refs/main"), "0123abc\n").unwrap();
        let file = cached.join("refs/main");

        check("facebook/pixio-vitb16", cache.path(), "facebook/pixio-vitb16");
        check("facebook/pixio-vith16", cache.path(), "hf download facebook/pixio-vith16");
        check(cached.to_str().unwrap(), cache.path(), "models--facebook--pixio-vitb16");
        check(file.to_str().unwrap(), cache.path(), "is a file: give the folder");
        let pickle = cache.path().join("pixio_vitb16.pth");
        std::fs::write(&pickle, "").unwrap();
        check(pickle.to_str().unwrap(), cache.path(), "/pixio_vitb16.pth is a pickle");
        check(pickle.to_str().unwrap(), cache.path(), "/pixio_vitb16`");
        check("/no/such/folder", cache.path(), "neither a folder");
        check("pixio", cache.path(), "neither a folder");
        check("", cache.path(), "neither a folder");
        check("../x/../y", cache.path(), "neither a folder");
        check("random:tiny", cache.path(), "random:tiny");
        check("random:vitx", cache.path(), "no random:vitx; known names: tiny, vitb16");
    }

    #[test]
    fn a_cached_model_resolves_to_the_snapshot_of_main() {
        let cache = tempfile::tempdir().unwrap();
        let snapshot = cache.path().join("models--org--name/snapshots/77");
        std::fs::create_dir_all(&snapshot).unwrap();
        assert!(Source::resolve_in("org/name", cache.path()).is_err());
        std::fs::create_dir_all(cache.path().join("models--org--name/refs")).unwrap();
        std::fs::write(cache.path().join("models--org--name/refs/main"), "77").unwrap();
        let source = Source::resolve_in("org/name", cache.path()).unwrap();
        assert_eq!(source, Source::Folder { path: snapshot, name: "org/name".into() });
    }
}
