//! Heads: what is computed from the tokens of one frame, and only what somebody listens to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::{Device, Kind, TchError, Tensor};

use crate::config::FeaturesDtype;
use crate::engine::{EngineError, Tokens};
use crate::geometry::{Geometry, Intrinsics, Size};
use crate::logging::Throttle;
use crate::pca::{Basis, Estimator};
use crate::runtime::wanted::{Topic, Topics};
use crate::stages::camera::Header;
use crate::stages::forward::Input;

/// The model as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// Name of the folder, hub id or `random:NAME`.
    pub name: String,
    /// First 12 hex digits of the SHA-256 over the weight files in name order.
    pub revision: String,
    /// Block that feeds the features, counted from 1.
    pub layer: usize,
    /// Number of class tokens before the patch tokens.
    pub n_cls_tokens: usize,
}

/// A `[grid.height, grid.width, channels]` map, row-major, little endian.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMap {
    /// Patches.
    pub grid: Size,
    /// Values per patch.
    pub channels: usize,
    /// Element type of `bytes`.
    pub dtype: FeaturesDtype,
    /// The values.
    pub bytes: Vec<u8>,
}

/// An 8-bit RGB picture, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPicture {
    /// Pixels.
    pub size: Size,
    /// `size.height * size.width * 3` bytes.
    pub bytes: Vec<u8>,
}

/// Global descriptors after the final norm.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Number of class tokens.
    pub n_cls_tokens: usize,
    /// Values per token.
    pub channels: usize,
    /// `[channels]`: mean of the class tokens.
    pub pooled: Vec<f32>,
    /// `[n_cls_tokens, channels]`, row-major.
    pub class_tokens: Vec<f32>,
}

/// Everything that goes out for one frame; what nobody listens to is `None`.
#[derive(Debug)]
pub struct Output {
    /// The frame's own, unchanged.
    pub header: Header,
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// When our callback saw the frame.
    pub received: Instant,
    /// From the camera's picture to the model input.
    pub geometry: Geometry,
    /// The model that made this.
    pub card: Arc<ModelCard>,
    /// What somebody listens to.
    pub wanted: Topics,
    /// For `~/features`.
    pub features: Option<FeatureMap>,
    /// For `~/features/reduced`; always float32.
    pub reduced: Option<FeatureMap>,
    /// For `~/features/pca`.
    pub pca: Option<RgbPicture>,
    /// For `~/features/pca/compressed`: a PNG file.
    pub pca_png: Option<Vec<u8>>,
    /// For `~/features/camera_info`: the calibration of the patch grid.
    pub grid_info: Option<Intrinsics>,
    /// For `~/embedding`.
    pub embedding: Option<Embedding>,
}

/// Side of a patch in `~/features/pca`, pixels.
const PCA_PIXELS: u32 = 8;

/// A calibration that does not fit is told of once a minute.
static BAD_CALIBRATION: Throttle = Throttle::new(Duration::from_secs(60));

/// `~/features/reduced` stays within this, so that any receiver takes it with default buffers.
const REDUCED_BYTES: usize = 96 * 1024;

/// What the node was asked to compute.
#[derive(Clone, Debug)]
pub struct HeadsConfig {
    /// The model, as messages name it.
    pub card: ModelCard,
    /// Element type of `~/features`.
    pub features_dtype: FeaturesDtype,
    /// Channels of `~/features/reduced`, fewer when the message would not fit 96 KB.
    pub reduced_channels: usize,
    /// Where an estimated basis is saved.
    pub basis_path: PathBuf,
}

/// Turns tokens into outputs.
#[derive(Debug)]
pub struct Heads {
    card: Arc<ModelCard>,
    features_dtype: FeaturesDtype,
    reduced_channels: usize,
    /// Whether it has been told that fewer channels fit.
    told_fewer: bool,
    basis: BasisState,
    basis_path: PathBuf,
}

/// Where the basis comes from.
#[derive(Debug)]
enum BasisState {
    Ready(Basis),
    Gathering(Estimator),
    /// An estimate failed once; it would fail again.
    Failed,
}

impl Heads {
    /// Heads with a known basis, or with one yet to be estimated.
    pub fn new(config: HeadsConfig, basis: Option<Basis>) -> Self {
        let basis = basis.map_or_else(|| BasisState::Gathering(Estimator::default()), BasisState::Ready);
        Self {
            card: Arc::new(config.card),
            features_dtype: config.features_dtype,
            reduced_channels: config.reduced_channels,
            told_fewer: false,
            basis,
            basis_path: config.basis_path,
        }
    }

    /// Computes what `wanted` asks for. The first tap feeds the features, the last the embedding.
    ///
    /// # Errors
    /// libtorch's own; they are fatal for the engine.
    pub fn run(&mut self, input: Input, tokens: &Tokens, wanted: Topics) -> Result<Output, EngineError> {
        let grid = input.geometry.grid();
        let n_cls = self.card.n_cls_tokens as i64;
        let n_patches = i64::from(grid.width) * i64::from(grid.height);
        let (Some(tap), Some(last)) = (tokens.taps.first(), tokens.taps.last()) else {
            return Err(EngineError { message: "the engine returned no tokens".into() });
        };
        let patches = tap.f_get(0)?.f_narrow(0, n_cls, n_patches)?;

        let features =
            wanted.contains(Topic::Features).then(|| feature_map(&patches, grid, self.features_dtype));
        let embedding = wanted.contains(Topic::Embedding).then(|| embedding(last, n_cls));
        let (mut reduced, mut pca) = (None, None);
        let wants_pca = wanted.contains(Topic::Pca) || wanted.contains(Topic::PcaCompressed);
        if wants_pca || wanted.contains(Topic::Reduced) {
            let most_channels = self.reduced_channels(grid);
            let patches = patches.f_to_device(Device::Cpu)?;
            if let Some(basis) = self.basis(&patches, &input.pixels) {
                if wanted.contains(Topic::Reduced) {
                    let channels = most_channels.min(basis.n_components());
                    reduced =
                        Some(feature_map(&basis.project(&patches, channels)?, grid, FeaturesDtype::Float32)?);
                }
                if wants_pca {
                    pca = Some(picture(&basis.colors(&patches)?, grid)?);
                }
            }
        }
        let grid_info = wanted.contains(Topic::GridInfo).then(|| grid_info(&input)).flatten();
        Ok(Output {
            header: input.header,
            camera: input.camera,
            received: input.received,
            geometry: input.geometry,
            card: Arc::clone(&self.card),
            wanted,
            features: features.transpose()?,
            reduced,
            pca,
            pca_png: None,
            grid_info,
            embedding: embedding.transpose()?,
        })
    }

    /// Channels that fit on `grid`; says once when they are fewer than asked for.
    fn reduced_channels(&mut self, grid: Size) -> usize {
        let n_channels = reduced_channels(self.reduced_channels, grid);
        if n_channels < self.reduced_channels && !self.told_fewer {
            self.told_fewer = true;
            let (asked, Size { width, height }) = (self.reduced_channels, grid);
            tracing::warn!(
                "reduced_channels: {n_channels} instead of {asked}, so that {width}x{height} patches fit 96 KB"
            );
        }
        n_channels
    }

    /// The basis, after `patches` have been added to the estimate where there is none yet.
    fn basis(&mut self, patches: &Tensor, pixels: &[u8]) -> Option<&Basis> {
        if let BasisState::Gathering(estimator) = &mut self.basis {
            let estimate = estimator.add(patches, pixels).map_err(anyhow::Error::from);
            match estimate.and_then(|()| if estimator.is_full() { estimator.finish() } else { Ok(None) }) {
                Ok(None) => (),
                Ok(Some(basis)) => self.basis = BasisState::Ready(self.keep(basis)),
                Err(err) => {
                    tracing::error!("no PCA basis, so neither features/reduced nor features/pca: {err:#}");
                    self.basis = BasisState::Failed;
                }
            }
        }
        match &self.basis {
            BasisState::Ready(basis) => Some(basis),
            BasisState::Gathering(_) | BasisState::Failed => None,
        }
    }

    fn keep(&self, mut basis: Basis) -> Basis {
        let ModelCard { name, revision, layer, .. } = &*self.card;
        match basis.save(&self.basis_path, name, revision, *layer) {
            Ok(()) => tracing::info!(
                "PCA basis {} estimated and saved as {}",
                basis.hash,
                self.basis_path.display()
            ),
            Err(err) => tracing::warn!("PCA basis {} is used but not saved: {err:#}", basis.hash),
        }
        basis
    }
}

/// Channels of `~/features/reduced`: `asked`, or as many as the message's size allows on `grid`.
pub fn reduced_channels(asked: usize, grid: Size) -> usize {
    let n_patches = grid.width as usize * grid.height as usize;
    asked.min(REDUCED_BYTES / (4 * n_patches.max(1))).max(1)
}

/// Size of `~/features/pca` for `grid`.
pub fn pca_size(grid: Size) -> Size {
    Size { width: grid.width * PCA_PIXELS, height: grid.height * PCA_PIXELS }
}

fn feature_map(patches: &Tensor, grid: Size, dtype: FeaturesDtype) -> Result<FeatureMap, TchError> {
    let (kind, element_bytes) = match dtype {
        FeaturesDtype::Float16 => (Kind::Half, 2),
        FeaturesDtype::Float32 => (Kind::Float, 4),
    };
    let values = patches.f_to_kind(kind)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; values.numel() * element_bytes];
    values.f_copy_data_u8(&mut bytes, values.numel())?;
    let channels = usize::try_from(values.size()[1]).unwrap_or_default();
    Ok(FeatureMap { grid, channels, dtype, bytes })
}

fn embedding(tokens: &Tensor, n_cls: i64) -> Result<Embedding, TchError> {
    let class_tokens =
        tokens.f_get(0)?.f_narrow(0, 0, n_cls)?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?;
    let pooled = class_tokens.f_mean_dim(&[0i64][..], false, Kind::Float)?;
    let floats = |tensor: &Tensor| {
        let mut values = vec![0f32; tensor.numel()];
        tensor.f_contiguous()?.f_copy_data(&mut values, tensor.numel()).map(|()| values)
    };
    let pooled: Vec<f32> = floats(&pooled)?;
    Ok(Embedding {
        n_cls_tokens: usize::try_from(n_cls).unwrap_or_default(),
        channels: pooled.len(),
        pooled,
        class_tokens: floats(&class_tokens)?,
    })
}

/// Colours `[P, 3]`, 0 to 1, as a smooth picture.
pub(crate) fn picture(colors: &Tensor, grid: Size) -> Result<RgbPicture, TchError> {
    let size = pca_size(grid);
    let map =
        colors.f_reshape([1, i64::from(grid.height), i64::from(grid.width), 3])?.f_permute([0, 3, 1, 2])?;
    let out = [i64::from(size.height), i64::from(size.width)];
    let smooth = map.f_upsample_bilinear2d(out, false, None, None)?;
    let bytes8 = smooth.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
    let rows = bytes8.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    let mut bytes = vec![0; rows.numel()];
    rows.f_copy_data_u8(&mut bytes, rows.numel())?;
    Ok(RgbPicture { size, bytes })
}

/// The calibration of the patch grid, when the camera's belongs to a picture of this size.
fn grid_info(input: &Input) -> Option<Intrinsics> {
    let intrinsics = input.intrinsics.as_ref()?;
    let (found, picture) = (intrinsics.size, input.geometry.camera);
    if found == picture && intrinsics.is_calibrated() {
        return Some(intrinsics.under(&input.geometry.grid_from_camera(), input.geometry.grid()));
    }
    if BAD_CALIBRATION.admit().is_some() {
        let state = if intrinsics.is_calibrated() { "calibrated" } else { "not calibrated" };
        tracing::warn!(
            "no features/camera_info: the CameraInfo is for {}x{} and {state}, the pictures are {}x{}",
            found.width,
            found.height,
            picture.width,
            picture.height
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_features_never_exceed_96_kilobytes() {
        let check = |asked, width, height, expect| {
            assert_eq!(reduced_channels(asked, Size { width, height }), expect, "{asked} {width}x{height}");
        };
        check(16, 16, 16, 16);
        check(64, 16, 16, 64);
        check(64, 40, 30, 20);
        check(16, 200, 200, 1);
    }

    #[test]
    fn features_are_the_tokens_row_by_row() {
        let grid = Size { width: 2, height: 1 };
        let patches = Tensor::from_slice(&[1.0f32, -2.0, 0.5, 4.0]).reshape([2, 2]);
        let map = feature_map(&patches, grid, FeaturesDtype::Float16).unwrap();
        let values: Vec<f32> =
            map.bytes.chunks(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
        assert_eq!((map.channels, values), (2, vec![1.0, -2.0, 0.5, 4.0]));
    }

    #[test]
    fn the_embedding_is_the_mean_of_the_class_tokens() {
        let tokens = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 6.0, 9.0, 9.0]).reshape([1, 3, 2]);
        let embedding = embedding(&tokens, 2).unwrap();
        assert_eq!((embedding.pooled, embedding.class_tokens), (vec![2.0, 4.0], vec![1.0, 2.0, 3.0, 6.0]));
    }

    #[test]
    fn a_picture_has_eight_pixels_per_patch() {
        let colors = Tensor::from_slice(&[0.0f32, 0.5, 1.0, 0.0, 0.5, 1.0]).reshape([2, 3]);
        let picture = picture(&colors, Size { width: 2, height: 1 }).unwrap();
        assert_eq!(picture.size, Size { width: 16, height: 8 });
        assert!(picture.bytes.chunks(3).all(|rgb| rgb == [0, 128, 255]), "{:?}", &picture.bytes[..6]);
    }
}
