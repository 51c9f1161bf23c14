//! Colours of classes that somebody names while the node runs.

/// Of what belongs to no other class.
const OTHER: [u8; 3] = [96, 96, 96];

/// The golden ratio's fractional part: hues that are multiples of it lie apart, however many there are.
const HUE_STEP: f64 = 0.618_033_988_749_895;

/// The colour of the class `number`: grey for the first, saturated and of a hue of its own for every other.
pub(super) fn color(number: usize) -> [u8; 3] {
    if number == 0 {
        return OTHER;
    }
    let hue = (number as f64 * HUE_STEP).fract() * 6.0;
    // As of HSV with full saturation and value.
    [5.0, 3.0, 1.0].map(|offset| {
        let k = (offset + hue) % 6.0;
        let share = 1.0 - k.min(4.0 - k).clamp(0.0, 1.0);
        (share * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_colours_of_their_own() {
        let all: Vec<_> = (0..40).map(color).collect();
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| other != one), "{index}: {one:?}");
        }
        assert_eq!(all[0], OTHER);
        assert!(all[1..].iter().all(|color| color.contains(&255) && color.contains(&0)), "{all:?}");
    }
}
