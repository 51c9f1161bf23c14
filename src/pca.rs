//! A principal component basis of patch tokens that means the same tomorrow: estimated once over
//! the first frames, saved per model revision and layer, and used again at every start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use safetensors::tensor::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use tch::{Kind, TchError, Tensor};

use crate::files;
use crate::geometry::PADDING;
use crate::runtime::tensor;

/// Most components a basis holds.
pub const MAX_COMPONENTS: usize = 64;

/// Most bytes of a basis file: components of 3072 channels take one megabyte.
const MOST_BYTES: u64 = 16 << 20;

/// Frames over which a basis is estimated.
pub const N_FRAMES: usize = 16;

/// Standard deviation of a colour channel, of 255, below which it is near-uniform: a wall, a covered
/// lens. Its tokens would turn noise into components.
const UNIFORM_BELOW: f64 = 8.0;

/// The share of tokens that may fall outside the colour range at either end.
const OUTLIERS: f64 = 0.02;

/// Components of patch tokens, strongest first.
#[derive(Debug)]
pub struct Basis {
    /// `[D]`, float32.
    mean: Tensor,
    /// `[k, D]`, float32, orthonormal rows.
    components: Tensor,
    /// `[2, 3]`, float32: the values of the first three components that become 0 and 255.
    color_range: Tensor,
    /// First 12 hex digits of the SHA-256 of its values.
    pub hash: String,
}

impl Basis {
    /// Where the basis of a model revision and layer is kept.
    pub fn cache_path(cache: &Path, revision: &str, layer: usize) -> PathBuf {
        cache.join("pca").join(format!("{revision}-layer{layer}.safetensors"))
    }

    /// The same basis on the same memory.
    pub fn shallow_clone(&self) -> Self {
        let Self { mean, components, color_range, hash } = self;
        Self {
            mean: mean.shallow_clone(),
            components: components.shallow_clone(),
            color_range: color_range.shallow_clone(),
            hash: hash.clone(),
        }
    }

    /// Number of components.
    pub fn n_components(&self) -> usize {
        usize::try_from(self.components.size()[0]).unwrap_or_default()
    }

    /// The basis of `tokens` `[n, D]`. The sign of a component is the one that makes its largest
    /// element positive.
    ///
    /// # Errors
    /// libtorch's own, or tokens that are not finite.
    pub fn estimate(tokens: &Tensor) -> anyhow::Result<Self> {
        let tokens = tokens.f_to_kind(Kind::Double)?;
        let n_tokens = tokens.size()[0];
        let mean = tokens.f_mean_dim(&[0i64][..], false, Kind::Double)?;
        let centered = tokens.f_sub(&mean)?;
        let covariance = centered.f_tr()?.f_matmul(&centered)?.f_div_scalar(n_tokens as f64)?;
        ensure!(covariance.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1, "the tokens are not finite");
        let (_, vectors) = covariance.f_linalg_eigh("L")?;
        let k = vectors.size()[1].min(MAX_COMPONENTS as i64);
        // Eigenvalues ascend, so the strongest components are the last columns.
        let components = vectors.f_flip([1])?.f_narrow(1, 0, k)?.f_tr()?;
        let strongest = components.f_abs()?.f_argmax(1, true)?;
        let signs = components.f_gather(1, &strongest, false)?.f_sign()?;
        let components = components.f_mul(&signs)?.f_contiguous()?;

        let colors = centered.f_matmul(&components.f_narrow(0, 0, k.min(3))?.f_tr()?)?;
        let bounds = Tensor::f_from_slice(&[OUTLIERS, 1.0 - OUTLIERS])?.f_to_device(tokens.device())?;
        let color_range = colors.f_quantile(&bounds, 0, false, "linear")?;
        Self::new(&mean, &components, &color_range)
    }

    fn new(mean: &Tensor, components: &Tensor, color_range: &Tensor) -> anyhow::Result<Self> {
        let single = |tensor: &Tensor| {
            let tensor = tensor::single(tensor)?;
            let is_finite = tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1;
            ensure!(is_finite, "not all values are finite");
            Ok(tensor)
        };
        let (mean, components, color_range) = (single(mean)?, single(components)?, single(color_range)?);
        let mut digest = Sha256::new();
        for part in [&mean, &components, &color_range] {
            digest.update(tensor::bytes(part, Kind::Float)?);
        }
        let hash = digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { mean, components, color_range, hash })
    }

    /// `[P, k]` coordinates of `tokens` `[P, D]` in the first `k` components.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn project(&self, tokens: &Tensor, k: usize) -> Result<Tensor, TchError> {
        let components = self.components.f_narrow(0, 0, (k as i64).min(self.components.size()[0]))?;
        tokens.f_to_kind(Kind::Float)?.f_sub(&self.mean)?.f_matmul(&components.f_tr()?)
    }

    /// `[P, 3]` colours of `tokens` `[P, D]`: the first three components, 0 to 1.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn colors(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let (low, high) = (self.color_range.f_get(0)?, self.color_range.f_get(1)?);
        let span = high.f_sub(&low)?.f_clamp_min(f64::EPSILON)?;
        self.project(tokens, 3)?.f_sub(&low)?.f_div(&span)?.f_clamp(0.0, 1.0)
    }

    /// Reads a basis for tokens of `channels` values; warns when it belongs to other weights.
    ///
    /// # Errors
    /// The file is missing, is no basis or has another number of channels.
    pub fn load(path: &Path, revision: &str, layer: usize, channels: usize) -> anyhow::Result<Self> {
        let bytes =
            files::read(path, MOST_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
        let read = || -> anyhow::Result<Self> {
            files::safetensors::check(&bytes).map_err(anyhow::Error::msg)?;
            let file = SafeTensors::deserialize(&bytes)?;
            let get = |name: &str, shape: &[usize]| -> anyhow::Result<Tensor> {
                let view = file.tensor(name)?;
                let stored = view.shape();
                let fits = stored.len() == shape.len()
                    && stored.iter().zip(shape).all(|(&stored, &want)| want == 0 || stored == want);
                ensure!(
                    fits && view.dtype() == Dtype::F32,
                    "{name} is {stored:?}, expected {shape:?} of float32"
                );
                let size: Vec<i64> = stored.iter().map(|&side| side as i64).collect();
                Ok(Tensor::f_from_data_size(view.data(), &size, Kind::Float)?)
            };
            let (mean, components) = (get("mean", &[channels])?, get("components", &[0, channels])?);
            let basis = Self::new(&mean, &components, &get("color_range", &[2, 3])?)?;
            ensure!(basis.n_components() >= 3, "it has fewer than 3 components");
            Ok(basis)
        };
        let basis = read().with_context(|| format!("{} is no PCA basis for this model", path.display()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let of = header.metadata().clone().unwrap_or_default();
        let made_for = |key: &str, value: &str| of.get(key).is_none_or(|stored| stored == value);
        if !made_for("revision", revision) || !made_for("layer", &layer.to_string()) {
            tracing::warn!(
                "the PCA basis {} was made for revision {} layer {}, this is revision {revision} layer \
                 {layer}",
                path.display(),
                of.get("revision").map_or("?", String::as_str),
                of.get("layer").map_or("?", String::as_str),
            );
        }
        Ok(basis)
    }

    /// Writes the basis for a model, revision and layer; a reader never sees half a file.
    ///
    /// # Errors
    /// The folder cannot be made or the file not be written.
    pub fn save(&self, path: &Path, model: &str, revision: &str, layer: usize) -> anyhow::Result<()> {
        let of = [("model", model), ("revision", revision), ("layer", &layer.to_string())];
        let of: HashMap<_, _> = of.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let parts =
            [("mean", &self.mean), ("components", &self.components), ("color_range", &self.color_range)];
        let file = tensor::safetensors(parts.map(|(name, tensor)| (name.to_owned(), tensor)), of)?;
        files::write(path, &file).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Gathers the tokens of [`N_FRAMES`] frames.
#[derive(Debug, Default)]
pub struct Estimator {
    frames: Vec<Tensor>,
}

impl Estimator {
    /// Takes the patch tokens `[P, D]` of one frame; `pixels` is the model input that they come
    /// from. Near-uniform images are left out, and all once enough are there.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn add(&mut self, tokens: &Tensor, pixels: &[u8]) -> Result<(), TchError> {
        if !self.is_full() && !is_uniform(pixels) {
            self.frames.push(tokens.f_to_kind(Kind::Float)?.f_detach_copy()?);
        }
        Ok(())
    }

    /// Frames gathered so far.
    pub fn n_frames(&self) -> usize {
        self.frames.len()
    }

    /// Whether [`N_FRAMES`] are there.
    pub fn is_full(&self) -> bool {
        N_FRAMES <= self.n_frames()
    }

    /// The basis of what was gathered so far; nothing when that is nothing.
    ///
    /// # Errors
    /// As [`Basis::estimate`].
    pub fn finish(&mut self) -> anyhow::Result<Option<Basis>> {
        let frames = std::mem::take(&mut self.frames);
        if frames.is_empty() {
            return Ok(None);
        }
        Basis::estimate(&Tensor::f_cat(&frames, 0)?).map(Some)
    }
}

/// Whether no colour channel varies, padding left aside.
fn is_uniform(pixels: &[u8]) -> bool {
    // Every 7th pixel: all rows and columns take part, a seventh of the time.
    let sample = || pixels.as_chunks::<3>().0.iter().step_by(7).filter(|rgb| **rgb != PADDING);
    let n = sample().count().max(1) as f64;
    (0..3).all(|channel| {
        let values = || sample().map(|rgb| f64::from(rgb[channel]));
        let mean = values().sum::<f64>() / n;
        (values().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt() < UNIFORM_BELOW
    })
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn tokens(seed: i64) -> Tensor {
        tch::manual_seed(seed);
        let scale = Tensor::from_slice(&[9.0f32, 5.0, 3.0, 0.5, 0.1]);
        Tensor::randn([4000, 5], (Kind::Float, Device::Cpu)) * scale + 7.0
    }

    #[test]
    fn the_strongest_directions_come_first_with_fixed_signs() {
        let basis = Basis::estimate(&tokens(1)).unwrap();
        let expect = Tensor::eye(5, (Kind::Float, Device::Cpu));
        assert!((&basis.components - expect).abs().max().double_value(&[]) < 0.05, "{:?}", basis.components);
        let projected = basis.project(&tokens(2), 2).unwrap();
        assert_eq!(projected.size(), [4000, 2]);
        let spread = f64::try_from(projected.select(1, 0).std(true)).unwrap();
        assert!((spread - 9.0).abs() < 0.5, "{spread}");
    }

    #[test]
    fn colors_fill_the_range_and_stay_in_it() {
        let colors = Basis::estimate(&tokens(1)).unwrap().colors(&tokens(2)).unwrap();
        let mean = f64::try_from(colors.mean(Kind::Float)).unwrap();
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
        assert_eq!((f64::try_from(colors.min()).unwrap(), f64::try_from(colors.max()).unwrap()), (0.0, 1.0));
    }

    #[test]
    fn a_saved_basis_is_the_same_when_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = Basis::cache_path(folder.path(), "0123456789ab", 4);
        let basis = Basis::estimate(&tokens(1)).unwrap();
        basis.save(&path, "random:tiny", "0123456789ab", 4).unwrap();
        let again = Basis::load(&path, "0123456789ab", 4, 5).unwrap();
        assert_eq!((again.components == basis.components, &again.hash), (true, &basis.hash));
        let err = format!("{:#}", Basis::load(&path, "0123456789ab", 4, 6).unwrap_err());
        assert!(err.contains("is no PCA basis for this model: mean is [5], expected [6]"), "{err}");
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(Basis::load(&path, "0123456789ab", 4, 5).is_err());
    }

    #[test]
    fn near_uniform_images_are_left_out() {
        let mut estimator = Estimator::default();
        let few = tokens(3).narrow(0, 0, 16);
        let textured: Vec<u8> = (0..3000u32).map(|i| (i * 37 % 256) as u8).collect();
        for _ in 0..N_FRAMES {
            assert!(!estimator.is_full());
            estimator.add(&few, &[120; 3000]).unwrap();
            estimator.add(&few, &[200, 150, 100].repeat(1000)).unwrap();
            estimator.add(&few, &[[0; 3], PADDING].concat().repeat(500)).unwrap();
            estimator.add(&few, &textured).unwrap();
        }
        assert!(estimator.is_full());
        assert!(estimator.finish().unwrap().is_some());
        assert!(estimator.finish().unwrap().is_none());
    }
}
