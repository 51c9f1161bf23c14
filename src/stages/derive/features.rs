//! Patch tokens and class tokens as the values that go out.

use tch::{Kind, TchError, Tensor};

use super::derived::{Embedding, FeatureMap, RgbImage};
use crate::config::FeaturesDtype;
use crate::geometry::Size;
use crate::runtime::tensor;

/// Side of a patch in `~/features/pca`, pixels.
const PCA_PIXELS: u32 = 8;

/// Messages up to this size reach any receiver with its default buffers; `~/features/reduced` stays
/// within it.
pub const SMALL_MESSAGE_BYTES: usize = 96 * 1024;

/// Channels of `~/features/reduced`: `asked`, or as many as the message's size allows on `grid`.
pub fn reduced_channels(asked: usize, grid: Size) -> usize {
    let n_patches = grid.width as usize * grid.height as usize;
    asked.min(SMALL_MESSAGE_BYTES / (4 * n_patches.max(1))).max(1)
}

/// Size of `~/features/pca` for `grid`.
pub fn pca_size(grid: Size) -> Size {
    Size { width: grid.width * PCA_PIXELS, height: grid.height * PCA_PIXELS }
}

/// The element type of features as tensors have it.
pub(super) fn kind(dtype: FeaturesDtype) -> Kind {
    match dtype {
        FeaturesDtype::Float16 => Kind::Half,
        FeaturesDtype::Float32 => Kind::Float,
    }
}

/// `patches` is `[P, channels]`, on the host.
pub(super) fn feature_map(
    patches: &Tensor,
    grid: Size,
    dtype: FeaturesDtype,
) -> Result<FeatureMap, TchError> {
    let channels = usize::try_from(patches.size()[1]).unwrap_or_default();
    Ok(FeatureMap { grid, channels, dtype, bytes: tensor::bytes(patches, kind(dtype))? })
}

/// `class_tokens` is float32 `[n_cls, channels]`, on the host.
pub(super) fn embedding(class_tokens: &Tensor) -> Result<Embedding, TchError> {
    let pooled = tensor::floats(&class_tokens.f_mean_dim(&[0i64][..], false, Kind::Float)?)?;
    Ok(Embedding {
        n_cls_tokens: usize::try_from(class_tokens.size()[0]).unwrap_or_default(),
        channels: pooled.len(),
        pooled,
        class_tokens: tensor::floats(class_tokens)?,
    })
}

/// Colours `[P, 3]`, 0 to 1, as a smooth image.
///
/// # Errors
/// libtorch's own.
pub fn pca_image(colors: &Tensor, grid: Size) -> Result<RgbImage, TchError> {
    let size = pca_size(grid);
    let map =
        colors.f_reshape([1, i64::from(grid.height), i64::from(grid.width), 3])?.f_permute([0, 3, 1, 2])?;
    let smooth = map.f_upsample_bilinear2d(size.sides(), false, None, None)?;
    let bytes8 = smooth.f_mul_scalar(255.0)?.f_round()?.f_to_kind(Kind::Uint8)?;
    let bytes = tensor::bytes(&bytes8.f_permute([0, 2, 3, 1])?, Kind::Uint8)?;
    Ok(RgbImage { size, bytes })
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
        let class_tokens = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 6.0]).reshape([2, 2]);
        let embedding = embedding(&class_tokens).unwrap();
        assert_eq!((embedding.pooled, embedding.class_tokens), (vec![2.0, 4.0], vec![1.0, 2.0, 3.0, 6.0]));
    }

    #[test]
    fn the_image_of_components_has_eight_pixels_per_patch() {
        let colors = Tensor::from_slice(&[0.0f32, 0.5, 1.0, 0.0, 0.5, 1.0]).reshape([2, 3]);
        let image = pca_image(&colors, Size { width: 2, height: 1 }).unwrap();
        assert_eq!(image.size, Size { width: 16, height: 8 });
        assert!(image.bytes.chunks(3).all(|rgb| rgb == [0, 128, 255]), "{:?}", &image.bytes[..6]);
    }
}
