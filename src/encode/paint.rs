//! Depth and labels as colours.

/// Colours of `[h, w]` depths, RGB: near is red, far is blue, black is no depth. `range` is nearest and
/// farthest, metres; without it that of 98 % of the depths.
pub fn depth_colors(meters: &[f32], range: Option<[f32; 2]>) -> Vec<u8> {
    let [near, far] = range.unwrap_or_else(|| middle_of(meters));
    let color = |&depth: &f32| {
        if !depth.is_finite() {
            return [0; 3];
        }
        let share = if near < far { ((depth - near) / (far - near)).clamp(0.0, 1.0) } else { 0.5 };
        turbo(1.0 - share)
    };
    meters.iter().flat_map(color).collect()
}

/// The colours that [`depth_colors`] gives from 0 to the far end of a range that begins with 0, in `n` equal
/// steps, both ends among them.
pub fn depth_scale(n: usize) -> Vec<[u8; 3]> {
    let last = n.saturating_sub(1).max(1) as f32;
    (0..n).map(|i| turbo(1.0 - i as f32 / last)).collect()
}

/// Colours of `[h, w]` labels, RGB; black where the palette has none.
pub fn label_colors(labels: &[u8], palette: &[[u8; 3]]) -> Vec<u8> {
    labels.iter().flat_map(|&label| palette.get(usize::from(label)).copied().unwrap_or_default()).collect()
}

/// `image` `[h, w, 3]` under the colours of `labels` `[h, w]`, which hide it by `opacity`; unlabelled
/// pixels stay.
pub fn overlay(image: &[u8], labels: &[u8], palette: &[[u8; 3]], opacity: f32) -> Vec<u8> {
    let mix = |below: u8, above: u8| {
        (f32::from(below) * (1.0 - opacity) + f32::from(above) * opacity).round() as u8
    };
    let pixel = |(rgb, &label): (&[u8], &u8)| {
        let below = [rgb[0], rgb[1], rgb[2]];
        let Some(above) = palette.get(usize::from(label)) else { return below };
        [0, 1, 2].map(|i| mix(below[i], above[i]))
    };
    image.chunks_exact(3).zip(labels).flat_map(pixel).collect()
}

/// The first and the last hundredth left out.
fn middle_of(meters: &[f32]) -> [f32; 2] {
    let mut sorted: Vec<f32> = meters.iter().copied().filter(|depth| depth.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    let at = |share: usize| sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or(0.0);
    [at(1), at(99)]
}

/// The colour map Turbo at 0 (blue) to 1 (red), by the polynomials that its author has published (A.
/// Mikhailov, "Turbo, An Improved Rainbow Colormap for Visualization", 2019).
fn turbo(x: f32) -> [u8; 3] {
    const RED: [f32; 6] = [0.135_721_38, 4.615_392_6, -42.660_32, 132.131_08, -152.942_4, 59.286_38];
    const GREEN: [f32; 6] = [0.091_402_61, 2.194_188_4, 4.842_966_6, -14.185_034, 4.277_298_6, 2.829_566];
    const BLUE: [f32; 6] = [0.106_673_3, 12.641_946, -60.582_05, 110.362_77, -89.903_11, 27.348_25];
    [RED, GREEN, BLUE].map(|coefficients| {
        let value = coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient);
        (value.clamp(0.0, 1.0) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_red_far_is_blue_and_nothing_is_black() {
        let colors = depth_colors(&[1.0, 4.0, 7.0, f32::NAN], Some([0.0, 8.0]));
        let [near, middle, far, none] = [0, 3, 6, 9].map(|at| [colors[at], colors[at + 1], colors[at + 2]]);
        assert!(near[0] > 150 && near[0] > 2 * near[2], "{near:?}");
        assert!(middle[1] > 200, "{middle:?}");
        assert!(far[2] > 150 && far[2] > 2 * far[0], "{far:?}");
        assert_eq!(none, [0; 3]);
    }

    #[test]
    fn without_a_range_one_stray_depth_changes_no_colour() {
        let mut meters: Vec<f32> = (0..1000).map(|i| 1.0 + i as f32 / 1000.0).collect();
        let before = depth_colors(&meters[..990], None);
        meters[999] = 1e6;
        let after = depth_colors(&meters, None);
        assert!(before.iter().zip(after).all(|(a, b)| a.abs_diff(b) < 40));
    }

    #[test]
    fn labels_have_the_palettes_colours_and_hide_as_much_as_asked() {
        let (palette, labels) = ([[200, 0, 100], [0, 50, 0]], [1, 255, 0]);
        assert_eq!(label_colors(&labels, &palette), [0, 50, 0, 0, 0, 0, 200, 0, 100]);
        let image = [100; 9];
        assert_eq!(overlay(&image, &labels, &palette, 0.25), [75, 88, 75, 100, 100, 100, 125, 75, 100]);
        assert_eq!(overlay(&image, &labels, &palette, 0.0), image);
    }
}
