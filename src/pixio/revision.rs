//! Revision of a model: what its weights are, by content.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::files;
use crate::runtime::cache;

use super::error::ModelError;

/// Hexadecimal digits of a revision.
const DIGITS: usize = 12;

/// First digits of the SHA-256 over the files' bytes, one file after the other. The result is kept in the
/// user's cache by path, size and time of change: hashing a large checkpoint takes seconds.
///
/// # Errors
/// A file cannot be read.
pub(super) fn of_files(files: &[PathBuf]) -> Result<String, ModelError> {
    of_files_in(files, cache::folder().as_deref())
}

/// Revision of something that has a name and no files.
pub(super) fn of_text(text: &str) -> String {
    digits(Sha256::digest(text.as_bytes()).as_slice())
}

fn of_files_in(files: &[PathBuf], cache: Option<&Path>) -> Result<String, ModelError> {
    let kept = match cache {
        Some(cache) => Some(cache.join("revisions").join(of_text(&state(files)?))),
        None => None,
    };
    let known = kept.as_ref().and_then(|kept| files::read_text(kept, DIGITS as u64).ok());
    if let Some(known) =
        known.filter(|known| known.len() == DIGITS && known.chars().all(|c| c.is_ascii_hexdigit()))
    {
        return Ok(known);
    }
    let mut sha = Sha256::new();
    for file in files {
        let hashed =
            files::open(file).and_then(|mut opened| io::copy(&mut opened, &mut HashWriter(&mut sha)));
        hashed.map_err(|reason| ModelError::Io { file: file.clone(), reason })?;
    }
    let revision = digits(sha.finalize().as_slice());
    if let Some(kept) = kept {
        keep(&kept, &revision);
    }
    Ok(revision)
}

/// What would change if a file did.
fn state(files: &[PathBuf]) -> Result<String, ModelError> {
    let mut text = String::new();
    for file in files {
        let io = |reason| ModelError::Io { file: file.clone(), reason };
        let full = file.canonicalize().map_err(io)?;
        let about = full.metadata().map_err(io)?;
        let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanos = changed.map_or(0, |time| time.as_nanos());
        // Writing to a String does not fail.
        let _written = writeln!(text, "{} {} {nanos}", full.display(), about.len());
    }
    Ok(text)
}

fn keep(file: &Path, revision: &str) {
    let kept = files::write(file, revision.as_bytes());
    if let Err(err) = kept {
        tracing::debug!("the revision is not kept in {}: {err}", file.display());
    }
}

fn digits(digest: &[u8]) -> String {
    digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_revision_is_the_hash_of_the_files_and_is_kept_until_one_changes() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&files[0], "he").unwrap();
        fs::write(&files[1], "llo").unwrap();
        let cache = folder.path().join("cache");
        // sha256("hello")
        assert_eq!(of_files_in(&files, None).unwrap(), "2cf24dba5fb0");
        assert_eq!(of_files_in(&files, Some(&cache)).unwrap(), "2cf24dba5fb0");
        let kept = fs::read_dir(cache.join("revisions")).unwrap().next().unwrap().unwrap().path();
        fs::write(&kept, "0123456789ab").unwrap();
        assert_eq!(of_files_in(&files, Some(&cache)).unwrap(), "0123456789ab");
        fs::write(&files[1], "llo!").unwrap();
        assert_eq!(of_files_in(&files, Some(&cache)).unwrap(), of_text("hello!"));
        let gone = of_files_in(&[folder.path().join("c")], Some(&cache)).unwrap_err().to_string();
        assert!(gone.contains("/c: No such file"), "{gone}");
    }
}
