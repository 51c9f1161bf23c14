//! Sizes of the model input, and the fitter that makes one of a camera's image.

use crate::config::{Config, Fit};
use crate::geometry::{STANDARD_SIZES, Size, WINDOW};
use crate::stages::fit::Fitter;

/// Sizes that the model input may have, the largest first.
pub fn input_sizes(config: &Config) -> Vec<Size> {
    match config.fit {
        Fit::Auto => STANDARD_SIZES.to_vec(),
        Fit::Stretch | Fit::Letterbox | Fit::Crop => vec![config.size],
        Fit::Window => vec![Size { width: WINDOW, height: WINDOW }],
    }
}

/// Size of the model input, or of the largest that `fit: auto` chooses.
pub fn input_size(config: &Config) -> Size {
    input_sizes(config)[0]
}

/// A fitter as `config` asks for.
pub fn fitter(config: &Config) -> Fitter {
    Fitter::new(config.fit, config.size, config.resize_filter, config.max_image_pixels)
}
