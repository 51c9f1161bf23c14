//! Organised point clouds, in the layout of `sensor_msgs/PointCloud2`.

use crate::geometry::{Size, strided};

/// An organised point cloud, little endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Columns and rows of points.
    pub size: Size,
    /// What a point holds, in its order: each takes four bytes.
    pub fields: &'static [Field],
    /// Points, row by row.
    pub bytes: Vec<u8>,
}

/// One value of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// As PCL and RViz know it.
    pub name: &'static str,
    /// float32, or else uint32.
    pub is_float: bool,
}

/// Bytes of every field.
const FIELD_BYTES: usize = 4;

const fn float(name: &'static str) -> Field {
    Field { name, is_float: true }
}

/// `rgb` are the bytes blue, green, red, 0 in the place of a float32, as PCL has them.
const COLORED: [Field; 4] = [float("x"), float("y"), float("z"), float("rgb")];
const LABELLED: [Field; 5] =
    [COLORED[0], COLORED[1], COLORED[2], COLORED[3], Field { name: "label", is_float: false }];

impl Cloud {
    /// Bytes of a point.
    pub fn point_step(&self) -> u32 {
        (self.fields.len() * FIELD_BYTES) as u32
    }
}

/// A depth map and what lies on it, all of one size.
#[derive(Clone, Copy, Debug)]
pub struct Surface<'a> {
    /// Of the maps.
    pub size: Size,
    /// `[height, width]`, metres.
    pub meters: &'a [f32],
    /// `[height, width, 3]`, RGB.
    pub colors: &'a [u8],
    /// `[height, width]`.
    pub labels: Option<&'a [u8]>,
}

/// The points of the pixels that `stride` takes; `rays` are those of [`crate::geometry::Optics::rays`] for
/// the same stride. The coordinates are NaN where depth or ray is.
pub fn cloud(surface: Surface<'_>, rays: &[[f32; 2]], stride: u32) -> Cloud {
    let Surface { size, meters, colors, labels } = surface;
    let columns: Vec<usize> = strided(size.width, stride).map(|column| column as usize).collect();
    let rows: Vec<usize> = strided(size.height, stride).map(|row| row as usize).collect();
    let fields: &[Field] = if labels.is_some() { &LABELLED } else { &COLORED };
    let mut bytes = Vec::with_capacity(columns.len() * rows.len() * fields.len() * FIELD_BYTES);
    let pixels =
        rows.iter().flat_map(|row| columns.iter().map(move |column| row * size.width as usize + column));
    for (pixel, [x, y]) in pixels.zip(rays) {
        let z = meters[pixel];
        let point = if (x * y * z).is_finite() && 0.0 < z { [x * z, y * z, z] } else { [f32::NAN; 3] };
        point.iter().for_each(|side| bytes.extend(side.to_le_bytes()));
        let rgb = &colors[3 * pixel..3 * pixel + 3];
        bytes.extend([rgb[2], rgb[1], rgb[0], 0]);
        if let Some(labels) = labels {
            bytes.extend(u32::from(labels[pixel]).to_le_bytes());
        }
    }
    Cloud { size: Size { width: columns.len() as u32, height: rows.len() as u32 }, fields, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_their_rays_with_colour_and_label() {
        let (size, colors): (_, Vec<u8>) = (Size { width: 2, height: 2 }, (0..12).collect());
        let meters = [1.0, 2.0, f32::NAN, 0.5];
        let rays = [[0.5, -1.0], [0.25, 0.0], [1.0, 1.0], [f32::NAN, 0.0]];
        let surface = Surface { size, meters: &meters, colors: &colors, labels: Some(&[3, 255, 0, 1]) };
        let points = cloud(surface, &rays, 1);
        assert_eq!((points.size, points.point_step(), points.bytes.len()), (size, 20, 80));
        let float = |at: usize| f32::from_le_bytes(points.bytes[at..at + 4].try_into().unwrap());
        assert_eq!([float(0), float(4), float(8)], [0.5, -1.0, 1.0]);
        assert_eq!([float(20), float(24), float(28)], [0.5, 0.0, 2.0]);
        assert!([40, 44, 48, 60, 64, 68].iter().all(|&at| float(at).is_nan()));
        assert_eq!(points.bytes[32..40], [5, 4, 3, 0, 255, 0, 0, 0]);

        let bare = cloud(Surface { labels: None, ..surface }, &rays, 1);
        assert_eq!((bare.point_step(), bare.bytes.len()), (16, 64));
    }

    #[test]
    fn a_stride_takes_its_pixels() {
        let (size, meters) = (Size { width: 6, height: 4 }, (1..=24).map(|z| z as f32).collect::<Vec<_>>());
        let surface = Surface { size, meters: &meters, colors: &[0; 72], labels: None };
        let points = cloud(surface, &[[0.0; 2]; 6], 2);
        let depths: Vec<f32> =
            points.bytes.chunks(16).map(|p| f32::from_le_bytes(p[8..12].try_into().unwrap())).collect();
        assert_eq!(depths, [8.0, 10.0, 12.0, 20.0, 22.0, 24.0]);
    }
}
