//! Files that appear whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The ending of files in the making.
const PARTIAL: &str = "partial";

/// Writes `path` and the folders above it. A reader sees the old file or the new one, also after the power
/// has failed; where it cannot be written, nothing is left. What is no regular file, such as /dev/stdout, is
/// written to as it is.
///
/// # Errors
/// The file system's own.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &match fs::symlink_metadata(path) {
        // The link stays.
        Ok(about) if about.is_symlink() => path.canonicalize()?,
        _ => path.to_owned(),
    };
    if fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        return fs::write(path, bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    fs::create_dir_all(folder)?;
    remove_leftovers(folder, &name);
    let partial = Partial(folder.join(partial_name(&name, std::process::id())));
    let mut file = File::create_new(&partial.0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial.0, path)?;
    // The name is on the disk once the folder is; some file systems do not sync folders.
    let _not_all_can = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// A file in the making, gone when it is dropped under this name.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Different for every file of every process.
fn partial_name(name: &str, process: u32) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".{name}.{process}.{}.{PARTIAL}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes what processes that were killed have left of `name`.
fn remove_leftovers(folder: &Path, name: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let entry_name = entry.file_name().to_string_lossy().into_owned();
        let process = entry_name
            .strip_prefix(&format!(".{name}."))
            .and_then(|rest| rest.strip_suffix(&format!(".{PARTIAL}")))
            .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Left to the next one if it cannot be removed.
            let _left = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_replaces_the_one_before_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/er/file");
        for text in ["one", "two"] {
            write(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(names(file.parent().unwrap()), ["file"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "").unwrap();
        assert!(write(&taken, b"text").is_err());
        assert_eq!((names(folder.path()), names(&taken)), (vec!["taken".into()], vec!["inside".into()]));
        let below = folder.path().join("taken/inside/file");
        assert!(write(&below, b"text").is_err());
    }

    #[test]
    fn leftovers_of_processes_that_are_gone_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let running = partial_name("file", std::process::id());
        for name in [partial_name("file", u32::MAX), running.clone(), ".file.notes".into(), "file.txt".into()]
        {
            fs::write(at(&name), "").unwrap();
        }
        write(&at("file"), b"text").unwrap();
        let mut expect = [running, ".file.notes".to_owned(), "file".to_owned(), "file.txt".to_owned()];
        expect.sort();
        assert_eq!(names(folder.path()), expect);
    }

    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        write(Path::new("/dev/null"), b"text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
