//! `preprocessor_config.json`: how images were prepared for the weights, as the image processors of
//! transformers write it. How bytes become values is part of the model here; how an image gets its size is
//! the caller's affair.

use std::path::Path;

use serde::Deserialize;

use super::error::ModelError;
use crate::files;
use crate::geometry::Size;
use crate::text;

/// Name of the file in a model's folder.
const FILE: &str = "preprocessor_config.json";
/// Most bytes of it.
const MOST_BYTES: u64 = 1 << 20;
/// Mean of the pixels of ImageNet per channel, of 1.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of the channels.
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// The filter of Pillow with this number is bicubic.
const BICUBIC: i64 = 3;

/// What becomes of an image before the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    /// What a byte is multiplied with before `mean` is subtracted.
    pub scale: f32,
    /// Per channel: red, green, blue.
    pub mean: [f32; 3],
    /// What is divided by after that.
    pub deviation: [f32; 3],
    /// What the file says of size and filter; callers resize images and can only compare.
    pub preparation: Preparation,
}

/// How images got their size in training.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    /// Size of the model input, where the file names one.
    pub size: Option<Size>,
    /// The filter as it stands in the file, where it is not the bicubic one.
    pub other_filter: Option<String>,
    /// Whether the middle was cut out.
    pub is_cropped: bool,
}

impl Default for Processor {
    /// That of the published models.
    fn default() -> Self {
        let preparation = Preparation::default();
        Self { scale: 1.0 / 255.0, mean: MEAN, deviation: DEVIATION, preparation }
    }
}

impl Processor {
    /// Reads the file in a model's `folder`; a folder without one is as the published models.
    ///
    /// # Errors
    /// The file cannot be read, or holds numbers that no image can be prepared with.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let file = folder.join(FILE);
        match files::read_text(&file, MOST_BYTES) {
            Ok(json) => Self::parse(&json).map_err(|reason| ModelError::Malformed { file, reason }),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(reason) => Err(ModelError::Io { file, reason }),
        }
    }

    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(json).map_err(|err| err.to_string())?;
        let default = Self::default();
        let scale = match (written.do_rescale, written.rescale_factor) {
            (Some(false), _) => 1.0,
            (_, factor) => factor.unwrap_or(default.scale),
        };
        let (mean, deviation) = match written.do_normalize {
            Some(false) => ([0.0; 3], [1.0; 3]),
            _ => (
                written.image_mean.map_or(default.mean, Channels::each),
                written.image_std.map_or(default.deviation, Channels::each),
            ),
        };
        if !(scale.is_finite() && 0.0 < scale) {
            return Err(format!("rescale_factor is {scale}, it must be positive"));
        }
        if !mean.iter().all(|value| value.is_finite()) {
            return Err(format!("image_mean is {mean:?}, it must be finite"));
        }
        if !deviation.iter().all(|value| value.is_finite() && 0.0 < *value) {
            return Err(format!("image_std is {deviation:?}, it must be positive"));
        }
        Ok(Self { scale, mean, deviation, preparation: written.preparation() })
    }

    /// What tells this processor from others where the weights are the same; nothing for that of the
    /// published models.
    pub(super) fn identity(&self) -> Option<String> {
        let bits = |one: &Self| {
            let numbers = [one.scale].into_iter().chain(one.mean).chain(one.deviation);
            numbers.map(|number| format!("{:08x}", number.to_bits())).collect::<String>()
        };
        Some(bits(self)).filter(|own| *own != bits(&Self::default()))
    }
}

/// The keys that are read; the others are of training or of other models.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Written {
    do_rescale: Option<bool>,
    rescale_factor: Option<f32>,
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    do_resize: Option<bool>,
    size: Option<WrittenSize>,
    resample: Option<serde_json::Value>,
    do_center_crop: Option<bool>,
    crop_size: Option<WrittenSize>,
}

impl Written {
    fn preparation(self) -> Preparation {
        let is_cropped = self.do_center_crop == Some(true);
        let resized = self.size.filter(|_| self.do_resize != Some(false));
        let size = if is_cropped { self.crop_size.or(resized) } else { resized };
        let is_other = |filter: &serde_json::Value| filter.as_i64() != Some(BICUBIC) && filter != "bicubic";
        Preparation {
            size: size.and_then(WrittenSize::known),
            other_filter: self
                .resample
                .filter(is_other)
                .map(|filter| text::foreign(&filter.to_string()).to_string()),
            is_cropped,
        }
    }
}

/// One number for all channels, or one for each.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Channels {
    All(f32),
    Each([f32; 3]),
}

impl Channels {
    fn each(self) -> [f32; 3] {
        match self {
            Self::All(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

/// The ways in which transformers writes a size.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum WrittenSize {
    Square(u32),
    Sides {
        height: u32,
        width: u32,
    },
    Shortest {
        #[serde(rename = "shortest_edge")]
        _edge: u32,
    },
}

impl WrittenSize {
    fn known(self) -> Option<Size> {
        match self {
            Self::Square(side) => Some(Size { width: side, height: side }),
            Self::Sides { height, width } => Some(Size { width, height }),
            // The other edge follows the image.
            Self::Shortest { _edge } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: &str) {
        let answer = Processor::parse(json).map_or_else(|why| why, |processor| format!("{processor:?}"));
        assert!(answer.contains(expect), "{json}: {answer}");
    }

    #[test]
    fn the_published_file_is_the_default() {
        let published = r#"{"crop_size": {"height": 256, "width": 256}, "do_center_crop": false,
            "do_normalize": true,
            "do_rescale": true, "do_resize": true, "image_mean": [0.485, 0.456, 0.406], "resample": 3,
            "image_processor_type": "BitImageProcessor", "image_std": [0.229, 0.224, 0.225],
            "rescale_factor": 0.00392156862745098, "size": {"height": 256, "width": 256}}"#;
        let processor = Processor::parse(published).unwrap();
        let size = Some(Size { width: 256, height: 256 });
        let preparation = Preparation { size, ..Preparation::default() };
        assert_eq!(processor, Processor { preparation, ..Processor::default() });
        assert_eq!(processor.identity(), None);
    }

    #[test]
    fn what_the_file_says_of_values_is_heeded() {
        let half = r#"{"image_mean": [0.5, 0.5, 0.5], "image_std": 0.25}"#;
        check(half, "mean: [0.5, 0.5, 0.5], deviation: [0.25, 0.25, 0.25]");
        // As in python/pixio_train/processor.py.
        let identity = "3b8080813f0000003f0000003f0000003e8000003e8000003e800000";
        assert_eq!(Processor::parse(half).unwrap().identity().as_deref(), Some(identity));
        check(r#"{"do_normalize": false}"#, "mean: [0.0, 0.0, 0.0], deviation: [1.0, 1.0, 1.0]");
        check(r#"{"do_rescale": false}"#, "scale: 1.0");
        check(r#"{"rescale_factor": 0.5}"#, "scale: 0.5");
        check("{}", "scale: 0.003921569");
    }

    #[test]
    fn what_it_says_of_sizes_and_filters_is_known() {
        check(r#"{"size": {"height": 384, "width": 512}}"#, "size: Some(Size { width: 512, height: 384 })");
        check(r#"{"size": 224}"#, "size: Some(Size { width: 224, height: 224 })");
        check(r#"{"size": {"shortest_edge": 256}, "resample": 2}"#, "size: None, other_filter: Some(\"2\")");
        check(
            r#"{"size": 256, "do_center_crop": true, "crop_size": 224}"#,
            "width: 224, height: 224 }), other_filter: None, is_cropped: true",
        );
        check(
            r#"{"size": 256, "do_resize": false, "resample": "bicubic"}"#,
            "size: None, other_filter: None",
        );
    }

    #[test]
    fn numbers_that_no_image_can_be_prepared_with_are_refused() {
        check(r#"{"image_std": [0.5, 0, 0.5]}"#, "image_std is [0.5, 0.0, 0.5], it must be positive");
        check(r#"{"image_mean": [1e39, 0, 0]}"#, "image_mean is [inf");
        check(r#"{"rescale_factor": 0}"#, "rescale_factor is 0, it must be positive");
        check(r#"{"image_mean": [0.5, 0.5]}"#, "did not match");
        check("[", "EOF");
    }
}
