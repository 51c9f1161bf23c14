//! Engine folders: whom to trust, whether they are whole, and how they come into being at once.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{self, Manifest};
use super::trust;
use crate::files;

/// Most bytes of a manifest: one of many sizes of the largest model has a megabyte.
const MOST_MANIFEST_BYTES: u64 = 16 << 20;

/// An engine folder that is not loaded, and why.
#[derive(Debug, thiserror::Error)]
#[error("engine {}: {reason}", folder.display())]
pub struct FolderError {
    /// The folder.
    pub folder: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A folder with a manifest that could be read, whose files belong to this user or root.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

impl Folder {
    /// Looks at the folder and reads its manifest. Engines are machine code, so whoever can write there can
    /// do what this process can.
    ///
    /// # Errors
    /// There is no engine, somebody else could have put it there, or it is of a newer kind.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |reason: String| FolderError { folder: path.to_owned(), reason };
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => trust::check(path).map_err(failed)?,
            Ok(_) => return Err(failed("it is a file: give the folder that holds manifest.json".into())),
            Err(err) => {
                return Err(failed(format!("{err}; `pixio_node build --out {}` makes one", path.display())));
            }
        }
        let file = path.join(manifest::FILE);
        let text = read_trusted(&file).map_err(failed)?;
        let manifest = Manifest::parse(&text).map_err(|why| failed(format!("{}: {why}", manifest::FILE)))?;
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// An engine folder that this process is making.
    pub(in crate::engine) fn drafted(path: &Path, manifest: Manifest) -> Self {
        Self { path: path.to_owned(), manifest }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of `package`, whole as it was built.
    ///
    /// # Errors
    /// The file is missing, changed, or owned by another user.
    pub fn file(&self, package: &manifest::PackageEntry) -> Result<PathBuf, FolderError> {
        let failed = |reason: String| FolderError { folder: self.path.clone(), reason };
        let file = self.path.join(&package.file);
        fs::metadata(&file).map_err(|err| failed(format!("{}: {err}", package.file)))?;
        trust::check(&file).map_err(failed)?;
        let digest = hash(&file).map_err(|err| failed(format!("{}: {err}", package.file)))?;
        if digest != package.sha256 {
            return Err(failed(format!(
                "{} has changed since it was built: build the engine again",
                package.file
            )));
        }
        Ok(file)
    }
}

/// Every engine in the folder `engines`, newest first, and the entries there that are not engines.
pub fn all(engines: &Path) -> Vec<Result<Folder, FolderError>> {
    let entries = fs::read_dir(engines).into_iter().flatten().flatten();
    let named = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let mut paths: Vec<_> = named.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort_by_key(|path| {
        let built = fs::metadata(path.join(manifest::FILE)).and_then(|about| about.modified()).ok();
        (std::cmp::Reverse(built), path.clone())
    });
    paths.iter().map(|path| Folder::open(path)).collect()
}

/// Hexadecimal SHA-256 of a file.
///
/// # Errors
/// The file cannot be read.
pub fn hash(file: &Path) -> io::Result<String> {
    let (mut file, mut sha, mut block) = (files::open(file)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n_bytes => sha.update(&block[..n_bytes]),
        }
    }
}

fn read_trusted(file: &Path) -> Result<String, String> {
    let name = file.file_name().unwrap_or_default().display();
    fs::metadata(file).map_err(|err| format!("{name}: {err}; the folder holds no engine"))?;
    trust::check(file)?;
    files::read_text(file, MOST_MANIFEST_BYTES).map_err(|err| format!("{name}: {err}"))
}

/// A folder in the making. Under its final name there is nothing, or the engine before, until
/// [`Draft::finish`]; dropped before that, it is gone.
#[derive(Debug)]
pub struct Draft {
    partial: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Begins a folder that will be `target`. What a build that was killed has left beside it is removed.
    ///
    /// # Errors
    /// The folder cannot be made, or `target` is something other than an engine.
    pub fn begin(target: &Path) -> Result<Self, FolderError> {
        let failed = |reason: String| FolderError { folder: target.to_owned(), reason };
        let holds = |mut entries: fs::ReadDir| entries.next().is_some();
        if fs::read_dir(target).is_ok_and(holds) && !target.join(manifest::FILE).is_file() {
            return Err(failed(
                "the folder holds other files: give --out a new folder or one with an engine".into(),
            ));
        }
        if target.is_file() {
            return Err(failed("it is a file: give --out a folder".into()));
        }
        let name =
            target.file_name().ok_or_else(|| failed("it has no name".into()))?.to_string_lossy().into_owned();
        let parent =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let cannot = |err: io::Error| failed(format!("it cannot be made: {err}"));
        fs::create_dir_all(parent).map_err(cannot)?;
        // The compiler runs its tools in folders of its own, where a relative path leads elsewhere.
        let parent = &std::path::absolute(parent).map_err(cannot)?;
        remove_leftovers(parent, &name);
        let partial = parent.join(partial_name(&name, std::process::id()));
        fs::create_dir(&partial).map_err(cannot)?;
        let draft = Self { partial, target: target.to_owned() };
        fs::set_permissions(&draft.partial, Permissions::from_mode(0o755)).map_err(cannot)?;
        Ok(draft)
    }

    /// Where to put its files.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes the manifest and gives the folder its name, in place of an earlier engine.
    ///
    /// # Errors
    /// The file system's own; then there is nothing new under the name.
    pub fn finish(self, manifest: &Manifest) -> Result<PathBuf, FolderError> {
        let finished = (|| {
            for entry in fs::read_dir(&self.partial)? {
                let file = entry?.path();
                fs::set_permissions(&file, Permissions::from_mode(0o644))?;
                File::open(&file)?.sync_all()?;
            }
            let file = self.partial.join(manifest::FILE);
            let text = serde_json::to_string_pretty(manifest).map_err(io::Error::other)?;
            fs::write(&file, text + "\n")?;
            fs::set_permissions(&file, Permissions::from_mode(0o644))?;
            File::open(&file)?.sync_all()?;
            if self.target.exists() {
                // Whoever looks between these two finds no engine, never half of one.
                let before = self.partial.with_extension("before");
                fs::rename(&self.target, &before)?;
                fs::rename(&self.partial, &self.target)?;
                fs::remove_dir_all(&before)
            } else {
                fs::rename(&self.partial, &self.target)
            }
        })();
        let reason = |err: io::Error| format!("it cannot be written: {err}");
        finished.map_err(|err| FolderError { folder: self.target.clone(), reason: reason(err) })?;
        // The name is on the disk once the folder above it is; some file systems do not sync folders.
        let parent = self.partial.parent().unwrap_or(Path::new("."));
        let _not_all_can = File::open(parent).and_then(|parent| parent.sync_all());
        Ok(self.target.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` there is nothing of that name; before it nobody can use what is left.
        let _gone = fs::remove_dir_all(&self.partial);
    }
}

/// Removes what this process has made of `target` so far, for an end that cannot wait until the [`Draft`] is
/// dropped.
pub fn abandon(target: &Path) {
    let Some(name) = target.file_name() else { return };
    let partial = target.with_file_name(partial_name(&name.to_string_lossy(), std::process::id()));
    // In one step, so that it is not finished half removed. What cannot be removed is left to the next build.
    let gone = partial.with_extension("gone");
    let _left = fs::rename(&partial, &gone).and_then(|()| fs::remove_dir_all(&gone));
}

fn partial_name(name: &str, process: u32) -> String {
    format!(".{name}.{process}.partial")
}

/// Removes what builds of `name` have left whose process is gone.
fn remove_leftovers(parent: &Path, name: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let entry_name = entry.file_name().to_string_lossy().into_owned();
        let process = entry_name
            .strip_prefix(&format!(".{name}."))
            .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Left to the next build if it cannot be removed.
            let _left = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::machine::Machine;
    use super::*;
    use crate::engine::arithmetic::Arithmetic;

    fn manifest() -> Manifest {
        let package = manifest::PackageEntry {
            part: "backbone".into(),
            file: "backbone-256x256.pt2".into(),
            // sha256("code")
            sha256: "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b".into(),
            size: "256x256".into(),
            batch: [1, 8],
            constants: BTreeMap::new(),
            parity: Vec::new(),
            times: Vec::new(),
        };
        Manifest {
            format: manifest::FORMAT,
            architecture: manifest::Architecture::of(&crate::pixio::PixioConfig::default()),
            taps: vec![32],
            precision: Arithmetic::Float32,
            int8_kernel: None,
            torch: "2.11.0".into(),
            machine: Machine::of(tch::Device::Cpu).unwrap(),
            packages: vec![package],
        }
    }

    fn build(target: &Path) -> PathBuf {
        let draft = Draft::begin(target).unwrap();
        fs::write(draft.path().join("backbone-256x256.pt2"), "code").unwrap();
        draft.finish(&manifest()).unwrap()
    }

    /// Spoils a good folder and looks for `expect` in the answer.
    fn check(spoil: impl Fn(&Path), expect: &str) {
        let root = tempfile::tempdir().unwrap();
        let path = build(&root.path().join("engine"));
        spoil(&path);
        let opened = Folder::open(&path).and_then(|folder| folder.file(&folder.manifest.packages[0]));
        let answer = opened.map_or_else(|err| err.to_string(), |_| "whole".into());
        assert!(answer.contains(expect) && !answer.contains('\n'), "{expect:?} is not in: {answer}");
    }

    #[test]
    fn a_folder_that_is_not_as_it_was_built_is_refused() {
        let package = |folder: &Path| folder.join("backbone-256x256.pt2");
        check(|_| (), "whole");
        check(
            |folder| fs::write(package(folder), "cod").unwrap(),
            "backbone-256x256.pt2 has changed since it was built",
        );
        check(
            |folder| fs::write(package(folder), "bode").unwrap(),
            "has changed since it was built: build the engine again",
        );
        check(|folder| fs::remove_file(package(folder)).unwrap(), "backbone-256x256.pt2: No such file");
        check(|folder| fs::remove_file(folder.join("manifest.json")).unwrap(), "the folder holds no engine");
        check(|folder| fs::write(folder.join("manifest.json"), "{\"format\"").unwrap(), "manifest.json: EOF");
        check(
            |folder| fs::remove_dir_all(folder).unwrap(),
            "No such file or directory (os error 2); `pixio_node build",
        );
    }

    #[test]
    fn what_others_could_have_written_is_not_loaded() {
        let open_to = |name: &'static str, mode| {
            move |folder: &Path| fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap()
        };
        check(open_to("", 0o775), "can be written by others");
        check(open_to("manifest.json", 0o666), "manifest.json can be written by others");
        check(open_to("backbone-256x256.pt2", 0o646), "`chmod go-w");
    }

    #[test]
    fn a_build_that_ends_early_leaves_no_engine_and_the_next_one_removes_its_traces() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("engine");
        drop(Draft::begin(&target).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let draft = Draft::begin(&target).unwrap();
        fs::write(draft.path().join("backbone-256x256.pt2"), "co").unwrap();
        abandon(&target);
        assert!(draft.finish(&manifest()).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        // As one that was killed: no process has this number.
        let killed = root.path().join(partial_name("engine", u32::MAX));
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("backbone-256x256.pt2"), "co").unwrap();
        assert!(all(root.path()).is_empty());
        build(&target);
        assert!(!killed.exists());
        let engines = all(root.path());
        assert_eq!(engines.len(), 1);
        assert_eq!(engines[0].as_ref().unwrap().manifest, manifest());
    }

    #[test]
    fn the_compiler_gets_a_whole_path_where_the_folder_is_named_from_here() {
        let root = tempfile::tempdir_in("target").unwrap();
        let target = Path::new("target").join(root.path().file_name().unwrap()).join("engine");
        assert!(Draft::begin(&target).unwrap().path().is_absolute());
        assert_eq!(build(&target), target);
    }

    #[test]
    fn an_engine_takes_the_place_of_an_engine_and_of_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("engine");
        assert_eq!(build(&target), build(&target));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let other = root.path().join("thesis");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("chapter1.tex"), "").unwrap();
        let answer = Draft::begin(&other).unwrap_err().to_string();
        assert!(answer.contains("the folder holds other files"), "{answer}");
    }
}
