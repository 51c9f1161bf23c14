//! A folder of images that is played as a camera.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};

use super::{MAX_IMAGE_BYTES, camera_file};
use crate::files;
use crate::geometry::Calibration;

/// Image files, in the order of their names.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    files: Vec<PathBuf>,
    /// What `camera.yaml` says, if it is there.
    pub(super) calibration: Option<Arc<Calibration>>,
}

impl Folder {
    /// The JPEG and PNG files of `path`, or of `path/rgb`, as the room walk has it.
    ///
    /// # Errors
    /// The folder cannot be read, or holds none; or its `camera.yaml` is no calibration.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let inner = path.join("rgb");
        let of = if inner.is_dir() { &inner } else { path };
        let entries =
            std::fs::read_dir(of).with_context(|| format!("cannot read the folder {}", of.display()))?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| is_image(file) && file.is_file());
        files.sort();
        ensure!(!files.is_empty(), "the folder {} contains no .jpg, .jpeg or .png file", of.display());
        let camera = path.join("camera.yaml");
        let calibration = camera.exists().then(|| camera_file::read(&camera)).transpose()?.map(Arc::new);
        Ok(Self { path: path.to_owned(), files, calibration })
    }

    /// The folder's path, for people.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The bytes of the image that is `index` images behind the first, from the first again after the last.
    ///
    /// # Errors
    /// The file cannot be read, or is no image by its size.
    pub(super) fn read(&self, index: usize) -> anyhow::Result<Vec<u8>> {
        let path = &self.files[index % self.files.len()];
        files::read(path, MAX_IMAGE_BYTES as u64).with_context(|| format!("cannot read {}", path.display()))
    }
}

fn is_image(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension
        .is_some_and(|extension| ["jpg", "jpeg", "png"].contains(&extension.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_played_by_name_and_from_the_first_again() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.PNG", "a.jpg", "notes.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::create_dir(folder.path().join("c.jpg")).unwrap();
        let images = Folder::open(folder.path()).unwrap();
        let names: Vec<_> = (0..3).map(|i| String::from_utf8(images.read(i).unwrap()).unwrap()).collect();
        assert_eq!(names, ["a.jpg", "b.PNG", "a.jpg"]);
    }

    #[test]
    fn a_folder_without_images_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = Folder::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("contains no .jpg"), "{refusal}");
        let refusal = Folder::open(&folder.path().join("none")).unwrap_err().to_string();
        assert!(refusal.contains("none"), "{refusal}");
    }
}
