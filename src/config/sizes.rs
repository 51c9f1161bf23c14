//! Sizes as users write them: `WIDTHxHEIGHT`.

use crate::geometry::{PATCH, Size};

/// Longest side of a model input: 256 patches.
const MAX_SIDE: u32 = 256 * PATCH;

/// Reads `WIDTHxHEIGHT`, in pixels, neither of them zero.
///
/// # Errors
/// Why `text` is not of this form; empty when there is nothing to add to what is valid.
pub fn size_from_text(text: &str) -> Result<Size, String> {
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(String::new)?;
    match (width.parse(), height.parse()) {
        (Ok(width), Ok(height)) if width > 0 && height > 0 => Ok(Size { width, height }),
        _ => Err(String::new()),
    }
}

/// Reads the size of a model input.
///
/// # Errors
/// Which side cannot be, and the nearest one that can.
pub fn model_size_from_text(text: &str) -> Result<Size, String> {
    let size = size_from_text(text)?;
    for (name, side) in [("width", size.width), ("height", size.height)] {
        let nearest = side.clamp(PATCH, MAX_SIDE).saturating_add(PATCH / 2) / PATCH * PATCH;
        if nearest != side {
            return Err(format!(
                "the {name} {side} cannot be cut into patches of {PATCH}; {nearest} is nearest"
            ));
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let answer = match model_size_from_text(text) {
            Ok(Size { width, height }) => format!("{width} by {height}"),
            Err(reason) => reason,
        };
        assert_eq!(answer, expect);
    }

    #[test]
    fn sides_of_a_model_input_are_whole_patches() {
        check("256x256", "256 by 256");
        check("336X192", "336 by 192");
        check("4096x16", "4096 by 16");
        check("250x256", "the width 250 cannot be cut into patches of 16; 256 is nearest");
        check("256x1", "the height 1 cannot be cut into patches of 16; 16 is nearest");
        check("16000x16", "the width 16000 cannot be cut into patches of 16; 4096 is nearest");
        check("256", "");
        check("0x256", "");
        check("256x-16", "");
        check("99999999999x16", "");
    }
}
