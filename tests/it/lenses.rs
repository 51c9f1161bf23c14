//! Rays against OpenCV's projectPoints and fisheye.projectPoints.
//! `PIXIO_LENSES` names the file that tests/peers/make_lenses.py writes.

use pixio_node::geometry::{CameraModel, Intrinsics, Optics, Projection, Readout, Rect, Size};
use safetensors::SafeTensors;

/// Rays that differ by less are the same: a thousandth of a pixel at a focal length of 1000.
const NEAR: f64 = 1e-6;

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap();
    tensor.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn pairs(file: &SafeTensors<'_>, name: &str) -> Vec<[f64; 2]> {
    numbers(file, name).chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
}

fn optics(model: &str, d: Vec<f64>, k: &[f64]) -> Optics {
    let size = Size { width: 1000, height: 800 };
    let intrinsics = Intrinsics {
        size,
        distortion_model: model.to_owned(),
        d,
        k: [k[0], 0.0, k[2], 0.0, k[1], k[3], 0.0, 0.0, 1.0],
        r: [0.0; 9],
        p: [0.0; 12],
    };
    let whole = Rect { left: 0, top: 0, size };
    let readout = Readout::new(size, [1, 1], whole).unwrap();
    CameraModel::new(intrinsics, readout, Projection::Raw).unwrap().optics().unwrap()
}

#[test]
fn rays_are_those_that_opencv_sees_at_their_pixels() {
    let Some(path) = std::env::var_os("PIXIO_LENSES") else {
        crate::skipped("rays: PIXIO_LENSES names no file by tests/peers/make_lenses.py");
        return;
    };
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let names = file.names();
    let lenses: Vec<_> = names.iter().filter_map(|name| name.strip_suffix("/d")).collect();
    let (mut n_same, mut n_beyond, mut wrong) = (0, 0, Vec::new());
    for lens in lenses {
        let (model, _) = lens.trim_start_matches("lens/").split_once('.').unwrap();
        let d = numbers(&file, &format!("{lens}/d"));
        let optics = optics(model, d.clone(), &numbers(&file, &format!("{lens}/k")));
        let (rays, pixels) = (pairs(&file, &format!("{lens}/rays")), pairs(&file, &format!("{lens}/pixels")));
        let kinds = file.tensor(&format!("{lens}/kinds")).unwrap();
        for ((ray, pixel), kind) in rays.into_iter().zip(pixels).zip(kinds.data()) {
            let found = optics.ray(pixel);
            let is_same = found.is_some_and(|found| {
                (found[0] - ray[0]).hypot(found[1] - ray[1]) < NEAR * (1.0 + ray[0].hypot(ray[1]).powi(2))
            });
            // What lies beyond a fold is never shown: its pixel is another's, or nobody's.
            if is_same != (*kind == 1) {
                wrong.push(format!("{lens} {d:?}: {ray:?} is {found:?} at {pixel:?}"));
            }
            if is_same { n_same += 1 } else { n_beyond += 1 }
        }
    }
    println!("{n_same} rays are OpenCV's, {n_beyond} lie beyond a fold");
    assert!(wrong.is_empty(), "{} are not: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    assert!(10_000 < n_same && 500 < n_beyond);
}
