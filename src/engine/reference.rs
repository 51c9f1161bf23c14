//! What an engine on a GPU is proven against: tokens of the model in float32, kept in the user's cache.
//! Without them every start would load the weights once more, in float32.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tch::{Kind, TchError, Tensor};

use super::EngineError;
use super::job::EngineJob;
use super::proof::{BatchShape, Reference};
use crate::ffi::cuda;
use crate::files;
use crate::pixio::Pixio;
use crate::runtime::cache;

/// The folder in the cache.
const FOLDER: &str = "references";

/// Raised when the images of the proof change, the random weights or the form of the files.
const FORMAT: u32 = 1;

/// Bytes of the files that are kept, those that were written last. There is one for every model, size, batch
/// and set of taps; batches of 1, 2, 4 and 8 at four taps of ViT-H take 81 MB.
const MOST_BYTES: u64 = 256_000_000;

/// Bytes of the SHA-256 before the numbers.
const DIGEST: usize = 32;

/// Tokens of a job's model in float32: those that were kept, else of the model, which is loaded for them.
pub(super) struct KeptReference<'a> {
    job: &'a EngineJob,
    /// Where they are kept; nowhere on the CPU, where the model itself is the reference.
    folder: Option<PathBuf>,
    model: Option<Pixio>,
    /// Of the shape that comes next.
    kept: Option<Vec<Tensor>>,
}

impl<'a> KeptReference<'a> {
    pub(super) fn of(job: &'a EngineJob) -> Self {
        Self::in_folder(job, cache::folder().filter(|_| job.device.is_cuda()))
    }

    fn in_folder(job: &'a EngineJob, cache: Option<PathBuf>) -> Self {
        let folder = cache.map(|cache| cache.join(FOLDER));
        Self { job, folder, model: None, kept: None }
    }

    /// Removes what is kept for `shape` and `taps`, and says whether there was anything: it may be wrong.
    pub(super) fn forget(&mut self, shape: BatchShape, taps: &[usize]) -> bool {
        self.file(shape, taps).is_some_and(|file| fs::remove_file(file).is_ok()) && self.model.is_none()
    }

    fn identity(&self, BatchShape { size, batch }: BatchShape, taps: &[usize]) -> String {
        format!("{FORMAT} {} {size} {batch} {taps:?}", self.job.pixio.revision())
    }

    fn file(&self, shape: BatchShape, taps: &[usize]) -> Option<PathBuf> {
        let digest = Sha256::digest(self.identity(shape, taps).as_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(self.folder.as_ref()?.join(name))
    }

    /// What is kept, if it is whole.
    fn read(&self, shape: BatchShape, taps: &[usize]) -> Option<Vec<Tensor>> {
        let file = self.file(shape, taps)?;
        let config = self.job.pixio.config();
        let [rows, columns] = shape.size.patches();
        let n_tokens = config.n_cls_tokens + usize::try_from(rows * columns).ok()?;
        let n_numbers = usize::try_from(shape.batch).ok()? * n_tokens * config.hidden_size;
        let n_bytes = DIGEST + 4 * n_numbers * taps.len();
        if fs::metadata(&file).ok()?.len() != n_bytes as u64 {
            return None;
        }
        let bytes = files::read(&file, n_bytes as u64).ok()?;
        let (digest, numbers) = bytes.split_at_checked(DIGEST)?;
        if self.digest(shape, taps, numbers) != digest {
            tracing::warn!("{} is damaged and is made anew", file.display());
            return None;
        }
        let tensor = |numbers: &[u8]| -> Result<Tensor, TchError> {
            Tensor::f_from_data_size(numbers, &[n_numbers as i64], Kind::Float)?.f_to_kind(Kind::Double)
        };
        numbers.chunks_exact(4 * n_numbers).map(|numbers| tensor(numbers).ok()).collect()
    }

    fn keep(&self, shape: BatchShape, taps: &[usize], tokens: &[Tensor]) {
        let Some(file) = self.file(shape, taps) else { return };
        let mut numbers = Vec::new();
        for tensor in tokens {
            let Ok(floats) = tensor.f_to_kind(Kind::Float).and_then(Vec::<f32>::try_from) else { return };
            numbers.extend(floats.iter().flat_map(|number| number.to_le_bytes()));
        }
        let bytes = [self.digest(shape, taps, &numbers), numbers].concat();
        if let Err(err) = files::write(&file, &bytes) {
            tracing::debug!("the tokens of the reference are not kept in {}: {err}", file.display());
        }
        if let Some(folder) = file.parent() {
            remove_oldest(folder, MOST_BYTES);
        }
    }

    fn digest(&self, shape: BatchShape, taps: &[usize], numbers: &[u8]) -> Vec<u8> {
        Sha256::new().chain_update(self.identity(shape, taps)).chain_update(numbers).finalize().to_vec()
    }
}

impl Reference for KeptReference<'_> {
    fn prepare(&mut self, shape: BatchShape, taps: &[usize]) -> Result<(), EngineError> {
        self.kept = self.read(shape, taps);
        if self.kept.is_none() && self.model.is_none() {
            let failed = |err| EngineError { message: format!("reference: {err}") };
            self.model = Some(self.job.reference().map_err(failed)?);
        }
        Ok(())
    }

    fn tokens(
        &mut self,
        images: &Tensor,
        shape: BatchShape,
        taps: &[usize],
    ) -> Result<Vec<Tensor>, EngineError> {
        if let Some(kept) = self.kept.take() {
            return Ok(kept);
        }
        let model = self.model.as_mut().ok_or_else(|| EngineError { message: "no reference".into() })?;
        let tokens = model.tokens(images, shape, taps)?;
        self.keep(shape, taps, &tokens);
        Ok(tokens)
    }
}

impl Drop for KeptReference<'_> {
    /// Gives the memory of the float32 weights back, which libtorch would keep for good.
    fn drop(&mut self) {
        if self.model.take().is_some() && self.job.device.is_cuda() {
            let emptied = cuda::load().map(cuda::Cuda::empty_cache);
            if let Ok(Err(err)) = emptied {
                tracing::debug!("the memory of the proof's reference was not returned: {err}");
            }
        }
    }
}

/// Removes the files of `folder` that were written first, until the others have no more than `most` bytes.
fn remove_oldest(folder: &Path, most: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let about = |entry: fs::DirEntry| -> Option<(SystemTime, u64, PathBuf)> {
        let about = entry.metadata().ok()?;
        Some((about.modified().ok()?, about.len(), entry.path()))
    };
    let mut files: Vec<_> = entries.flatten().filter_map(about).collect();
    files.sort();
    let mut n_bytes: u64 = files.iter().map(|(_, n_bytes, _)| n_bytes).sum();
    for (_, of_file, file) in files {
        if n_bytes <= most {
            break;
        }
        n_bytes -= of_file;
        // Another node may have been faster.
        let _removed = fs::remove_file(file);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tch::Device;

    use super::super::arithmetic::Arithmetic;
    use super::super::graph::LaunchMode;
    use super::super::proof::test_images;
    use super::*;
    use crate::geometry::Size;
    use crate::pixio::Source;

    const SHAPE: BatchShape = BatchShape { size: Size { width: 64, height: 32 }, batch: 1 };
    const TAPS: [usize; 2] = [2, 4];

    fn job() -> EngineJob {
        let source = Source::resolve("random:tiny").unwrap();
        let pixio = Pixio::load(&source, Device::Cpu, Kind::BFloat16).unwrap();
        EngineJob {
            source,
            pixio,
            device: Device::Cpu,
            arithmetic: Arithmetic::Bfloat16,
            taps: TAPS.to_vec(),
            sizes: vec![SHAPE.size],
            batches: vec![1],
            launch: LaunchMode::Plain,
        }
    }

    /// The tokens of `shape` and `taps`, and whether the model was loaded for them.
    fn tokens(job: &EngineJob, cache: &Path, shape: BatchShape, taps: &[usize]) -> (Vec<Tensor>, bool) {
        let mut reference = KeptReference::in_folder(job, Some(cache.to_owned()));
        reference.prepare(shape, taps).unwrap();
        let tokens = reference.tokens(&test_images(shape).unwrap(), shape, taps).unwrap();
        (tokens, reference.model.is_some())
    }

    fn only_file(cache: &Path) -> PathBuf {
        let mut files = fs::read_dir(cache.join(FOLDER)).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        file
    }

    #[test]
    fn the_float32_weights_are_loaded_once_for_every_model_size_and_set_of_taps() {
        let (job, cache) = (job(), tempfile::tempdir().unwrap());
        let (expect, is_loaded) = tokens(&job, cache.path(), SHAPE, &TAPS);
        assert!(is_loaded);
        let (found, is_loaded) = tokens(&job, cache.path(), SHAPE, &TAPS);
        assert!(!is_loaded);
        assert_eq!(found, expect);
        let wider = BatchShape { size: Size { width: 96, height: 32 }, batch: 1 };
        assert!(tokens(&job, cache.path(), wider, &TAPS).1);
        assert!(tokens(&job, cache.path(), BatchShape { batch: 2, ..SHAPE }, &TAPS).1);
        assert!(tokens(&job, cache.path(), SHAPE, &[4]).1);
        let without = KeptReference::in_folder(&job, None);
        assert!(without.read(SHAPE, &TAPS).is_none());
    }

    #[test]
    fn a_damaged_or_doubted_file_is_made_anew() {
        let (job, cache) = (job(), tempfile::tempdir().unwrap());
        let (expect, _) = tokens(&job, cache.path(), SHAPE, &TAPS);
        let file = only_file(cache.path());
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[100] ^= 1;
        for damaged in [&flipped[..], &whole[1..], &[]] {
            fs::write(&file, damaged).unwrap();
            assert!(tokens(&job, cache.path(), SHAPE, &TAPS).1);
            assert_eq!(fs::read(&file).unwrap(), whole);
        }
        let mut reference = KeptReference::in_folder(&job, Some(cache.path().to_owned()));
        reference.prepare(SHAPE, &TAPS).unwrap();
        assert!(reference.forget(SHAPE, &TAPS) && !file.exists());
        assert!(!reference.forget(SHAPE, &TAPS));
        let (found, is_loaded) = tokens(&job, cache.path(), SHAPE, &TAPS);
        assert!(is_loaded);
        assert_eq!(found, expect);
    }

    #[test]
    fn old_files_go() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..5 {
            let mut file = fs::File::create(folder.path().join(n.to_string())).unwrap();
            file.write_all(&[0; 10]).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n)).unwrap();
        }
        remove_oldest(folder.path(), 25);
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["3", "4"]);
    }
}
