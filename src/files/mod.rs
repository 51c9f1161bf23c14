//! Files on disk. What is read is a regular file of a bounded size: a FIFO would hang the node, and /dev/zero
//! take its memory. What is written is there whole or not at all.

pub mod safetensors;
mod write;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

pub use write::write;

/// Opens a file to be appended to, and makes it where there is none. A FIFO must have a reader, and neither
/// it nor a terminal is ever waited for.
///
/// # Errors
/// The file system's own.
pub fn append(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().create(true).append(true).custom_flags(nonblock()).open(path)
}

/// Opening a FIFO would wait for its other end.
fn nonblock() -> i32 {
    i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default()
}

/// Opens a regular file, or what a link to one leads to.
///
/// # Errors
/// The file system's own, or that it is something else.
pub fn open(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblock()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, and a file is wanted"));
    }
    if !kind.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// The bytes of a regular file of at most `most_bytes`.
///
/// # Errors
/// As [`open`], or the file has more.
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let n_bytes = file.metadata()?.len();
    let too_large =
        |n_bytes: u64| io::Error::other(format!("it has {n_bytes} bytes, and at most {most_bytes} are read"));
    if most_bytes < n_bytes {
        return Err(too_large(n_bytes));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(n_bytes).unwrap_or_default() + 1);
    // It may grow meanwhile, and files of /proc say that they are empty.
    file.take(most_bytes + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        n_bytes if most_bytes < n_bytes => Err(too_large(n_bytes)),
        _ => Ok(bytes),
    }
}

/// The same as text.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, most_bytes: u64) -> io::Result<String> {
    String::from_utf8(read(path, most_bytes)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn check(path: &Path, most_bytes: u64, expect: &str) {
        let answer = read_text(path, most_bytes).unwrap_or_else(|err| err.to_string());
        assert!(answer.contains(expect), "{}: {answer}", path.display());
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "12345").unwrap();
        check(&file, 5, "12345");
        check(&file, 4, "it has 5 bytes, and at most 4 are read");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        check(&link, 5, "12345");
        check(folder.path(), 5, "it is a folder");
        check(&folder.path().join("none"), 5, "No such file");
        fs::write(&file, [0xff]).unwrap();
        check(&file, 5, "it is not UTF-8 text");
        // The size that a file of /proc tells is nothing.
        check(Path::new("/proc/self/status"), 1 << 16, "Name:");
        check(Path::new("/proc/self/status"), 9, "it has 10 bytes");
    }

    #[test]
    fn what_never_ends_or_never_begins_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        check(&fifo, 5, "it is not a regular file");
        assert!(append(&fifo).is_err(), "nobody reads it");
        check(Path::new("/dev/zero"), 5, "it is not a regular file");
        check(Path::new("/dev/null"), 5, "it is not a regular file");
    }
}
